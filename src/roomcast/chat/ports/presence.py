"""Presence ports: the live gateways, and the board on which they list the users of each chat.

Layer: chat. Contract suite of the board: tests/contract/test_presence.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol


class LiveNodes(Protocol):
    """The gateways of the cluster that are up, as one of them knows them."""

    @property
    def node_id(self) -> str:
        """The id of this gateway: 8 characters, new at each start."""

    def alive(self) -> Collection[str]:
        """Ids of the gateways that are up, including this one; unchanged while the directory cannot be read."""

    async def is_alive(self, node_id: str) -> bool:
        """Whether a gateway is up that `alive` may not list yet; True if the directory cannot be read."""


@dataclass(frozen=True, slots=True)
class BoardSnapshot:
    """The board of one chat.

    Attributes:
        users: Users of each gateway, by node id.
        epoch: Any string; it changes if the board lost data, and only then.
        partial: The board lately had no room for some users: a user that it does not list may be online.
    """

    users: Mapping[str, Collection[str]]
    epoch: str
    partial: bool = False


class PresenceBoard(Protocol):
    """Lists which users follow which chats, and through which gateway.

    An entry is valid while its gateway is up (`LiveNodes`), so entries need no lease of their own. The board may lose
    its data; the gateways repeat their entries periodically.
    """

    async def add(self, chat_id: str, users: Collection[str]) -> None:
        """List these users under this gateway; repeating it renews the entries.

        Users for whom the chat has no room are left out, and `BoardSnapshot.partial` is set for a while.

        Raises:
            PresenceUnavailable: the outcome is unknown.
        """

    async def remove(self, chat_id: str, users: Collection[str]) -> None:
        """Remove users of this gateway; a user that is not listed is ignored.

        Raises:
            PresenceUnavailable: the outcome is unknown.
        """

    async def read(self, chat_id: str) -> BoardSnapshot:
        """Read the entries of all gateways.

        Raises:
            PresenceUnavailable: the board cannot be read now.
        """

    async def evict(self, chat_id: str, node_id: str, users: Collection[str]) -> None:
        """Remove users that a dead gateway left behind.

        Raises:
            PresenceUnavailable: the outcome is unknown.
        """


class PresenceUnavailable(Exception):
    """The board is out of reach; presence continues with what this gateway knows."""
