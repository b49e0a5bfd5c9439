"""`RedisAdapter`: a server of ours in a cluster of Node's servers, emitters, and its like.

Layer: realtime. Source: @socket.io/redis-adapter 8.3 for the behaviour; `protocol` for the bytes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import string
from collections.abc import Callable
from typing import Final

from roomcast.realtime.adapters.redis.answering import Answering
from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.errors import MalformedMessage, RedisUnavailable
from roomcast.realtime.adapters.redis.link import Link, packed
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions
from roomcast.realtime.adapters.redis.protocol import (
    Channels,
    decode_broadcast,
    decode_request,
    encode_command,
    room_of,
)
from roomcast.realtime.adapters.redis.session import Outbox, Session, locate, open_session
from roomcast.realtime.core.cluster import Command, Node
from roomcast.wire.errors import EncodeError
from roomcast.wire.socketio import DEFAULT_NAMESPACE

logger = logging.getLogger(__name__)

_UID_LETTERS: Final = string.ascii_letters + string.digits
_UID_LENGTH: Final = 6
# Pauses and periods are drawn between these shares, so that servers do not act in step.
_JITTER: Final = (0.5, 1.0)
_MAX_DOUBLINGS: Final = 16
# Refusals that the next connection may not meet: the server is another one, or is becoming one.
_PASSING_REFUSALS: Final = ("READONLY", "LOADING", "NOAUTH", "MASTERDOWN", "UNBLOCKED")


class RedisAdapter:
    """Behind `adapters.Adapter`, over Redis pub/sub.

    While Redis is away commands wait, bounded in bytes and seconds (`RedisAdapterOptions`); what was written when the
    connection broke, and what others published meanwhile, is lost. That is at most once, as with Node's adapter:
    what must not be lost has its own log. It reconnects by itself, subscribes to everything again, and is `ready` only
    when Redis has confirmed that.

    Args:
        options: Where Redis is; a local one if None.

    Attributes:
        counters: What it has seen.
        uid: This server's name on the bus, six characters as Node's.
    """

    def __init__(self, options: RedisAdapterOptions | None = None) -> None:
        self._options = RedisAdapterOptions() if options is None else options
        self.counters = RedisAdapterCounters()
        self.uid = "".join(secrets.choice(_UID_LETTERS) for _ in range(_UID_LENGTH))
        # How a broadcast and a request of our own begin; no other message of ours is of use to us.
        self._own = (b"\x93\xa6" + self.uid.encode(), b'{"uid":"' + self.uid.encode() + b'"')
        self._node: Node | None = None
        self._answering: Answering | None = None
        self._channels: dict[str, Channels] = {}
        self._routes: dict[bytes, tuple[Callable[[Channels, str, bytes], None], Channels]] = {}
        self._outbox = Outbox(self._options, self.counters)
        self._flushing = False
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    # -- adapters.Adapter ---------------------------------------------------------------------------------------------

    @property
    def alone(self) -> bool:
        """See `adapters.Adapter`."""
        return False

    @property
    def ready(self) -> bool:
        """Whether it is connected and every subscription is confirmed."""
        return self._session is not None and self._session.alive

    @property
    def healthy(self) -> bool:
        """Whether it is ready and a message of its own came round of late."""
        if self._session is None or not self._session.alive:
            return False
        limit_s = self._options.probe_interval_s + self._options.probe_timeout_s
        return asyncio.get_running_loop().time() - self._session.proven_at <= limit_s

    def bind(self, node: Node) -> None:
        """See `adapters.Adapter`."""
        self._node = node
        self._answering = Answering(node, self._send, self._options, self.counters)

    async def start(self) -> None:
        """See `adapters.Adapter`. Waits for Redis, at most ``connect_timeout_s``: then it goes on trying behind."""
        if self._node is None:
            raise RuntimeError("give the adapter to a server first")
        if self._task is None:
            for namespace in {DEFAULT_NAMESPACE, *self._node.namespaces()}:
                self._add(namespace)
            self._task = asyncio.create_task(self._run(), name="redis-adapter")
        try:
            async with asyncio.timeout(self._options.connect_timeout_s):
                await self._ready.wait()
        except TimeoutError:
            logger.warning("the other servers are out of reach: Redis does not answer; trying on")

    async def stop(self) -> None:
        """See `adapters.Adapter`. What was published before is written first."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait({task})
        self._ready.clear()
        session, self._session = self._session, None
        if session is not None:
            session.flush(self._outbox)
            await session.close()
        self._outbox.clear()
        self._channels.clear()
        self._routes.clear()
        if self._answering is not None:
            self._answering.stop()

    def serve(self, namespace: str) -> None:
        """See `adapters.Adapter`."""
        if self._task is not None and namespace not in self._channels:
            channels = self._add(namespace)
            if self._session is not None:
                self._session.subscribe([channels])

    def unserve(self, namespace: str) -> None:
        """See `adapters.Adapter`."""
        if self._node is None or namespace == DEFAULT_NAMESPACE or namespace in self._node.namespaces():
            return
        channels = self._channels.pop(namespace, None)
        if channels is not None:
            for name in _names(channels):
                self._routes.pop(name, None)
            if self._session is not None:
                self._session.unsubscribe([channels])

    def publish(self, command: Command) -> None:
        """See `adapters.Adapter`."""
        if self._task is None:
            return
        try:
            encoded = encode_command(self._options.key, self.uid, command)
        except EncodeError as error:
            self.counters.drop("unpackable", str(error))
            return
        if encoded is not None:
            self._send(*encoded)

    # -- out ----------------------------------------------------------------------------------------------------------

    def _send(self, channel: str, data: bytes) -> None:
        if self._task is None:
            return
        if len(data) > self._options.max_message_bytes:
            self.counters.drop("oversize", f"{len(data)} bytes")
            return
        loop = asyncio.get_running_loop()
        self._outbox.put(packed(("PUBLISH", channel, data)), loop.time())
        if not self._flushing:
            # At the end of this loop turn: what one turn publishes shares a system call.
            self._flushing = True
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._session is not None:
            self._session.flush(self._outbox)

    def _refused(self, link: Link, reason: str) -> None:
        self.counters.drop("refused", reason)
        if reason.startswith(_PASSING_REFUSALS):
            link.abort("refused")

    # -- in -----------------------------------------------------------------------------------------------------------

    def _add(self, namespace: str) -> Channels:
        channels = self._channels[namespace] = Channels.of(self._options.key, namespace, self.uid)
        takers = (self._take_broadcast, self._take_request, self._take_response, self._take_own_response)
        for name, taker in zip(_names(channels), takers, strict=True):
            self._routes[name] = (taker, channels)
        return channels

    def _take(self, message: list[bytes]) -> None:
        *_, name, data = message
        route = self._routes.get(message[1])
        if route is None or self._task is None:
            return  # unsubscribed a moment ago
        if data.startswith(self._own):
            self.counters.ignored += 1
            return
        try:
            taker, channels = route
            taker(channels, name.decode(errors="surrogatepass"), data)
        except (MalformedMessage, UnicodeDecodeError) as error:
            self.counters.drop("malformed", str(error))
        except Exception:
            # A bug here must not make the server deaf.
            logger.exception("a message between servers could not be handled")

    def _take_broadcast(self, channels: Channels, name: str, data: bytes) -> None:
        assert self._node is not None  # noqa: S101 - start needs it
        # Before anything is decoded: most messages of a large cluster are for others.
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

    def _take_request(self, channels: Channels, _name: str, data: bytes) -> None:
        assert self._answering is not None  # noqa: S101 - start needs it
        request = decode_request(channels.namespace, data)
        if request is None:
            self.counters.drop("unknown-request")
        else:
            self._answering.take(channels, self.uid, request)

    def _take_response(self, _channels: Channels, _name: str, _data: bytes) -> None:
        # We ask nothing yet: these are answers to others.
        self.counters.ignored += 1

    def _take_own_response(self, _channels: Channels, _name: str, data: bytes) -> None:
        if self._session is not None:
            self._session.hear(data)

    # -- connections --------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        troubles = 0
        while True:
            try:
                await self._live()
                troubles = 0
            except RedisUnavailable as error:
                troubles += 1
                if troubles & (troubles - 1) == 0:
                    logger.warning("the other servers are out of reach: %s", error, extra={"attempts": troubles})
            except Exception:
                # A bug here must not leave the server deaf for good.
                logger.exception("the adapter's connections failed")
                troubles += 1
            longest_s = self._options.retry_min_s * 2 ** min(max(troubles - 1, 0), _MAX_DOUBLINGS)
            await asyncio.sleep(min(longest_s, self._options.retry_max_s) * random.uniform(*_JITTER))  # noqa: S311 - jitter

    async def _live(self) -> None:
        """Connect, and see to it that the connections are well, until they are not.

        Raises:
            RedisUnavailable: they could not be made, or were lost before they proved any good.
        """
        asked = dict(self._channels)
        session = await open_session(
            self._options, self.counters, list(asked.values()), self._take, self._refused, self._flush
        )
        # What came and went while Redis was asked.
        session.subscribe([channels for name, channels in self._channels.items() if name not in asked])
        session.unsubscribe([channels for name, channels in asked.items() if name not in self._channels])
        self._session = session
        self._ready.set()
        self._flush()
        proofs = 0
        try:
            while (cause := await session.lost(self._options.probe_interval_s * random.uniform(*_JITTER))) is None:  # noqa: S311 - jitter
                await session.prove(Channels.of(self._options.key, DEFAULT_NAMESPACE, self.uid).own_responses)
                await self._check_master(session)
                proofs += session.alive
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                session.abort("closed")
            raise
        session.abort(cause)
        self._session = None
        self._ready.clear()
        self.counters.losses[cause] += 1
        logger.warning("the connection to the other servers was lost: %s", cause)
        if not proofs:
            raise RedisUnavailable(f"lost soon after it was made: {cause}")

    async def _check_master(self, session: Session) -> None:
        """Leave a master that the sentinels have replaced; a partition can keep it answering us."""
        if self._options.sentinel_master is None or not session.alive:
            return
        try:
            (address,) = await locate(self._options)
        except RedisUnavailable as error:
            logger.info("the sentinels cannot be asked, the master answers: %s", error)
            return
        if address != session.address:
            session.abort("moved")


def _names(channels: Channels) -> tuple[bytes, bytes, bytes, bytes]:
    names = (channels.pattern, channels.requests, channels.responses, channels.own_responses)
    one, two, three, four = [name.encode(errors="surrogatepass") for name in names]
    return one, two, three, four
