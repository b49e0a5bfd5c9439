"""Per-chat presence: deltas to members, a snapshot to new subscribers.

A user is online in a chat while at least one of their sockets follows it, on any device and gateway. For each chat with
members here, the gateway keeps its own users by socket and the other gateways' users by node (`ChatPresence`);
`PresenceSync` keeps the other gateways' users up to date.

A user is announced as offline only after ``offline_after_s``, so that a page reload, a reconnect or a rolling restart
causes no event. Presence never delays or fails a join; while Redis is down it covers the users that this gateway
knows.

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
from roomcast.chat.ports import LiveNodes, PresenceBoard
from roomcast.contract.events import PRESENCE, Presence
from roomcast.gateway.ports import Rooms, RoomSocket
from roomcast.gateway.presence.signals import PresenceSignal, Signals
from roomcast.gateway.presence.state import ChatPresence, PresenceOptions
from roomcast.gateway.presence.sync import PresenceSync
from roomcast.gateway.rooms import chat_room
from roomcast.realtime.fanout.message import EncodedEvent

__all__ = ["PresenceOptions", "PresenceTracker"]

logger = logging.getLogger(__name__)

_CLOSE_LIMIT_S: Final = 0.5


class PresenceTracker:
    """Presence of all chats with members on this gateway; a `FollowerObserver`.

    Args:
        rooms: Emits the ``presence`` events.
        board: The board that all gateways share.
        nodes: The gateways that are up.
        signals: Sends to the other gateways.
        options: Times and limits.
    """

    def __init__(
        self,
        rooms: Rooms,
        board: PresenceBoard,
        nodes: LiveNodes,
        signals: Signals,
        options: PresenceOptions | None = None,
    ) -> None:
        self._rooms = rooms
        self._options = options or PresenceOptions()
        self._sync = PresenceSync(
            board,
            nodes,
            signals,
            self._options,
            update_user=self._update_user,
            schedule_retry=self._schedule_retry,
        )
        self._chats: dict[str, ChatPresence] = {}
        # Chats without members that are kept until their departures are shared.
        self._leaving_chats: set[str] = set()
        self._chats_of_socket: dict[str, set[str]] = {}
        self._user_of_socket: dict[str, str] = {}
        self._sweep_requested = asyncio.Event()
        self._sweep_all = False
        self._retry_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        signals.on_presence = self._on_signal

    def __len__(self) -> int:
        """The number of chats with members here."""
        return len(self._chats) - len(self._leaving_chats)

    @property
    def counters(self) -> Counter[str]:
        """See `PresenceSync`."""
        return self._sync.counters

    # -- sockets ------------------------------------------------------------------------------------------------------

    def identify(self, sid: str, user_id: str) -> None:
        """Set the user of a socket; a later call replaces the user."""
        before = self._user_of_socket.get(sid)
        if before == user_id:
            return
        self._user_of_socket[sid] = user_id
        for chat_id in self._chats_of_socket.get(sid, ()):
            chat = self._chats[chat_id]
            if before is not None:
                self._remove_socket(chat, sid, before)
            self._add_socket(chat, sid, user_id)

    def user_of(self, sid: str) -> str | None:
        """The user of a socket; None if it is not identified."""
        return self._user_of_socket.get(sid)

    def follows(self, sid: str, chat_id: str) -> bool:
        """Whether the socket follows the chat."""
        return chat_id in self._chats_of_socket.get(sid, ())

    def entered(self, socket: RoomSocket, chat_id: str) -> None:
        """See `FollowerObserver`. The socket receives a snapshot after the ack of its join."""
        chat = self._chats.get(chat_id)
        if chat is None:
            chat = self._chats[chat_id] = ChatPresence(chat_id)
        if not chat.members:
            self._leaving_chats.discard(chat_id)
            self._start(self._prepare_snapshot(chat))
        chat.members[socket.sid] = chat.awaiting_snapshot[socket.sid] = socket
        self._chats_of_socket.setdefault(socket.sid, set()).add(chat_id)
        user_id = self._user_of_socket.get(socket.sid)
        if user_id is not None:
            self._add_socket(chat, socket.sid, user_id)
        self._schedule_flush(chat)

    def left(self, sid: str, chat_id: str) -> None:
        """See `FollowerObserver`. Ignored if the socket does not follow the chat."""
        chat = self._chats.get(chat_id)
        followed = self._chats_of_socket.get(sid, set())
        if chat is None or chat_id not in followed:
            return
        followed.discard(chat_id)
        if not followed:
            del self._chats_of_socket[sid]
        user_id = self._user_of_socket.get(sid)
        if user_id is not None:
            self._remove_socket(chat, sid, user_id)
        chat.members.pop(sid, None)
        chat.awaiting_snapshot.pop(sid, None)
        self._schedule_flush(chat)

    def disconnected(self, sid: str) -> None:
        """Forget the socket's user; call `left` for each of its chats first."""
        self._user_of_socket.pop(sid, None)

    # -- background tasks ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Remove users of dead gateways, and compare chats with the board, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._drop_dead_nodes_forever())
            group.create_task(self._sweep_forever())

    async def _drop_dead_nodes_forever(self) -> None:
        while True:
            await asyncio.sleep(self._options.node_check_s)
            try:
                self._sync.drop_dead_nodes(self._chats)
            except Exception:
                # A bug in presence must not stop the gateway.
                logger.exception("dead gateway check failed")

    async def _sweep_forever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + jittered(self._options.sweep_s)
            full = False
            while not full:
                try:
                    async with asyncio.timeout_at(due):
                        await self._sweep_requested.wait()
                except TimeoutError:
                    full = True
                # Retries may follow each other without a pause; they must not postpone the full sweep.
                full = full or self._sweep_all or loop.time() >= due
                # Clear this before the sweep: a request during the sweep may concern a chat that was already compared.
                self._sweep_requested.clear()
                self._sweep_all = False
                chats = [chat for chat in self._chats.values() if full or chat.out_of_sync]
                if not await self._sweep(chats) and full:
                    # Skipped chats are not marked as out of sync, so the retry must compare all chats.
                    self._sweep_all = True
                    self._schedule_retry()

    async def _sweep(self, chats: list[ChatPresence]) -> bool:
        complete = True
        try:
            complete = await self._sync.sweep(chats)
        except Exception:
            # A bug in presence must not stop the gateway.
            logger.exception("presence sweep failed")
        for chat in chats:
            self._release(chat)
        return complete

    def sweep_soon(self) -> None:
        """Compare all chats with the board now: the connection to Redis is restored, and Redis may have lost data."""
        self._sweep_all = True
        self._sweep_requested.set()

    def _schedule_retry(self) -> None:
        if self._retry_timer is None:
            self._retry_timer = asyncio.get_running_loop().call_later(self._options.retry_s, self._retry)

    def _retry(self) -> None:
        self._retry_timer = None
        self._sweep_requested.set()

    async def close(self) -> None:
        """Share the last departures, for at most half a second, then cancel all tasks and timers."""
        sharing = [chat.share_task for chat in self._chats.values() if chat.share_task is not None]
        if sharing:
            await asyncio.wait(sharing, timeout=_CLOSE_LIMIT_S)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        timers = [self._retry_timer, *(chat.flush_timer for chat in self._chats.values())]
        for timer in timers:
            if timer is not None:
                timer.cancel()
        for chat in self._chats.values():
            chat.stop_following()

    # -- online users -------------------------------------------------------------------------------------------------

    def _add_socket(self, chat: ChatPresence, sid: str, user: str) -> None:
        if user in chat.own_users:
            chat.own_users[user].add(sid)
            return
        chat.own_users[user] = {sid}
        self._own_user_changed(chat, user)

    def _remove_socket(self, chat: ChatPresence, sid: str, user: str) -> None:
        sockets = chat.own_users.get(user, set())
        sockets.discard(sid)
        if not sockets and chat.own_users.pop(user, None) is not None:
            self._own_user_changed(chat, user)

    def _own_user_changed(self, chat: ChatPresence, user: str) -> None:
        self._update_user(chat, user)
        chat.unshared.add(user)
        # While the chat is out of sync, the retry shares the change.
        if chat.share_task is None and not chat.out_of_sync:
            chat.share_task = self._start(self._share(chat))

    def _on_signal(self, chat_id: str, signal: PresenceSignal) -> None:
        chat = self._chats.get(chat_id)
        if chat is not None and chat.members:
            self._sync.apply_signal(chat, signal)

    def _update_user(self, chat: ChatPresence, user: str) -> None:
        """Announce a user that came online, or start the offline timer of a user that is gone."""
        if chat.is_online(user):
            timer = chat.offline_timers.pop(user, None)
            if timer is not None:
                timer.cancel()
            if user not in chat.announced:
                chat.announced.add(user)
                # A return before the flush cancels the departure.
                if user in chat.pending_offline:
                    chat.pending_offline.discard(user)
                else:
                    chat.pending_online.add(user)
                self._schedule_flush(chat)
        elif user in chat.announced and user not in chat.offline_timers:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self._options.offline_after_s, self._announce_offline, chat, user)
            chat.offline_timers[user] = timer

    def _announce_offline(self, chat: ChatPresence, user: str) -> None:
        del chat.offline_timers[user]
        chat.announced.discard(user)
        # A departure before the flush cancels the arrival.
        if user in chat.pending_online:
            chat.pending_online.discard(user)
        else:
            chat.pending_offline.add(user)
        self._schedule_flush(chat)

    # -- events to members --------------------------------------------------------------------------------------------

    async def _prepare_snapshot(self, chat: ChatPresence) -> None:
        timer = asyncio.get_running_loop().call_later(self._options.snapshot_wait_s, self._set_snapshot_ready, chat)
        try:
            await self._sync.read_board(chat)
        finally:
            timer.cancel()
            self._set_snapshot_ready(chat)

    def _set_snapshot_ready(self, chat: ChatPresence) -> None:
        if chat.members:
            chat.snapshot_ready = True
            self._schedule_flush(chat)

    def _schedule_flush(self, chat: ChatPresence) -> None:
        if chat.flush_timer is None:
            chat.flush_timer = asyncio.get_running_loop().call_later(self._options.settle_s, self._flush, chat)

    def _flush(self, chat: ChatPresence) -> None:
        """Send pending deltas to the members, and the snapshot to new subscribers."""
        chat.flush_timer = None
        new_subscribers = chat.awaiting_snapshot if chat.snapshot_ready else {}
        if chat.pending_online or chat.pending_offline:
            online, offline = sorted(chat.pending_online), sorted(chat.pending_offline)
            chat.pending_online.clear()
            chat.pending_offline.clear()
            size = self._options.max_listed
            for start in range(0, max(len(online), len(offline)), size):
                event = _event(chat.chat_id, online[start : start + size], offline[start : start + size])
                self._rooms.broadcast(chat_room(chat.chat_id), event, skip=chat.awaiting_snapshot.keys())
        if new_subscribers:
            listed = sorted(islice(chat.announced, self._options.max_listed))
            snapshot = _event(chat.chat_id, listed, (), reset=True)
            for socket in new_subscribers.values():
                socket.send(snapshot)
            new_subscribers.clear()
        self._release(chat)

    # -- changes to the other gateways --------------------------------------------------------------------------------

    async def _share(self, chat: ChatPresence) -> None:
        try:
            while not chat.out_of_sync:
                await asyncio.sleep(self._options.settle_s)
                if not chat.unshared:
                    break
                await self._sync.share(chat)
        except Exception:
            # A bug must not end presence in this chat permanently.
            logger.exception("sharing presence failed", extra={"chat_id": chat.chat_id})
        finally:
            chat.share_task = None
        # There was no await since `unshared` was read, so no change was missed.
        self._release(chat)

    def _release(self, chat: ChatPresence) -> None:
        """Forget a chat without members. Chats with unshared departures are kept, up to a limit."""
        if chat.members or chat.share_task is not None or self._chats.get(chat.chat_id) is not chat:
            return
        chat.stop_following()
        if chat.unshared and (
            chat.chat_id in self._leaving_chats or len(self._leaving_chats) < self._options.max_unshared
        ):
            self._leaving_chats.add(chat.chat_id)
            return
        self._leaving_chats.discard(chat.chat_id)
        if chat.flush_timer is not None:
            chat.flush_timer.cancel()
        del self._chats[chat.chat_id]

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="presence")  # Python 3.11 formats a name for each task that has none
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with suppress(asyncio.CancelledError):
            error = task.exception()
            if error is not None:
                logger.error("presence task failed", exc_info=error)


def _event(chat_id: str, online: Collection[str], offline: Collection[str], *, reset: bool = False) -> EncodedEvent:
    event = Presence(chat_id=chat_id, online=tuple(online), offline=tuple(offline), reset=reset)
    return EncodedEvent.from_args(PRESENCE, event.model_dump())
