"""One pair of connections to one Redis, from dialling to loss: one publishes, one is subscribed.

A pair lives and dies together, so that what is published goes to the server where we listen: after a failover one of
them alone could stay behind.

Layer: realtime. Source: Redis documentation, "Pub/Sub", "Guidelines for Redis clients with support for Sentinel".
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.errors import RedisUnavailable
from roomcast.realtime.adapters.redis.link import Link, dial, login, packed
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions
from roomcast.realtime.adapters.redis.protocol import Channels
from roomcast.redis_client import first_done

logger = logging.getLogger(__name__)

# A command with more channels would hold Redis's one thread for long; parsing goes on between commands.
_NAMES_PER_COMMAND = 256
_WRITE_BYTES = 65_536
_CLOSE_LIMIT_S = 1.0

Address = tuple[str, int]


class Outbox:
    """What waits to be published: bounded in bytes and in time, the oldest dropped first.

    Args:
        options: The bounds.
        counters: Count what is dropped.
    """

    def __init__(self, options: RedisAdapterOptions, counters: RedisAdapterCounters) -> None:
        self._options = options
        self._counters = counters
        self._waiting: deque[tuple[float, bytes]] = deque()
        self.size_bytes = 0

    def __len__(self) -> int:
        """Messages that wait."""
        return len(self._waiting)

    def put(self, command: bytes, now: float) -> None:
        """Add a packed command.

        Args:
            command: As RESP.
            now: Monotonic seconds.
        """
        self._waiting.append((now, command))
        self.size_bytes += len(command)
        while self.size_bytes > self._options.queue_limit_bytes and len(self._waiting) > 1:
            self._pop()
            self._counters.drop("queue-full")

    def take(self, now: float) -> list[bytes]:
        """The commands of the next write; empty if nothing waits."""
        taken: list[bytes] = []
        size = 0
        while self._waiting and size < _WRITE_BYTES:
            since, command = self._pop()
            if now - since > self._options.queue_limit_s:
                self._counters.drop("stale")
                continue
            taken.append(command)
            size += len(command)
        return taken

    def clear(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        self.size_bytes = 0

    def _pop(self) -> tuple[float, bytes]:
        since, command = self._waiting.popleft()
        self.size_bytes -= len(command)
        return since, command


class Session:
    """The pair. Make it with `open_session`.

    Attributes:
        address: Where it leads.
        proven_at: Loop time of the latest proof that a message goes round.
    """

    def __init__(
        self,
        address: Address,
        publisher: Link,
        subscriber: Link,
        options: RedisAdapterOptions,
        counters: RedisAdapterCounters,
    ) -> None:
        self.address = address
        self.proven_at = asyncio.get_running_loop().time()
        self._publisher = publisher
        self._subscriber = subscriber
        self._options = options
        self._counters = counters
        self._nonce = b""
        self._heard: asyncio.Future[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether both connections stand."""
        return self._publisher.alive and self._subscriber.alive

    def flush(self, outbox: Outbox) -> None:
        """Write what waits, as far as Redis takes it."""
        now = asyncio.get_running_loop().time()
        while self.alive and not self._publisher.paused and (commands := outbox.take(now)):
            self._publisher.tell(commands)
            self._counters.published += len(commands)

    def subscribe(self, channels: Sequence[Channels]) -> None:
        """Hear these namespaces, soon; Redis confirms in order."""
        self._subscriber.write(_subscriptions(channels, ""))

    def unsubscribe(self, channels: Sequence[Channels]) -> None:
        """Hear them no more."""
        self._subscriber.write(_subscriptions(channels, "UN"))

    async def confirmed(self) -> None:
        """Return when every subscription that was asked for stands.

        Raises:
            RedisUnavailable: Redis refused one, or the connection is gone.
        """
        await self._subscriber.ask("PING")
        await self._publisher.ask("PING")

    async def lost(self, within_s: float) -> str | None:
        """The cause of the end; None if both connections still stand after so many seconds."""
        ends = {self._publisher.lost, self._subscriber.lost}
        done, _ = await asyncio.wait(ends, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        return next((end.result() for end in done if end.result() != "closed"), "closed") if done else None

    async def prove(self, channel: str) -> None:
        """Send a message round; a pair that does not carry it is cut.

        Args:
            channel: One that we alone are subscribed to.
        """
        loop = asyncio.get_running_loop()
        self._nonce = secrets.token_hex(8).encode()
        self._heard = loop.create_future()
        began = loop.time()
        self._publisher.tell([packed(("PUBLISH", channel, self._nonce))])
        ends: set[asyncio.Future[None] | asyncio.Future[str]] = {
            self._heard,
            self._publisher.lost,
            self._subscriber.lost,
        }
        await first_done(ends, self._options.probe_timeout_s)
        if self._heard.done():
            self.proven_at = loop.time()
            self._counters.lag_s = self.proven_at - began
        else:
            self.abort("deaf")

    def hear(self, data: bytes) -> None:
        """Take what came on the channel of the proof."""
        if self._heard is not None and not self._heard.done() and data == self._nonce:
            self._heard.set_result(None)

    def abort(self, cause: str) -> None:
        """End both connections at once; `lost` tells ``cause`` unless one had ended before."""
        self._publisher.abort(cause)
        self._subscriber.abort(cause)

    async def close(self) -> None:
        """End both connections, behind what was written."""
        self._subscriber.abort("closed")
        self._publisher.close()
        await asyncio.wait({self._publisher.lost, self._subscriber.lost}, timeout=_CLOSE_LIMIT_S)
        self._publisher.abort("closed")


def _subscriptions(channels: Sequence[Channels], prefix: str) -> list[bytes]:
    patterns = [entry.pattern for entry in channels]
    names = [name for entry in channels for name in (entry.requests, entry.responses, entry.own_responses)]
    return [
        packed((verb, *part))
        for verb, wanted in ((f"P{prefix}SUBSCRIBE", patterns), (f"{prefix}SUBSCRIBE", names))
        for part in _portions(wanted)
    ]


def _portions(names: Iterable[str]) -> Iterable[tuple[str, ...]]:
    source = iter(names)
    while portion := tuple(itertools.islice(source, _NAMES_PER_COMMAND)):
        yield portion


async def locate(options: RedisAdapterOptions) -> Sequence[Address]:
    """Where to dial, in this order: the addresses themselves, or the master that the sentinels name.

    Raises:
        RedisUnavailable: no sentinel knows the master.
    """
    if options.sentinel_master is None:
        return options.addresses
    causes = []
    for host, port in options.addresses:
        try:
            return [await _ask_sentinel(host, port, options, options.sentinel_master)]
        except (OSError, TimeoutError, RedisUnavailable) as error:
            causes.append(f"{host}:{port}: {str(error) or 'no answer'}")
    raise RedisUnavailable("no sentinel names the master: " + "; ".join(causes))


async def _ask_sentinel(host: str, port: int, options: RedisAdapterOptions, master: str) -> Address:
    async with asyncio.timeout(options.connect_timeout_s):
        _, link = await asyncio.get_running_loop().create_connection(
            lambda: _quiet_link(options), host, port, ssl=options.tls
        )
        try:
            await login(link, options.sentinel_username, options.sentinel_password)
            answer = await link.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", master)
        finally:
            link.abort("closed")
    if not isinstance(answer, list):
        raise RedisUnavailable(f"it knows no master {master!r}")
    return answer[0].decode(), int(answer[1])


def _quiet_link(options: RedisAdapterOptions) -> Link:
    return Link(
        max_message_bytes=options.max_message_bytes,
        on_message=lambda _message: None,
        on_refused=lambda _link, _reason: None,
        on_writable=lambda: None,
    )


async def open_session(
    options: RedisAdapterOptions,
    counters: RedisAdapterCounters,
    channels: Sequence[Channels],
    on_message: Callable[[list[bytes]], None],
    on_refused: Callable[[Link, str], None],
    on_writable: Callable[[], None],
) -> Session:
    """Dial, log in, subscribe; every subscription stands when this returns.

    Args:
        options: Where and with which limits.
        counters: For the session.
        channels: The namespaces to hear.
        on_message: Takes each message; see `Link`.
        on_refused: Takes Redis's words for a message that it did not publish, or a later subscription.
        on_writable: Called when Redis takes more.

    Raises:
        RedisUnavailable: none of the addresses will have us.
    """

    def link() -> Link:
        return Link(
            max_message_bytes=options.max_message_bytes,
            on_message=on_message,
            on_refused=on_refused,
            on_writable=on_writable,
        )

    causes = []
    for address in await locate(options):
        async with contextlib.AsyncExitStack() as undo:
            try:
                async with asyncio.timeout(options.connect_timeout_s):
                    publisher = await dial(link, *address, options)
                    undo.callback(publisher.abort, "closed")
                    subscriber = await dial(link, *address, options)
                    undo.callback(subscriber.abort, "closed")
                    session = Session(address, publisher, subscriber, options, counters)
                    session.subscribe(channels)
                    await session.confirmed()
            except (OSError, TimeoutError, RedisUnavailable) as error:
                causes.append(f"{address[0]}:{address[1]}: {str(error) or 'no answer'}")
                continue
            undo.pop_all()
            counters.connects += 1
            return session
    raise RedisUnavailable("; ".join(causes))
