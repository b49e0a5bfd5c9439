"""The Socket.IO session of one connection: its namespaces and its pending acks.

Sans-I/O: each Engine.IO message returns at most one event. On ``RemoteError``, close the connection.

Layer: wire (standard library only). Source: Socket.IO protocol v5, "Exchange protocol", whose sections are quoted;
socket.io 4.8 ``lib/client.ts`` ("Node").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, unique
from typing import Any, Final, TypeAlias

from roomcast.wire.errors import Fault, IllegalTransition, LocalError, RemoteError, quote
from roomcast.wire.limits import DEFAULT_LIMITS, Limits
from roomcast.wire.socketio import (
    DEFAULT_NAMESPACE,
    Decoder,
    Packet,
    PacketType,
    decode_plain_event,
    encode_connect,
    encode_connect_error,
    encode_disconnect,
)
from roomcast.wire.strict_json import reader_for

# The pending acks of a session that has expected none: no entry is added.
_NO_ACKS: Final[dict[tuple[str, int], Any]] = {}

# JavaScript writes integers below this number without an exponent.
_PLAIN_NUMBER: Final = 1e21


@unique
class NamespaceState(Enum):
    """The state of one namespace of a connection."""

    __hash__ = object.__hash__  # that of Enum is a Python function, which takes longer than the rest of a look-up

    ABSENT = "absent"
    CONNECTING = "connecting"  # CONNECT arrived; the application has not decided yet
    CONNECTED = "connected"
    LEFT = "left"  # the server has disconnected; packets in flight are dropped until the next CONNECT


@unique
class NamespaceTrigger(Enum):
    """What changes the state of a namespace."""

    __hash__ = object.__hash__  # as above

    CONNECT = "connect"  # from the client
    ACCEPT = "accept"
    REFUSE = "refuse"
    CLIENT_DISCONNECT = "client disconnect"
    SERVER_DISCONNECT = "server disconnect"


# The whole state machine. A pair that is not listed is illegal; if the client causes it, the connection is closed.
TRANSITIONS: Final[dict[tuple[NamespaceState, NamespaceTrigger], NamespaceState]] = {
    (NamespaceState.ABSENT, NamespaceTrigger.CONNECT): NamespaceState.CONNECTING,
    (NamespaceState.LEFT, NamespaceTrigger.CONNECT): NamespaceState.CONNECTING,
    (NamespaceState.CONNECTING, NamespaceTrigger.ACCEPT): NamespaceState.CONNECTED,
    (NamespaceState.CONNECTING, NamespaceTrigger.REFUSE): NamespaceState.ABSENT,
    (NamespaceState.CONNECTED, NamespaceTrigger.CLIENT_DISCONNECT): NamespaceState.ABSENT,
    (NamespaceState.CONNECTED, NamespaceTrigger.SERVER_DISCONNECT): NamespaceState.LEFT,
    # Both sides disconnected at the same time.
    (NamespaceState.LEFT, NamespaceTrigger.CLIENT_DISCONNECT): NamespaceState.ABSENT,
}

_MAY_EMIT: Final = frozenset({NamespaceState.CONNECTING, NamespaceState.CONNECTED})


@dataclass(slots=True)
class ConnectRequested:
    """The client requests a namespace. Answer with ``accept`` or ``refuse``.

    Attributes:
        namespace: Name of the requested namespace, which may not exist.
        auth: Credentials of the client; ``{}`` if it sent none.
    """

    namespace: str
    auth: dict[str, Any]


@dataclass(slots=True)
class EventReceived:
    """An event in a connected namespace.

    Attributes:
        namespace: Namespace of the event.
        name: Event name; a number is converted to text as in JavaScript.
        args: Arguments, with attachments in place as ``bytes``.
        ack_id: Answer once with ``encode_ack(namespace, args, ack_id)``; None if the client requested no ack.
    """

    namespace: str
    name: str
    args: list[Any]
    ack_id: int | None


@dataclass(slots=True)
class AckReceived:
    """The client's ack of an event that the server sent.

    Attributes:
        namespace: Namespace of the event.
        context: The ``context`` that was passed to ``expect_ack``.
        args: Arguments of the ack.
    """

    namespace: str
    context: Any
    args: list[Any]


@dataclass(slots=True)
class Disconnected:
    """The connection to a namespace has ended.

    Attributes:
        namespace: Name of the namespace.
        unanswered: Contexts of the acks that did not arrive.
    """

    namespace: str
    unanswered: list[Any]


SocketEvent: TypeAlias = ConnectRequested | EventReceived | AckReceived | Disconnected


class SocketSession:
    """The Socket.IO state of one connection."""

    __slots__ = ("_acks", "_closed", "_decoder", "_handles", "_next_ack", "_reader", "_states")

    def __init__(
        self, limits: Limits = DEFAULT_LIMITS, handles: Callable[[str, str], bool] = lambda _name, _namespace: True
    ) -> None:
        """Start without a namespace.

        Args:
            limits: Limits of the input.
            handles: Whether an event (name, namespace) has a handler. The attachments of any other event are not kept.
        """
        self._reader = reader_for(limits)
        self._states: dict[str, NamespaceState] = {}
        self._acks: dict[tuple[str, int], Any] = _NO_ACKS
        self._next_ack = 0
        self._handles = handles
        self._decoder: Decoder | None = None  # while attachments are missing: an idle connection needs none
        self._closed = False

    # -- state --------------------------------------------------------------------------------------------------------

    def state_of(self, namespace: str) -> NamespaceState:
        """The state of a namespace."""
        return self._states.get(namespace, NamespaceState.ABSENT)

    def connected(self) -> list[str]:
        """The connected namespaces, oldest first."""
        return [name for name, state in self._states.items() if state is NamespaceState.CONNECTED]

    @property
    def held_bytes(self) -> int:
        """The memory of a binary packet whose attachments are missing; 0 if there is none."""
        return 0 if self._decoder is None else self._decoder.held_bytes

    @property
    def pending_acks(self) -> int:
        """The number of acks that have not arrived."""
        return len(self._acks)

    # -- input --------------------------------------------------------------------------------------------------------

    def receive(self, message: str | bytes) -> SocketEvent | None:
        """Process one Engine.IO message.

        Args:
            message: Text without the Engine.IO type, or an attachment.

        Returns:
            The resulting event; None while attachments are missing, and for packets that are ignored: packets for
            a namespace that the server has disconnected, and acks with an unknown id.

        Raises:
            RemoteError: the input is invalid; close the connection. After `close`, input is ignored.
        """
        decoder = self._decoder
        if decoder is None:
            # Nearly all packets. In any other state of the namespace the header must be checked first.
            if isinstance(message, str) and self._states.get(DEFAULT_NAMESPACE) is NamespaceState.CONNECTED:
                event = decode_plain_event(message, self._reader)
                if event is not None:
                    args, ack_id = event
                    return EventReceived(DEFAULT_NAMESPACE, _event_name(args.pop(0)), args, ack_id)
            if self._closed:
                return None
            decoder = Decoder(self._reader.limits, self._check_header, self._is_wanted)
        packet = decoder.add(message)
        self._decoder = None if decoder.complete else decoder
        return None if packet is None else self._on_packet(packet)

    def _on_packet(self, packet: Packet) -> SocketEvent | None:
        if packet.type is not PacketType.EVENT:
            return self._on_control_packet(packet)
        if self._states.get(packet.namespace) is not NamespaceState.CONNECTED:
            return None
        args = packet.data
        return EventReceived(packet.namespace, _event_name(args.pop(0)), args, packet.ack_id)

    def _on_control_packet(self, packet: Packet) -> SocketEvent | None:
        namespace = packet.namespace
        if packet.type is PacketType.CONNECT:
            self._move(namespace, NamespaceTrigger.CONNECT)
            return ConnectRequested(namespace, {} if packet.data is None else packet.data)
        if packet.type is PacketType.DISCONNECT:
            left = self._states.get(namespace) is NamespaceState.LEFT
            self._move(namespace, NamespaceTrigger.CLIENT_DISCONNECT)
            return None if left else Disconnected(namespace, self.drop_acks(namespace))
        # ACK. The id of a repeated or late ack is unknown. As in Node, such an ack is ignored.
        key = (namespace, packet.ack_id)
        if key not in self._acks:
            return None
        return AckReceived(namespace, self._acks.pop(key), packet.data)

    def _check_header(self, packet_type: PacketType, namespace: str) -> None:
        """Reject packets that the state of their namespace does not allow, before the decoder parses them."""
        state = self._states.get(namespace, NamespaceState.ABSENT)
        if packet_type is PacketType.CONNECT:
            if (state, NamespaceTrigger.CONNECT) not in TRANSITIONS:
                raise RemoteError(Fault.UNEXPECTED_PACKET, f"CONNECT to {quote(namespace)}, which is {state.value}")
            self._check_namespace(namespace)
        elif packet_type is PacketType.CONNECT_ERROR or (
            state is not NamespaceState.CONNECTED and state is not NamespaceState.LEFT
        ):
            # "Connection to a namespace": a packet that arrives before CONNECT closes the connection.
            raise RemoteError(
                Fault.UNEXPECTED_PACKET, f"{packet_type.name} for {quote(namespace)}, which is {state.value}"
            )

    def _is_wanted(self, packet: Packet) -> bool:
        """Whether a packet will have an effect once its attachments have arrived."""
        if packet.type is PacketType.ACK:
            return (packet.namespace, packet.ack_id) in self._acks
        connected = self._states.get(packet.namespace) is NamespaceState.CONNECTED
        return connected and self._handles(_event_name(packet.data[0]), packet.namespace)

    def _check_namespace(self, namespace: str) -> None:
        # Names appear in logs, metrics and polling payloads, so control characters and separators are rejected.
        if len(namespace) > self._reader.limits.max_namespace_length or not namespace.isprintable():
            raise RemoteError(Fault.BAD_NAMESPACE, f"namespace {quote(namespace)} is too long or not printable")
        if namespace not in self._states and len(self._states) >= self._reader.limits.max_namespaces:
            raise RemoteError(Fault.TOO_MANY_NAMESPACES, f"more than {self._reader.limits.max_namespaces} namespaces")

    # -- output -------------------------------------------------------------------------------------------------------

    def accept(self, namespace: str, sid: str, pid: str | None = None) -> str:
        """Accept a namespace that the client requested; return the CONNECT packet to send.

        Args:
            namespace: Name of the namespace.
            sid: Id of the socket. Must differ from the id of the Engine.IO session, which is secret.
            pid: See `encode_connect`.

        Raises:
            IllegalTransition: the namespace is not connecting. Check ``state_of`` after an await.
        """
        self._move_from_server(namespace, NamespaceTrigger.ACCEPT)
        return encode_connect(namespace, sid, pid)

    def refuse(self, namespace: str, message: str, data: Any = None) -> str:
        """Refuse a namespace that the client requested; return the CONNECT_ERROR packet to send.

        Raises:
            IllegalTransition: the namespace is not connecting.
            EncodeError: ``data`` cannot be sent.
        """
        packet = encode_connect_error(namespace, message, data)
        self._move_from_server(namespace, NamespaceTrigger.REFUSE)
        return packet

    def disconnect(self, namespace: str) -> tuple[str, Disconnected]:
        """Disconnect the client from a namespace; return the DISCONNECT packet to send, and the event.

        Raises:
            IllegalTransition: the namespace is not connected.
        """
        self._move_from_server(namespace, NamespaceTrigger.SERVER_DISCONNECT)
        return encode_disconnect(namespace), Disconnected(namespace, self.drop_acks(namespace))

    def expect_ack(self, namespace: str, context: Any) -> int:
        """Return an id for an event that requests an ack. ``AckReceived`` or ``Disconnected`` contains the ``context``.

        While the namespace is connecting, send the event after the CONNECT packet.

        Raises:
            LocalError: ``max_pending_acks`` acks are pending already.
            IllegalTransition: the namespace is neither connected nor connecting.
        """
        if self._states.get(namespace) not in _MAY_EMIT:
            raise IllegalTransition(self.state_of(namespace).name, "EXPECT_ACK")
        if len(self._acks) >= self._reader.limits.max_pending_acks:
            raise LocalError(f"{len(self._acks)} acks are pending already")
        ack_id = self._next_ack
        self._next_ack += 1
        if self._acks is _NO_ACKS:
            self._acks = {}
        self._acks[namespace, ack_id] = context
        return ack_id

    def forget_ack(self, namespace: str, ack_id: int) -> None:
        """Stop waiting for an ack, after a timeout. If the ack arrives later, it is ignored."""
        self._acks.pop((namespace, ack_id), None)

    def drop_acks(self, namespace: str) -> list[Any]:
        """Stop waiting for the acks of a namespace, after `refuse` or `close`; return their contexts."""
        keys = [key for key in self._acks if key[0] == namespace]
        return [self._acks.pop(key) for key in keys]

    def close(self) -> list[Disconnected]:
        """End the session with its connection; return an event for each connected namespace. Ignores further input."""
        ended = [Disconnected(namespace, self.drop_acks(namespace)) for namespace in self.connected()]
        self._closed = True
        self._states.clear()
        self._decoder = None  # releases the attachments of an incomplete packet
        return ended

    # -- internals ----------------------------------------------------------------------------------------------------

    def _move(self, namespace: str, trigger: NamespaceTrigger) -> None:
        """The only place where a state changes. The client's triggers are checked earlier, in `_check_header`."""
        target = TRANSITIONS[self.state_of(namespace), trigger]
        # The old entry is removed first, so that the dict keeps the order in which namespaces were connected.
        self._states.pop(namespace, None)
        if target is not NamespaceState.ABSENT:
            self._states[namespace] = target

    def _move_from_server(self, namespace: str, trigger: NamespaceTrigger) -> None:
        if (self.state_of(namespace), trigger) not in TRANSITIONS:
            raise IllegalTransition(self.state_of(namespace).name, trigger.name)
        self._move(namespace, trigger)


def _event_name(name: str | int | float) -> str:  # noqa: PYI041 -- an int keeps all its digits
    """The name of an event; a number is converted to text as JavaScript does."""
    if isinstance(name, str):
        return name
    if isinstance(name, float) and name.is_integer() and abs(name) < _PLAIN_NUMBER:
        return str(int(name))
    return str(name)
