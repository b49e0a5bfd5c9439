"""A client in one namespace, as handlers see it.

Layer: realtime. Source: Socket.IO's server ``Socket``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum, unique
from typing import TYPE_CHECKING, Any

from roomcast.realtime.errors import AckLimitExceeded, RoomLimitExceeded, SocketGone
from roomcast.realtime.fanout.message import EncodedEvent, OutgoingMessage
from roomcast.wire.errors import IllegalTransition, LocalError
from roomcast.wire.socketio import encode_ack, encode_event

if TYPE_CHECKING:
    from roomcast.realtime.core.connection import Connection
    from roomcast.realtime.core.handshake import Handshake
    from roomcast.realtime.core.hub import Hub

AckCallback = Callable[..., Any]


@unique
class Phase(Enum):
    """Where a socket stands."""

    CONNECTING = "connecting"  # its connect handler runs; what is sent to it waits for the CONNECT packet
    CONNECTED = "connected"
    GONE = "gone"


class Socket:
    """One client in one namespace. Every method acts in this loop turn; none waits.

    What is sent in a ``connect`` handler, and the rooms that are joined there, take effect right behind the CONNECT
    packet.

    Attributes:
        connection: What carries it; shared with the client's sockets in other namespaces.
        sid: Its id, public, another in each namespace.
        auth: What the client sent with its CONNECT packet.
        phase: Where it stands.
        expelled: Whether it was us who ended it.
        ack_wanted: Whether the client waits for an acknowledgement of the event whose handler is being called; good
            until that handler first waits.
    """

    __slots__ = (
        "_data",
        "_held",
        "_held_bytes",
        "_hub",
        "_rooms",
        "_session",
        "ack_wanted",
        "auth",
        "connection",
        "expelled",
        "phase",
        "sid",
    )

    def __init__(self, connection: Connection, hub: Hub, sid: str, auth: Any) -> None:
        self.connection = connection
        self.sid = sid
        self.auth = auth
        self.phase = Phase.CONNECTING
        self.expelled = False
        self.ack_wanted = False
        self._hub = hub
        self._rooms: set[str] | None = None
        self._data: dict[str, Any] | None = None
        self._session: dict[str, Any] | None = None
        self._held: list[OutgoingMessage] | None = None
        self._held_bytes = 0

    def __repr__(self) -> str:
        """Id, namespace and phase."""
        return f"Socket({self.sid!r}, {self.namespace!r}, {self.phase.value})"

    @property
    def namespace(self) -> str:
        """Where it is."""
        return self._hub.namespace

    @property
    def connected(self) -> bool:
        """Whether the client was let in and has not left."""
        return self.phase is Phase.CONNECTED

    @property
    def rooms(self) -> frozenset[str]:
        """The rooms that it is in, its own (its ``sid``) not among them; in a ``disconnect`` handler, was in."""
        return frozenset(self._rooms or ())

    @property
    def handshake(self) -> Handshake:
        """The request that opened the connection, with this socket's ``auth``."""
        return replace(self.connection.handshake, auth=self.auth)

    @property
    def data(self) -> dict[str, Any]:
        """For the application; lives as long as the socket."""
        if self._data is None:
            self._data = {}
        return self._data

    @property
    def session(self) -> dict[str, Any]:
        """What `Server.save_session` keeps."""
        if self._session is None:
            self._session = {}
        return self._session

    @session.setter
    def session(self, session: dict[str, Any]) -> None:
        self._session = session

    def join(self, room: str) -> None:
        """Enter a room: gets what is emitted to it from now on.

        Raises:
            RoomLimitExceeded: ``max_rooms_per_socket``.
            SocketGone: it has left.
        """
        if self.phase is Phase.GONE:
            raise SocketGone(self.sid, self.namespace)
        if room == self.sid:
            return
        if self._rooms is None:
            self._rooms = set()
        if room in self._rooms:
            return
        limit = self.connection.options.max_rooms_per_socket
        if len(self._rooms) >= limit:
            raise RoomLimitExceeded(limit)
        self._rooms.add(room)
        if self.phase is Phase.CONNECTED:
            self._hub.join(self.connection, room)

    def leave(self, room: str) -> None:
        """Leave a room: gets nothing that is emitted to it from now on. Harmless if it is not in it."""
        if self.phase is Phase.GONE or self._rooms is None or room not in self._rooms:
            return
        self._rooms.discard(room)
        if self.phase is Phase.CONNECTED:
            self._hub.leave(self.connection, room)

    def send(self, message: EncodedEvent, *, volatile: bool = False) -> None:
        """Emit an encoded event to this client, behind everything that was emitted to it before.

        Nothing happens if the client is gone.
        """
        self.write(message.message(self.namespace), volatile=volatile)

    def emit(
        self, event: str, *args: Any, callback: AckCallback | asyncio.Future[list[Any]] | None = None
    ) -> int | None:
        """Emit an event to this client.

        Args:
            event: Its name.
            *args: Its arguments; ``bytes`` anywhere in them travel as binary.
            callback: Called with what the client acknowledges (a coroutine function runs as a task), or a future that
                gets it as a list. A future is cancelled if the client leaves first; a callback is then not called.

        Returns:
            The acknowledgement's id if there is a callback, for `forget`.

        Raises:
            EncodeError: an argument cannot be sent.
            AckLimitExceeded: ``max_pending_acks``.
            SocketGone: A callback was given and the client is not connected, so that it would never be called.
        """
        if callback is None:
            self.write(OutgoingMessage.of(encode_event(self.namespace, [event, *args])))
            return None
        packets = self.connection.packets
        try:
            ack_id = packets.expect_ack(self.namespace, callback)
        except IllegalTransition:
            raise SocketGone(self.sid, self.namespace) from None
        except LocalError:
            raise AckLimitExceeded(self.connection.options.max_pending_acks) from None
        try:
            self.write(OutgoingMessage.of(encode_event(self.namespace, [event, *args], ack_id)))
        except LocalError:
            packets.forget_ack(self.namespace, ack_id)
            raise
        return ack_id

    def forget(self, ack_id: int) -> None:
        """Stop waiting for an acknowledgement."""
        self.connection.packets.forget_ack(self.namespace, ack_id)

    def acknowledge(self, ack_id: int, args: Sequence[Any]) -> None:
        """Answer an event of the client.

        Raises:
            EncodeError: an argument cannot be sent.
        """
        self.write(OutgoingMessage.of(encode_ack(self.namespace, args, ack_id)))

    def disconnect(self) -> None:
        """Put the client out of the namespace, behind everything that was emitted to it. Harmless if it is gone."""
        self.connection.put_out(self)

    def write(self, message: OutgoingMessage, *, volatile: bool = False) -> None:
        """Send a message, or keep it for the CONNECT packet; nothing if the client is gone."""
        if self.phase is Phase.CONNECTED:
            self.connection.log.unicast(self.connection, message, volatile=volatile)
        elif self.phase is Phase.CONNECTING:
            self._held_bytes += message.size_bytes
            if self._held and self._held_bytes > self.connection.options.outbox_limit_bytes:
                self.connection.overflow(self._held_bytes)
                return
            if self._held is None:
                self._held = []
            self._held.append(message)

    def enter(self) -> None:
        """The CONNECT packet was written: what waited for it follows. For the connection."""
        self.phase = Phase.CONNECTED
        self._hub.enter(self.connection)
        for room in self._rooms or ():
            self._hub.join(self.connection, room)
        for message in self._held or ():
            self.write(message)
        self._held = None

    def exit(self) -> None:
        """It is over: no more is sent. For the connection; the hub forgets it after its ``disconnect`` handler."""
        if self.phase is Phase.CONNECTED:
            self._hub.exit(self.connection, self._rooms or ())
        self.phase = Phase.GONE
        self._held = None

    def forget_in_hub(self) -> None:
        """The last handler is through: the id means nothing any more. For the connection."""
        self._hub.sockets.pop(self.sid, None)
        if not self._hub.sockets:
            self.connection.engine.drop_hub(self._hub)
