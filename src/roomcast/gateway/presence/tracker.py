"""Who of a chat is there: told to its members as changes, and in full to who has just joined.

A user is there while one of their sockets follows the chat, whatever the device and the gateway. Each gateway keeps a
table for every chat that it has members of (`ChatPresence`): its own users, by their sockets, and the others', by the
gateways that told of them (`PresenceSharing`). A gateway that is gone takes its users with it.

Nobody is announced gone before ``offline_after_s``, so that a reload, a reconnect or a rolling restart is not seen.
Nothing of this holds up or fails a join, and while Redis is away it goes on with what is known here.

Layer: gateway. Source: docs/decisions/0008-presence.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Coroutine
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from roomcast.backoff import jittered
from roomcast.chat.ports import Nodes, PresenceBoard
from roomcast.contract.events import PRESENCE, Presence
from roomcast.gateway.ports import Rooms, RoomSocket
from roomcast.gateway.presence.sharing import PresenceSharing
from roomcast.gateway.presence.signals import Moved, Signals
from roomcast.gateway.presence.state import ChatPresence, PresenceOptions
from roomcast.gateway.rooms import chat_room
from roomcast.realtime.fanout.message import EncodedEvent

__all__ = ["PresenceOptions", "Presences"]

logger = logging.getLogger(__name__)

_CLOSE_LIMIT_S: Final = 0.5


class Presences:
    """The presence of one gateway. `Joins` says who comes and goes, `Handlers` who they are.

    Args:
        rooms: Where ``presence`` events go.
        board: What all gateways write on.
        nodes: Which of them are up.
        signals: How they are told at once.
        options: Bounds.
    """

    def __init__(
        self,
        rooms: Rooms,
        board: PresenceBoard,
        nodes: Nodes,
        signals: Signals,
        options: PresenceOptions | None = None,
    ) -> None:
        self._rooms = rooms
        self._options = options or PresenceOptions()
        self._sharing = PresenceSharing(
            board, nodes, signals, self._options, judge=self._judge, failed=self._retry_later
        )
        self._chats: dict[str, ChatPresence] = {}
        # Those of them that nobody follows any more, which the other gateways could not be told yet.
        self._owing: set[str] = set()
        self._followed: dict[str, set[str]] = {}
        self._users: dict[str, str] = {}
        self._sweep_wanted = asyncio.Event()
        self._all_wanted = False
        self._retry: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        signals.on_moved = self._hear

    def __len__(self) -> int:
        """Chats with members here."""
        return len(self._chats) - len(self._owing)

    @property
    def counters(self) -> Counter[str]:
        """What went on between the gateways; see `PresenceSharing`."""
        return self._sharing.counters

    # -- what joins and handlers say ----------------------------------------------------------------------------------

    def identify(self, sid: str, user_id: str) -> None:
        """The socket is this user's; a later word wins."""
        before = self._users.get(sid)
        if before == user_id:
            return
        self._users[sid] = user_id
        for chat_id in self._followed.get(sid, ()):
            chat = self._chats[chat_id]
            if before is not None:
                self._device_left(chat, sid, before)
            self._device_entered(chat, sid, user_id)

    def user_of(self, sid: str) -> str | None:
        """Whose socket this is; None: it never said."""
        return self._users.get(sid)

    def follows(self, sid: str, chat_id: str) -> bool:
        """Whether the socket follows the chat."""
        return chat_id in self._followed.get(sid, ())

    def entered(self, socket: RoomSocket, chat_id: str) -> None:
        """A socket follows a chat from now on; it gets the picture behind the answer to its join."""
        chat = self._chats.get(chat_id)
        if chat is None:
            chat = self._chats[chat_id] = ChatPresence(chat_id)
        if not chat.members:
            self._owing.discard(chat_id)
            self._start(self._open(chat))
        chat.members[socket.sid] = chat.newcomers[socket.sid] = socket
        self._followed.setdefault(socket.sid, set()).add(chat_id)
        user_id = self._users.get(socket.sid)
        if user_id is not None:
            self._device_entered(chat, socket.sid, user_id)
        self._tell_soon(chat)

    def left(self, sid: str, chat_id: str) -> None:
        """A socket follows a chat no longer. Harmless if it did not."""
        chat = self._chats.get(chat_id)
        followed = self._followed.get(sid, set())
        if chat is None or chat_id not in followed:
            return
        followed.discard(chat_id)
        if not followed:
            del self._followed[sid]
        user_id = self._users.get(sid)
        if user_id is not None:
            self._device_left(chat, sid, user_id)
        chat.members.pop(sid, None)
        chat.newcomers.pop(sid, None)
        self._tell_soon(chat)

    def gone(self, sid: str) -> None:
        """A socket is gone; `left` was called for each of its chats."""
        self._users.pop(sid, None)

    # -- life ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look for gateways that are gone, and sweep, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_forever())
            group.create_task(self._sweep_forever())

    async def _look_forever(self) -> None:
        while True:
            await asyncio.sleep(self._options.look_s)
            try:
                self._sharing.look(self._chats)
            except Exception:
                # Messages do not need this: a bug here must not end them.
                logger.exception("looking for gateways that are gone failed")

    async def _sweep_forever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + jittered(self._options.sweep_s)
            everyone = False
            while not everyone:
                try:
                    async with asyncio.timeout_at(due):
                        await self._sweep_wanted.wait()
                except TimeoutError:
                    everyone = True  # it is time for all of them
                # Retries that follow on each other hold up nobody's turn.
                everyone = everyone or self._all_wanted or loop.time() >= due
                # Never behind a sweep: what is asked for while one runs may concern a chat that it has passed.
                self._sweep_wanted.clear()
                self._all_wanted = False
                chats = {chat_id: chat for chat_id, chat in self._chats.items() if everyone or chat.behind}
                if not await self._sweep(chats) and everyone:
                    # Those that were not reached are not behind: nothing else asks for them.
                    self._all_wanted = True
                    self._retry_later()

    async def _sweep(self, chats: dict[str, ChatPresence]) -> bool:
        done = True
        try:
            done = await self._sharing.sweep(chats)
        except Exception:
            # Likewise.
            logger.exception("comparing presence failed")
        for chat in chats.values():
            self._release(chat)
        return done

    def sweep_soon(self) -> None:
        """The live feed was away, or Redis lost its data: compare with the board, and write on it, now."""
        self._all_wanted = True
        self._sweep_wanted.set()

    def _retry_later(self) -> None:
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(self._options.retry_s, self._retry_now)

    def _retry_now(self) -> None:
        self._retry = None
        self._sweep_wanted.set()

    async def close(self) -> None:
        """Tell that everybody here is gone, for a moment; then let go."""
        sharing = [chat.sharing for chat in self._chats.values() if chat.sharing is not None]
        if sharing:
            await asyncio.wait(sharing, timeout=_CLOSE_LIMIT_S)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        timers = [self._retry, *(chat.telling for chat in self._chats.values())]
        for timer in timers:
            if timer is not None:
                timer.cancel()
        for chat in self._chats.values():
            chat.forget_others()

    # -- who is there -------------------------------------------------------------------------------------------------

    def _device_entered(self, chat: ChatPresence, sid: str, user: str) -> None:
        if user in chat.devices:
            chat.devices[user].add(sid)
            return
        chat.devices[user] = {sid}
        self._own_user_changed(chat, user)

    def _device_left(self, chat: ChatPresence, sid: str, user: str) -> None:
        devices = chat.devices.get(user, set())
        devices.discard(sid)
        if not devices and chat.devices.pop(user, None) is not None:
            self._own_user_changed(chat, user)

    def _own_user_changed(self, chat: ChatPresence, user: str) -> None:
        chat.unshared.add(user)
        self._judge(chat, user)
        self._share_soon(chat)

    def _hear(self, chat_id: str, signal: Moved) -> None:
        chat = self._chats.get(chat_id)
        if chat is not None and chat.members:
            self._sharing.hear(chat, signal)

    def _judge(self, chat: ChatPresence, user: str) -> None:
        """A user may have come or gone: see what the members have to be told of that, and when."""
        if chat.present(user):
            timer = chat.leaving.pop(user, None)
            if timer is not None:
                timer.cancel()
            if user not in chat.announced:
                chat.announced.add(user)
                # Who is back before it was told that they are gone never went.
                if user in chat.offline:
                    chat.offline.discard(user)
                else:
                    chat.online.add(user)
                self._tell_soon(chat)
        elif user in chat.announced and user not in chat.leaving:
            loop = asyncio.get_running_loop()
            chat.leaving[user] = loop.call_later(self._options.offline_after_s, self._is_gone, chat, user)

    def _is_gone(self, chat: ChatPresence, user: str) -> None:
        del chat.leaving[user]
        chat.announced.discard(user)
        if user in chat.online:
            chat.online.discard(user)  # nobody was told that they came
        else:
            chat.offline.add(user)
        self._tell_soon(chat)

    # -- telling ------------------------------------------------------------------------------------------------------

    async def _open(self, chat: ChatPresence) -> None:
        """Let who has joined wait for the board, but not for long."""
        reading = self._start(self._sharing.read_first(chat))
        await asyncio.wait({reading}, timeout=self._options.picture_s)
        if chat.members:
            chat.read = True
            self._tell_soon(chat)

    def _tell_soon(self, chat: ChatPresence) -> None:
        if chat.telling is None:
            chat.telling = asyncio.get_running_loop().call_later(self._options.settle_s, self._tell, chat)

    def _tell(self, chat: ChatPresence) -> None:
        """Tell the members here what has changed, and who waits for it the whole."""
        chat.telling = None
        newcomers = chat.newcomers if chat.read else {}
        if chat.online or chat.offline:
            online, offline = sorted(chat.online), sorted(chat.offline)
            chat.online.clear()
            chat.offline.clear()
            size = self._options.max_listed
            for start in range(0, max(len(online), len(offline)), size):
                event = _event(chat.chat_id, online[start : start + size], offline[start : start + size])
                self._rooms.broadcast(chat_room(chat.chat_id), event, skip=chat.newcomers.keys())
        if newcomers:
            listed = sorted(islice(chat.announced, self._options.max_listed))
            picture = _event(chat.chat_id, listed, (), reset=True)
            for socket in newcomers.values():
                socket.send(picture)
            newcomers.clear()
        self._release(chat)

    def _share_soon(self, chat: ChatPresence) -> None:
        # What is behind is told by the retry: while Redis is away changes cost nothing.
        if chat.sharing is None and not chat.behind:
            chat.sharing = self._start(self._share(chat))

    async def _share(self, chat: ChatPresence) -> None:
        """Tell the other gateways what has changed, until nothing has."""
        try:
            while not chat.behind:
                await asyncio.sleep(self._options.settle_s)
                if not chat.unshared:
                    break
                await self._sharing.share(chat)
        except Exception:
            # A bug here must not end presence in the chat for good.
            logger.exception("sharing who is there failed", extra={"chat_id": chat.chat_id})
        finally:
            chat.sharing = None
        # No await since the last look.
        self._release(chat)

    def _release(self, chat: ChatPresence) -> None:
        """Forget a chat that nobody follows, unless the other gateways have to be told of that yet."""
        if chat.members or chat.sharing is not None or self._chats.get(chat.chat_id) is not chat:
            return
        chat.forget_others()
        if chat.unshared and (chat.chat_id in self._owing or len(self._owing) < self._options.max_owed):
            self._owing.add(chat.chat_id)
            return
        self._owing.discard(chat.chat_id)
        if chat.telling is not None:
            chat.telling.cancel()
        del self._chats[chat.chat_id]

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with suppress(asyncio.CancelledError):
            error = task.exception()
            if error is not None:
                logger.error("a part of presence failed", exc_info=error)


def _event(chat_id: str, online: Collection[str], offline: Collection[str], *, reset: bool = False) -> EncodedEvent:
    event = Presence(chat_id=chat_id, online=tuple(online), offline=tuple(offline), reset=reset)
    return EncodedEvent.from_args(PRESENCE, event.model_dump())
