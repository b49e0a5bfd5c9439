"""The presence state of one chat in one gateway, and the options of presence.

Layer: gateway.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection
from dataclasses import dataclass, field

from roomcast.gateway.ports import RoomSocket
from roomcast.gateway.presence.signals import PresenceSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceOptions:
    """Times and limits of presence.

    Attributes:
        settle_s: How long changes of a chat are collected before they are sent.
        offline_after_s: How long a user must be gone before ``offline`` is sent.
        snapshot_wait_s: How long a new subscriber waits for the board. After that the snapshot lists the users that
            this gateway knows, and the other users follow as deltas.
        node_check_s: Interval of the check for dead gateways. This interval and the lease of a gateway together stay
            below 30 s, the limit for users of a killed gateway.
        new_node_s: How long a gateway that sent a signal counts as up while the directory does not list it.
        max_new_nodes: Maximum number of such gateways, since any client of the Redis can send signals of invented ones.
        sweep_s: Longest interval between two comparisons of a chat with the board.
        retry_s: Delay before a chat is compared again after a failure.
        hold_s: How long users that are missing from a board that lost data are kept. Longer than ``sweep_s``, so that
            each gateway has added its users again by then.
        concurrency: Maximum number of chats that use the board or send signals concurrently, so that Redis connections
            remain for joins.
        max_listed: Maximum number of users in one ``presence`` event; a larger snapshot is truncated.
        max_entries: Maximum number of other gateways' users in one chat; the board has the same limit.
        max_unshared: Maximum number of chats without members whose departures are kept until they are shared, and of
            unshared departures in one chat. Beyond this limit a user that left stays on the board until this gateway
            stops, or until the chat's entries expire.
    """

    settle_s: float = 0.1
    offline_after_s: float = 3.0
    snapshot_wait_s: float = 1.0
    node_check_s: float = 2.0
    new_node_s: float = 15.0
    max_new_nodes: int = 64
    sweep_s: float = 30.0
    retry_s: float = 2.0
    hold_s: float = 40.0
    concurrency: int = 8
    max_listed: int = 1_000
    max_entries: int = 5_000
    max_unshared: int = 10_000


@dataclass(slots=True, eq=False)
class ChatPresence:
    """The presence state of one chat in one gateway.

    Attributes:
        chat_id: The chat.
        members: Sockets of this gateway that follow the chat, by id.
        own_users: Users of this gateway, with the ids of their sockets.
        other_users: Users of the other gateways, by node id.

        announced: Users that were announced to members here as online, or will be with the next flush.
        offline_timers: Timers of announced users that are gone. They announce the users as offline.
        pending_online: Users to send as online with the next flush.
        pending_offline: Users to send as offline with the next flush.
        awaiting_snapshot: Sockets that joined and have not received a snapshot, by id.
        snapshot_ready: The board was read, or did not answer within ``snapshot_wait_s``.
        flush_timer: Runs the next flush.

        unshared: Own users that arrived or left, until the change is on the board and signalled to the other gateways.
        epoch: The board's epoch at the last read; None before the first.
        hold_until: Loop time until which users that the board lacks are kept, because it lost data.
        signals_during_read: Signals that arrived during the current read of the board; None: no read is in progress.
        out_of_sync: The board or a signal failed; a retry compares the chat with the board.
        share_task: Shares changes with the other gateways.
        sync_lock: Held while the board is read or written.
    """

    chat_id: str
    members: dict[str, RoomSocket] = field(default_factory=dict)
    own_users: dict[str, set[str]] = field(default_factory=dict)
    other_users: dict[str, set[str]] = field(default_factory=dict)

    announced: set[str] = field(default_factory=set)
    offline_timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    pending_online: set[str] = field(default_factory=set)
    pending_offline: set[str] = field(default_factory=set)
    awaiting_snapshot: dict[str, RoomSocket] = field(default_factory=dict)
    snapshot_ready: bool = False
    flush_timer: asyncio.TimerHandle | None = None

    unshared: set[str] = field(default_factory=set)
    epoch: str | None = None
    hold_until: float = -math.inf
    signals_during_read: list[PresenceSignal] | None = None
    out_of_sync: bool = False
    share_task: asyncio.Task[None] | None = None
    sync_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_online(self, user: str) -> bool:
        """Whether any gateway has a socket of the user in the chat."""
        return user in self.own_users or any(user in users for users in self.other_users.values())

    def has_room(self, node: str, users: Collection[str], max_entries: int) -> bool:
        """Whether ``users`` can replace the known users of another gateway without exceeding ``max_entries``."""
        rest = sum(len(known) for other, known in self.other_users.items() if other != node)
        return rest + len(users) <= max_entries

    def stop_following(self) -> None:
        """Discard the state that only members here need, since the last member has left. Keeps ``unshared``."""
        for timer in self.offline_timers.values():
            timer.cancel()
        self.offline_timers.clear()
        self.other_users.clear()
        self.announced.clear()
        self.pending_online.clear()
        self.pending_offline.clear()
        self.awaiting_snapshot.clear()
        self.snapshot_ready = False
        self.epoch = None
