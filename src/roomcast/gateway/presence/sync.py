"""Keeps presence consistent across gateways: entries on the board, signals, and a periodic comparison.

Each gateway writes its own users only, and learns the other gateways' users from the board and from signals. Rules:

- Write to the board before signalling: a gateway that reads the board after a signal finds the change there.
- A changed user stays in `ChatPresence.unshared` until both have succeeded. A retry shares the user's state at the
  time of the retry, so an outage leaves no backlog.
- A user that is missing from the board has left, unless the board is partial or lost data. A different epoch than at
  the last read means that the board lost data: then missing users are kept for ``hold_s``.
- In each comparison a gateway adds its own users that are missing from the board again, and signals them again.

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

#: A sweep stops when every chat of this many batches in a row failed: the whole board is down, not one chat's part.
_FAILED_BATCHES: Final = 2
#: A node that the directory did not know is not looked up again within this time, since a look-up may be slow.
_DEAD_NODE_S: Final = 15.0
_MAX_DEAD_NODES: Final = 256


class PresenceSync:
    """Exchanges presence with the other gateways.

    Args:
        board: The board that all gateways share.
        nodes: The gateways that are up.
        signals: Sends to the other gateways.
        options: Times and limits.
        update_user: Called with a chat and a user that may have entered or left on another gateway.
        schedule_retry: Called when a chat becomes `ChatPresence.out_of_sync`.

    Attributes:
        counters: ``failures`` of the board, ``doubts`` (users kept although they are missing from the board) and
            ``refused`` (users of other gateways beyond a limit).
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
        # Nodes that the directory does not list yet, with the loop time of their first signal or entry.
        self._new_nodes: dict[str, float] = {}
        # Nodes that the directory did not know, with the loop time of their last look-up.
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
        """Remove the users of gateways that are no longer up."""
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
        """Share the unshared changes; with ``renew``, add all own users to the board. Return whether all succeeded."""
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
        """Load the users of the other gateways, after the first member has joined."""
        async with chat.sync_lock, self._slots:
            if chat.members:
                await self._read(chat)

    async def sweep(self, chats: Collection[ChatPresence]) -> bool:
        """Compare chats with the board, and renew own entries. Return False if some chats were not reached."""
        todo = list(chats)
        failed_batches = 0
        for start in range(0, len(todo), self._options.concurrency):
            batch = todo[start : start + self._options.concurrency]
            done = await asyncio.gather(*(self._compare_safely(chat) for chat in batch))
            failed_batches = 0 if any(done) else failed_batches + 1
            if failed_batches == _FAILED_BATCHES:
                logger.info("presence sweep stopped: the board is unavailable")
                return start + len(batch) == len(todo)
            await asyncio.sleep(0)  # the memory board never suspends
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
            # `_share` covers all changes up to here; a later change starts its own task.
            chat.out_of_sync = False
            return await self._share(chat, renew=True)

    async def _read(self, chat: ChatPresence) -> bool:
        """Update the users of all other gateways from the board. Return False if the board is unavailable."""
        signals = chat.signals_during_read = []
        try:
            board = await self._board.read(chat.chat_id)
            now = asyncio.get_running_loop().time()
            if chat.other_users and board.epoch != chat.epoch:
                chat.hold_until = now + self._options.hold_s
            chat.epoch = board.epoch
            # Own users that the board lost or refused, and users that have left but are still listed.
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
        """Whether a node that the directory does not list has just started; if not, evict its entries.

        Raises:
            PresenceUnavailable: the entries cannot be evicted now.
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
