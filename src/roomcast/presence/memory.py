"""The presence board and the node list of a gateway without a cluster.

`MemoryPresenceBoard` is the reference implementation of its port. Layer: presence.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from roomcast.chat.ports import BoardSnapshot

SINGLE_NODE_ID: Final = "alone000"
# The epoch never changes, since a dict loses no data.
_EPOCH: Final = "memory"


class SingleNode:
    """`chat.ports.LiveNodes` of a gateway without a cluster."""

    @property
    def node_id(self) -> str:
        """See the port."""
        return SINGLE_NODE_ID

    def alive(self) -> Collection[str]:
        """See the port."""
        return {SINGLE_NODE_ID}

    async def is_alive(self, node_id: str) -> bool:
        """See the port."""
        return node_id == SINGLE_NODE_ID


class MemoryPresenceBoard:
    """A `chat.ports.PresenceBoard` in memory.

    Args:
        node_id: The gateway whose entries `add` and `remove` change.
        shared: The entries, ``{chat: {node: users}}``; boards with the same dict act as one board.
    """

    def __init__(self, node_id: str = SINGLE_NODE_ID, shared: dict[str, dict[str, set[str]]] | None = None) -> None:
        self._node_id = node_id
        self._chats = {} if shared is None else shared

    async def add(self, chat_id: str, users: Collection[str]) -> None:
        """See the port."""
        if users:
            self._chats.setdefault(chat_id, {}).setdefault(self._node_id, set()).update(users)

    async def remove(self, chat_id: str, users: Collection[str]) -> None:
        """See the port."""
        await self.evict(chat_id, self._node_id, users)

    async def read(self, chat_id: str) -> BoardSnapshot:
        """See the port."""
        nodes = self._chats.get(chat_id, {})
        return BoardSnapshot({node: frozenset(users) for node, users in nodes.items()}, _EPOCH)

    async def evict(self, chat_id: str, node_id: str, users: Collection[str]) -> None:
        """See the port."""
        nodes = self._chats.get(chat_id, {})
        left = nodes.get(node_id, set())
        left.difference_update(users)
        if not left and nodes.pop(node_id, None) is not None and not nodes:
            del self._chats[chat_id]
