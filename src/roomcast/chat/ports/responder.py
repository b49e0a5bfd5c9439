"""The port of the responders, which answer USER messages.

Layer: chat. Contract suite: tests/contract/test_responder.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from roomcast.chat.model import StoredMessage


@dataclass(frozen=True, slots=True)
class Prompt:
    """The input of a responder.

    Attributes:
        message: The USER message to answer.
        history: The messages before it, oldest first; the worker limits their number.
    """

    message: StoredMessage
    history: tuple[StoredMessage, ...]


class Responder(Protocol):
    """Generates an answer in pieces of text.

    The worker may cancel `respond` at any await, and may call it again for the same message after a crash. An exception
    ends the turn as failed.
    """

    @property
    def name(self) -> str:
        """The name by which chats refer to this responder."""

    def respond(self, prompt: Prompt) -> AsyncIterator[str]:
        """Yield the answer in non-empty pieces."""
