"""A client's position in a chat.

Layer: contract.
"""

from __future__ import annotations

from roomcast.contract.model import Payload
from roomcast.contract.text import Epoch, Seq


class Cursor(Payload):
    """The last event that a client has: it has every event up to ``seq``, as they were in ``epoch``."""

    epoch: Epoch
    seq: Seq
