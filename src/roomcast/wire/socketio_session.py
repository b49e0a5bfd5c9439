"""The Socket.IO side of one connection: which namespaces it is in, and what its packets mean there.

Sans-I/O. One Engine.IO message in, at most one event out; a ``RemoteError`` means: close the connection.

Layer: wire (standard library only). Source: Socket.IO protocol v5, "Exchange protocol"; socket.io 4.8
``lib/client.ts``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import Any, Final, TypeAlias

from roomcast.wire.errors import Fault, IllegalTransition, LocalError, RemoteError, quote
from roomcast.wire.limits import DEFAULT_LIMITS, Limits
from roomcast.wire.socketio import (
    Decoder,
    Packet,
    PacketType,
    encode_connect,
    encode_connect_error,
    encode_disconnect,
)

# JavaScript writes whole numbers up to here without an exponent.
_PLAIN_NUMBER: Final = 1e21


@unique
class NamespaceState(Enum):
    """Where the connection stands with one namespace."""

    ABSENT = "absent"
    CONNECTING = "connecting"  # CONNECT came; the application decides
    CONNECTED = "connected"
    LEFT = "left"  # we disconnected it; packets that were under way are dropped until it connects again


@unique
class NamespaceTrigger(Enum):
    """What moves it."""

    CONNECT = "connect"  # from the client
    ACCEPT = "accept"
    REFUSE = "refuse"
    CLIENT_DISCONNECT = "client disconnect"
    SERVER_DISCONNECT = "server disconnect"


# The whole machine of one namespace. A pair that is missing here is illegal: from the client it ends the connection.
TRANSITIONS: Final[dict[tuple[NamespaceState, NamespaceTrigger], NamespaceState]] = {
    (NamespaceState.ABSENT, NamespaceTrigger.CONNECT): NamespaceState.CONNECTING,
    (NamespaceState.LEFT, NamespaceTrigger.CONNECT): NamespaceState.CONNECTING,
    (NamespaceState.CONNECTING, NamespaceTrigger.ACCEPT): NamespaceState.CONNECTED,
    (NamespaceState.CONNECTING, NamespaceTrigger.REFUSE): NamespaceState.ABSENT,
    (NamespaceState.CONNECTED, NamespaceTrigger.CLIENT_DISCONNECT): NamespaceState.ABSENT,
    (NamespaceState.CONNECTED, NamespaceTrigger.SERVER_DISCONNECT): NamespaceState.LEFT,
    # Both sides left at the same time.
    (NamespaceState.LEFT, NamespaceTrigger.CLIENT_DISCONNECT): NamespaceState.ABSENT,
}


@dataclass(slots=True)
class ConnectRequested:
    """The client asks for a namespace: answer with ``accept`` or ``refuse``.

    Attributes:
        namespace: Its name, which no check has found to exist.
        auth: What the client gave to prove itself; ``{}`` if nothing.
    """

    namespace: str
    auth: dict[str, Any]


@dataclass(slots=True)
class EventReceived:
    """An event for a connected namespace.

    Attributes:
        namespace: Where.
        name: Event name; a number has become its text, as Node's emitter makes it.
        args: Arguments, attachments in place as ``bytes``.
        ack_id: Answer once with ``encode_ack(namespace, args, ack_id)``; None if no answer is asked.
    """

    namespace: str
    name: str
    args: list[Any]
    ack_id: int | None


@dataclass(slots=True)
class AckReceived:
    """The answer to an event of ours.

    Attributes:
        namespace: Where.
        context: What ``expect_ack`` was given for it.
        args: Its arguments.
    """

    namespace: str
    context: Any
    args: list[Any]


@dataclass(slots=True)
class Disconnected:
    """A namespace ended.

    Attributes:
        namespace: Which.
        unanswered: The contexts of the acks that will not come any more.
    """

    namespace: str
    unanswered: list[Any]


SocketEvent: TypeAlias = ConnectRequested | EventReceived | AckReceived | Disconnected


class SocketSession:
    """The Socket.IO state of one connection."""

    __slots__ = ("_acks", "_closed", "_decoder", "_limits", "_next_ack", "_states")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._states: dict[str, NamespaceState] = {}
        self._acks: dict[tuple[str, int], Any] = {}
        self._next_ack = 0
        self._decoder = Decoder(limits, self._admit)
        self._closed = False

    # -- state --------------------------------------------------------------------------------------------------------

    def state_of(self, namespace: str) -> NamespaceState:
        """Where the connection stands with a namespace."""
        return self._states.get(namespace, NamespaceState.ABSENT)

    def connected(self) -> list[str]:
        """The namespaces it is connected to, oldest first."""
        return [name for name, state in self._states.items() if state is NamespaceState.CONNECTED]

    # -- in -----------------------------------------------------------------------------------------------------------

    def receive(self, message: str | bytes) -> SocketEvent | None:
        """Take one Engine.IO message.

        Args:
            message: Text without the Engine.IO type, or an attachment.

        Returns:
            What it means; None while attachments are missing and for what is to be ignored: packets for a namespace
            that we have left, acks that nobody waits for.

        Raises:
            RemoteError: close the connection. What comes after it is ignored once ``close`` was called.
        """
        if self._closed:
            return None
        packet = self._decoder.add(message)
        if packet is None:
            return None
        packet_type = packet.type
        namespace = packet.namespace
        if packet_type is PacketType.EVENT:
            if self._states.get(namespace) is not NamespaceState.CONNECTED:
                return None
            args = packet.data
            name = args.pop(0)
            return EventReceived(namespace, name if isinstance(name, str) else _number_name(name), args, packet.ack_id)
        return self._on_rare(packet)

    def _on_rare(self, packet: Packet) -> SocketEvent | None:
        namespace = packet.namespace
        if packet.type is PacketType.CONNECT:
            self._move(namespace, NamespaceTrigger.CONNECT)
            return ConnectRequested(namespace, {} if packet.data is None else packet.data)
        if packet.type is PacketType.DISCONNECT:
            left = self._states.get(namespace) is NamespaceState.LEFT
            self._move(namespace, NamespaceTrigger.CLIENT_DISCONNECT)
            return None if left else Disconnected(namespace, self._drop_acks(namespace))
        # ACK. An unknown id is an answer that came twice, or after we stopped waiting: Node ignores it too.
        key = (namespace, packet.ack_id)
        if key not in self._acks:
            return None
        return AckReceived(namespace, self._acks.pop(key), packet.data)

    def _admit(self, packet_type: PacketType, namespace: str) -> None:
        """The decoder's question, before it spends anything on a packet: does it belong to a namespace of ours?"""
        state = self._states.get(namespace, NamespaceState.ABSENT)
        if packet_type is PacketType.CONNECT:
            if (state, NamespaceTrigger.CONNECT) not in TRANSITIONS:
                raise RemoteError(Fault.UNEXPECTED_PACKET, f"CONNECT to {quote(namespace)}, which is {state.value}")
            self._check_namespace(namespace)
        elif packet_type is PacketType.CONNECT_ERROR or (
            state is not NamespaceState.CONNECTED and state is not NamespaceState.LEFT
        ):
            raise RemoteError(
                Fault.UNEXPECTED_PACKET, f"{packet_type.name} for {quote(namespace)}, which is {state.value}"
            )

    def _check_namespace(self, namespace: str) -> None:
        # Names reach logs, metrics and polling payloads: no control characters, no separators.
        if len(namespace) > self._limits.max_namespace_length or not namespace.isprintable():
            raise RemoteError(Fault.BAD_NAMESPACE, f"no namespace may be named {quote(namespace)}")
        if namespace not in self._states and len(self._states) >= self._limits.max_namespaces:
            raise RemoteError(Fault.TOO_MANY_NAMESPACES, f"more than {self._limits.max_namespaces} namespaces")

    # -- out ----------------------------------------------------------------------------------------------------------

    def accept(self, namespace: str, sid: str) -> str:
        """Let the client into a namespace it asked for.

        Args:
            namespace: Which.
            sid: Id of the socket there; not the Engine.IO session's, which is a secret of the transport.

        Returns:
            The packet to send.

        Raises:
            IllegalTransition: it is not connecting (any more): look at ``state_of`` after an await.
        """
        self._move_ours(namespace, NamespaceTrigger.ACCEPT)
        return encode_connect(namespace, sid)

    def refuse(self, namespace: str, message: str, data: Any = None) -> str:
        """Keep the client out of a namespace it asked for; returns the packet to send.

        Raises:
            IllegalTransition: it is not connecting (any more).
            EncodeError: ``data`` cannot be sent.
        """
        packet = encode_connect_error(namespace, message, data)
        self._move_ours(namespace, NamespaceTrigger.REFUSE)
        return packet

    def disconnect(self, namespace: str) -> tuple[str, Disconnected]:
        """Put the client out of a namespace; returns the packet to send and what ended with it.

        Raises:
            IllegalTransition: it is not connected.
        """
        self._move_ours(namespace, NamespaceTrigger.SERVER_DISCONNECT)
        return encode_disconnect(namespace), Disconnected(namespace, self._drop_acks(namespace))

    def expect_ack(self, namespace: str, context: Any) -> int:
        """The id for an event that asks for an answer; ``context`` comes back in ``AckReceived`` or ``Disconnected``.

        Raises:
            LocalError: ``max_pending_acks`` answers are owed already.
            IllegalTransition: the namespace is not connected.
        """
        if self._states.get(namespace) is not NamespaceState.CONNECTED:
            raise IllegalTransition(self.state_of(namespace).name, "EXPECT_ACK")
        if len(self._acks) >= self._limits.max_pending_acks:
            raise LocalError(f"the client owes {len(self._acks)} acks already")
        ack_id = self._next_ack
        self._next_ack += 1
        self._acks[namespace, ack_id] = context
        return ack_id

    def forget_ack(self, namespace: str, ack_id: int) -> None:
        """Stop waiting, after a time-out; an answer that still comes is ignored."""
        self._acks.pop((namespace, ack_id), None)

    def close(self) -> list[Disconnected]:
        """The connection is gone: what it was connected to and what will not be answered. Further input is ignored."""
        ended = [Disconnected(namespace, self._drop_acks(namespace)) for namespace in self.connected()]
        self._closed = True
        self._states.clear()
        self._decoder = Decoder(self._limits, self._admit)  # frees attachments under reconstruction
        return ended

    # -- inner workings -----------------------------------------------------------------------------------------------

    def _move(self, namespace: str, trigger: NamespaceTrigger) -> None:
        """The only place where a state changes."""
        following = TRANSITIONS[self.state_of(namespace), trigger]
        # Removed first: the order of the table is the order in which namespaces were connected.
        self._states.pop(namespace, None)
        if following is not NamespaceState.ABSENT:
            self._states[namespace] = following

    def _move_ours(self, namespace: str, trigger: NamespaceTrigger) -> None:
        if (self.state_of(namespace), trigger) not in TRANSITIONS:
            raise IllegalTransition(self.state_of(namespace).name, trigger.name)
        self._move(namespace, trigger)

    def _drop_acks(self, namespace: str) -> list[Any]:
        keys = [key for key in self._acks if key[0] == namespace]
        return [self._acks.pop(key) for key in keys]


def _number_name(number: int | float) -> str:  # noqa: PYI041 -- an int keeps all its digits
    """An event name that is a number, as JavaScript turns it into text."""
    if isinstance(number, float) and number.is_integer() and abs(number) < _PLAIN_NUMBER:
        return str(int(number))
    return str(number)
