"""One connection to Redis for pub/sub: a protocol on the event loop, without a task.

Commands are pipelined: a reply belongs to the oldest command that still lacks a reply. Messages are passed on in the
loop turn in which they arrive. redis-py's PubSub is not used: it reconnects silently, hides confirmations, does not
limit the size of an incomplete message, and costs several task switches for each message.

Layer: redis_client. Source: Redis documentation, "RESP protocol specification" (RESP2), "Pub/Sub".
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

import hiredis

from roomcast.redis_client.errors import RedisUnavailable
from roomcast.redis_client.liveness import wait_for
from roomcast.redis_client.options import RedisAddress, RedisOptions

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_INCOMPLETE: Final = object()
_MESSAGES: Final = frozenset({b"message", b"pmessage", b"smessage"})
_UNSUBSCRIPTIONS: Final = frozenset({b"unsubscribe", b"punsubscribe", b"sunsubscribe"})
_SUBSCRIPTIONS: Final = frozenset({b"subscribe", b"psubscribe", b"ssubscribe"})
#: Limits how long one command blocks the server, which executes commands one after the other.
CHANNELS_PER_COMMAND: Final = 256


def pack_command(parts: Iterable[str | bytes]) -> bytes:
    """Encode a command as RESP; text is sent as UTF-8."""
    # The type stub declares a tuple with one element.
    return hiredis.pack_command(tuple(map(_encoded, parts)))  # type: ignore[arg-type, no-any-return]  # a stub that is too narrow


def _encoded(part: str | bytes) -> bytes:
    return part.encode(errors="surrogatepass") if isinstance(part, str) else part


def channel_batches(channels: Iterable[_T], size: int = CHANNELS_PER_COMMAND) -> Iterator[tuple[_T, ...]]:
    """Split the channels of a subscription into batches of at most ``size``, one for each command."""
    source = iter(channels)
    while batch := tuple(itertools.islice(source, size)):
        yield batch


@dataclass(slots=True, eq=False)
class SentCommand:
    """A command whose replies have not all arrived.

    Attributes:
        verb: Name of a subscribe or unsubscribe command in lower case, with which each of its replies begins; empty for
            other commands.
        channels: The channels in the command; the server sends one reply for each.
        reply: Future for the last reply or the error; None: the connection's hooks are called instead.
        missing: Number of replies that have not arrived.
    """

    verb: bytes = b""
    channels: Sequence[bytes] = ()
    reply: asyncio.Future[Any] | None = None
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        """Expect one reply for each channel."""
        self.missing = len(self.channels) or 1

    @property
    def subscribes(self) -> bool:
        """Whether this is a subscription."""
        return self.verb in _SUBSCRIPTIONS


class RedisConnection(asyncio.Protocol):
    """One connection. Subclasses override the hooks, which run on the loop and must not raise.

    Args:
        address: The server.
        max_message_bytes: The connection is closed when an incomplete message exceeds this size.

    Attributes:
        lost: Future that completes when the connection has ended. Its result is the cause: ``closed``, ``protocol``,
            ``oversize``, or the argument of `abort`.
    """

    def __init__(self, address: RedisAddress, *, max_message_bytes: int) -> None:
        self.address = address
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._max_message_bytes = max_message_bytes
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._partial_bytes = 0
        self._transport: asyncio.Transport | None = None
        self._sent: deque[SentCommand] = deque()
        self._cause: str | None = None

    @property
    def alive(self) -> bool:
        """Whether commands can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def open(self, options: RedisOptions, client_name: str) -> None:
        """Connect, log in and `greet`.

        Raises:
            RedisUnavailable: the server is unreachable, refuses the login or a command, or does not answer within
                ``connect_timeout_s``; the connection is closed.
        """
        try:
            await wait_for(self._open(options, client_name), options.connect_timeout_s)
        except (OSError, TimeoutError, RedisUnavailable) as error:
            self.abort()
            code = error.code if isinstance(error, RedisUnavailable) else ""
            raise RedisUnavailable(f"{str(error) or 'no answer'} ({self.address})", code) from error
        except BaseException:
            self.abort()
            raise

    async def _open(self, options: RedisOptions, client_name: str) -> None:
        tls = None if options.tls is None else options.tls.context()
        await asyncio.get_running_loop().create_connection(lambda: self, *self.address, ssl=tls)
        # As redis-py does: a user without a password logs in as well.
        if options.username is not None:
            await self.ask("AUTH", options.username, options.password or "")
        elif options.password is not None:
            await self.ask("AUTH", options.password)
        # The name appears in `CLIENT LIST`. An ACL may forbid this command; a lost connection fails the next command.
        with contextlib.suppress(RedisUnavailable):
            await self.ask("CLIENT", "SETNAME", client_name)
        await self.greet()

    async def ask(self, *command: str | bytes) -> Any:
        """Send a command and return its reply.

        Raises:
            RedisUnavailable: Redis refuses the command, or the connection is closed.
        """
        return await self._ask(command)

    async def ask_subscription(self, verb: str, *channels: str) -> None:
        """Send a subscription or unsubscription, and return when every channel is confirmed.

        Raises:
            RedisUnavailable: see `ask`.
        """
        names = tuple(map(_encoded, channels))
        await self._ask((verb, *names), verb.lower().encode(), names)

    async def _ask(self, command: Iterable[str | bytes], verb: bytes = b"", channels: Sequence[bytes] = ()) -> Any:
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.send([pack_command(command)], [SentCommand(verb, channels, reply)])
        return await reply

    async def ping(self) -> None:
        """Return when the server has answered every command that was sent so far.

        Raises:
            RedisUnavailable: the connection is closed.
        """
        try:
            await self.ask("PING")
        except RedisUnavailable as error:
            # After a failed snapshot Redis answers PING, like every write, with this error.
            if error.code != "MISCONF":
                raise

    def send(self, commands: Iterable[bytes], sent: Iterable[SentCommand]) -> None:
        """Write encoded commands, and expect the replies that ``sent`` describes.

        Raises:
            RedisUnavailable: the connection is closed.
        """
        if self._transport is None or not self.alive:
            raise RedisUnavailable("the connection is closed")
        self._sent.extend(sent)
        self._transport.write(b"".join(commands))

    def abort(self, cause: str = "closed") -> None:
        """End the connection at once; later calls do not change the cause."""
        self._end(cause, at_once=True)

    def close(self) -> None:
        """End the connection after the written commands have been sent."""
        self._end("closed", at_once=False)

    def _end(self, cause: str, *, at_once: bool) -> None:
        if self._transport is not None:
            self._cause = self._cause or cause
            (self._transport.abort if at_once else self._transport.close)()

    # --- hooks

    async def greet(self) -> None:
        """Complete `open`: send the first commands after the login."""

    def message_received(self, message: list[bytes]) -> None:
        """Handle a message: ``[kind, channel, data]``, or ``[b"pmessage", pattern, channel, data]`` with a pattern."""

    def command_done(self, sent: SentCommand, reply: Any) -> None:
        """Handle the last reply to a command whose reply is not awaited."""

    def command_refused(self, sent: SentCommand, reason: str) -> None:
        """Handle the error reply to a command whose reply is not awaited."""

    def subscription_revoked(self, name: str) -> None:
        """Handle an unsubscription by the server, for example after a cluster slot moved."""
        logger.info("subscription ended by Redis", extra={"channel": name})
        self.abort("revoked")

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        # uvloop's transports are not subclasses of `asyncio.Transport`.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        cause = self._cause or "closed"
        for sent in self._sent:
            if sent.reply is not None and not sent.reply.done():
                sent.reply.set_exception(RedisUnavailable(f"the connection to Redis was lost: {exc or cause}"))
        self._sent.clear()
        if not self.lost.done():
            self.lost.set_result(cause)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._reader.feed(data)
        self._partial_bytes += len(data)
        try:
            gets = self._reader.gets
            while (reply := gets()) is not _INCOMPLETE:
                self._partial_bytes = 0
                self._take(reply)
                if self._cause is not None:
                    return
        except hiredis.ProtocolError:
            self.abort("protocol")
        if self._partial_bytes > self._max_message_bytes:
            self.abort("oversize")

    def _take(self, reply: Any) -> None:
        # The first element of another reply may be a list.
        kind = reply[0] if isinstance(reply, list) and reply and isinstance(reply[0], bytes) else b""
        if kind in _MESSAGES:
            self.message_received(reply)
            return
        sent = self._sent[0] if self._sent else None
        if kind in _UNSUBSCRIPTIONS:
            if sent is None or sent.verb != kind or reply[1] not in sent.channels:
                self.subscription_revoked(reply[1].decode(errors="surrogatepass"))
                return
        elif kind not in _SUBSCRIPTIONS:
            kind = b""
        refused = isinstance(reply, hiredis.ReplyError)
        if sent is None or (kind != sent.verb and not refused):
            # The reply does not match the oldest command.
            self.abort("protocol")
            return
        sent.missing -= 1
        if refused or not sent.missing:
            self._sent.popleft()
            self._finish(sent, reply, refused=refused)

    def _finish(self, sent: SentCommand, reply: Any, *, refused: bool) -> None:
        if sent.reply is None:
            if refused:
                self.command_refused(sent, str(reply))
            else:
                self.command_done(sent, reply)
        elif not sent.reply.done():
            if refused:
                sent.reply.set_exception(RedisUnavailable.of_reply(str(reply)))
            else:
                sent.reply.set_result(reply)
