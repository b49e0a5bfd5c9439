"""Announces chat activity to the rooms of the chat's users.

Layer: gateway.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from roomcast.contract.events import CHAT_ACTIVITY, ChatActivity
from roomcast.gateway.rooms import user_room


class Emitter(Protocol):
    """Emits to every server of a cluster: `roomcast.realtime.Server`, or a client of Node's emitter protocol."""

    async def emit(self, event: str, data: Any = None, *, to: str | Collection[str] | None = None) -> None:
        """Emit to the members of one or several rooms, once to each socket."""


class RoomAnnouncer:
    """A `roomcast.chat.activity.Announcer` that emits to the rooms of users.

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
