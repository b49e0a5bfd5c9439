"""What answers a USER message.

Layer: chat. Contract suite: tests/contract/test_responder.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from roomcast.chat.model import StoredMessage


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a responder is asked.

    Attributes:
        message: The USER message to answer.
        history: What was said before it, oldest first, bounded by the worker.
    """

    message: StoredMessage
    history: tuple[StoredMessage, ...]


class Responder(Protocol):
    """Answers in pieces of text whose concatenation is the answer.

    It may be cancelled between two pieces, and asked again for the same message after a crash. Any exception ends the
    turn as failed.
    """

    @property
    def name(self) -> str:
        """What chats call it."""

    def respond(self, prompt: Prompt) -> AsyncIterator[str]:
        """Answer; no piece is empty."""
