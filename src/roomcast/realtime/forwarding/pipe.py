"""A websocket whose session belongs to another node: two connections, and bytes copied between them.

Back-pressure passes through: a client that does not read fills the owner's write buffer, and the owner closes it as a
slow consumer. When one side closes, the other side closes after the bytes in flight.

The event loop does not notice that a paused connection was closed by its peer. So the pipe also ends when a side
accepts no bytes for ``stall_limit_s``.

Layer: realtime.forwarding.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

#: Time limit for writing the remaining bytes of a closing side.
_CLOSE_LIMIT_S: Final = 2.0


class Pipe:
    """One websocket between a client of this node and the node that owns its session.

    Args:
        transport: The client's transport, owned by the pipe from now on, and paused until `begin`.
        connections: The HTTP server's open connections. The pipe stays among them until it ends.
        on_end: Called when the client's side has closed.
        stall_limit_s: How long a side may accept no bytes; the owner closes the session within this time.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        connections: set[Any],
        on_end: Callable[[Pipe], object],
        *,
        stall_limit_s: float,
    ) -> None:
        self._connections = connections
        self._on_end = on_end
        self.stall_limit_s = stall_limit_s
        self._owner: _Side | None = None
        self._client = _Side(self)
        self._client.connection_made(transport)
        self._client.pause_reading()
        transport.set_protocol(self._client)
        connections.add(self)

    @property
    def transport(self) -> asyncio.Transport | None:
        """The client's transport, which the server aborts at the end of a drain."""
        return self._client.transport

    def owner_side(self) -> asyncio.Protocol:
        """The protocol for the connection to the owner."""
        self._owner = _Side(self)
        return self._owner

    def begin(self, head: bytes) -> None:
        """The owner is connected: forward the handshake, and copy bytes both ways."""
        owner = self._owner
        if owner is None or not owner.open or not self._client.open:
            self.abort()
            return
        self._client.other, owner.other = owner, self._client
        owner.write(head)
        self._client.resume_reading()

    def refuse(self, status: HTTPStatus) -> None:
        """Answer the handshake with an error."""
        phrase = status.phrase.encode()
        self._client.write(b"HTTP/1.1 %d %b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % (status, phrase))
        self.shutdown()

    def shutdown(self) -> None:
        """Close both sides; the client reconnects to another node."""
        self._client.close_soon()

    def abort(self) -> None:
        """Close both sides at once."""
        for side in (self._client, self._owner):
            if side is not None:
                side.abort()

    def lost(self, side: _Side) -> None:
        """One side has closed."""
        if side is self._client:
            self._connections.discard(self)
            self._on_end(self)
        other = self._owner if side is self._client else self._client
        if other is not None:
            other.close_soon()


class _Side(asyncio.Protocol):
    """One side of a pipe. Calls before the connection and after its end do nothing."""

    __slots__ = ("_close_timer", "_pipe", "_stall_timer", "other", "transport")

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._close_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self.other: _Side | None = None
        self.transport: asyncio.Transport | None = None

    @property
    def open(self) -> bool:
        """Whether it is connected and not closing."""
        return self.transport is not None and not self.transport.is_closing()

    def write(self, data: bytes) -> None:
        """Write bytes to this side."""
        if self.transport is not None and self.open:
            self.transport.write(data)

    def pause_reading(self) -> None:
        """Stop reading from this side until `resume_reading`."""
        if self.transport is not None and self.open:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Continue reading."""
        if self.transport is not None and self.open:
            self.transport.resume_reading()

    def close_soon(self) -> None:
        """Close after the written bytes, within ``_CLOSE_LIMIT_S``."""
        if self.transport is not None and self._close_timer is None:
            self._close_timer = asyncio.get_running_loop().call_later(_CLOSE_LIMIT_S, self.transport.abort)
            self.transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abort()

    # -- asyncio ------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        # The transports of uvloop are not subclasses of asyncio.Transport.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Write the bytes to the other side."""
        if self.other is not None:
            self.other.write(data)

    def eof_received(self) -> None:
        """Close: a websocket has no half-open state."""
        self.close_soon()

    def pause_writing(self) -> None:
        """This side does not read: stop reading from the other."""
        if self.other is not None:
            self.other.pause_reading()
        self._watch()

    def resume_writing(self) -> None:
        """This side has caught up."""
        self._unwatch()
        if self.other is not None:
            self.other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        del exc
        self._unwatch()
        if self._close_timer is not None:
            self._close_timer.cancel()
        self.transport = None
        self._pipe.lost(self)

    # -- stalls -------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self.transport is not None:
            waiting = self.transport.get_write_buffer_size()
            self._stall_timer = asyncio.get_running_loop().call_later(
                self._pipe.stall_limit_s, self._check_stall, waiting
            )

    def _unwatch(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _check_stall(self, waited_bytes: int) -> None:
        if self.transport is not None and self.transport.get_write_buffer_size() < waited_bytes:
            self._watch()
        else:
            self._pipe.abort()
