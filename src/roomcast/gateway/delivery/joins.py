"""Who follows which chat: joining with replay, leaving, and being gone.

A join goes: admitted by the API → the feed's subscription is confirmed and has reached what the database has → what
the client missed is read from the log while a tap notes what the feed emits → and then, in ONE turn of the loop:
entering the room, replay, the tail from the tap, the ack (the server writes it in the turn in which the handler
returns). So the ack means that everything up to its ``seq`` preceded it on this connection; all behind it follows.

Whatever makes the replay incomplete (too much, trimmed, a hole, an unknown entry) makes it ``recovered: false``, never
a part of it. What one socket does with one chat takes effect in the order in which it asked for it.

Layer: gateway. Source: DESIGN §4.4.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from roomcast.chat.ports import LOG_ENTRY_VERSION, EventLog, LogEntry, LogUnavailable, Replay
from roomcast.contract.errors import ErrorCode
from roomcast.contract.gateway import JoinChatAck
from roomcast.gateway.delivery.chat_feed import ChatFeed, EpochDiffers, FeedBehind, Tap, chat_room
from roomcast.gateway.delivery.feeds import Feeds
from roomcast.gateway.ports import (
    Admission,
    AdmissionDenied,
    ApiUnavailable,
    ChatAdmission,
    Cursor,
    FollowerObserver,
    Head,
    RoomSocket,
)
from roomcast.realtime.errors import RoomLimitExceeded
from roomcast.realtime.fanout.message import EncodedEvent

#: The log may have begun a new epoch between the API's answer and the look at the log; then the API is asked again.
_ADMISSIONS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinOptions:
    """Bounds of joins.

    Attributes:
        replay_entries: Events that one join replays at most; a client that missed more pages through the API.
        replay_bytes: Their bytes; below the outbox limit, so that a replay never cuts its own client.
        max_chats_per_socket: Chats that one socket may follow. With its user's room that is the server's limit of 128.
    """

    replay_entries: int = 500
    replay_bytes: int = 524_288
    max_chats_per_socket: int = 127


class JoinRefused(Exception):
    """The join was not done.

    Attributes:
        code: What the client is told.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True, eq=False)
class _Seat:
    """One socket's place in one chat.

    Attributes:
        turn: What the socket does with the chat is done one after the other.
        waiting: How many hold or wait for ``turn``.
        feed: The held feed while the socket is in the room.
        covered_after: Everything behind this seq was sent on this connection, unless the feed had a resync since.
        resyncs: How many the feed had when the socket came.
        user_id: Whose it is while the socket is in the room; None: authentication is off.
    """

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    feed: ChatFeed | None = None
    covered_after: int = 0
    resyncs: int = 0
    user_id: str | None = None


