"""One client in one namespace, as handlers see it.

Layer: realtime.core. Source: Socket.IO's server ``Socket``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from enum import Enum, unique
from typing import Any, Protocol

from roomcast.realtime.cluster.commands import Rooms
from roomcast.realtime.cluster.operators import BroadcastOperator
from roomcast.realtime.core.environ import Environ
from roomcast.realtime.core.handlers.listeners import AnyListener, Listeners, checked, event_of, notify
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.errors import AckLimitExceeded, RoomLimitExceeded, SocketGone
from roomcast.realtime.fanout.log import FanoutLog, Outlet
from roomcast.realtime.fanout.message import EncodedEvent, OutgoingMessage
from roomcast.realtime.options import ServerOptions
from roomcast.realtime.requests.handshake import Handshake
from roomcast.wire.engineio_http import TransportName
from roomcast.wire.errors import IllegalTransition, LocalError
from roomcast.wire.socketio import encode_ack, encode_event
from roomcast.wire.socketio_session import SocketSession

AckCallback = Callable[..., Any]


@unique
class Phase(Enum):
    """The life of a socket."""

    CONNECTING = "connecting"  # its connect handler runs; output waits for the CONNECT packet
    CONNECTED = "connected"
    GONE = "gone"


class SocketConnection(Outlet, Protocol):
    """What a socket needs from the connection that carries it; `connection.Connection` implements it.

    Attributes:
        sid: The Engine.IO session id, a secret between client and server.
        packets: The Socket.IO state.
        sockets: The client's sockets by namespace.
    """

    sid: str
    packets: SocketSession
    sockets: dict[str, Socket]

    @property
    def handshake(self) -> Handshake:
        """The request that opened the session."""

    @property
    def environ(self) -> Environ:
        """The handshake as ``environ``, with what the application has stored in it."""

    @property
    def transport_name(self) -> TransportName:
        """The current transport."""

    @property
    def backlog_bytes(self) -> int:
        """Bytes that wait for the client to read; 0 while it keeps up."""

    @property
    def options(self) -> ServerOptions:
        """Options of the server."""

    @property
    def log(self) -> FanoutLog[SocketConnection]:
        """The fan-out log that orders all output."""

    def everyone(self, namespace: str) -> BroadcastOperator:
        """All sockets of a namespace, on every server of the cluster."""

    def enable_hooks(self) -> None:
        """Make events pass the middleware and listeners of sockets."""

    def send_packet(self, packet: str | bytes) -> None:
        """Send one packet to this client, after everything that was emitted to it before."""

    def accept(self, socket: Socket) -> None:
        """The ``connect`` handler accepted the client: send the CONNECT packet."""

    def reject(self, socket: Socket, message: str, data: Any = None) -> None:
        """The ``connect`` handler rejected the client: send a CONNECT_ERROR packet."""

    def kick(self, socket: Socket) -> None:
        """Disconnect the client from the namespace, after everything that was emitted to it."""

    def close(self, reason: Reason) -> None:
        """Close the connection, after everything that was emitted to it."""

    def abort(self, reason: Reason) -> None:
        """Close the connection at once; queued output is lost."""

    def expect_input(self) -> None:
        """An acknowledgement was requested from the client."""

    def overflow(self, waiting_bytes: int) -> None:
        """More output waits than ``outbox_limit_bytes``: close the connection."""


class SocketHub(Protocol):
    """What a socket needs from its namespace; `hub.Hub` implements it."""

    @property
    def namespace(self) -> str:
        """Its name."""

    def add(self, socket: Socket) -> None:
        """Register a socket id."""

    def broadcast(
        self,
        rooms: Collection[str] | None,
        message: OutgoingMessage,
        skip: Collection[str] = (),
        *,
        volatile: bool = False,
    ) -> None:
        """Emit once to every connection that is in one of the rooms now."""

    def enter(self, connection: SocketConnection) -> None:
        """Add the connection to the namespace."""

    def join(self, connection: SocketConnection, room: str) -> None:
        """Add the connection to a room."""

    def leave(self, connection: SocketConnection, room: str) -> None:
        """Remove the connection from a room."""

    def exit(self, connection: SocketConnection, rooms: Iterable[str]) -> None:
        """Remove the connection from the namespace and from these rooms."""

    def join_later(self, socket: Socket, room: str) -> None:
        """A connecting socket enters a room."""

    def leave_early(self, socket: Socket, room: str) -> None:
        """A connecting socket leaves a room."""

    def decided(self, socket: Socket, rooms: Iterable[str]) -> None:
        """The socket with these rooms is no longer connecting."""

    def remove(self, sid: str) -> None:
        """Remove a socket id."""

    def listen(self, socket: Socket) -> None:
        """Call `Socket.notify_outgoing` for broadcasts that reach this socket."""


class Socket:
    """One client in one namespace. Every method takes effect in this loop turn; none waits.

    Output and room joins of a ``connect`` handler take effect after the CONNECT packet.

    Attributes:
        connection: The connection that carries it and the client's sockets in other namespaces.
        sid: Its public id; the same client has another one in each namespace.
        auth: The payload of the client's CONNECT packet.
        phase: Where it is in its life.
        kicked: Whether the server disconnected it.
        listeners: Its middleware and catch-all listeners; None if it has none.
        ack_id: The id of the acknowledgement that the client expects of the event whose handler is being called, if it
            does; valid until that handler first awaits.
    """

    __slots__ = (
        "_data",
        "_held",
        "_held_bytes",
        "_hub",
        "_rooms",
        "_session",
        "ack_id",
        "auth",
        "connection",
        "kicked",
        "listeners",
        "phase",
        "sid",
    )

    def __init__(self, connection: SocketConnection, hub: SocketHub, sid: str, auth: Any) -> None:
        self.connection = connection
        self.sid = sid
        self.auth = auth
        self.phase = Phase.CONNECTING
        self.kicked = False
        self.ack_id: int | None = None
        self.listeners: Listeners | None = None
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
        """The name of its namespace."""
        return self._hub.namespace

    @property
    def connected(self) -> bool:
        """Whether the client was accepted and has not disconnected."""
        return self.phase is Phase.CONNECTED

    @property
    def ack_wanted(self) -> bool:
        """Whether the client expects an acknowledgement of the event whose handler is being called.

        Valid until that handler first awaits.
        """
        return self.ack_id is not None

    def take_ack(self) -> Ack:
        """The acknowledgement of the event whose handler is being called, to be sent at any later time.

        Call it before the handler first awaits, and return `NO_ACK` from the handler::

            @server.on("convert")
            def convert(sid, document):
                queue.put((document, server.socket(sid).take_ack()))  # later: ack("done", {"pages": 3})
                return NO_ACK
        """
        return Ack(self, self.ack_id)

    @property
    def rooms(self) -> frozenset[str]:
        """Its rooms, without its own (``sid``); in a ``disconnect`` handler, the rooms that it was in."""
        return frozenset(self._rooms or ())

    @property
    def recovered(self) -> bool:
        """Whether the client has returned to a session that it had before; see `RecoveryOptions`."""
        return False

    @property
    def pid(self) -> str | None:
        """The id with which the client can return to its session, a secret; None: it cannot."""
        return None

    @property
    def handshake(self) -> Handshake:
        """The request that opened the session, with this socket's ``auth``."""
        return replace(self.connection.handshake, auth=self.auth)

    @property
    def data(self) -> dict[str, Any]:
        """A dictionary for the application; lives as long as the socket."""
        if self._data is None:
            self._data = {}
        return self._data

    @property
    def session(self) -> dict[str, Any]:
        """The dictionary of `Server.save_session`."""
        if self._session is None:
            self._session = {}
        return self._session

    @session.setter
    def session(self, session: dict[str, Any]) -> None:
        self._session = session

    def join(self, room: str) -> None:
        """Join a room: receive what is emitted to it from now on.

        Raises:
            RoomLimitExceeded: ``max_rooms_per_socket`` is reached.
            SocketGone: the client has disconnected.
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
        else:
            self._hub.join_later(self, room)

    def leave(self, room: str) -> None:
        """Leave a room: receive nothing that is emitted to it from now on. Harmless if it is not a member."""
        if self.phase is Phase.GONE or self._rooms is None or room not in self._rooms:
            return
        self._rooms.discard(room)
        if self.phase is Phase.CONNECTED:
            self._hub.leave(self.connection, room)
        else:
            self._hub.leave_early(self, room)

    def send(self, message: EncodedEvent, *, volatile: bool = False) -> None:
        """Emit an encoded event to this client, after everything that was emitted to it before.

        Does nothing if the client has disconnected.
        """
        self.write(message.message(self.namespace), volatile=volatile)

    def emit(
        self, event: str, *args: Any, callback: AckCallback | asyncio.Future[list[Any]] | None = None
    ) -> int | None:
        """Emit an event to this client.

        Args:
            event: Its name.
            *args: Its arguments; ``bytes`` anywhere in them are sent as binary attachments.
            callback: Called with the arguments of the acknowledgement (a coroutine function runs as a task), or a
                future that receives them as a list. If the client disconnects first or is refused, the future is
                cancelled and the callback is not called.

        Returns:
            The acknowledgement's id if there is a callback, for `forget_ack`.

        Raises:
            EncodeError: an argument cannot be encoded.
            AckLimitExceeded: ``max_pending_acks`` is reached.
            SocketGone: a callback was given, and the client has disconnected.
        """
        if callback is None:
            self.write(OutgoingMessage.of(encode_event(self.namespace, [event, *args])))
            return None
        return self.ask(lambda ack_id: encode_event(self.namespace, [event, *args], ack_id), callback)

    def ask(self, encode: Callable[[int], list[str | bytes]], callback: AckCallback | asyncio.Future[list[Any]]) -> int:
        """Emit an event that the client is to acknowledge; see `emit`.

        Args:
            encode: Encodes the event with the acknowledgement's id.
            callback: As for `emit`.
        """
        packets = self.connection.packets
        try:
            ack_id = packets.expect_ack(self.namespace, callback)
        except IllegalTransition:
            raise SocketGone(self.sid, self.namespace) from None
        except LocalError:
            raise AckLimitExceeded(self.connection.options.max_pending_acks) from None
        try:
            self.write(OutgoingMessage.of(encode(ack_id)))
        except LocalError:
            packets.forget_ack(self.namespace, ack_id)
            raise
        self.connection.expect_input()
        return ack_id

    @property
    def broadcast(self) -> BroadcastOperator:
        """All other sockets of the namespace, on every server of the cluster."""
        return self.connection.everyone(self.namespace).except_(self.sid)

    def to(self, rooms: Rooms) -> BroadcastOperator:
        """The other members of a room, or of several; see `BroadcastOperator.to`."""
        return self.broadcast.to(rooms)

    def in_(self, rooms: Rooms) -> BroadcastOperator:
        """The same as `to`; Node's ``in``."""
        return self.broadcast.to(rooms)

    def except_(self, rooms: Rooms) -> BroadcastOperator:
        """All other sockets but the members of these rooms; see `BroadcastOperator.except_`."""
        return self.broadcast.except_(rooms)

    @property
    def local(self) -> BroadcastOperator:
        """All other sockets of the namespace on this server."""
        return self.broadcast.local

    def forget_ack(self, ack_id: int) -> None:
        """Stop waiting for an acknowledgement."""
        self.connection.packets.forget_ack(self.namespace, ack_id)

    def acknowledge(self, ack_id: int, args: Sequence[Any]) -> None:
        """Acknowledge an event of the client.

        Raises:
            EncodeError: an argument cannot be encoded.
        """
        packets = encode_ack(self.namespace, args, ack_id)
        if self.phase is Phase.CONNECTED and len(packets) == 1:
            self.connection.send_packet(packets[0])
        else:
            self.write(OutgoingMessage.of(packets))

    def disconnect(self) -> None:
        """Disconnect the client from the namespace, after everything that was emitted to it. Harmless if it is gone.

        In its ``connect`` handler or middleware: the client is refused when that ends, and nothing is sent to it.
        """
        self.connection.kick(self)

    def write(self, message: OutgoingMessage, *, volatile: bool = False) -> None:
        """Send a message, or hold it until the CONNECT packet; does nothing if the client has disconnected.

        Messages that are held are a write backlog: volatile ones are dropped.
        """
        if self.listeners is not None:
            event = event_of(message)
            if event is not None:
                self.notify_outgoing(event)
        if self.phase is Phase.CONNECTED:
            self.connection.log.unicast(self.connection, message, volatile=volatile)
        elif self.phase is Phase.CONNECTING and not (volatile and self._held):
            self._held_bytes += message.size_bytes
            if self._held and self._held_bytes > self.connection.options.outbox_limit_bytes:
                self.connection.overflow(self._held_bytes)
                return
            if self._held is None:
                self._held = []
            self._held.append(message)

    # -- middleware and listeners -------------------------------------------------------------------------------------

    def _own_listeners(self) -> Listeners:
        if self.listeners is None:
            self.connection.enable_hooks()
            self.listeners = Listeners()
        return self.listeners

    def use(self, middleware: Callable[..., Any]) -> Callable[..., Any]:
        """Add middleware for the events of this client, after that of its namespace; see `Server.use_event`."""
        self._own_listeners().events.append(middleware)
        return middleware

    def on_any(self, listener: AnyListener) -> AnyListener:
        """Call a function with name and arguments of each event of this client, before middleware and handlers.

        Raises:
            TypeError: it is a coroutine function.
        """
        self._own_listeners().incoming.append(checked(listener))
        return listener

    def off_any(self, listener: AnyListener | None = None) -> None:
        """Remove a listener of `on_any`; None: all."""
        if self.listeners is not None:
            _remove(self.listeners.incoming, listener)

    def on_any_outgoing(self, listener: AnyListener) -> AnyListener:
        """Call a function with name and arguments of each event that is emitted to this client, broadcasts included.

        It receives the arguments as the client decodes them. Acknowledgements are not events.

        Raises:
            TypeError: it is a coroutine function.
        """
        self._own_listeners().outgoing.append(checked(listener))
        self._hub.listen(self)
        return listener

    def off_any_outgoing(self, listener: AnyListener | None = None) -> None:
        """Remove a listener of `on_any_outgoing`; None: all."""
        if self.listeners is not None:
            _remove(self.listeners.outgoing, listener)

    def notify_outgoing(self, event: Sequence[Any]) -> None:
        """Call the listeners for an event that is emitted to this client."""
        if self.listeners is not None:
            notify(self.listeners.shared, self, *event)
            notify(self.listeners.outgoing, *event)

    def listen_for_namespace(self, listeners: list[AnyListener]) -> None:
        """Set the outgoing listeners of the namespace."""
        self._own_listeners().shared = listeners
        self._hub.listen(self)

    # -- for the connection -------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """The CONNECT packet was written: join the rooms and send what was held."""
        self.phase = Phase.CONNECTED
        self._hub.enter(self.connection)
        for room in self._rooms or ():
            self._hub.join(self.connection, room)
        self._hub.decided(self, self._rooms or ())  # last: the rooms are never without a member
        for message in self._held or ():  # the listeners were called when it was emitted
            self.connection.log.unicast(self.connection, message)
        self._held = None

    def send_missed(self) -> bool:
        """Send the events that the client of a recovered session has missed; False: that is not possible any more."""
        return True

    def exit(self, reason: Reason | None = None) -> None:
        """Leave the namespace and send no more. The hub keeps the id until `unregister`.

        Args:
            reason: Why the connection to the client ended; None: the client was rejected.
        """
        del reason  # for `recovery.RecoverableSocket`
        if self.phase is Phase.CONNECTED:
            self._hub.exit(self.connection, self._rooms or ())
        elif self.phase is Phase.CONNECTING:
            self._hub.decided(self, self._rooms or ())
        self.phase = Phase.GONE
        self._held = None

    def unregister(self) -> None:
        """Remove the id from the hub, after the last handler."""
        self._hub.remove(self.sid)


class Ack:
    """The acknowledgement of one event: call it, once, with its arguments.

    Further calls do nothing, and so does a call if the client expects none or has disconnected.
    """

    __slots__ = ("_ack_id", "_socket")

    def __init__(self, socket: Socket, ack_id: int | None) -> None:
        self._socket = socket
        self._ack_id = ack_id

    @property
    def wanted(self) -> bool:
        """Whether the client expects it, and it was not sent yet."""
        return self._ack_id is not None

    def __call__(self, *args: Any) -> None:
        """Send it.

        Raises:
            EncodeError: an argument cannot be encoded.
        """
        ack_id = self._ack_id
        if ack_id is not None:
            self._socket.acknowledge(ack_id, args)
            self._ack_id = None


def _remove(listeners: list[AnyListener], listener: AnyListener | None) -> None:
    if listener is None:
        listeners.clear()
    elif listener in listeners:
        listeners.remove(listener)
