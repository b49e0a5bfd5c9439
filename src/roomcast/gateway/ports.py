"""What the gateway asks of the main API: in one process a direct call, else HTTP to ``API_URL``.

Layer: gateway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from roomcast.chat.ports import Head


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a client has: everything up to ``seq`` as it was in ``epoch``."""

    epoch: str
    seq: int


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to one join.

    Attributes:
        head: The chat's end in the database.
        reset: The client's cursor does not belong to this history (database restored or deleted).
    """

    head: Head
    reset: bool


class AdmissionDenied(Exception):
    """The user may not see this chat, or it does not exist (told apart only where the user may know)."""


class ApiUnavailable(Exception):
    """The API is out of reach: answer ``unavailable``, never ``forbidden``."""


class ChatAdmission(Protocol):
    """Authorises a join, and checks a client's cursor against the events table in the same step."""

    async def admit(self, chat_id: str, user_id: str | None, since: Cursor | None) -> Admission:
        """Admit ``user_id`` (None: authentication is off, any id is accepted) to the chat.

        Also wakes the relay, so that the chat's log exists and reaches ``head`` soon after this returns.

        Raises:
            AdmissionDenied: not a member, or no such chat while authentication is on.
            ApiUnavailable: nobody could be asked.
        """

    async def nudge(self, chat_id: str) -> None:
        """Ask the relay to bring the chat's log up to date with the events table; returns when it has tried."""
