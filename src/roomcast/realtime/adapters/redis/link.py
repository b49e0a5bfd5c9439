"""One connection to Redis, as a protocol on the loop, without a task.

Commands are pipelined; messages are handed on in the same loop turn. redis-py's PubSub is not used: it reconnects in
silence, has no limit on what it buffers of one message, and costs several task turns for each.

Layer: realtime. Source: Redis documentation, "RESP protocol specification" (RESP2), "Pub/Sub".
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import hiredis

from roomcast.realtime.adapters.redis.errors import RedisUnavailable
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions

_NOTHING: Final = object()
_MESSAGES: Final = frozenset({b"pmessage", b"message"})
_CONFIRMATIONS: Final = frozenset({b"subscribe", b"psubscribe", b"unsubscribe", b"punsubscribe"})
# What the kernel has not taken yet; beyond it messages wait where they are counted and bounded.
_WRITE_HIGH_BYTES: Final = 262_144
# Beside the payload: array heads, kind, pattern and channel.
_FRAMING_BYTES: Final = 65_536


class Link(asyncio.Protocol):
    """One connection.

    Args:
        max_message_bytes: Bytes of an incomplete message at which the connection is cut.
        on_message: Takes each message as Redis sends it: ``[b"message", channel, data]`` or
            ``[b"pmessage", pattern, channel, data]``. Must not raise.
        on_refused: Takes Redis's words for a command whose answer nobody awaits.
        on_writable: Called when what was written has drained.
    """

    def __init__(
        self,
        *,
        max_message_bytes: int,
        on_message: Callable[[list[bytes]], None],
        on_refused: Callable[[Link, str], None],
        on_writable: Callable[[], None],
    ) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.paused = False
        self._limit_bytes = max_message_bytes + _FRAMING_BYTES
        self._on_message = on_message
        self._on_refused = on_refused
        self._on_writable = on_writable
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._partial_bytes = 0
        self._expected: deque[asyncio.Future[Any] | None] = deque()
        self._transport: asyncio.Transport | None = None
        self._cause = "closed"

    @property
    def alive(self) -> bool:
        """Whether it can be written to."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, *command: str | bytes) -> Any:
        """Send a command and wait for its answer.

        Raises:
            RedisUnavailable: Redis refuses it, or the connection is gone.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self.alive:
            raise RedisUnavailable("the connection is closed")
        self._expected.append(answer)
        self.write([packed(command)])
        return await answer

    def tell(self, commands: Sequence[bytes]) -> None:
        """Send packed commands that are answered with one plain reply each, which nobody awaits."""
        if self.alive:
            self._expected.extend([None] * len(commands))
            self.write(commands)

    def write(self, commands: Sequence[bytes]) -> None:
        """Send packed commands whose replies are confirmations of subscriptions."""
        if self._transport is not None and self.alive:
            self._transport.write(b"".join(commands))

    def abort(self, cause: str) -> None:
        """End it at once; ``lost`` tells ``cause``."""
        if self._transport is not None and not self.lost.done():
            self._cause = cause
            self._transport.abort()

    def close(self) -> None:
        """End it behind everything that was written."""
        if self._transport is not None:
            self._transport.close()

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        # uvloop's transports are no subclasses.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        gone = RedisUnavailable(f"the connection was lost: {exc or self._cause}")
        for answer in self._expected:
            if answer is not None and not answer.done():
                answer.set_exception(gone)
        self._expected.clear()
        if not self.lost.done():
            self.lost.set_result(self._cause)

    def pause_writing(self) -> None:
        """See asyncio."""
        self.paused = True

    def resume_writing(self) -> None:
        """See asyncio."""
        self.paused = False
        self._on_writable()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._reader.feed(data)
        self._partial_bytes += len(data)
        try:
            while (reply := self._reader.gets()) is not _NOTHING:
                self._partial_bytes = 0
                self._take(reply)
                if not self.alive:
                    return
        except hiredis.ProtocolError:
            self.abort("protocol")
        if self._partial_bytes > self._limit_bytes:
            self.abort("oversize")

    def _take(self, reply: Any) -> None:
        kind = reply[0] if isinstance(reply, list) and reply else b""
        if kind in _MESSAGES:
            self._on_message(reply)
            return
        if kind in _CONFIRMATIONS:
            return
        refused = isinstance(reply, hiredis.ReplyError)
        answer = self._expected.popleft() if self._expected else None
        if answer is None:
            if refused:
                self._on_refused(self, str(reply))
        elif not answer.done():
            if refused:
                answer.set_exception(RedisUnavailable(f"Redis: {reply}"))
            else:
                answer.set_result(reply)


def packed(command: Sequence[str | bytes]) -> bytes:
    """A command as RESP; the parts of a Redis command are bytes, ours are UTF-8."""
    parts = tuple([part.encode(errors="surrogatepass") if isinstance(part, str) else part for part in command])
    # The stub declares a tuple of one.
    return hiredis.pack_command(parts)  # type: ignore[arg-type, no-any-return]  # a stub that is too narrow


async def dial(link: Callable[[], Link], host: str, port: int, options: RedisAdapterOptions) -> Link:
    """Connect and log in.

    Raises:
        OSError: nobody listens.
        RedisUnavailable: the password is wrong.
    """
    _, made = await asyncio.get_running_loop().create_connection(link, host, port, ssl=options.tls)
    try:
        await login(made, options.username, options.password)
    except BaseException:
        made.abort("closed")
        raise
    return made


async def login(link: Link, username: str | None, password: str | None) -> None:
    """Say who we are, if there is a password.

    Raises:
        RedisUnavailable: it is wrong.
    """
    if password is not None:
        await link.ask("AUTH", *(() if username is None else (username,)), password)
    # `CLIENT LIST` then tells whose the connection is. An ACL user that may not say it can do without; if it is the
    # connection that failed, the next command says so.
    with contextlib.suppress(RedisUnavailable):
        await link.ask("CLIENT", "SETNAME", "roomcast-adapter")
