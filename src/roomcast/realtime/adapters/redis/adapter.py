"""`RedisAdapter`: connects this server to a cluster of Node servers, emitters, and other servers of this package.

Layer: realtime. Source: @socket.io/redis-adapter 8.3. The module `protocol` defines the bytes.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import string
from collections.abc import Callable, Collection
from functools import partial
from itertools import chain
from typing import Any, ClassVar, Final, TypeAlias

from roomcast.backoff import Backoff, jittered
from roomcast.realtime.adapters.redis.connection_pair import Channels, ConnectionPair, Link, Subscriptions
from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.errors import MalformedMessage
from roomcast.realtime.adapters.redis.messages.protocol import (
    NamespaceChannels,
    decode_broadcast,
    decode_request,
    encode_command,
    room_of,
)
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions
from roomcast.realtime.adapters.redis.publish_queue import PublishQueue
from roomcast.realtime.adapters.redis.queries import ClassicProtocol, QueryProtocol, QuerySender
from roomcast.realtime.adapters.redis.requests import RequestHandler
from roomcast.realtime.adapters.redis.slot_link import SlotLink
from roomcast.realtime.cluster.commands import BroadcastWithAck, Command, Gatherer, Node, Query
from roomcast.redis_client import Commands, Outcome, RedisAddress, RedisOptions, RedisUnavailable, pack_command
from roomcast.wire.errors import EncodeError
from roomcast.wire.socketio import DEFAULT_NAMESPACE

logger = logging.getLogger(__name__)

_UID_LETTERS: Final = string.ascii_letters + string.digits
_UID_LENGTH: Final = 6

#: Handles a message: the name of its channel, and its bytes.
Taker: TypeAlias = Callable[[str, bytes], None]


class RedisAdapter:
    """`cluster.commands.Adapter` over Redis pub/sub.

    While Redis is unreachable, commands wait in a queue that `RedisAdapterOptions` limits in bytes and seconds.
    Commands that were in flight when the connection broke are lost, and so are messages that other servers published
    while it was down: delivery is at most once, as with Node's adapter. The adapter reconnects and resubscribes by
    itself, and is `ready` only when Redis has confirmed every subscription.

    Args:
        redis: How to connect to Redis. In a Redis Cluster the addresses are tried in the given order; any node works,
            since the cluster forwards the messages of classic channels to all of its nodes.
        options: Limits and channel prefix.

    Attributes:
        counters: Totals for the metrics.
        uid: This server's id in the cluster: six characters, as in Node.
    """

    _publish_verb: ClassVar = "PUBLISH"
    #: Whether, in a Redis Cluster, each channel and key is used on the server that owns its slot.
    _follows_slots: ClassVar = False

    def __init__(self, redis: RedisOptions | None = None, options: RedisAdapterOptions | None = None) -> None:
        self._redis = RedisOptions() if redis is None else redis
        self._options = RedisAdapterOptions() if options is None else options
        self.counters = RedisAdapterCounters()
        self.uid = "".join(secrets.choice(_UID_LETTERS) for _ in range(_UID_LENGTH))
        # The beginnings of a broadcast and of a request of this server, which Redis delivers to it as well.
        self._own = (b"\x93\xa6" + self.uid.encode(), b'{"uid":"' + self.uid.encode() + b'"')
        self._node: Node | None = None
        self._requests: RequestHandler | None = None
        self._channels: dict[str, Channels] = {}
        self._routes: dict[bytes, Taker] = {}
        self._queue = PublishQueue(self._options, self.counters)
        self._flushing = False
        self._queries = self._new_queries()
        self._commands: Commands | None = None
        self._pair: Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._outcome = Outcome("adapter", "connecting again, without the other servers until then")

    def _new_queries(self) -> QuerySender:
        return QuerySender(self.uid, self._protocol(), self._send_query, self._list_channels, self._options)

    def _protocol(self) -> QueryProtocol:
        return ClassicProtocol(self._options.key, self.uid)

    # -- cluster.commands.Adapter --------------------------------------------------------------------------------------

    @property
    def alone(self) -> bool:
        """See `cluster.commands.Adapter`."""
        return False

    @property
    def ready(self) -> bool:
        """Whether the adapter is connected and every subscription is confirmed."""
        return self._pair is not None and self._pair.alive

    @property
    def healthy(self) -> bool:
        """Whether the adapter is ready and its connections passed a probe recently."""
        if self._pair is None or not self._pair.alive:
            return False
        limit_s = self._redis.probe_interval_s + self._redis.probe_timeout_s
        return asyncio.get_running_loop().time() - self._pair.proven_at <= limit_s

    def bind(self, node: Node) -> None:
        """See `cluster.commands.Adapter`."""
        self._node = node
        self._requests = RequestHandler(node, self._send, self._options, self.counters, self._queue.room)

    async def start(self) -> None:
        """See `Adapter`. Returns without a connection after the time limit of two connection attempts."""
        if self._node is None:
            raise RuntimeError("the adapter has no server: pass it to Server(adapter=...) before it starts")
        if self._task is None:
            for namespace in {DEFAULT_NAMESPACE, *self._node.namespaces()}:
                self._add(namespace)
            self._task = asyncio.create_task(self._run(), name="redis-adapter")
        try:
            async with asyncio.timeout(2 * self._redis.connect_timeout_s):
                await self._ready.wait()
        except TimeoutError:
            logger.warning("no connection to Redis yet, starting without the other servers")

    async def stop(self) -> None:
        """See `cluster.commands.Adapter`. If the adapter is connected, waiting commands are written first."""
        task, self._task = self._task, None
        if task is None:
            return
        await self._queries.stop()  # first: a listing in flight has a connection of the task
        task.cancel()
        await asyncio.wait({task})
        self._ready.clear()
        pair, self._pair = self._pair, None
        if pair is not None:
            pair.flush(self._queue)
            await pair.close()
        self._queue.clear()
        self._channels.clear()
        self._routes.clear()
        if self._requests is not None:
            self._requests.stop()

    def serve(self, namespace: str) -> None:
        """See `cluster.commands.Adapter`."""
        if self._task is not None and namespace not in self._channels:
            channels = self._add(namespace)
            if self._pair is not None:
                self._pair.subscribe(channels.subscriptions())

    def unserve(self, namespace: str) -> None:
        """See `cluster.commands.Adapter`."""
        if self._node is None or namespace == DEFAULT_NAMESPACE or namespace in self._node.namespaces():
            return
        channels = self._channels.pop(namespace, None)
        if channels is not None:
            subscriptions = channels.subscriptions()
            for name in chain.from_iterable(subscriptions.values()):
                self._routes.pop(_encoded(name), None)
            if self._pair is not None:
                self._pair.unsubscribe(subscriptions)

    def publish(self, command: Command) -> None:
        """See `cluster.commands.Adapter`."""
        if self._task is None:
            return
        try:
            encoded = encode_command(self._options.key, self.uid, command)
        except EncodeError as error:
            self.counters.drop("unpackable", str(error))
            return
        if encoded is not None:
            self._send(*encoded)

    def request(self, query: Query, gatherer: Gatherer) -> None:
        """See `cluster.commands.Adapter`. Fails at once while Redis is unreachable, unless it may be ``queued``."""
        if self._task is None:
            gatherer.expect(())
        elif not self.ready and not (isinstance(query, BroadcastWithAck) and query.queued):
            gatherer.unsent("the adapter is not connected to Redis")
        elif query.namespace not in self._channels:
            gatherer.unsent(f"this server does not serve {query.namespace!r}: list it in ServerOptions.namespaces")
        else:
            self._queries.start(query, gatherer)

    def forget(self, gatherer: Gatherer) -> None:
        """See `cluster.commands.Adapter`."""
        self._queries.forget(gatherer)

    # -- out ----------------------------------------------------------------------------------------------------------

    def _send(self, channel: str, data: bytes, reply: asyncio.Future[Any] | None = None) -> bool:
        if self._task is None:
            return False
        if len(data) > self._options.max_message_bytes:
            self.counters.drop("oversize", f"{len(data)} bytes")
            return False
        self._enqueue(pack_command((self._publish_verb, channel, data)), reply)
        return True

    def _send_query(self, channel: str, data: bytes, gatherer: Gatherer) -> bool:
        # In a Redis Cluster, servers on other nodes are not counted.
        if self._redis.cluster and self._publish_verb == "PUBLISH":
            return self._send(channel, data)
        # A subscription that is not confirmed yet may come after the query.
        receives_own = self._pair is not None and self._pair.settled
        reply = asyncio.get_running_loop().create_future()
        reply.add_done_callback(partial(_report_reached, gatherer, int(receives_own)))
        return self._send(channel, data, reply)

    def _enqueue(self, command: bytes, reply: asyncio.Future[Any] | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._queue.put(command, loop.time(), reply)
        if not self._flushing:
            # Flush at the end of this loop turn, so that the messages of one turn share a system call.
            self._flushing = True
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._pair is not None:
            self._pair.flush(self._queue)

    def _take_reply(self, reply: Any) -> None:
        """Handle the reply to a command of the queue."""

    async def _list_channels(self, pattern: str) -> frozenset[str]:
        # The queries of this loop turn are written before.
        self._flush()
        if self._commands is None or not self.ready:
            raise RedisUnavailable("not connected")
        sharded = self._publish_verb == "SPUBLISH"
        return await (self._commands.shard_channels if sharded else self._commands.channels)(pattern)

    # -- in -----------------------------------------------------------------------------------------------------------

    def _add(self, namespace: str) -> Channels:
        channels, takers = self._open(namespace)
        self._channels[namespace] = channels
        self._routes.update((_encoded(name), taker) for name, taker in takers.items())
        return channels

    def _open(self, namespace: str) -> tuple[Channels, dict[str, Taker]]:
        """The channels of a namespace, and what handles the messages of each subscription."""
        channels = NamespaceChannels.of(self._options.key, namespace, self.uid)
        return channels, {
            channels.pattern: partial(self._take_broadcast, channels),
            channels.requests: partial(self._take_request, channels),
            channels.responses: partial(self._take_response, channels),
            channels.own_responses: partial(self._take_own_response, channels),
        }

    def _probe_channel(self) -> str:
        return NamespaceChannels.of(self._options.key, DEFAULT_NAMESPACE, self.uid).own_responses

    def _take(self, message: list[bytes]) -> None:
        *_, name, data = message
        taker = self._routes.get(message[1])
        if taker is None or self._task is None:
            return  # just unsubscribed
        if self._is_own(data):
            self.counters.ignored += 1
            return
        try:
            taker(name.decode(errors="surrogatepass"), data)
        except (MalformedMessage, UnicodeDecodeError) as error:
            self.counters.drop("malformed", str(error))
        except Exception:
            # A bug here must not end the connection.
            logger.exception("handling a cluster message failed")

    def _is_own(self, data: bytes) -> bool:
        return data.startswith(self._own)

    def _take_broadcast(self, channels: NamespaceChannels, name: str, data: bytes) -> None:
        assert self._node is not None  # noqa: S101 - start needs it
        # Check the room before decoding: in a large cluster most broadcasts are for no socket of this server.
        broadcast = (
            decode_broadcast(channels.namespace, self.uid, data)
            if self._node.occupied(channels.namespace, room_of(channels, name))
            else None
        )
        if broadcast is None:
            self.counters.ignored += 1
        else:
            self.counters.received += 1
            self._node.apply_command(broadcast)

    def _take_request(self, channels: NamespaceChannels, _name: str, data: bytes) -> None:
        assert self._requests is not None  # noqa: S101 - start needs it
        request = decode_request(channels.namespace, data)
        if request is None:
            self.counters.drop("unknown-request")
        else:
            self._requests.handle(channels, self.uid, request)

    def _take_response(self, _channels: NamespaceChannels, _name: str, data: bytes) -> None:
        if self._queries.receive(data):
            self.counters.received += 1
        else:
            self.counters.ignored += 1

    def _take_own_response(self, channels: NamespaceChannels, name: str, data: bytes) -> None:
        # Node's option ``publishOnSpecificResponseChannel`` sends responses here.
        # A probe consists of hexadecimal digits; msgpack begins with a byte above them, too.
        if data[:1] >= b"{":
            self._take_response(channels, name, data)
        elif self._pair is not None:
            self._pair.receive_probe(data)

    # -- connections --------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        backoff = Backoff(self._redis.retry_min_s, self._redis.retry_max_s)
        commands = self._commands = Commands(self._redis)
        try:
            while True:
                try:
                    await self._connect_once(commands)
                    backoff.reset()
                except RedisUnavailable as error:
                    self._outcome.fail(error)
                except Exception:
                    # A bug here must not disconnect the server from the cluster for good.
                    logger.exception("adapter connection failed")
                await asyncio.sleep(backoff.next_s())
        finally:
            self._commands = None
            await commands.close()

    async def _connect_once(self, commands: Commands) -> None:
        """Connect, and probe the connections until they are lost.

        Raises:
            RedisUnavailable: the connections could not be opened, or were lost before the first successful probe.
        """
        subscribed = self._wanted()
        pair = await self._open_pair(commands, subscribed)
        # Namespaces and rooms may have come and gone while the pair was opened. No other code runs between this
        # comparison and the assignment to `_pair`, from which on each change is sent as it happens.
        wanted = self._wanted()
        pair.subscribe(_difference(wanted, subscribed))
        pair.unsubscribe(_difference(subscribed, wanted))
        self._pair = pair
        self._ready.set()
        self._flush()
        probed = False
        try:
            while (cause := await pair.wait_lost(jittered(self._redis.probe_interval_s))) is None:
                await pair.probe(self._publish_verb, self._probe_channel(), self._redis.probe_timeout_s)
                # After a network partition, a former master may still answer.
                if (
                    self._redis.sentinel_master is not None
                    and pair.alive
                    and not await commands.is_master(pair.address)
                ):
                    pair.abort("moved")
                if pair.alive:
                    probed = True
                    self._outcome.succeed()
        except asyncio.CancelledError:
            raise  # `stop` closes the pair
        except BaseException:
            pair.abort("closed")
            raise
        pair.abort(cause)
        self._pair = None
        self._ready.clear()
        self._queries.fail("the connection to Redis was lost")
        self.counters.losses[cause] += 1
        lost = RedisUnavailable(f"the connection to {pair.address} was lost: {cause}")
        self._outcome.fail(lost)
        if not probed:
            raise lost

    def _wanted(self) -> Subscriptions:
        wanted: dict[str, set[str]] = {}
        for channels in self._channels.values():
            for verb, names in channels.subscriptions().items():
                wanted.setdefault(verb, set()).update(names)
        return wanted

    async def _open_pair(self, commands: Commands, first: Subscriptions) -> Link:
        hooks = (self._take, self._flush, self._take_reply)
        if self._redis.cluster and self._follows_slots:
            verb = "SSUBSCRIBE" if self._publish_verb == "SPUBLISH" else "SUBSCRIBE"
            about = (self._redis, self._options, self.counters, self.uid, verb, self._outcome)
            link = SlotLink(commands, *about, first, *hooks)
            await link.open()
            return link
        addresses: Collection[RedisAddress] = self._redis.addresses
        if self._redis.sentinel_master is not None:
            addresses = (await commands.topology()).masters
        causes = []
        for address in addresses:
            pair = ConnectionPair(address, self._options, self.counters, first, *hooks)
            try:
                await pair.open(self._redis)
            except RedisUnavailable as error:
                causes.append(str(error))
            else:
                return pair
        raise RedisUnavailable("; ".join(causes))


def _difference(one: Subscriptions, other: Subscriptions) -> Subscriptions:
    return {verb: set(names).difference(other.get(verb, ())) for verb, names in one.items()}


def _report_reached(gatherer: Gatherer, own: int, reply: asyncio.Future[int]) -> None:
    """Handle the reply to the PUBLISH of a query: the number of its subscribers, this server included."""
    if not reply.cancelled():
        error = reply.exception()
        if error is None:
            gatherer.reached(reply.result() - own)
        else:
            gatherer.fail(f"the query was not sent: {error}")


def _encoded(name: str) -> bytes:
    return name.encode(errors="surrogatepass")
