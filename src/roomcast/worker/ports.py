"""What the worker needs of the domain.

Layer: worker.
"""

from __future__ import annotations

from typing import Protocol

from roomcast.chat.model import Turn


class AnswerWriter(Protocol):
    """Takes finished answers: the same way into the chat that every message takes."""

    async def answer(self, turn: Turn, content: str) -> None:
        """Store and publish the answer, and end the turn, in one transaction.

        Raises:
            TurnLost: the turn was claimed by somebody else meanwhile; nothing was written.
            StoreUnavailable: nothing was written; trying again is right.
        """
