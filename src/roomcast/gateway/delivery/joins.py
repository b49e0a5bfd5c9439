"""``join-chat`` and ``leave-chat``: which socket follows which chat.

A join has five steps:

1. The API admits the user, and returns the chat's head in the database.
2. The chat's feed is subscribed and reaches that head.
3. The feed reads the events that the client missed, unless a complete replay is impossible.
4. In one loop turn: the socket enters the room, receives the replay, and the handler returns the ack.
5. Later events reach the socket through the room.

So events up to the ack's ``seq`` precede the ack on the connection, and later events follow it. A replay is complete,
or the ack says ``recovered: false``. Joins and leaves of one socket for one chat take effect in the order of arrival.

Layer: gateway. Source: docs/design.md, "Joins".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from roomcast.chat.ports import LogEntry, LogUnavailable
from roomcast.contract.errors import ErrorCode
from roomcast.contract.gateway import JoinChatAck
from roomcast.gateway.delivery.chat_feed import ChatFeed, EpochDiffers, FeedBehind
from roomcast.gateway.delivery.feeds import Feeds
from roomcast.gateway.delivery.membership import is_deletion, removed_user
from roomcast.gateway.delivery.replay import ReplayLimits
from roomcast.gateway.ports import (
    Admission,
    AdmissionDenied,
    ApiUnavailable,
    ChatAdmission,
    Cursor,
    FollowerObserver,
    Head,
    Refused,
    RoomSocket,
)
from roomcast.gateway.rooms import chat_room, stream_room
from roomcast.realtime.errors import RoomLimitExceeded


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinOptions:
    """Limits of joins.

    Attributes:
        replay: Limits of one join's replay.
        max_chats_per_socket: Chats that one socket may follow.
    """

    replay: ReplayLimits = field(default_factory=ReplayLimits)
    max_chats_per_socket: int = 127


class JoinRefused(Refused):
    """The join failed: ``forbidden``, ``limit-reached``, or ``unavailable`` (the client should retry).

    A subscription from an earlier join remains, unless the code is ``forbidden``.
    """


class AdmissionOutdated(Exception):
    """The user was removed from the chat after the admission."""


@dataclass(slots=True, eq=False)
class _ChatSubscription:
    """One socket's subscription to one chat, or the attempt to make one.

    Attributes:
        lock: Serialises the socket's joins and leaves of the chat.
        callers: The number of joins and leaves that hold ``lock`` or wait for it.
        feed: The retained feed while the socket is in the room, else None.
        complete_after: The connection has received every event after this seq, unless the feed has resynced since.
        resyncs: The feed's count of resyncs when the socket entered the room.
        user_id: The member whose removal ends the subscription; None: authentication is off.
        stream: Whether the socket is also in the chat's room for streams.
    """

    socket: RoomSocket
    chat_id: str
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    callers: int = 0
    feed: ChatFeed | None = None
    complete_after: int = 0
    resyncs: int = 0
    user_id: str | None = None
    stream: bool = False


class Joins:
    """The chats that this gateway's sockets follow.

    Args:
        feeds: The feeds of these chats.
        admission: Decides on joins.
        options: Limits of joins.
        observers: Notified when a socket starts or stops following a chat, in the same loop turn.
    """

    def __init__(
        self,
        feeds: Feeds,
        admission: ChatAdmission,
        options: JoinOptions | None = None,
        observers: Sequence[FollowerObserver] = (),
    ) -> None:
        self._feeds = feeds
        self._admission = admission
        self._options = options or JoinOptions()
        self._observers = observers
        self._sockets: dict[str, dict[str, _ChatSubscription]] = {}

    async def join(
        self, socket: RoomSocket, chat_id: str, user_id: str | None, since: Cursor | None, *, stream: bool = False
    ) -> JoinChatAck:
        """Let a socket follow a chat. The caller must send the returned ack in the same loop turn.

        Joining again is harmless: events that were sent since the first join are not sent again, and ``stream`` applies
        from the ack on.

        Args:
            socket: The client.
            chat_id: The chat.
            user_id: The authenticated user; None: authentication is off.
            since: The client's cursor, after which events are replayed; None: no replay.
            stream: Whether the socket receives the chunks of answers, and ``ai-end`` in place of their ``new-msg``. A
                replay has the ``new-msg``.

        Raises:
            JoinRefused: the join failed; ``code`` says why.
        """
        followed = self._sockets.get(socket.sid, {})
        limit = self._options.max_chats_per_socket
        if chat_id not in followed and len(followed) >= limit:
            raise JoinRefused(ErrorCode.LIMIT_REACHED, f"one socket may follow {limit} chats: leave one first")
        began = time.perf_counter()
        try:
            subscription = self._reserve(socket, chat_id)
            try:
                async with subscription.lock:
                    ack = await self._join_or_refuse(subscription, user_id, since, stream=stream)
            finally:
                self._give_back(subscription)
        except JoinRefused as error:
            self._count(error.code.value, began)
            raise
        self._count("recovered" if ack.recovered else "not-recovered", began)
        return ack

    def _count(self, outcome: str, began: float) -> None:
        counters = self._feeds.counters
        counters.joins[outcome] += 1
        counters.join_s[outcome].observe(time.perf_counter() - began)

    async def leave(self, socket: RoomSocket, chat_id: str) -> None:
        """End a socket's subscription to a chat. Harmless if there is none."""
        if chat_id in self._sockets.get(socket.sid, {}):
            subscription = self._reserve(socket, chat_id)
            try:
                async with subscription.lock:
                    self._unfollow(subscription)
            finally:
                self._give_back(subscription)

    def check_stream(self, sid: str, chat_id: str) -> None:
        """Check that a socket may receive the chunks of a chat's answers now.

        Raises:
            Refused: ``forbidden``: it has not joined with ``stream``; ``unavailable``: memberships are being confirmed.
        """
        subscription = self._sockets.get(sid, {}).get(chat_id)
        if subscription is None or subscription.feed is None or not subscription.stream:
            raise Refused(ErrorCode.FORBIDDEN, "join the chat first, with {chatId, stream: true}")
        if subscription.feed.confirming:
            raise Refused(ErrorCode.UNAVAILABLE, "the members of the chat are being confirmed: try again soon")

    def drop(self, sid: str) -> None:
        """Forget a socket that has disconnected. Its joins in progress will be refused."""
        for subscription in self._sockets.pop(sid, {}).values():
            self._end(subscription)

    # --- the steps of a join

    async def _join_or_refuse(
        self, subscription: _ChatSubscription, user_id: str | None, since: Cursor | None, *, stream: bool
    ) -> JoinChatAck:
        try:
            return await self._join(subscription, user_id, since, stream=stream)
        except AdmissionDenied:
            self._unfollow(subscription)
            message = "there is no such chat, or you are not a member of it"
            raise JoinRefused(ErrorCode.FORBIDDEN, message) from None
        except RoomLimitExceeded as error:
            raise JoinRefused(ErrorCode.LIMIT_REACHED, str(error)) from None
        except (ApiUnavailable, LogUnavailable, FeedBehind, EpochDiffers, AdmissionOutdated) as error:
            message = "the chat cannot be joined at the moment: try again soon"
            raise JoinRefused(ErrorCode.UNAVAILABLE, message) from error

    async def _join(
        self, subscription: _ChatSubscription, user_id: str | None, since: Cursor | None, *, stream: bool
    ) -> JoinChatAck:
        admission = await self._admission.admit(subscription.chat_id, user_id, since)
        feed = await self._feeds.acquire(subscription.chat_id)
        try:
            admission = await self._catch_up(feed, admission, user_id, since)
            if subscription.feed is not None:
                position = self._final_check(subscription, feed, admission)
                _enter_rooms(subscription, stream=stream)
                return _repeated_ack(subscription, feed, position, admission, since)
            replay = await self._replay(feed, admission, user_id, since)
            # There must be no await from here to the ack.
            position = self._final_check(subscription, feed, admission)
            _enter_rooms(subscription, stream=stream)
            self._follow(subscription, feed, position, since, replay)
        finally:
            self._feeds.release(feed)
        if user_id is not None:
            self._watch_membership(subscription, user_id, admission)
        for observer in self._observers:
            observer.entered(subscription.socket, subscription.chat_id)
        return _ack(feed, position, admission, recovered=replay is not None)

    async def _catch_up(
        self, feed: ChatFeed, admission: Admission, user_id: str | None, since: Cursor | None
    ) -> Admission:
        """Wait until the feed has reached the admission's head. Return the admission for the feed's epoch."""
        try:
            await feed.wait_for(admission.head)
        except EpochDiffers:
            # A new epoch may have begun between the API's answer and the read of the log.
            admission = await self._admission.admit(feed.chat_id, user_id, since)
            await feed.wait_for(admission.head)
        return admission

    async def _replay(
        self, feed: ChatFeed, admission: Admission, user_id: str | None, since: Cursor | None
    ) -> list[LogEntry] | None:
        """Read the events that the client missed; None: a complete replay is impossible.

        With authentication this also reads the events after the admission, which may include the user's removal.

        Raises:
            AdmissionOutdated: the user was removed after the admission.
            FeedBehind: the events after the admission cannot be read.
        """
        wanted = None if since is None or admission.reset else since.seq
        checked = None if user_id is None else admission.head.seq
        if wanted is not None:
            entries = await feed.replay(wanted if checked is None else min(wanted, checked), self._options.replay)
            if entries is not None:
                self._check_removals(feed.chat_id, user_id, entries, checked)
                return [entry for entry in entries if entry.seq > wanted]
        if checked is not None:
            entries = await feed.replay(checked, self._options.replay)
            if entries is None:
                raise FeedBehind
            self._check_removals(feed.chat_id, user_id, entries, checked)
        return [] if since is None and not admission.reset else None

    def _check_removals(
        self, chat_id: str, user_id: str | None, entries: Sequence[LogEntry], after: int | None
    ) -> None:
        if user_id is None or after is None:
            return
        later = (entry.args for entry in entries if entry.seq > after)
        if any(removed_user(chat_id, args) == user_id or is_deletion(args) for args in later):
            self._admission.revoke(chat_id, user_id)
            # The user may have been added again since then: the client retries, and only the API can admit it.
            raise AdmissionOutdated

    def _final_check(self, subscription: _ChatSubscription, feed: ChatFeed, admission: Admission) -> Head:
        """Return the feed's position; fail if the epoch has changed or the socket has disconnected."""
        position = feed.position
        if position is None or position.epoch != admission.head.epoch:
            raise EpochDiffers
        if not subscription.socket.connected or not self._is_current(subscription):
            raise JoinRefused(ErrorCode.UNAVAILABLE, "the connection has ended")
        return position

    def _follow(
        self,
        subscription: _ChatSubscription,
        feed: ChatFeed,
        position: Head,
        since: Cursor | None,
        replay: list[LogEntry] | None,
    ) -> None:
        """Send the replay, and hold the feed."""
        for entry in replay or ():
            subscription.socket.send(feed.encoded(entry))
        self._feeds.counters.replayed += len(replay or ())
        self._feeds.retain(feed)
        subscription.feed = feed
        subscription.resyncs = feed.resyncs
        subscription.complete_after = position.seq if since is None or replay is None else since.seq

    def _watch_membership(self, subscription: _ChatSubscription, user_id: str, admission: Admission) -> None:
        """End the subscription when the user is removed from the chat."""
        chat_id = subscription.chat_id
        memberships = self._feeds.memberships
        subscription.user_id = user_id
        memberships.add(chat_id, user_id, subscription.socket.sid, partial(self._kick, subscription))
        memberships.set_silent(chat_id, user_id, admission.silent_until)

    # --- subscriptions

    def _reserve(self, socket: RoomSocket, chat_id: str) -> _ChatSubscription:
        """The socket's subscription to the chat, kept until `_give_back`. Change it with its lock only."""
        subscriptions = self._sockets.setdefault(socket.sid, {})
        subscription = subscriptions.get(chat_id)
        if subscription is None:
            subscription = subscriptions[chat_id] = _ChatSubscription(socket, chat_id)
        subscription.callers += 1
        return subscription

    def _give_back(self, subscription: _ChatSubscription) -> None:
        subscription.callers -= 1
        self._discard_if_unused(subscription)

    def _is_current(self, subscription: _ChatSubscription) -> bool:
        """Whether the subscription is still in use: false once `drop` was called for its socket."""
        return self._sockets.get(subscription.socket.sid, {}).get(subscription.chat_id) is subscription

    def _discard_if_unused(self, subscription: _ChatSubscription) -> None:
        if subscription.callers or subscription.feed is not None or not self._is_current(subscription):
            return
        subscriptions = self._sockets[subscription.socket.sid]
        del subscriptions[subscription.chat_id]
        if not subscriptions:
            del self._sockets[subscription.socket.sid]

    def _kick(self, subscription: _ChatSubscription) -> None:
        """Take the socket out of the rooms, since its user is no longer a member."""
        self._unfollow(subscription)
        self._discard_if_unused(subscription)

    def _unfollow(self, subscription: _ChatSubscription) -> None:
        if subscription.feed is not None:
            _leave_rooms(subscription)
            self._end(subscription)

    def _end(self, subscription: _ChatSubscription) -> None:
        """Release the feed, discard the membership and notify the observers. The socket stays in the rooms."""
        if subscription.feed is None:
            return
        sid, chat_id = subscription.socket.sid, subscription.chat_id
        if subscription.user_id is not None:
            self._feeds.memberships.discard(chat_id, subscription.user_id, sid)
            subscription.user_id = None
        self._feeds.release(subscription.feed)
        subscription.feed = None
        for observer in self._observers:
            observer.left(sid, chat_id)


