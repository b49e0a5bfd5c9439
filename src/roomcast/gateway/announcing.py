"""Announces activity and reads of a chat to the rooms of its users.

Layer: gateway.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from roomcast.contract.events import CHAT_ACTIVITY, CHAT_READ, ChatActivity, ChatRead
from roomcast.gateway.rooms import chat_room, user_room


class Emitter(Protocol):
    """Emits to every server of a cluster: `roomcast.realtime.Server`, or a client of Node's emitter protocol."""

    async def emit(self, event: str, data: Any = None, *, to: str | Collection[str] | None = None) -> None:
        """Emit to the members of one or several rooms, once to each socket."""


class RoomAnnouncer:
    """A `roomcast.chat.delivery.activity.Announcer` and `read_state.ReadAnnouncer` that emits to the rooms of users.

    An announcement is one emit to all rooms: it is encoded once, takes one message between servers (about 20 KB for
    500 users), and reaches each socket once, even a socket in several of the rooms.

    Args:
        server: The emitter. Must raise the errors of the `Announcer` port.
    """

    def __init__(self, server: Emitter) -> None:
        self._server = server

    async def announce(self, user_ids: Sequence[str], activity: ChatActivity) -> None:
        """See the port."""
        rooms = tuple(user_room(user_id) for user_id in user_ids)
        await self._server.emit(CHAT_ACTIVITY, activity.model_dump(mode="json"), to=rooms)

    async def announce_read(self, read: ChatRead, *, to_chat: bool) -> None:
        """See `roomcast.chat.use_cases.read_state.ReadAnnouncer`."""
        rooms = (user_room(read.user_id), *((chat_room(read.chat_id),) if to_chat else ()))
        await self._server.emit(CHAT_READ, read.model_dump(mode="json"), to=rooms)
