"""Announcement of chat activity to the rooms of its users.

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
        """Emit to the members of several rooms, to each of them once."""


class RoomAnnouncer:
    """`roomcast.chat.activity.Announcer` over the rooms of users.

    One announcement is one emit to all rooms: it is encoded once, is one message between servers (about 20 KB for 500
    users), and reaches a socket once even if it is in several of the rooms.

    Args:
        server: The emitter. It raises the port's errors.
    """

    def __init__(self, server: Emitter) -> None:
        self._server = server

    async def announce(self, user_ids: Sequence[str], activity: ChatActivity) -> None:
        """See the port."""
        rooms = tuple(user_room(user_id) for user_id in user_ids)
        await self._server.emit(CHAT_ACTIVITY, activity.model_dump(mode="json"), to=rooms)
