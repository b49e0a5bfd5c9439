"""A client's position in a chat.

Layer: contract.
"""

from __future__ import annotations

from roomcast.contract.model import Payload
from roomcast.contract.text import Epoch, Seq


class Cursor(Payload):
    """A client's position in a chat: it has every event up to ``seq`` of the history as of ``epoch``."""

    epoch: Epoch
    seq: Seq
