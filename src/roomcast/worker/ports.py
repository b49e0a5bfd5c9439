"""The port of the worker.

Layer: worker.
"""

from __future__ import annotations

from typing import Protocol

from roomcast.chat.model import Ending, Turn


class TurnWriter(Protocol):
    """Stores the start and the end of turns; `roomcast.chat.turns.Turns` implements it."""

    async def start(self, turn: Turn) -> Turn:
        """See `roomcast.chat.turns.Turns`."""

    async def end(self, turn: Turn, ending: Ending) -> None:
        """See `roomcast.chat.turns.Turns`."""
