"""Keeps every wanted channel subscribed, on whatever servers own them, through restarts, failovers and moves.

Two tasks in all: one arranges connections and places channels on them, one proves that each connection hears what is
published where commands go. Proof takes two steps: PING shows that the connection lives; a canary, published through
the command path, shows that both lead to the same master. A connection that fails either is cut and made anew.

Layer: eventlog.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from roomcast.chat.ports import LogUnavailable
from roomcast.eventlog.redis.counters import RedisLogCounters
from roomcast.eventlog.redis.engine import Engine
from roomcast.eventlog.redis.keys import canary_channel
from roomcast.eventlog.redis.link import Channel, Link, open_link
from roomcast.eventlog.redis.options import RedisLogOptions
from roomcast.eventlog.redis.scripts import SIGNAL
from roomcast.redis_client import Placement, RedisAddress, RedisOptions, within

logger = logging.getLogger(__name__)

# Pauses and periods are drawn between these shares, so that gateways do not act in step.
_JITTER: Final = (0.5, 1.0)
_MAX_DOUBLINGS: Final = 16


@dataclass(slots=True, eq=False)
class _Seat:
    """A link in use.

    Attributes:
        link: The connection.
        canary: The channel of its own.
        proven_at: Loop time of the latest proof.
        nonce: What the canary carries now.
        heard: Done when it was heard.
    """

    link: Link
    canary: str
    proven_at: float
    nonce: bytes = b""
    heard: asyncio.Future[None] | None = None


class Listener:
    """All live feeds of one process.

    Args:
        engine: Commands, and who the masters are.
        options: How Redis is reached.
        log_options: Prefix and message limit.
        counters: What is counted.
        deliver: Takes ``(channel, data)`` of each message in order; must not block or raise.
        on_reconnect: Called when all channels are subscribed again after a loss or a change of masters: what was
            published meanwhile was missed.
    """

    def __init__(
        self,
        engine: Engine,
        options: RedisOptions,
        log_options: RedisLogOptions,
        counters: RedisLogCounters,
        *,
        deliver: Callable[[bytes, bytes], None],
        on_reconnect: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._options = options
        self._log_options = log_options
        self._counters = counters
        self._deliver = deliver
        self._on_reconnect = on_reconnect
        self._tls = None if options.tls is None else options.tls.context()
        self._channels: dict[str, Channel] = {}
        self._refused: set[str] = set()
        self._seats: dict[RedisAddress, _Seat] = {}
        self._canaries: dict[bytes, _Seat] = {}
        self._placement: Placement | None = None
        self._placement_due_at = 0.0
        self._served_before = False
        self._missed = False
        self._trouble = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._tag = secrets.token_hex(8)

    # --- life

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._tasks = [
            asyncio.create_task(self._arrange_forever(), name="redis-listener"),
            asyncio.create_task(self._prove_forever(), name="redis-canary"),
        ]

    async def stop(self) -> None:
        """Close every connection; whoever waits for a subscription is told that there will be none."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for address in list(self._seats):
            self._drop_seat(address)
        for name in list(self._channels):
            self.unsubscribe(name)

    @property
    def healthy(self) -> bool:
        """Whether every master's feed is connected, proven of late, and refuses no channel."""
        if self._placement is None or self._refused:
            return False
        oldest_allowed = asyncio.get_running_loop().time() - (
            self._options.probe_interval_s + self._options.probe_timeout_s
        )
        return all(
            (seat := self._seats.get(address)) is not None and seat.link.alive and seat.proven_at >= oldest_allowed
            for address in self._placement.nodes
        )

    # --- channels

    async def subscribe(self, name: str) -> None:
        """Return once the channel is confirmed. It stays wanted, whatever happens, until `unsubscribe`.

        Raises:
            LogUnavailable: not within ``command_timeout_s``.
        """
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = Channel(name)
            self._place(channel)
        if channel.confirmed:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        channel.waiters.append(waiter)
        try:
            async with asyncio.timeout(self._options.command_timeout_s):
                await waiter
        except TimeoutError:
            raise LogUnavailable("Redis did not confirm a subscription in time") from None
        finally:
            if waiter in channel.waiters:
                channel.waiters.remove(waiter)

    def unsubscribe(self, name: str) -> None:
        """Want a channel no more."""
        channel = self._channels.pop(name)
        self._refused.discard(name)
        if channel.link is not None and channel.link.alive:
            channel.link.unsubscribe(channel)
        channel.link = None
        for waiter in channel.waiters:
            if not waiter.done():
                waiter.set_exception(LogUnavailable("the subscription was withdrawn"))

    def _place(self, channel: Channel) -> None:
        """Ask for a channel where it belongs, if that is known and connected; else `_arrange` will."""
        address = self._address_of(channel.name)
        seat = None if address is None else self._seats.get(address)
        if channel.link is not None:
            if seat is not None and channel.link is seat.link:
                return
            if channel.link.alive:
                channel.link.unsubscribe(channel)
        channel.link = None
        channel.confirmed = False
        if seat is not None and seat.link.alive:
            channel.link = seat.link
            seat.link.subscribe(channel)

    def _address_of(self, name: str) -> RedisAddress | None:
        return None if self._placement is None else self._placement.owner(name)

    # --- connections

    async def _arrange_forever(self) -> None:
        troubles = 0
        while True:
            self._trouble.clear()
            try:
                await self._arrange()
            except LogUnavailable as error:
                troubles += 1
                if troubles & (troubles - 1) == 0:
                    logger.warning("the live feed is not complete: %s", error, extra={"attempts": troubles})
                await self._pause(troubles)
                continue
            except Exception:
                # A bug here must not leave the process deaf for good.
                logger.exception("arranging the live feed failed")
                troubles += 1
                await self._pause(troubles)
                continue
            try:
                async with asyncio.timeout(self._options.probe_interval_s):
                    await self._trouble.wait()
            except TimeoutError:
                troubles = 0
            else:
                # A connection that is lost again and again must not be dialled in a tight loop.
                troubles += 1
                await self._pause(troubles)

    async def _pause(self, troubles: int) -> None:
        longest_s = self._options.retry_min_s * 2 ** min(troubles - 1, _MAX_DOUBLINGS)
        await asyncio.sleep(min(longest_s, self._options.retry_max_s) * random.uniform(*_JITTER))  # noqa: S311 - jitter

    async def _arrange(self) -> None:
        """Connect to every master and place every channel.

        Raises:
            LogUnavailable: some master is out of reach; the others are served.
        """
        moved = await self._locate()
        assert self._placement is not None  # noqa: S101 - _locate sets it or raises
        for address in [address for address in self._seats if address not in self._placement.nodes]:
            self._drop_seat(address)
        missing = [address for address in self._placement.nodes if address not in self._seats]
        opened = await asyncio.gather(*(self._open(address) for address in missing), return_exceptions=True)
        new = [seat for seat in opened if isinstance(seat, _Seat)]
        for channel in self._channels.values():
            self._place(channel)
        self._missed = self._missed or moved or bool(new)
        if self._missed:
            await asyncio.gather(*(self._settle(seat) for seat in list(self._seats.values())))
            self._missed = False
            if self._served_before:
                self._tell_owner()
            self._served_before = True
        for failure in opened:
            if isinstance(failure, BaseException):
                # The masters may have changed.
                self._placement_due_at = 0.0
                raise failure

    async def _settle(self, seat: _Seat) -> None:
        """Return when everything that was asked of a link is answered."""
        try:
            await within(seat.link.ping(), self._options.probe_timeout_s)
        except TimeoutError:
            seat.link.abort("deaf")
            raise LogUnavailable(f"Redis at {seat.link.address} does not confirm subscriptions") from None

    def _tell_owner(self) -> None:
        try:
            self._on_reconnect()
        except Exception:
            logger.exception("the callback of a reconnect raised")

    async def _locate(self) -> bool:
        """See to it that the placement is known and fresh; whether it changed."""
        now = asyncio.get_running_loop().time()
        known = self._placement
        if known is not None and now < self._placement_due_at:
            return False
        try:
            self._placement = await self._engine.locate()
        except LogUnavailable as error:
            if known is None or self._placement_due_at == 0.0:
                raise
            # Sentinels may be away while the master is well.
            logger.warning("the masters of Redis cannot be asked for: %s", error)
        self._placement_due_at = now + self._options.topology_interval_s
        return known is not None and known != self._placement

    async def _open(self, address: RedisAddress) -> _Seat:
        canary = self._canary_for(address)
        link = await open_link(
            address,
            self,
            self._options,
            tls=self._tls,
            canary=canary,
            max_message_bytes=self._log_options.max_message_bytes,
        )
        seat = _Seat(link, canary, proven_at=asyncio.get_running_loop().time())
        self._counters.connects += 1
        if not link.alive:
            raise LogUnavailable(f"Redis at {address} closed the live feed at once")
        self._seats[address] = seat
        self._canaries[canary.encode()] = seat
        return seat

    def _canary_for(self, address: RedisAddress) -> str:
        """A channel of this process that the node at ``address`` owns."""
        for number in itertools.count():
            name = canary_channel(self._log_options.prefix, f"{self._tag}-{number}")
            if self._address_of(name) in (address, None):
                return name
        raise AssertionError("unreachable")

    def _drop_seat(self, address: RedisAddress) -> None:
        seat = self._seats.pop(address)
        del self._canaries[seat.canary.encode()]
        seat.link.close()
        self._displace(seat.link)

    def _displace(self, link: Link) -> None:
        for channel in self._channels.values():
            if channel.link is link:
                channel.link = None
                channel.confirmed = False

    # --- proof

    async def _prove_forever(self) -> None:
        while True:
            await asyncio.sleep(self._options.probe_interval_s * random.uniform(*_JITTER))  # noqa: S311 - jitter
            try:
                await asyncio.gather(*(self._prove(seat) for seat in list(self._seats.values())))
            except Exception:
                logger.exception("proving the live feed failed")

    async def _prove(self, seat: _Seat) -> None:
        loop = asyncio.get_running_loop()
        seat.nonce = secrets.token_hex(8).encode()
        seat.heard = loop.create_future()
        began = loop.time()
        try:
            await within(seat.link.ping(), self._options.probe_timeout_s)
            seat.proven_at = published = loop.time()
            try:
                # It may wait behind our own commands: that has its own limit, and says nothing about the feed.
                await self._engine.run(SIGNAL, [seat.canary], [seat.nonce])
            except LogUnavailable as error:
                # Commands fail and say so themselves; the feed answered.
                logger.info("the canary could not be published: %s", error)
                return
            await within(seat.heard, self._options.probe_timeout_s)
            seat.proven_at = loop.time()
            self._counters.lag_s = seat.proven_at - published
        except LogUnavailable:
            return  # lost meanwhile, and known
        except TimeoutError:
            facts = {"address": str(seat.link.address), "waited_s": round(loop.time() - began, 3)}
            logger.warning("the live feed is deaf: reconnecting", extra=facts)
            self._placement_due_at = 0.0
            seat.link.abort("deaf")
            await self._engine.forget()

    # --- LinkOwner

    def heard(self, channel: bytes, data: bytes) -> None:
        """See LinkOwner."""
        seat = self._canaries.get(channel)
        if seat is None:
            self._deliver(channel, data)
        elif data == seat.nonce and seat.heard is not None and not seat.heard.done():
            seat.heard.set_result(None)

    def confirmed(self, link: Link, channels: Sequence[Channel]) -> None:
        """See LinkOwner."""
        for channel in channels:
            if channel.link is link:
                channel.confirmed = True
                self._refused.discard(channel.name)
                for waiter in channel.waiters:
                    if not waiter.done():
                        waiter.set_result(None)

    def refused(self, link: Link, channels: Sequence[Channel], reason: str) -> None:
        """See LinkOwner."""
        logger.info("Redis refused channels: %s", reason, extra={"count": len(channels)})
        for channel in channels:
            if channel.link is link:
                channel.link = None
                self._refused.add(channel.name)
        self._ask_anew()

    def revoked(self, link: Link, name: str) -> None:
        """See LinkOwner."""
        channel = self._channels.get(name)
        if channel is not None and channel.link is link:
            channel.link = None
            channel.confirmed = False
            self._missed = True
            self._ask_anew()
        elif self._canaries.get(name.encode()) is not None:
            # Its slot moved: the seat needs another canary.
            link.abort("closed")

    def lost(self, link: Link, cause: str) -> None:
        """See LinkOwner."""
        seat = self._seats.get(link.address)
        if seat is None or seat.link is not link:
            return
        logger.warning("the live feed was lost", extra={"address": str(link.address), "cause": cause})
        self._counters.losses[cause] += 1
        # Even if not everything was arranged yet: what was confirmed may have missed something by now.
        self._served_before = True
        del self._seats[link.address]
        del self._canaries[seat.canary.encode()]
        self._displace(link)
        self._ask_anew()

    def _ask_anew(self) -> None:
        """Something is not as it was thought to be: find out, and arrange again."""
        self._placement_due_at = 0.0
        self._trouble.set()
