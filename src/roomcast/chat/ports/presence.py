"""Who is in a chat now, over all gateways: the directory of gateways, and the board that they write on.

Layer: chat. Contract suite: tests/contract/test_presence.py, run over every implementation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol


class Nodes(Protocol):
    """The gateways that are up, as one of them knows them."""

    @property
    def node_id(self) -> str:
        """Of this gateway: 8 characters, new with every start."""

    def alive(self) -> Collection[str]:
        """Ids of those whose lease stands, this one among them. What cannot be asked does not die."""

    async def known(self, node_id: str) -> bool:
        """Whether a gateway is up that `alive` may not name yet. In doubt it is."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What stands on the board of one chat.

    Attributes:
        users: Those of each gateway, by its id.
        epoch: Stays the same until the board loses data.
        partial: Somebody had no room, so lately that their gateway may not have written them again: who is missing may
            be there all the same.
    """

    users: Mapping[str, Collection[str]]
    epoch: str
    partial: bool = False


class PresenceBoard(Protocol):
    """Which users are in which chats, and through which gateway: what a gateway reads that begins to follow a chat.

    An entry counts while its gateway is up (`Nodes`), so nobody has to renew it. The board may lose anything; who
    wrote on it writes again every so often.
    """

    async def enter(self, chat_id: str, users: Collection[str]) -> None:
        """These users are in the chat through this gateway. Repeating it renews what the board may forget.

        Those for whom there is no room are left out; `here` says that there are such.

        Raises:
            PresenceUnavailable: it is not known whether that was noted.
        """

    async def leave(self, chat_id: str, users: Collection[str]) -> None:
        """They are not any more. Harmless if they were not.

        Raises:
            PresenceUnavailable: it is not known whether that was noted.
        """

    async def here(self, chat_id: str) -> Listing:
        """Who is in the chat, and through which gateways.

        Raises:
            PresenceUnavailable: it cannot be read now.
        """

    async def forget(self, chat_id: str, node_id: str, users: Collection[str]) -> None:
        """Take off what a gateway left that is gone.

        Raises:
            PresenceUnavailable: it is not known whether that was done.
        """


class PresenceUnavailable(Exception):
    """The board is out of reach: presence goes on with what is known here."""
