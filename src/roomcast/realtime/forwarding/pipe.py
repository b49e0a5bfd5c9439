"""A websocket whose session another node has: two connections, and bytes that go between them unread.

The back-pressure of each side reaches the other, so that a client that does not read is the owner's slow consumer, as
if it had come to it. When one side ends, so does the other, behind what is on its way to it.

An end that is not read does not tell that it is gone: the loop does not look at it. So a side that takes nothing for as
long as the owner would bear it ends the pipe.

Layer: realtime.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from uvicorn.server import ServerState

#: An end that is to be closed behind what is written to it has this long to take that.
_CLOSE_LIMIT_S: Final = 2.0


class Pipe:
    """One websocket between a client of this node and the node that has its session.

    Args:
        transport: The client's; it is this object's from here on, and not read until `begin`.
        server_state: Where the server keeps its connections: this is one of them.
        on_end: Called when the client's side is gone.
        stall_limit_s: How long a side may take nothing of what waits for it; by then the owner must have ended the
            session for certain.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        server_state: ServerState,
        on_end: Callable[[Pipe], object],
        *,
        stall_limit_s: float,
    ) -> None:
        self._server_state = server_state
        self._on_end = on_end
        self.stall_limit_s = stall_limit_s
        self._owner: _End | None = None
        self._client = _End(self)
        self._client.connection_made(transport)
        self._client.pause_reading()
        transport.set_protocol(self._client)
        server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own

    @property
    def transport(self) -> asyncio.Transport | None:
        """The client's: what the server aborts when it has to end."""
        return self._client.carrier

    def owner_end(self) -> asyncio.Protocol:
        """What to connect to the owner with."""
        self._owner = _End(self)
        return self._owner

    def begin(self, head: bytes) -> None:
        """The owner is connected: send the handshake on, and let bytes go both ways."""
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
        """End it: both sides see their connection close, and the client comes back elsewhere."""
        self._client.close_soon()

    def abort(self) -> None:
        """End it at once."""
        for end in (self._client, self._owner):
            if end is not None:
                end.abort()

    def lost(self, end: _End) -> None:
        """One side is gone."""
        if end is self._client:
            self._server_state.connections.discard(self)
            self._on_end(self)
        other = self._owner if end is self._client else self._client
        if other is not None:
            other.close_soon()


class _End(asyncio.Protocol):
    """One side of a pipe. What is asked of it while it is not connected, or not any more, is passed over."""

    __slots__ = ("_ending", "_pipe", "_stall", "carrier", "other")

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._ending: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self.other: _End | None = None
        self.carrier: asyncio.Transport | None = None

    @property
    def open(self) -> bool:
        """Whether it is connected and not closing."""
        return self.carrier is not None and not self.carrier.is_closing()

    def write(self, data: bytes) -> None:
        """Send bytes to this side."""
        if self.carrier is not None and self.open:
            self.carrier.write(data)

    def pause_reading(self) -> None:
        """Take nothing from this side until `resume_reading`."""
        if self.carrier is not None and self.open:
            self.carrier.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        if self.carrier is not None and self.open:
            self.carrier.resume_reading()

    def close_soon(self) -> None:
        """Close behind what is written; a side that does not take it does not keep its descriptor."""
        if self.carrier is not None and self._ending is None:
            # Whoever closed it: it waits for what is written, and that may be for ever.
            self._ending = asyncio.get_running_loop().call_later(_CLOSE_LIMIT_S, self.carrier.abort)
            self.carrier.close()

    def abort(self) -> None:
        """Close at once."""
        if self.carrier is not None:
            self.carrier.abort()

    # -- asyncio ------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        # uvloop's transports are no subclasses.
        self.carrier = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes of this side are for the other."""
        if self.other is not None:
            self.other.write(data)

    def eof_received(self) -> None:
        """It has said all that it will: a websocket has no half that goes on."""
        self.close_soon()

    def pause_writing(self) -> None:
        """This side does not read: the other is not read, either."""
        if self.other is not None:
            self.other.pause_reading()
        self._watch()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._unwatch()
        if self.other is not None:
            self.other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        del exc
        self._unwatch()
        if self._ending is not None:
            self._ending.cancel()
        self.carrier = None
        self._pipe.lost(self)

    # -- a side that takes nothing ------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self.carrier is not None:
            waiting = self.carrier.get_write_buffer_size()
            self._stall = asyncio.get_running_loop().call_later(self._pipe.stall_limit_s, self._look, waiting)

    def _unwatch(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _look(self, waited_bytes: int) -> None:
        if self.carrier is not None and self.carrier.get_write_buffer_size() < waited_bytes:
            self._watch()
        else:
            self._pipe.abort()