def _enter_rooms(subscription: _ChatSubscription, *, stream: bool) -> None:
    """Put the socket into the chat's room and, if ``stream``, also into its room for streams.

    Raises:
        RoomLimitExceeded: nothing has changed.
    """
    socket, chat_id = subscription.socket, subscription.chat_id
    socket.join(chat_room(chat_id))
    if stream:
        try:
            socket.join(stream_room(chat_id))
        except RoomLimitExceeded:
            if subscription.feed is None:
                socket.leave(chat_room(chat_id))
            raise
    else:
        socket.leave(stream_room(chat_id))
    subscription.stream = stream


def _leave_rooms(subscription: _ChatSubscription) -> None:
    for room in (chat_room(subscription.chat_id), stream_room(subscription.chat_id)):
        subscription.socket.leave(room)
    subscription.stream = False


def _repeated_ack(
    subscription: _ChatSubscription, feed: ChatFeed, position: Head, admission: Admission, since: Cursor | None
) -> JoinChatAck:
    """The ack for a socket that is already in the room, and has received every event since it entered."""
    resynced = feed.resyncs != subscription.resyncs
    complete_after = feed.complete_after if resynced else subscription.complete_after
    recovered = not admission.reset and (since is None or since.seq >= complete_after)
    return _ack(feed, position, admission, recovered=recovered)


def _ack(feed: ChatFeed, position: Head, admission: Admission, *, recovered: bool) -> JoinChatAck:
    return JoinChatAck(
        chat_id=feed.chat_id, epoch=position.epoch, seq=position.seq, recovered=recovered, reset=admission.reset
    )
