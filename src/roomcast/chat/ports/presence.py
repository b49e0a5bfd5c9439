"""Presence ports: the live gateways, and the board on which they list the users of each chat.

Layer: chat. Contract suite of the board: tests/contract/test_presence.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol


class LiveNodes(Protocol):
    """The live gateways of the cluster, as known to this gateway."""

    @property
    def node_id(self) -> str:
        """The id of this gateway: 8 characters, new at each start."""

    def alive(self) -> Collection[str]:
        """Ids of the live gateways, including this one. They do not change while the directory cannot be read."""

    async def is_alive(self, node_id: str) -> bool:
        """Whether a gateway is live, even if `alive` does not list it yet. True if the directory cannot be read."""


@dataclass(frozen=True, slots=True)
class BoardSnapshot:
    """The board of one chat.

    Attributes:
        users: Users of each gateway, by node id.
        epoch: Opaque string that changes only if the board has lost data.
        partial: Whether the board recently had no room for some users. Users that it does not list may then be online.
    """

    users: Mapping[str, Collection[str]]
    epoch: str
    partial: bool = False


class PresenceBoard(Protocol):
    """Lists which users follow which chats, and through which gateway.

    An entry is valid while its gateway is live (`LiveNodes`), so entries need no lease. The board may lose its data;
    the gateways repeat their entries periodically.
    """

    async def add(self, chat_id: str, users: Collection[str]) -> None:
        """List these users under this gateway. A repeated call renews the entries.

        Users beyond the board's limit per chat are left out, and `BoardSnapshot.partial` is set for a while.

        Raises:
            PresenceUnavailable: the outcome is unknown.
        """

    async def remove(self, chat_id: str, users: Collection[str]) -> None:
        """Remove users of this gateway. Users that are not listed are ignored.

        Raises:
            PresenceUnavailable: the outcome is unknown.
        """

    async def read(self, chat_id: str) -> BoardSnapshot:
        """Read the entries of all gateways.

        Raises:
            PresenceUnavailable: the board cannot be read now.
        """

    async def evict(self, chat_id: str, node_id: str, users: Collection[str]) -> None:
        """Remove users of a gateway that is no longer live.

        Raises:
            PresenceUnavailable: the outcome is unknown.
        """


class PresenceUnavailable(Exception):
    """The board is unreachable. Presence continues with the state that this gateway knows."""
