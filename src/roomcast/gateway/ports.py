"""What the gateway asks of its neighbours.

Of the main API: `ChatAdmission`, in one process a direct call, else HTTP to ``API_URL``. Of the Socket.IO server:
`Rooms` and `RoomSocket`, the few primitives that feeds and joins are built on; `roomcast.realtime` has them.

Layer: gateway.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from roomcast.chat.ports import Head
from roomcast.contract.cursor import Cursor
from roomcast.realtime.fanout.message import EncodedEvent

__all__ = [
    "Admission",
    "AdmissionDenied",
    "ApiUnavailable",
    "ChatAdmission",
    "Cursor",
    "FollowerObserver",
    "Head",
    "RoomSocket",
    "Rooms",
]


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

    async def request_publish(self, chat_id: str) -> None:
        """Ask the relay to bring the chat's log up to date with the events table; returns when it has tried.

        Raises:
            ApiUnavailable: nobody could be asked.
        """


class Rooms(Protocol):
    """Emits to whoever is in a room now, in this loop turn."""

    def broadcast(self, room: str, message: EncodedEvent, *, skip: Collection[str] = ()) -> None:
        """Emit to the local members of ``room`` but those with an id in ``skip``; harmless if there are none."""


class RoomSocket(Protocol):
    """One client, as `roomcast.realtime.Socket` has it. Every method acts in this loop turn."""

    @property
    def sid(self) -> str:
        """Its id."""

    @property
    def connected(self) -> bool:
        """Whether it is still there."""

    def join(self, room: str) -> None:
        """Get what is emitted to ``room`` from now on."""

    def leave(self, room: str) -> None:
        """Get nothing that is emitted to ``room`` from now on."""

    def send(self, message: EncodedEvent) -> None:
        """Get this, behind everything that was emitted to it before."""


class FollowerObserver(Protocol):
    """Hears who follows a chat. Nothing here waits or raises."""

    def entered(self, socket: RoomSocket, chat_id: str) -> None:
        """The socket follows the chat from now on; the answer to its join is written later in this loop turn."""

    def left(self, sid: str, chat_id: str) -> None:
        """It follows it no longer."""
