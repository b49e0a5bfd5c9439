"""One connection that carries live feeds.

A protocol on the loop, without a task: what arrives is parsed by hiredis and handed on in the same loop turn, what is
sent is written at once. Requests of one loop turn share their commands. redis-py's own PubSub is not used because it
reconnects in silence, keeps confirmations to itself, and costs several tasks' turns for each message.

Layer: eventlog. Source: Redis documentation, "Pub/Sub", "RESP protocol specification" (RESP2).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any, Final, Protocol, cast

import hiredis

from roomcast.chat.ports import LogUnavailable
from roomcast.redis_client import RedisAddress, RedisOptions

# Commands of a resubscription carry so many channels each: a server parses them between others' commands.
_CHANNELS_PER_COMMAND: Final = 256
_NOTHING: Final = object()
_MESSAGES: Final = frozenset({b"smessage", b"message"})
_UNSUBSCRIPTIONS: Final = frozenset({b"sunsubscribe", b"unsubscribe"})


@dataclass(slots=True, eq=False)
class Channel:
    """One wish to hear a channel, from the first subscriber to the last.

    Attributes:
        name: The channel.
        link: Where it was asked for; None: nowhere yet.
        confirmed: Whether the server said yes there.
        waiters: Who waits for that.
    """

    name: str
    link: Link | None = None
    confirmed: bool = False
    waiters: list[asyncio.Future[None]] = field(default_factory=list)


class LinkOwner(Protocol):
    """Whom a link tells. All methods are called on the loop, must not block and must not raise."""

    def heard(self, channel: bytes, data: bytes) -> None:
        """A message."""

    def confirmed(self, link: Link, channels: Sequence[Channel]) -> None:
        """The server has subscribed us; later messages will arrive."""

    def refused(self, link: Link, channels: Sequence[Channel], reason: str) -> None:
        """The server has not."""

    def revoked(self, link: Link, name: str) -> None:
        """The server has ended a subscription by itself: its slot moved away."""

    def lost(self, link: Link, cause: str) -> None:
        """The connection is gone; called once, never after `Link.close`."""


@dataclass(slots=True)
class _Expected:
    """A command whose answer has not come in full."""

    kind: bytes  # what its replies begin with; b"" for a plain reply
    channels: Sequence[Channel] = ()
    left: int = 1
    answer: asyncio.Future[Any] | None = None


class Link(asyncio.Protocol):
    """A connection to one server, subscribed to any number of channels.

    Args:
        address: Where it leads.
        owner: Whom it tells.
        max_message_bytes: Bytes of an incomplete message at which the connection is cut.
        one_slot: Whether a command may name channels of one slot only (a cluster's rule for sharded channels).
    """

    def __init__(self, address: RedisAddress, owner: LinkOwner, *, max_message_bytes: int, one_slot: bool) -> None:
        self.address = address
        self.sharded = True
        self._owner = owner
        self._max_message_bytes = max_message_bytes
        self._one_slot = one_slot
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._partial_bytes = 0
        self._transport: asyncio.Transport | None = None
        self._expected: deque[_Expected] = deque()
        self._queued: list[tuple[bool, Channel]] = []
        self._cause = "closed"
        self._silent = False

    @property
    def alive(self) -> bool:
        """Whether it can be written to."""
        return self._transport is not None and not self._transport.is_closing()

    async def greet(self, options: RedisOptions, canary: str) -> None:
        """Log in and subscribe to the canary, which decides between sharded and classic channels.

        Raises:
            LogUnavailable: the server refused.
        """
        await self.login(options, "roomcast-feed")
        try:
            await self._ask("SSUBSCRIBE", canary, kind=b"ssubscribe")
        except LogUnavailable as error:
            if "unknown command" not in str(error):
                raise
            # Before Redis 7.
            self.sharded = False
            await self.hear(canary)

    async def login(self, options: RedisOptions, name: str) -> None:
        """Log in, and tell the server whose connection it is.

        Raises:
            LogUnavailable: the server refused.
        """
        if options.password is not None:
            user = () if options.username is None else (options.username,)
            await self._ask("AUTH", *user, options.password)
        await self._ask("CLIENT", "SETNAME", name)

    async def hear(self, name: str) -> None:
        """Subscribe to one classic channel for as long as the connection lasts.

        Raises:
            LogUnavailable: the server refused.
        """
        await self._ask("SUBSCRIBE", name, kind=b"subscribe")

    def subscribe(self, channel: Channel) -> None:
        """Ask for a channel, at the end of this loop turn; the owner is told the answer."""
        self._queue(True, channel)

    def unsubscribe(self, channel: Channel) -> None:
        """Leave a channel, at the end of this loop turn."""
        self._queue(False, channel)

    async def ping(self) -> None:
        """Return when the server has answered everything that was asked before.

        Raises:
            LogUnavailable: the connection is gone.
        """
        self._flush()
        await self._ask("PING", kind=b"pong")

    def abort(self, cause: str) -> None:
        """Give it up at once; the owner is told ``cause``."""
        if self._transport is not None and self._cause == "closed":
            self._cause = cause
            self._transport.abort()

    def close(self) -> None:
        """End it without telling the owner."""
        self._silent = True
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        # uvloop's transports are no subclasses.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        gone = LogUnavailable(f"Redis closed the live feed: {exc or self._cause}")
        for expected in self._expected:
            if expected.answer is not None and not expected.answer.done():
                expected.answer.set_exception(gone)
        self._expected.clear()
        self._queued.clear()
        if not self._silent:
            self._silent = True
            self._owner.lost(self, self._cause)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._reader.feed(data)
        self._partial_bytes += len(data)
        try:
            while (reply := self._reader.gets()) is not _NOTHING:
                self._partial_bytes = 0
                self._take(reply)
                if self._silent:
                    return
        except hiredis.ProtocolError:
            self.abort("protocol")
        if self._partial_bytes > self._max_message_bytes:
            self.abort("oversize")

    # --- in

    def _take(self, reply: Any) -> None:
        kind = reply[0] if isinstance(reply, list) and reply else b""
        if kind in _MESSAGES:
            self._owner.heard(reply[1], reply[2])
            return
        expected = self._expected[0] if self._expected else None
        if kind in _UNSUBSCRIPTIONS and not (
            expected is not None
            and expected.kind == kind
            and any(channel.name == reply[1].decode() for channel in expected.channels)
        ):
            self._owner.revoked(self, reply[1].decode())
            return
        if expected is None:
            # Nothing was asked: whatever this is, the conversation is out of step.
            self.abort("protocol")
        elif isinstance(reply, hiredis.ReplyError):
            self._expected.popleft()
            if expected.answer is not None and not expected.answer.done():
                expected.answer.set_exception(LogUnavailable(f"Redis: {reply}"))
            elif expected.channels:
                self._owner.refused(self, expected.channels, str(reply))
        elif kind != expected.kind:
            self.abort("protocol")
        else:
            expected.left -= 1
            if expected.left == 0:
                self._expected.popleft()
                self._finish(expected, reply)

    def _finish(self, expected: _Expected, reply: Any) -> None:
        if expected.answer is not None:
            if not expected.answer.done():
                expected.answer.set_result(reply)
        elif expected.kind not in _UNSUBSCRIPTIONS:
            self._owner.confirmed(self, expected.channels)

    # --- out

    async def _ask(self, *command: str, kind: bytes = b"") -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._write([command], [_Expected(kind, answer=answer)])
        return await answer

    def _queue(self, wanted: bool, channel: Channel) -> None:
        if not self._queued:
            asyncio.get_running_loop().call_soon(self._flush)
        self._queued.append((wanted, channel))

    def _flush(self) -> None:
        queued, self._queued = self._queued, []
        if not queued or not self.alive:
            return
        commands: list[tuple[str, ...]] = []
        expected: list[_Expected] = []
        size = 1 if self._one_slot and self.sharded else _CHANNELS_PER_COMMAND
        for wanted, group in itertools.groupby(queued, key=lambda asked: asked[0]):
            verb = ("S" if self.sharded else "") + ("SUBSCRIBE" if wanted else "UNSUBSCRIBE")
            for channels in _portions((channel for _, channel in group), size):
                commands.append((verb, *(channel.name for channel in channels)))
                expected.append(_Expected(verb.lower().encode(), channels, len(channels)))
        self._write(commands, expected)

    def _write(self, commands: Iterable[Sequence[str]], expected: Iterable[_Expected]) -> None:
        if self._transport is None or self._transport.is_closing():
            raise LogUnavailable("the live feed is not connected")
        self._expected.extend(expected)
        self._transport.write(b"".join(_packed(command) for command in commands))


def _packed(command: Sequence[str]) -> bytes:
    # The stub declares a tuple of one.
    return hiredis.pack_command(tuple(command))  # type: ignore[arg-type, no-any-return]  # a stub that is too narrow


def _portions(channels: Iterable[Channel], size: int) -> Iterable[tuple[Channel, ...]]:
    source = iter(channels)
    while portion := tuple(itertools.islice(source, size)):
        yield portion


async def open_link(
    address: RedisAddress,
    owner: LinkOwner,
    options: RedisOptions,
    *,
    tls: SSLContext | None,
    canary: str,
    max_message_bytes: int,
) -> Link:
    """Connect, log in, and subscribe to the canary.

    Raises:
        LogUnavailable: it cannot be had within ``connect_timeout_s``.
    """
    link = Link(address, owner, max_message_bytes=max_message_bytes, one_slot=options.cluster)
    try:
        async with asyncio.timeout(options.connect_timeout_s):
            await asyncio.get_running_loop().create_connection(lambda: link, address.host, address.port, ssl=tls)
            await link.greet(options, canary)
    except (OSError, TimeoutError) as error:
        link.close()
        raise LogUnavailable(f"cannot connect to Redis at {address}: {str(error) or 'timeout'}") from error
    except BaseException:
        link.close()
        raise
    return link