class Joins:
    """The chats that this gateway's sockets follow.

    Args:
        feeds: Where events come from.
        log: Where missed events are read.
        admission: Who may.
        options: Bounds.
        audience: Told who comes and goes, in the turn in which they do.
    """

    def __init__(
        self,
        feeds: Feeds,
        log: EventLog,
        admission: ChatAdmission,
        options: JoinOptions | None = None,
        audience: FollowerObserver | None = None,
    ) -> None:
        self._feeds = feeds
        self._log = log
        self._admission = admission
        self._options = options or JoinOptions()
        self._audience = audience
        self._sockets: dict[str, dict[str, _Seat]] = {}

    async def join(self, socket: RoomSocket, chat_id: str, user_id: str | None, since: Cursor | None) -> JoinChatAck:
        """Let a socket follow a chat; the caller has to send the returned ack before the loop turns.

        A repeat is harmless: what was sent since the first join is not sent again.

        Args:
            socket: Who.
            chat_id: Which chat.
            user_id: For whom; None: authentication is off.
            since: What the client has: everything behind it is replayed.

        Raises:
            JoinRefused: with ``forbidden`` or ``limit-reached``; or with ``unavailable``: trying again is right.
        """
        seats = self._sockets.setdefault(socket.sid, {})
        if chat_id not in seats and len(seats) >= self._options.max_chats_per_socket:
            limit = self._options.max_chats_per_socket
            raise JoinRefused(ErrorCode.LIMIT_REACHED, f"one socket may follow {limit} chats: leave one first")
        try:
            ack = await self._join_in_turn(socket, seats, chat_id, user_id, since)
        except JoinRefused as error:
            self._feeds.counters.joins[error.code.value] += 1
            raise
        self._feeds.counters.joins["recovered" if ack.recovered else "not-recovered"] += 1
        return ack

    async def _join_in_turn(
        self, socket: RoomSocket, seats: dict[str, _Seat], chat_id: str, user_id: str | None, since: Cursor | None
    ) -> JoinChatAck:
        async with self._seat(socket.sid, seats, chat_id) as seat:
            try:
                return await self._join(socket, seats, seat, chat_id, user_id, since)
            except AdmissionDenied:
                self._vacate(socket, seat, chat_id)
                message = "there is no such chat, or you are not a member of it"
                raise JoinRefused(ErrorCode.FORBIDDEN, message) from None
            except RoomLimitExceeded as error:
                raise JoinRefused(ErrorCode.LIMIT_REACHED, str(error)) from None
            except (ApiUnavailable, LogUnavailable, FeedBehind, EpochDiffers) as error:
                message = "the chat cannot be joined at the moment: try again soon"
                raise JoinRefused(ErrorCode.UNAVAILABLE, message) from error

    async def leave(self, socket: RoomSocket, chat_id: str) -> None:
        """Let a socket follow a chat no longer. Harmless if it does not."""
        seats = self._sockets.get(socket.sid)
        if seats is not None and chat_id in seats:
            async with self._seat(socket.sid, seats, chat_id) as seat:
                self._vacate(socket, seat, chat_id)

    def drop(self, sid: str) -> None:
        """The socket is gone: forget it. A join of it that is under way will find out."""
        for chat_id, seat in self._sockets.pop(sid, {}).items():
            self._give_up(sid, seat, chat_id)

    def __len__(self) -> int:
        """Sockets that follow chats."""
        return len(self._sockets)

    @asynccontextmanager
    async def _seat(self, sid: str, seats: dict[str, _Seat], chat_id: str) -> AsyncIterator[_Seat]:
        """The socket's place in the chat, for one at a time. Entering may wait; leaving never does."""
        seat = seats.get(chat_id)
        if seat is None:
            seat = seats[chat_id] = _Seat()
        seat.waiting += 1
        try:
            async with seat.turn:
                yield seat
        finally:
            seat.waiting -= 1
            if not seat.waiting and seat.feed is None:
                self._forget(sid, seats, chat_id)

    async def _join(
        self,
        socket: RoomSocket,
        seats: dict[str, _Seat],
        seat: _Seat,
        chat_id: str,
        user_id: str | None,
        since: Cursor | None,
    ) -> JoinChatAck:
        admission = await self._admission.admit(chat_id, user_id, since)
        feed = await self._feeds.hold(chat_id)
        entered = False
        try:
            admission = await self._reach(feed, admission, user_id, since)
            missed: list[LogEntry] | None = []
            repeated = seat.feed is not None
            if since is not None and not admission.reset and not repeated:
                missed = await self._missed(feed, since.seq)
            # From here to the ack nothing waits.
            here = feed.position
            if here is None or here.epoch != admission.head.epoch:
                raise EpochDiffers
            if not socket.connected or self._sockets.get(socket.sid) is not seats:
                # Nobody reads this answer any more.
                raise JoinRefused(ErrorCode.UNAVAILABLE, "the connection has ended")
            if repeated:
                if seat.feed is None:
                    raise AdmissionDenied("put out meanwhile")
                return _repeated(seat, feed, here, admission, since)
            socket.join(chat_room(chat_id))
            for entry in missed or ():
                socket.send(EncodedEvent.from_json(entry.args))
            self._feeds.counters.replayed += len(missed or ())
            seat.feed, entered = feed, True
        finally:
            if not entered:
                self._feeds.release(feed)
        recovered = not admission.reset and missed is not None
        seat.covered_after = since.seq if since is not None and recovered else here.seq
        seat.resyncs = feed.resyncs
        if user_id is not None:
            seat.user_id = user_id
            put_out = partial(self._put_out, socket, seats, seat, chat_id)
            # What came since the admission may have been this user's removal.
            self._keep_watch(chat_id, user_id, socket, put_out, doubt=here.seq > admission.head.seq)
        if self._audience is not None:
            self._audience.entered(socket, chat_id)
        return JoinChatAck(chat_id=chat_id, epoch=here.epoch, seq=here.seq, recovered=recovered, reset=admission.reset)

    def _keep_watch(
        self, chat_id: str, user_id: str, socket: RoomSocket, put_out: Callable[[], None], *, doubt: bool
    ) -> None:
        """See to it that the socket is put out when its user loses their place."""
        memberships = self._feeds.memberships
        memberships.enter(chat_id, user_id, socket.sid, put_out)
        if doubt:
            memberships.doubt(chat_id, user_id)

    async def _reach(
        self, feed: ChatFeed, admission: Admission, user_id: str | None, since: Cursor | None
    ) -> Admission:
        """Wait until the feed has reached what the database had; the admission that holds for its epoch."""
        for _ in range(_ADMISSIONS - 1):
            try:
                await feed.reach(admission.head)
            except EpochDiffers:
                admission = await self._admission.admit(feed.chat_id, user_id, since)
            else:
                return admission
        await feed.reach(admission.head)
        return admission

    async def _missed(self, feed: ChatFeed, after: int) -> list[LogEntry] | None:
        """Everything behind ``after`` up to the feed's position as it is in the turn in which this returns.

        None: it cannot be had in full, or is more than a join replays.
        """
        asked = feed.position
        if asked is None or asked.seq - after > self._options.replay_entries:
            return None
        if asked.seq <= after:
            return []
        tap = feed.tap(self._options.replay_entries, self._options.replay_bytes)
        try:
            found = await self._log.read(feed.chat_id, asked.epoch, after, self._options.replay_entries)
        finally:
            feed.untap(tap)
        here = feed.position
        if here is None or not isinstance(found, Replay):
            return None
        return self._merged(found, tap, after, here.seq)

    def _merged(self, found: Replay, tap: Tap, after: int, up_to: int) -> list[LogEntry] | None:
        """What was read, then what was emitted since: exactly ``after + 1 … up_to`` and within the bounds, or None."""
        entries = [entry for entry in found.entries if after < entry.seq <= up_to]
        last = entries[-1].seq if entries else after
        entries += [entry for entry in tap.entries if entry.seq > last]
        if [entry.seq for entry in entries] != list(range(after + 1, up_to + 1)):
            return None
        if len(entries) > self._options.replay_entries:
            return None
        if sum(len(entry.args) for entry in entries) > self._options.replay_bytes:
            return None
        if any(entry.version != LOG_ENTRY_VERSION for entry in entries):
            return None
        return entries

    def _vacate(self, socket: RoomSocket, seat: _Seat, chat_id: str) -> None:
        if seat.feed is not None:
            socket.leave(chat_room(chat_id))
            self._give_up(socket.sid, seat, chat_id)

    def _put_out(self, socket: RoomSocket, seats: dict[str, _Seat], seat: _Seat, chat_id: str) -> None:
        """The user is no member any more."""
        self._vacate(socket, seat, chat_id)
        if not seat.waiting:
            self._forget(socket.sid, seats, chat_id)

    def _give_up(self, sid: str, seat: _Seat, chat_id: str) -> None:
        if seat.user_id is not None:
            self._feeds.memberships.leave(chat_id, seat.user_id, sid)
            seat.user_id = None
        if seat.feed is not None:
            self._feeds.release(seat.feed)
            seat.feed = None
            if self._audience is not None:
                self._audience.left(sid, chat_id)

    def _forget(self, sid: str, seats: dict[str, _Seat], chat_id: str) -> None:
        del seats[chat_id]
        if not seats and self._sockets.get(sid) is seats:
            del self._sockets[sid]


def _repeated(seat: _Seat, feed: ChatFeed, here: Head, admission: Admission, since: Cursor | None) -> JoinChatAck:
    """The ack of a join by a socket that is in the room: it has everything that was sent since it came."""
    covered = seat.covered_after if feed.resyncs == seat.resyncs else feed.covered_after
    recovered = not admission.reset and (since is None or since.seq >= covered)
    return JoinChatAck(chat_id=feed.chat_id, epoch=here.epoch, seq=here.seq, recovered=recovered, reset=admission.reset)
