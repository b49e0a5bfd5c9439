"""`RedisStreamsAdapter`: Node's adapter over a stream, with which clients can return to any server of the cluster.

Commands are entries of one stream, which each server reads: none is lost while a connection is down, unless the stream
is trimmed meanwhile. Queries and their answers travel over pub/sub.

Layer: realtime. Source: @socket.io/redis-streams-adapter 0.3.1.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

from roomcast.backoff import Backoff
from roomcast.realtime.adapters.redis.adapter import Taker
from roomcast.realtime.adapters.redis.cluster_adapter import ClusterAdapter
from roomcast.realtime.adapters.redis.connection_pair import Channels, Link, Subscriptions
from roomcast.realtime.adapters.redis.errors import MalformedMessage
from roomcast.realtime.adapters.redis.messages.cluster_messages import (
    ClusterMessage,
    ClusterQuery,
    MessageType,
    message_of,
    new_uid,
    own_channel,
    shared_channel,
)
from roomcast.realtime.adapters.redis.messages.packing import pack
from roomcast.realtime.adapters.redis.messages.protocol import RemoteCommand
from roomcast.realtime.adapters.redis.messages.stream_entries import (
    decode_entry,
    decode_session,
    encode_entry,
    encode_session,
    parse_id,
)
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions, RedisStreamOptions
from roomcast.realtime.adapters.redis.queries import ClusterProtocol, QueryProtocol
from roomcast.realtime.adapters.redis.stream_reader import StreamReader
from roomcast.realtime.cluster.commands import (
    Broadcast,
    BroadcastWithAck,
    Command,
    Gatherer,
    Offset,
    OrderedNode,
    Query,
    ServerEvent,
)
from roomcast.redis_client import RedisOptions, RedisUnavailable, pack_command
from roomcast.wire.errors import EncodeError

logger = logging.getLogger(__name__)

# A server that has the connection of a session answers at once; it saves the session when its handlers have ended.
_HELD_LIMIT_S: Final = 0.3
_SAVED_LIMIT_S: Final = 5.0
# The other server saves it on a connection of its own, and sends no message about that.
_POLL_S: Final = 0.05
# A query that waits longer is not answered: its server has stopped to wait.
_EARLY_LIMIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _StreamChannels:
    """The channels of one namespace, for queries and answers."""

    shared: str
    own: str

    def subscriptions(self) -> Subscriptions:
        """See `connection_pair.Channels`."""
        return {"SUBSCRIBE": (self.shared, self.own)}


@dataclass(frozen=True, slots=True)
class _EarlyQuery:
    """A query that has arrived before the commands that were published before it.

    Attributes:
        after: Offset of the last of them.
        namespace: Its namespace.
        content: The query.
        since: When it arrived, in seconds of the loop.
    """

    after: Offset
    namespace: str
    content: ClusterQuery
    since: float


class RedisStreamsAdapter(ClusterAdapter):
    """`cluster.commands.Adapter` and `OrderedAdapter` over a stream, beside ``@socket.io/redis-streams-adapter``.

    With the server's option ``recovery``, sessions are in Redis, and a client can return to any server.

    Args:
        redis: How to connect to Redis 6.2 or later: a single server, Sentinel, or Cluster.
        options: See `RedisAdapter`.
        stream: The stream. In a Redis Cluster it is on one of the masters.
    """

    _follows_slots: ClassVar = True

    def __init__(
        self,
        redis: RedisOptions | None = None,
        options: RedisAdapterOptions | None = None,
        stream: RedisStreamOptions | None = None,
    ) -> None:
        super().__init__(_encode, redis, options)
        # Of commands that this server has applied already, so that their entries have no effect here.
        self._applied_uid = new_uid()
        self._stream = RedisStreamOptions() if stream is None else stream
        self._ordered: OrderedNode | None = None
        self._history_s = 0.0
        self._reader = self._new_reader()
        self._reading: asyncio.Task[None] | None = None
        self._claims: dict[str, asyncio.Future[None]] = {}
        # Entries that were sent, and how many of them Redis had before the last one of its answers.
        self._sent_entries = self._confirmed_entries = 0
        self._last_entry: Offset | None = None
        self._last_entry_at = float("-inf")
        # Queries of this server that wait for that, and queries of others that wait for the reader.
        self._deferred: set[Gatherer] = set()
        self._early: deque[_EarlyQuery] = deque(maxlen=self._options.max_ack_requests)

    def _new_reader(self) -> StreamReader:
        return StreamReader(self._redis, self._stream, self, self.counters, lambda: self._history_s)

    # -- cluster.commands.Adapter --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """See `cluster.commands.Adapter`."""
        if self._reading is None and self._node is not None:
            self._reading = asyncio.create_task(self._follow(), name="redis-stream")
        await super().start()
        if self.ready:
            try:
                async with asyncio.timeout(self._redis.connect_timeout_s):
                    await self._reader.began.wait()
            except TimeoutError:
                logger.warning("the stream cannot be read yet, starting without the other servers")

    async def stop(self) -> None:
        """See `cluster.commands.Adapter`."""
        task, self._reading = self._reading, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await super().stop()
        # After another start, entries of this time are those of another server.
        self._reader = self._new_reader()
        self._deferred.clear()
        self._early.clear()
        self._last_entry = None
        self._rename()

    def _protocol(self) -> QueryProtocol:
        return ClusterProtocol(self._options.key, self.uid, _encode, self._after)

    def _after(self) -> Offset | None:
        # The others have read an older entry, or the stream has lost it.
        recent = asyncio.get_running_loop().time() - self._last_entry_at < _EARLY_LIMIT_S
        return self._last_entry if recent else None

    def request(self, query: Query, gatherer: Gatherer) -> None:
        """See `cluster.commands.Adapter`. Node's servers may answer before they have read the commands."""
        sent = self._sent_entries
        if isinstance(query, ServerEvent) or sent == self._confirmed_entries or not (self.ready or _queued(query)):
            super().request(query, gatherer)
            return
        # Redis answers in order, so the last entry is known when it has answered this.
        reply = asyncio.get_running_loop().create_future()
        reply.add_done_callback(partial(self._request_confirmed, query, gatherer, sent))
        self._deferred.add(gatherer)
        self._enqueue(pack_command(("XRANGE", self._stream.stream, "-", "-", "COUNT", "1")), reply)

    def _request_confirmed(self, query: Query, gatherer: Gatherer, sent: int, reply: asyncio.Future[Any]) -> None:
        error = None if reply.cancelled() else reply.exception()
        if gatherer not in self._deferred:
            return
        self._deferred.discard(gatherer)
        if error is None:
            self._confirmed_entries = max(sent, self._confirmed_entries)
        elif not _queued(query):
            gatherer.unsent(f"the query was not sent: {error}")
            return
        try:
            super().request(query, gatherer)
        except EncodeError as problem:
            gatherer.unsent(str(problem))

    def forget(self, gatherer: Gatherer) -> None:
        """See `cluster.commands.Adapter`."""
        self._deferred.discard(gatherer)
        super().forget(gatherer)

    def _take_reply(self, reply: Any) -> None:
        if isinstance(reply, bytes) and b"-" in reply:  # to XADD
            self._last_entry = parse_id(reply)
            self._last_entry_at = asyncio.get_running_loop().time()

    def publish(self, command: Command) -> None:
        """See `cluster.commands.Adapter`."""
        # An event between servers is no entry of the stream.
        self._add_entry(self.uid if isinstance(command, ServerEvent) else self._applied_uid, command)

    # -- commands.OrderedAdapter -------------------------------------------------------------------------------------

    def order(self, node: OrderedNode, history_s: float) -> None:
        """See `cluster.commands.OrderedAdapter`."""
        self._ordered = node
        self._history_s = history_s

    def publish_in_order(self, command: Command) -> None:
        """See `cluster.commands.OrderedAdapter`."""
        self._add_entry(self.uid, command)

    def save_session(self, pid: str, session: dict[str, Any], ttl_s: float) -> None:
        """See `cluster.commands.OrderedAdapter`."""
        stored = encode_session(session)
        self._enqueue(pack_command(("SET", self._session_key(pid), stored, "PX", str(int(ttl_s * 1_000)))))

    async def take_session(self, namespace: str, pid: str) -> dict[str, Any] | None:
        """See `cluster.commands.OrderedAdapter`."""
        if not self._reader.began.is_set():
            return None  # what the client has missed is not known yet
        try:
            session = await self._take_stored(pid)
            if session is None and pid not in self._claims:
                # Without an answer, too: the session may have been stored meanwhile.
                session = await self._take_released(pid, held=await self._claim(namespace, pid))
        except (RedisUnavailable, MalformedMessage) as error:
            logger.warning("a session cannot be read: %s", error)
            return None
        return session

    async def _take_stored(self, pid: str) -> dict[str, Any] | None:
        if self._commands is None:
            raise RedisUnavailable("not connected")
        stored = await self._commands.take(self._session_key(pid))
        return None if stored is None else decode_session(stored)

    async def _claim(self, namespace: str, pid: str) -> bool:
        """Ask the other servers to end the former connection; False: none has answered that it has it."""
        held = self._claims[pid] = asyncio.get_running_loop().create_future()
        try:
            message = ClusterMessage(MessageType.SESSION_CLAIM, {"pid": pid}, self.uid, namespace)
            self._send(shared_channel(self._options.key, namespace), _encode(message))
            await asyncio.wait({held}, timeout=_HELD_LIMIT_S)
        finally:
            del self._claims[pid]
        return held.done()

    async def _take_released(self, pid: str, *, held: bool) -> dict[str, Any] | None:
        loop = asyncio.get_running_loop()
        limit = loop.time() + (_SAVED_LIMIT_S if held else 0.0)
        while (session := await self._take_stored(pid)) is None and loop.time() < limit:  # noqa: ASYNC110 - see _POLL_S
            await asyncio.sleep(_POLL_S)
        return session

    def _session_key(self, pid: str) -> str:
        return self._stream.session_key_prefix + pid

    # -- out ----------------------------------------------------------------------------------------------------------

    def _add_entry(self, uid: str, command: Command) -> None:
        if self._task is None:
            return
        try:
            message = message_of(uid, command)
            if message is None:
                return
            if message.type is MessageType.SERVER_SIDE_EMIT:  # not repeated to a server that reads later
                self._send(shared_channel(self._options.key, message.namespace), _encode(message))
                return
            fields = encode_entry(message)
        except EncodeError as error:
            self.counters.drop("unpackable", str(error))
            return
        if len(fields[-1]) > self._options.max_message_bytes:
            self.counters.drop("oversize", f"{len(fields[-1])} bytes")
            return
        stream = self._stream
        self._sent_entries += 1
        self._enqueue(pack_command(("XADD", stream.stream, "MAXLEN", "~", str(stream.max_len), "*", *fields)))

    # -- in: the stream; `stream_reader.EntryTaker` -------------------------------------------------------------------

    async def _follow(self) -> None:
        backoff = Backoff(self._redis.retry_min_s, self._redis.retry_max_s)
        while True:
            try:
                await self._ready.wait()
                pair = self._pair
                if pair is not None:
                    await self._read_from(pair)
                    backoff.reset()
                    continue
            except RedisUnavailable as error:
                logger.info("reading the stream failed: %s", error)
            except Exception:
                # A bug here must not disconnect the server from the cluster for good.
                logger.exception("reading the stream failed")
            await asyncio.sleep(backoff.next_s())

    async def _read_from(self, pair: Link) -> None:
        """Read on the server of these connections, until they are replaced."""
        stream = self._stream.stream
        owner = pair.owner(stream)
        if owner is None:
            raise RedisUnavailable("no master owns the stream's slot")
        await self._reader.follow(owner, lambda: self._pair is pair and pair.owner(stream) == owner)

    def begin(self, offset: Offset, last: Offset, *, gap: bool) -> None:
        """See `stream_reader.EntryTaker`."""
        self._last_entry = None  # the stream may be another one
        if self._ordered is not None:
            self._ordered.begin(offset, last, gap=gap)
        self._answer_early()

    def take(self, offset: Offset, fields: Sequence[bytes], age_s: float | None) -> None:
        """See `stream_reader.EntryTaker`."""
        try:
            message = decode_entry(fields)
            content = None if message is None else message.content()
            if message is None or message.uid == self._applied_uid:
                self.counters.ignored += 1
            elif isinstance(content, RemoteCommand):
                self._apply(message, content.command, offset, age_s)
            elif isinstance(content, Broadcast):
                self._apply(message, content, offset, age_s)
            else:
                self.counters.drop("unknown-request")
        except MalformedMessage as error:
            self.counters.drop("malformed", str(error))
        except Exception:
            # A bug here must not end the reading.
            logger.exception("handling an entry of the stream failed")
        if self._early:
            self._answer_early()

    def _answer_early(self) -> None:
        """Answer the queries that have waited for what was read now."""
        limit = asyncio.get_running_loop().time() - _EARLY_LIMIT_S
        early, self._early = self._early, deque(maxlen=self._early.maxlen)
        for query in early:
            if query.after > self._reader.position:
                self._early.append(query)
            elif query.since >= limit:
                self._answer(query.namespace, query.content)

    def _apply(self, message: ClusterMessage, command: Command, offset: Offset, age_s: float | None) -> None:
        own = message.uid == self.uid
        if self._ordered is None:
            if self._node is not None and not own:
                self.counters.received += 1
                self._node.apply_command(command)
        elif age_s is not None and not own:
            self._ordered.remember(command, offset, age_s)
        else:
            self.counters.received += 1
            self._ordered.apply_in_order(command, offset, own=own)

    # -- in: pub/sub, for `RedisAdapter` ------------------------------------------------------------------------------

    def _open(self, namespace: str) -> tuple[Channels, dict[str, Taker]]:
        key = self._options.key
        channels = _StreamChannels(shared_channel(key, namespace), own_channel(key, namespace, self.uid))
        return channels, {
            channels.shared: partial(self._take_message, namespace),
            channels.own: partial(self._take_own, namespace),
        }

    def _is_own(self, _data: bytes) -> bool:
        return False  # few messages, and compared when they are decoded

    def _take_message(self, namespace: str, name: str, data: bytes) -> None:
        del name
        message = ClusterMessage.decode(data)
        if message is None or message.uid in {self.uid, self._applied_uid} or message.namespace != namespace:
            self.counters.ignored += 1
        elif message.type is MessageType.SESSION_CLAIM:
            self._release(message)
        elif message.type is MessageType.SESSION_HELD:
            held = self._claims.get(str(message.data.get("pid")))
            if held is not None and not held.done():
                held.set_result(None)
        elif message.is_response:
            self._receive_response(message, len(data))
        else:
            self.counters.received += 1
            content = message.content()
            if content is None or isinstance(content, Broadcast | RemoteCommand):
                return
            after = message.after
            if after is None or after <= self._reader.position:
                self._answer(namespace, content)
            else:
                self._early.append(_EarlyQuery(after, namespace, content, asyncio.get_running_loop().time()))

    def _release(self, message: ClusterMessage) -> None:
        pid = message.data.get("pid")
        ordered = self._ordered
        if ordered is not None and isinstance(pid, str) and ordered.release_session(message.namespace, pid):
            held = ClusterMessage(MessageType.SESSION_HELD, {"pid": pid}, self.uid, message.namespace)
            self._respond(message.uid, held)


def _queued(query: Query) -> bool:
    return isinstance(query, BroadcastWithAck) and query.queued


def _encode(message: ClusterMessage) -> bytes:
    return pack(message.fields)
