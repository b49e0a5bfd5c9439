"""The port of the worker.

Layer: worker.
"""

from __future__ import annotations

from typing import Protocol

from roomcast.chat.model import Turn


class AnswerWriter(Protocol):
    """Stores finished answers; `roomcast.chat.writing.ChatWriter` implements it."""

    async def answer(self, turn: Turn, content: str) -> None:
        """Store and publish the answer and end the turn, in one transaction.

        Raises:
            TurnLost: the turn was claimed again; nothing was written.
            StoreUnavailable: the answer may or may not have been written; retry.
        """
