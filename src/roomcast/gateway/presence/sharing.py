"""What gateways tell each other of presence: written on the board, said by signals, and compared every so often.

Each gateway writes its own users only, and knows the others' from the board and from signals. The rules:

- The board is written before the signal is sent: who reads it behind a signal finds what that said.
- What could not be written or said is still due: it is done by a later attempt, from what is true then. So nothing
  piles up while Redis is away.
- Who is missing on the board has left, unless the board may have lost its data: then they count as there until their
  gateway had the time to write them again. A Redis that forgets everything is seen by nobody.
- Nobody has left because they are missing on a board without room. Their gateway finds them missing, too, with each
  comparison, and tells of them again.

Layer: gateway.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Final

from roomcast.chat.ports import Nodes, PresenceBoard, PresenceUnavailable
from roomcast.gateway.presence.signals import Moved, Signals, portions
from roomcast.gateway.presence.state import ChatPresence, PresenceOptions

logger = logging.getLogger(__name__)

#: A sweep ends after this many portions of chats in which all failed: the board is away, not one chat's part of it.
_FAILED_PORTIONS: Final = 2
#: A gateway that the directory does not know is not asked for again within this time: each question may wait.
_GONE_S: Final = 15.0
_MAX_GONE: Final = 256


class PresenceSharing:
    """The board and the other gateways, as one gateway uses them.

    Args:
        board: What all gateways write on.
        nodes: Which of them are up.
        signals: How they are told at once.
        options: Bounds.
        judge: Called with a chat and a user whenever another gateway may have got or lost them.
        failed: Called when a chat is `ChatPresence.behind`, since the board or a signal failed.

    Attributes:
        counters: ``failures`` of the board, ``doubts`` of what is missing on a board that may have lost its data,
            ``refused`` users of others for whom there was no room.
    """

    def __init__(
        self,
        board: PresenceBoard,
        nodes: Nodes,
        signals: Signals,
        options: PresenceOptions,
        *,
        judge: Callable[[ChatPresence, str], None],
        failed: Callable[[], None],
    ) -> None:
        self._board = board
        self._nodes = nodes
        self._signals = signals
        self._options = options
        self._judge = judge
        self._failed = failed
        self._slots = asyncio.Semaphore(options.concurrency)
        # When gateways were heard of that the directory does not know yet.
        self._new_nodes: dict[str, float] = {}
        # When the directory said last that a gateway is gone.
        self._gone_nodes: dict[str, float] = {}
        self.counters: Counter[str] = Counter()

    # -- what others say ----------------------------------------------------------------------------------------------

    def hear(self, chat: ChatPresence, signal: Moved) -> None:
        """Another gateway said who has come to it, or left it."""
        if signal.node not in self._nodes.alive() and not self._is_new(signal.node):
            self.counters["refused"] += len(signal.entered)
            return
        if chat.heard is not None:
            chat.heard.append(signal)
        self._replace(chat, signal.node, _after(signal, chat.nodes.get(signal.node, set())))

    def look(self, chats: Mapping[str, ChatPresence]) -> None:
        """Drop what gateways told that are not up any more."""
        now = asyncio.get_running_loop().time()
        alive = self._nodes.alive()
        for node in [node for node in self._new_nodes if node in alive]:
            del self._new_nodes[node]
        told = {node for chat in chats.values() for node in chat.nodes}
        limit_s = self._options.new_node_s
        gone = {node for node in told.difference(alive) if now - self._new_nodes.get(node, now - limit_s) >= limit_s}
        for node in [node for node in self._new_nodes if node in gone or node not in told]:
            del self._new_nodes[node]
        for chat in list(chats.values()) if gone else ():
            for node in gone & chat.nodes.keys():
                self._replace(chat, node, set())

    def _is_new(self, node: str) -> bool:
        """Whether a gateway that the directory does not name counts as one that has just started."""
        if node not in self._new_nodes:
            if len(self._new_nodes) >= self._options.max_new_nodes:
                return False
            self._new_nodes[node] = asyncio.get_running_loop().time()
        return True

    def _replace(self, chat: ChatPresence, node: str, users: set[str]) -> None:
        """What another gateway has is known anew."""
        before = chat.nodes.get(node, set())
        if not chat.room_for(node, users, self._options.max_entries):
            self.counters["refused"] += len(users - before)
            users = users & before
        chat.nodes.pop(node, None)
        if users:
            chat.nodes[node] = users
        for user in before ^ users:
            self._judge(chat, user)

    # -- what is said to others ---------------------------------------------------------------------------------------

    async def share(self, chat: ChatPresence) -> bool:
        """Tell the board and the other gateways what they may not know; whether that could be done."""
        async with chat.turn, self._slots:
            return await self._share(chat)

    async def _share(self, chat: ChatPresence, *, renew: bool = False) -> bool:
        """Share the arrivals and departures of own users; ``renew`` writes all own users to the board."""
        shared = {user: user in chat.devices for user in chat.unshared}
        arrivals = [user for user, online in shared.items() if online]
        departures = [user for user, online in shared.items() if not online]
        written = list(chat.devices) if renew else arrivals
        done = True
        try:
            if departures:
                await self._board.leave(chat.chat_id, departures)
            if written:
                await self._board.enter(chat.chat_id, written)
        except PresenceUnavailable as error:
            done = self._fail(chat, error)
        node = self._nodes.node_id
        # Signals are sent even if the board failed: they do not depend on it.
        for users in portions(arrivals):
            done = await self._signals.send(chat.chat_id, Moved.model_construct(node=node, entered=users)) and done
        for users in portions(departures):
            done = await self._signals.send(chat.chat_id, Moved.model_construct(node=node, left=users)) and done
        if done:
            # A user that changed meanwhile stays due.
            chat.unshared -= {user for user, online in shared.items() if online == (user in chat.devices)}
            return True
        self._fail(chat)
        if len(chat.unshared) > len(chat.devices) + self._options.max_owed:
            chat.unshared &= chat.devices.keys()
        return False

    def _fail(self, chat: ChatPresence, error: PresenceUnavailable | None = None) -> bool:
        """Something did not go through: False, and the chat is tried again."""
        if error is not None:
            self.counters["failures"] += 1
            count = self.counters["failures"]
            if count & (count - 1) == 0:
                facts = {"chat_id": chat.chat_id, "count": count}
                logger.warning("presence cannot be shared with other gateways now: %s", error, extra=facts)
        chat.behind = True
        self._failed()
        return False

    # -- comparing ----------------------------------------------------------------------------------------------------

    async def read_first(self, chat: ChatPresence) -> None:
        """Begin the table of a chat with what stands on the board."""
        async with chat.turn, self._slots:
            if not chat.members:
                return  # all have left again
            try:
                await self._read(chat)
            except PresenceUnavailable as error:
                self._fail(chat, error)

    async def sweep(self, chats: Mapping[str, ChatPresence]) -> bool:
        """Compare these chats with the board, and write the own users on it again; whether each has had its turn."""
        everyone = list(chats.values())
        failed_portions = 0
        for start in range(0, len(everyone), self._options.concurrency):
            portion = everyone[start : start + self._options.concurrency]
            done = await asyncio.gather(*(self._compare_alone(chat) for chat in portion))
            failed_portions = 0 if any(done) else failed_portions + 1
            if failed_portions == _FAILED_PORTIONS:
                logger.info("the presence board is compared later")
                return start + len(portion) == len(everyone)
            await asyncio.sleep(0)  # a board in memory answers without a wait
        return True

    async def _compare_alone(self, chat: ChatPresence) -> bool:
        try:
            return await self._compare(chat)
        except Exception:
            # A bug in one chat's way must end no other's.
            logger.exception("comparing presence failed", extra={"chat_id": chat.chat_id})
            return False

    async def _compare(self, chat: ChatPresence) -> bool:
        async with chat.turn, self._slots:
            if chat.members:
                try:
                    await self._read(chat)
                except PresenceUnavailable as error:
                    return self._fail(chat, error)
            # A change from now on starts a share of its own.
            chat.behind = False
            return await self._share(chat, renew=True)

    async def _read(self, chat: ChatPresence) -> None:
        """Update the table from the board.

        Raises:
            PresenceUnavailable: the board cannot be read now.
        """
        heard = chat.heard = []
        try:
            found = await self._board.here(chat.chat_id)
            now = asyncio.get_running_loop().time()
            if chat.nodes and found.epoch != chat.epoch:
                chat.hold_until = now + self._options.hold_s
            chat.epoch = found.epoch
            # The board lost an own user, lacks room for one, or lists one that has left.
            chat.unshared |= set(found.users.get(self._nodes.node_id, ())) ^ chat.devices.keys()
            hold = found.partial or now < chat.hold_until
            for node in {*found.users, *chat.nodes} - {self._nodes.node_id}:
                listed = users = set(found.users.get(node, ()))
                if node not in self._nodes.alive() and listed:
                    users = await self._of_unknown(chat, node, listed)
                if hold and (users or not listed):  # else the gateway is gone
                    missing = chat.nodes.get(node, set()) - users
                    self.counters["doubts"] += len(missing)
                    users |= missing
                # A signal may have overtaken the board's answer.
                for signal in heard:
                    if signal.node == node:
                        users = _after(signal, users)
                self._replace(chat, node, users)
        finally:
            chat.heard = None

    async def _of_unknown(self, chat: ChatPresence, node: str, users: set[str]) -> set[str]:
        """What stands on the board of a gateway that the directory does not name: it has just started, or is gone.

        Raises:
            PresenceUnavailable: the board cannot be written now.
        """
        now = asyncio.get_running_loop().time()
        if now - self._gone_nodes.get(node, now - _GONE_S) >= _GONE_S:
            if await self._nodes.known(node):
                self._gone_nodes.pop(node, None)
                return users if self._is_new(node) else set()
            if len(self._gone_nodes) >= _MAX_GONE:
                self._gone_nodes.clear()
            self._gone_nodes[node] = now
        await self._board.forget(chat.chat_id, node, users)
        return set()


def _after(signal: Moved, users: Collection[str]) -> set[str]:
    return {*users, *signal.entered}.difference(signal.left)
