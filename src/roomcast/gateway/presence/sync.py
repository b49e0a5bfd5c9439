"""Keeps presence equal on all gateways: entries on the board, signals, and a periodic comparison.

Each gateway writes its own users only, and learns the others' from the board and from signals. Rules:

- Write the board before the signal: a gateway that reads the board after a signal finds the change there.
- A changed user stays in `ChatPresence.unshared` until both succeeded. A retry shares the state at that time, so an
  outage leaves no backlog.
- A user that the board lacks has left, unless the board is partial or lost data. It lost data if its epoch differs from
  that of the last read; then the users that it lacks are kept for ``hold_s``.
- In each comparison a gateway adds and signals again those of its own users that the board lacks.

Layer: gateway. Source: docs/decisions/0008-presence.md.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Final

from roomcast.backoff import should_log
from roomcast.chat.ports import LiveNodes, PresenceBoard, PresenceUnavailable
from roomcast.gateway.presence.signals import PresenceSignal, Signals, user_batches
from roomcast.gateway.presence.state import ChatPresence, PresenceOptions

logger = logging.getLogger(__name__)

#: A sweep stops when every chat of this many batches in a row failed: the board is down, not one chat's part of it.
_FAILED_BATCHES: Final = 2
#: A node that the directory did not know is not looked up again within this time, since each look-up may wait.
_DEAD_NODE_S: Final = 15.0
_MAX_DEAD_NODES: Final = 256


class PresenceSync:
    """The presence of the other gateways, and theirs of this one.

    Args:
        board: The board that all gateways share.
        nodes: The gateways that are up.
        signals: Sends to the other gateways.
        options: Times and limits.
        update_user: Called with a chat and a user that another gateway may have gained or lost.
        schedule_retry: Called when a chat becomes `ChatPresence.out_of_sync`.

    Attributes:
        counters: ``failures`` of the board, ``doubts`` (users kept although the board lacks them) and ``refused`` users
            of other gateways, for lack of room.
    """

    def __init__(
        self,
        board: PresenceBoard,
        nodes: LiveNodes,
        signals: Signals,
        options: PresenceOptions,
        *,
        update_user: Callable[[ChatPresence, str], None],
        schedule_retry: Callable[[], None],
    ) -> None:
        self._board = board
        self._nodes = nodes
        self._signals = signals
        self._options = options
        self._update_user = update_user
        self._schedule_retry = schedule_retry
        self._slots = asyncio.Semaphore(options.concurrency)
        # Loop time of the first signal or entry of nodes that the directory does not list yet.
        self._new_nodes: dict[str, float] = {}
        # Loop time of the last look-up of nodes that the directory did not know.
        self._dead_nodes: dict[str, float] = {}
        self.counters: Counter[str] = Counter()

    # -- users of the other gateways ----------------------------------------------------------------------------------

    def apply_signal(self, chat: ChatPresence, signal: PresenceSignal) -> None:
        """Apply the arrivals and departures that another gateway signalled."""
        if signal.node not in self._nodes.alive() and not self._accept_new_node(signal.node):
            self.counters["refused"] += len(signal.entered)
            return
        if chat.signals_during_read is not None:
            chat.signals_during_read.append(signal)
        self._replace_users(chat, signal.node, _applied(signal, chat.other_users.get(signal.node, set())))

    def drop_dead_nodes(self, chats: Mapping[str, ChatPresence]) -> None:
        """Remove the users of gateways that are not up any more."""
        now = asyncio.get_running_loop().time()
        alive = self._nodes.alive()
        known = {node for chat in chats.values() for node in chat.other_users}
        for node in [node for node in self._new_nodes if node in alive or node not in known]:
            del self._new_nodes[node]
        limit_s = self._options.new_node_s
        dead = {node for node in known.difference(alive) if now - self._new_nodes.get(node, now - limit_s) >= limit_s}
        for node in dead:
            self._new_nodes.pop(node, None)
        for chat in list(chats.values()) if dead else ():
            for node in dead & chat.other_users.keys():
                self._replace_users(chat, node, set())

    def _accept_new_node(self, node: str) -> bool:
        """Whether a node that the directory does not list counts as a gateway that has just started."""
        if node not in self._new_nodes:
            if len(self._new_nodes) >= self._options.max_new_nodes:
                return False
            self._new_nodes[node] = asyncio.get_running_loop().time()
        return True

    def _replace_users(self, chat: ChatPresence, node: str, users: set[str]) -> None:
        before = chat.other_users.get(node, set())
        if not chat.has_room(node, users, self._options.max_entries):
            self.counters["refused"] += len(users - before)
            users = users & before
        chat.other_users.pop(node, None)
        if users:
            chat.other_users[node] = users
        for user in before ^ users:
            self._update_user(chat, user)

    # -- own users ----------------------------------------------------------------------------------------------------

    async def share(self, chat: ChatPresence) -> None:
        """Write and signal the unshared changes; after a failure the chat is `ChatPresence.out_of_sync`."""
        async with chat.sync_lock, self._slots:
            await self._share(chat)

    async def _share(self, chat: ChatPresence, *, renew: bool = False) -> bool:
        """Share the unshared changes; ``renew`` adds all own users to the board, not only new ones."""
        shared = {user: user in chat.own_users for user in chat.unshared}
        arrivals = [user for user, online in shared.items() if online]
        departures = [user for user, online in shared.items() if not online]
        added = list(chat.own_users) if renew else arrivals
        done = True
        try:
            if departures:
                await self._board.remove(chat.chat_id, departures)
            if added:
                await self._board.add(chat.chat_id, added)
        except PresenceUnavailable as error:
            self._count_failure(chat, error)
            done = False
        # Signals do not depend on the board, so they are sent even if it failed.
        node = self._nodes.node_id
        for users in user_batches(arrivals):
            signal = PresenceSignal.model_construct(node=node, entered=users)
            done = await self._signals.send(chat.chat_id, signal) and done
        for users in user_batches(departures):
            signal = PresenceSignal.model_construct(node=node, left=users)
            done = await self._signals.send(chat.chat_id, signal) and done
        if done:
            # A user that changed during the awaits stays unshared.
            chat.unshared -= {user for user, online in shared.items() if online == (user in chat.own_users)}
            return True
        self._mark_out_of_sync(chat)
        if len(chat.unshared) > len(chat.own_users) + self._options.max_unshared:
            chat.unshared &= chat.own_users.keys()
        return False

    def _mark_out_of_sync(self, chat: ChatPresence) -> None:
        chat.out_of_sync = True
        self._schedule_retry()

    def _count_failure(self, chat: ChatPresence, error: PresenceUnavailable) -> None:
        self.counters["failures"] += 1
        if should_log(self.counters["failures"]):
            facts = {"chat_id": chat.chat_id, "count": self.counters["failures"], "error": str(error)}
            logger.warning("presence board unavailable", extra=facts)

    # -- comparison with the board ------------------------------------------------------------------------------------

    async def read_board(self, chat: ChatPresence) -> None:
        """Load the users of the other gateways, when the first member has joined."""
        async with chat.sync_lock, self._slots:
            if chat.members:
                await self._read(chat)

    async def sweep(self, chats: Collection[ChatPresence]) -> bool:
        """Compare chats with the board, and renew the own entries there; False if some chats were not reached."""
        todo = list(chats)
        failed_batches = 0
        for start in range(0, len(todo), self._options.concurrency):
            batch = todo[start : start + self._options.concurrency]
            done = await asyncio.gather(*(self._compare_safely(chat) for chat in batch))
            failed_batches = 0 if any(done) else failed_batches + 1
            if failed_batches == _FAILED_BATCHES:
                logger.info("presence sweep stopped: the board is unavailable")
                return start + len(batch) == len(todo)
            await asyncio.sleep(0)  # the board in memory never suspends
        return True

    async def _compare_safely(self, chat: ChatPresence) -> bool:
        try:
            return await self._compare(chat)
        except Exception:
            # A bug that affects one chat must not stop the sweep of the others.
            logger.exception("presence comparison failed", extra={"chat_id": chat.chat_id})
            return False

    async def _compare(self, chat: ChatPresence) -> bool:
        async with chat.sync_lock, self._slots:
            if chat.members and not await self._read(chat):
                return False
            # `_share` covers the changes until here; a later one starts a task of its own.
            chat.out_of_sync = False
            return await self._share(chat, renew=True)

    async def _read(self, chat: ChatPresence) -> bool:
        """Update the users of all other gateways from the board; False if it is unavailable."""
        signals = chat.signals_during_read = []
        try:
            board = await self._board.read(chat.chat_id)
            now = asyncio.get_running_loop().time()
            if chat.other_users and board.epoch != chat.epoch:
                chat.hold_until = now + self._options.hold_s
            chat.epoch = board.epoch
            # Own users that the board lost or refused, and those that it still lists after they left.
            chat.unshared |= set(board.users.get(self._nodes.node_id, ())) ^ chat.own_users.keys()
            keep_missing = board.partial or now < chat.hold_until
            for node in {*board.users, *chat.other_users} - {self._nodes.node_id}:
                users = set(board.users.get(node, ()))
                if users and node not in self._nodes.alive() and not await self._confirm(chat, node, users):
                    users = set()
                elif keep_missing:
                    missing = chat.other_users.get(node, set()) - users
                    self.counters["doubts"] += len(missing)
                    users |= missing
                # A signal that arrived since the read began may be newer than the board's answer.
                for signal in signals:
                    if signal.node == node:
                        users = _applied(signal, users)
                self._replace_users(chat, node, users)
        except PresenceUnavailable as error:
            self._count_failure(chat, error)
            self._mark_out_of_sync(chat)
            return False
        finally:
            chat.signals_during_read = None
        return True

    async def _confirm(self, chat: ChatPresence, node: str, users: Collection[str]) -> bool:
        """Whether a node that the directory does not list has just started; else its entries are evicted.

        Raises:
            PresenceUnavailable: the board cannot be written now.
        """
        now = asyncio.get_running_loop().time()
        if now - self._dead_nodes.get(node, -math.inf) >= _DEAD_NODE_S:
            if await self._nodes.is_alive(node):
                self._dead_nodes.pop(node, None)
                return self._accept_new_node(node)
            if len(self._dead_nodes) >= _MAX_DEAD_NODES:
                self._dead_nodes.clear()
            self._dead_nodes[node] = now
        await self._board.evict(chat.chat_id, node, users)
        return False


def _applied(signal: PresenceSignal, users: Collection[str]) -> set[str]:
    return {*users, *signal.entered}.difference(signal.left)
