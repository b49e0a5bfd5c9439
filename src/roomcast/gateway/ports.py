"""The ports of the gateway.

`ChatAdmission` is the interface to the main API: direct calls in one process, else HTTP to ``API_URL``. `Rooms` and
`RoomSocket` are the parts of a Socket.IO server that feeds and joins use; `roomcast.realtime` implements them. Presence
implements `FollowerObserver`.

Layer: gateway.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from roomcast.chat.ports import Head
from roomcast.contract.cursor import Cursor
from roomcast.contract.errors import ErrorCode
from roomcast.realtime.fanout.message import EncodedEvent

__all__ = [
    "Admission",
    "AdmissionDenied",
    "ApiUnavailable",
    "ChatAdmission",
    "Cursor",
    "FollowerObserver",
    "Head",
    "Refused",
    "RoomSocket",
    "Rooms",
    "UnknownTurn",
]


class Refused(Exception):
    """A client's event is refused. The text is for people, and says what to do.

    Attributes:
        code: The error code for the client.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Admission:
    """The API's answer to a join.

    Attributes:
        head: The chat's last event in the database.
        reset: The client's cursor does not belong to this history: the database was restored or deleted.
        silent_until: Until when the user may not write; None: it may.
    """

    head: Head
    reset: bool
    silent_until: datetime | None = None


class AdmissionDenied(Exception):
    """The user may not follow the chat, or there is no such chat; the client must not learn which."""


class UnknownTurn(Exception):
    """The chat has no such turn."""


class ApiUnavailable(Exception):
    """The API does not answer. The client receives ``unavailable`` and retries, never ``forbidden``."""


class ApiRefused(ApiUnavailable):
    """Waiting cannot mend it: a setting is wrong, and the text names it."""


class ChatAdmission(Protocol):
    """Decides whether a user may follow a chat, has the relay publish, and stops turns."""

    async def admit(self, chat_id: str, user_id: str | None, since: Cursor | None) -> Admission:
        """Admit a user to a chat and check the client's cursor against the events table.

        This also starts the relay, so that the chat's log exists and reaches ``head`` soon after the return. While the
        API is unavailable the answer may come from a cache: it is then as old as its ``head``, and the caller must
        check the later events for a removal.

        Args:
            chat_id: The chat.
            user_id: The authenticated user; None: authentication is off, and every chat may be followed.
            since: The client's cursor.

        Raises:
            AdmissionDenied: not a member, or no such chat while authentication is on.
            ApiUnavailable: no answer.
        """

    async def confirm(self, chat_id: str, user_id: str) -> None:
        """Check that a user is a member now. The answer never comes from a cache.

        Raises:
            AdmissionDenied: not a member, or no such chat.
            ApiUnavailable: no answer.
        """

    def revoke(self, chat_id: str, user_id: str) -> None:
        """Delete the cached admission of a user that was removed from the chat."""

    async def request_publish(self, chat_id: str) -> None:
        """Have the relay bring the chat's log up to date with the events table. Returns after the relay's attempt.

        Raises:
            ApiUnavailable: no answer.
        """

    async def stop_turn(self, chat_id: str, turn_id: str, user_id: str | None) -> None:
        """Store that a user stops a turn. A turn that has ended stays as it is.

        Args:
            chat_id: The chat.
            turn_id: A turn of the chat.
            user_id: The authenticated user; None: authentication is off.

        Raises:
            AdmissionDenied: not a member, or no such chat.
            UnknownTurn: the chat has no such turn.
            Refused: the user is a member that may not stop answers, or is muted.
            ApiUnavailable: no answer; the stop may be stored.
        """


class Rooms(Protocol):
    """Emits to rooms of this gateway's sockets, in the current loop turn."""

    def broadcast(self, room: str, message: EncodedEvent, *, skip: Collection[str] = ()) -> None:
        """Emit to the members of ``room``, except the sockets and the rooms in ``skip``. The room may be empty."""


class RoomSocket(Protocol):
    """One client's socket. Every method acts in the current loop turn."""

    @property
    def sid(self) -> str:
        """The socket id."""

    @property
    def connected(self) -> bool:
        """Whether the socket is connected."""

    def join(self, room: str) -> None:
        """Enter ``room``: receive the events that are emitted to it from now on."""

    def leave(self, room: str) -> None:
        """Leave ``room``."""

    def send(self, message: EncodedEvent) -> None:
        """Send an event to this client, after all events that were emitted to it before."""


class FollowerObserver(Protocol):
    """Notified when a socket starts or stops following a chat. Methods neither suspend nor raise."""

    def entered(self, socket: RoomSocket, chat_id: str) -> None:
        """The socket follows the chat from now on. Its ack is written later in the same loop turn."""

    def left(self, sid: str, chat_id: str) -> None:
        """The socket no longer follows the chat."""
