"""What one gateway knows of one chat's presence, and the bounds of it all.

Layer: gateway.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection
from dataclasses import dataclass, field

from roomcast.gateway.ports import RoomSocket
from roomcast.gateway.presence.signals import Moved


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceOptions:
    """Bounds of presence.

    Attributes:
        settle_s: How long changes of one chat are collected before they are told.
        offline_after_s: How long a user is gone before anybody is told.
        picture_s: How long who has just joined waits for the board; then they get what is known here, and the rest as
            changes.
        look_s: How often it is looked whether a gateway is gone. With its lease this is below 30 s.
        new_node_s: How long a gateway that was heard of counts as up before the directory has to know it.
        max_new_nodes: Such gateways at one time: whoever can publish can invent them.
        sweep_s: Longest time between two looks at the board.
        retry_s: How soon after a failure the chat is tried again.
        hold_s: How long who is missing on a board that may have lost its data still counts as there: longer than
            ``sweep_s``, so that every gateway has written its users on it again. Who left unheard at the same time is
            gone after this and another sweep.
        concurrency: Chats whose board and signals are used at one time, so that joins find connections to Redis free.
        max_listed: Users that one ``presence`` event names; a picture of more ends there.
        max_entries: Users of other gateways that are kept for one chat; as on the board.
        max_owed: Chats that nobody follows here any more whose leavers are remembered while the board is away, and
            leavers of one chat. Others stay on it until this gateway ends, or until nobody follows the chat for
            `RedisPresenceOptions.ttl_s`.
    """

    settle_s: float = 0.1
    offline_after_s: float = 3.0
    picture_s: float = 1.0
    look_s: float = 2.0
    new_node_s: float = 15.0
    max_new_nodes: int = 64
    sweep_s: float = 30.0
    retry_s: float = 2.0
    hold_s: float = 40.0
    concurrency: int = 8
    max_listed: int = 1_000
    max_entries: int = 5_000
    max_owed: int = 10_000


@dataclass(slots=True, eq=False)
class ChatPresence:
    """One chat, as one gateway knows it.

    Attributes:
        chat_id: Which chat.
        members: Sockets that follow it here, by id.
        devices: Its users here, by their sockets' ids.
        nodes: The users of the other gateways, by gateway.
        announced: Who the members were told is there.
        leaving: Who is gone and was not announced so yet.
        online: Who has come since the last telling.
        offline: Who is to be announced gone with the next telling.
        newcomers: Sockets that wait for the picture, by id.
        read: Whether the board was read, or not in time.
        telling: Will tell the members.
        behind: The board or a signal failed: a retry tells and compares.
        unshared: Own users that arrived or left since the board and the other gateways were last told.
        epoch: The board's when it was read last; None: it was not read yet.
        hold_until: Loop time until which users missing on the board are kept, because it lost data.
        heard: Signals since a reading of the board began; None: none is under way.
        sharing: Will tell the other gateways.
        turn: Board and gateways are told one thing after the other.
    """

    chat_id: str
    members: dict[str, RoomSocket] = field(default_factory=dict)
    devices: dict[str, set[str]] = field(default_factory=dict)
    nodes: dict[str, set[str]] = field(default_factory=dict)
    announced: set[str] = field(default_factory=set)
    leaving: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    online: set[str] = field(default_factory=set)
    offline: set[str] = field(default_factory=set)
    newcomers: dict[str, RoomSocket] = field(default_factory=dict)
    read: bool = False
    telling: asyncio.TimerHandle | None = None
    behind: bool = False
    unshared: set[str] = field(default_factory=set)
    epoch: str | None = None
    hold_until: float = -math.inf
    heard: list[Moved] | None = None
    sharing: asyncio.Task[None] | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def present(self, user: str) -> bool:
        """Whether a gateway has the user."""
        return user in self.devices or any(user in users for users in self.nodes.values())

    def forget_others(self) -> None:
        """Nobody follows the chat here: what others say of it is not heard any more."""
        for timer in self.leaving.values():
            timer.cancel()
        for known in (
            self.leaving,
            self.nodes,
            self.announced,
            self.online,
            self.offline,
            self.newcomers,
        ):
            known.clear()
        self.read = False
        self.epoch = None

    def room_for(self, node: str, users: Collection[str], max_entries: int) -> bool:
        """Whether the users of another gateway can be kept."""
        return sum(len(known) for other, known in self.nodes.items() if other != node) + len(users) <= max_entries
