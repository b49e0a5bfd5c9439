"""The board of gateways in one process, and their directory; the reference for every other board.

Layer: presence.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from roomcast.chat.ports import Listing

#: Of a gateway that is alone.
ALONE: Final = "alone000"
#: Memory loses nothing while its process runs.
_EPOCH: Final = "memory"


class Alone:
    """The `chat.ports.Nodes` of a gateway that has no others."""

    @property
    def node_id(self) -> str:
        """See the port."""
        return ALONE

    def alive(self) -> Collection[str]:
        """See the port."""
        return {ALONE}

    async def known(self, node_id: str) -> bool:
        """See the port."""
        return node_id == ALONE


class MemoryPresenceBoard:
    """A `chat.ports.PresenceBoard` in memory.

    Args:
        node_id: Whose entries `enter` and `leave` change.
        shared: The entries, ``{chat: {node: users}}``; boards of one process that share it see each other's.
    """

    def __init__(self, node_id: str = ALONE, shared: dict[str, dict[str, set[str]]] | None = None) -> None:
        self._node_id = node_id
        self._chats = {} if shared is None else shared

    async def enter(self, chat_id: str, users: Collection[str]) -> None:
        """See the port."""
        if users:
            self._chats.setdefault(chat_id, {}).setdefault(self._node_id, set()).update(users)

    async def leave(self, chat_id: str, users: Collection[str]) -> None:
        """See the port."""
        await self.forget(chat_id, self._node_id, users)

    async def here(self, chat_id: str) -> Listing:
        """See the port."""
        return Listing({node: frozenset(users) for node, users in self._chats.get(chat_id, {}).items()}, _EPOCH)

    async def forget(self, chat_id: str, node_id: str, users: Collection[str]) -> None:
        """See the port."""
        nodes = self._chats.get(chat_id, {})
        left = nodes.get(node_id, set())
        left.difference_update(users)
        if not left and nodes.pop(node_id, None) is not None and not nodes:
            del self._chats[chat_id]
