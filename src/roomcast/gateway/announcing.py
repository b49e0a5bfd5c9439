"""Reaches users in their rooms, ``user:{id}``, which ``join-user`` puts a socket into.

Layer: gateway.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from roomcast.contract.events import CHAT_ACTIVITY, ChatActivity


def user_room(user_id: str) -> str:
    """The room of everything that a user is connected with."""
    return f"user:{user_id}"


class Emitting(Protocol):
    """Emits to every server of a cluster; `roomcast.realtime.Server` does, and so does Node's emitter protocol."""

    async def emit(self, event: str, data: Any = None, *, to: str | Collection[str] | None = None) -> None:
        """Emit to the members of several rooms, each once."""


class RoomAnnouncer:
    """`roomcast.chat.activity.Announcer` over rooms.

    One emit for a whole audience: it is encoded once, is one message between servers (500 ids: some 20 KB), and reaches
    a socket once, in however many of the rooms it is. Which is why an audience is not cut into several.

    Args:
        server: What emits; its failures are told in the port's terms by whoever made it.
    """

    def __init__(self, server: Emitting) -> None:
        self._server = server

    async def announce(self, user_ids: Sequence[str], activity: ChatActivity) -> None:
        """See the port."""
        rooms = tuple(user_room(user_id) for user_id in user_ids)
        await self._server.emit(CHAT_ACTIVITY, activity.model_dump(mode="json"), to=rooms)
