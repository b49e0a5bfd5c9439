"""Socket.IO v5 packets: text and binary, to and from Engine.IO messages.

What the ``encode_…`` functions return is ready for a transport: the Engine.IO type ``4`` is already in front, ``str``
is text and ``bytes`` an attachment. What ``Decoder`` takes is the data of an Engine.IO message, without the ``4``.

Layer: wire (standard library only). Source: Socket.IO protocol v5, "Packet encoding"; socket.io-parser 4, whose
tolerance is narrowed where an advisory shows why (each cited beside its check).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Any, Final

from roomcast.wire.errors import EncodeError, Fault, RemoteError, quote
from roomcast.wire.limits import DEFAULT_LIMITS, Limits
from roomcast.wire.strict_json import reader_for, write

DEFAULT_NAMESPACE: Final = "/"

# Names that mean something to a Socket.IO library or to Node's emitter and so are never an event (CVE-2023-32695).
RESERVED_EVENTS: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)


@unique
class PacketType(IntEnum):
    """Packet types; the value is the digit on the wire."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


_TYPES: Final = {str(member.value): member for member in PacketType}

# <type>[<attachments>-][<namespace>,][<ack id>]; each part is bounded again where it is read.
_HEADER: Final = re.compile(r"(?:([0-4])|([56])([0-9]{1,10})-)(?:(/[^,]*),?)?([0-9]{0,17})")


@dataclass(slots=True)
class Packet:
    """One Socket.IO packet, its attachments in place.

    Attributes:
        type: Its type; a complete binary packet has become ``EVENT`` or ``ACK``.
        namespace: Its namespace, ``/`` if none is written.
        data: ``CONNECT``: dict or None. ``EVENT``: list of event name and arguments. ``ACK``: list of arguments.
            ``CONNECT_ERROR``: dict or str. ``DISCONNECT``: None.
        ack_id: The acknowledgement that is asked for or given.
    """

    type: PacketType
    namespace: str = DEFAULT_NAMESPACE
    data: Any = None
    ack_id: int | None = None


# -- encoding ---------------------------------------------------------------------------------------------------------


def encode_event(namespace: str, args: Sequence[Any], ack_id: int | None = None) -> list[str | bytes]:
    """An event: one text packet, and its attachments if it has any.

    Args:
        namespace: Where it goes.
        args: Event name and arguments.
        ack_id: Set to ask for an acknowledgement.

    Raises:
        EncodeError: an argument cannot be sent.
    """
    return _encode_args("2", "5", namespace, args, ack_id)


def encode_ack(namespace: str, args: Sequence[Any], ack_id: int) -> list[str | bytes]:
    """The acknowledgement of an event; arguments as in ``encode_event``, without an event name."""
    return _encode_args("3", "6", namespace, args, ack_id)


def encode_event_json(namespace: str, args_json: bytes) -> bytes:
    """An event whose argument array is JSON already, which is not read: the UTF-8 text of the packet.

    Args:
        namespace: Where it goes.
        args_json: JSON array of event name and arguments, UTF-8, without binary.
    """
    return b"%b%b" % (_header("2", namespace, None).encode(), args_json)


def encode_connect(namespace: str, sid: str) -> str:
    """CONNECT: the server's answer to a client that it accepts, with the id of the new socket."""
    return _header("0", namespace, None) + _text({"sid": sid})


def encode_connect_error(namespace: str, message: str, data: Any = None) -> str:
    """CONNECT_ERROR, with ``data`` only if there is any, as Node sends it."""
    error: dict[str, Any] = {"message": message}
    if data is not None:
        error["data"] = data
    return _header("4", namespace, None) + _text(error)


def encode_disconnect(namespace: str) -> str:
    """DISCONNECT from one namespace."""
    return _header("1", namespace, None)


def _header(digits: str, namespace: str, ack_id: int | None) -> str:
    ack = "" if ack_id is None else str(ack_id)
    return f"4{digits}{ack}" if namespace == DEFAULT_NAMESPACE else f"4{digits}{namespace},{ack}"


def _encode_args(
    text_type: str, binary_type: str, namespace: str, args: Sequence[Any], ack_id: int | None
) -> list[str | bytes]:
    text, attachments = write(args)
    if not attachments:
        return [_header(text_type, namespace, ack_id) + text]
    return [_header(f"{binary_type}{len(attachments)}-", namespace, ack_id) + text, *attachments]


def _text(value: Any) -> str:
    text, attachments = write(value)
    if attachments:
        raise EncodeError("a CONNECT or CONNECT_ERROR packet carries no binary data")
    return text


# -- decoding ---------------------------------------------------------------------------------------------------------


def _admit_all(_packet_type: PacketType, _namespace: str) -> None:
    """Without a session every namespace is welcome."""


class Decoder:
    """Reads the packets of one connection; holds at most one packet whose attachments are still to come."""

    __slots__ = ("_admit", "_filled", "_limits", "_pending", "_read", "_size", "_slots")

    def __init__(self, limits: Limits = DEFAULT_LIMITS, admit: Callable[[PacketType, str], None] = _admit_all) -> None:
        """Start with nothing pending.

        Args:
            limits: Its bounds.
            admit: Called with the type (``EVENT`` and ``ACK`` also for their binary forms) and the namespace of every
                packet before its JSON is read and before any attachment is awaited; raises ``RemoteError`` to refuse.
        """
        self._limits = limits
        self._read = reader_for(limits).read
        self._admit = admit
        self._pending: Packet | None = None
        self._slots: list[tuple[Any, Any]] = []
        self._filled = 0
        self._size = 0

    def add(self, data: str | bytes) -> Packet | None:
        """Take the next Engine.IO message.

        Args:
            data: ``str`` without the Engine.IO type, or ``bytes``: an attachment.

        Returns:
            The packet that is complete with it; None while attachments are missing.

        Raises:
            RemoteError: the message is no packet or not the one that must come now.
        """
        if not isinstance(data, str):
            return self._add_attachment(data)
        if self._pending is not None:
            raise RemoteError(Fault.UNEXPECTED_TEXT, "text while attachments are missing")
        if data.startswith("2["):  # nearly all traffic: an event of the main namespace, no ack asked
            self._admit(PacketType.EVENT, DEFAULT_NAMESPACE)
            args = self._read(data, 1)
            self._check_event(args)
            return Packet(PacketType.EVENT, DEFAULT_NAMESPACE, args)
        return self._decode(data)

    def _decode(self, text: str) -> Packet | None:
        header = _HEADER.match(text)
        if header is None:
            fault = Fault.BAD_ATTACHMENTS if text[:1] in {"5", "6"} else Fault.BAD_PACKET_TYPE
            raise RemoteError(fault, f"no Socket.IO packet: {quote(text)}")
        plain, binary, count, namespace, ack_digits = header.groups()
        if namespace is None:
            namespace = DEFAULT_NAMESPACE
        if binary is None:
            packet_type = _TYPES[plain]
        else:
            packet_type = PacketType.EVENT if binary == "5" else PacketType.ACK
            if int(count) > self._limits.max_attachments:  # CVE-2026-33151
                raise RemoteError(Fault.TOO_MANY_ATTACHMENTS, f"{count} of at most {self._limits.max_attachments}")
        self._admit(packet_type, namespace)  # before any memory is spent on it: python-socketio #1574

        packet = Packet(packet_type, namespace, None, self._ack_id(ack_digits))
        start = header.end()
        if start < len(text):
            packet.data = self._read(text, start)
            if packet.data is None:  # to leave the payload out is one thing, null another: it fits no type
                raise RemoteError(Fault.BAD_PAYLOAD, "null is no payload")
        self._check_payload(packet)
        # A header that announces no attachment is complete: waiting for one would never end (CVE-2026-69185).
        if binary is None:
            return packet
        slots = _find_slots(packet.data, int(count))
        if not slots:
            return packet
        self._pending, self._slots, self._filled, self._size = packet, slots, 0, 0
        return None

    def _add_attachment(self, data: bytes) -> Packet | None:
        packet = self._pending
        if packet is None:
            raise RemoteError(Fault.UNEXPECTED_BINARY, "binary data that no packet announced")
        self._size += len(data)
        if self._size > self._limits.max_reassembly_bytes:
            raise RemoteError(Fault.TOO_LARGE, f"attachments of more than {self._limits.max_reassembly_bytes} bytes")
        container, key = self._slots[self._filled]
        container[key] = data
        self._filled += 1
        if self._filled < len(self._slots):
            return None
        self._pending, self._slots = None, []
        return packet

    def _ack_id(self, digits: str) -> int | None:
        if not digits:
            return None
        ack_id = int(digits)
        if ack_id > self._limits.max_ack_id:
            raise RemoteError(Fault.BAD_ACK_ID, f"{digits} is more than {self._limits.max_ack_id}")
        return ack_id

    def _check_payload(self, packet: Packet) -> None:
        data = packet.data
        match packet.type:
            case PacketType.EVENT:
                self._check_event(data)
            case PacketType.ACK:
                if not isinstance(data, list):
                    raise RemoteError(Fault.BAD_PAYLOAD, "an ack carries an array")
                if packet.ack_id is None:
                    raise RemoteError(Fault.BAD_ACK_ID, "an ack without id")
            case PacketType.CONNECT:
                if data is not None and not isinstance(data, dict):
                    raise RemoteError(Fault.BAD_PAYLOAD, "CONNECT carries an object or nothing")
            case PacketType.CONNECT_ERROR:
                if not isinstance(data, dict | str):
                    raise RemoteError(Fault.BAD_PAYLOAD, "CONNECT_ERROR carries an object or a string")
            case _:  # DISCONNECT: the binary types have become EVENT and ACK
                if data is not None:
                    raise RemoteError(Fault.BAD_PAYLOAD, "DISCONNECT carries nothing")

    def _check_event(self, args: Any) -> None:
        if not isinstance(args, list) or not args:
            raise RemoteError(Fault.BAD_PAYLOAD, "an event carries an array that is not empty")
        name = args[0]
        # A number is a name to Node; true and false are none, though Python counts them as int.
        if isinstance(name, str):
            if name in RESERVED_EVENTS or len(name) > self._limits.max_event_name_length:
                raise RemoteError(Fault.BAD_EVENT_NAME, f"no event may be named {quote(name)}")
        elif isinstance(name, bool) or not isinstance(name, int | float):  # CVE-2023-32695
            raise RemoteError(Fault.BAD_EVENT_NAME, f"an event name is text or a number, not {type(name).__name__}")


def _find_slots(data: Any, count: int) -> list[tuple[Any, Any]]:
    """Where each attachment belongs, as (container, key or index).

    Checked before the first attachment is taken: each number from 0 to ``count`` - 1 stands in exactly one place, as
    every encoder writes it. Node lets one attachment be named many times, which an echo multiplies;
    CVE-2022-2421 was about numbers out of range.
    """
    slots: list[tuple[Any, Any] | None] = [None] * count
    found = 0
    containers = [data]
    while containers:
        container = containers.pop()
        for key, item in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(item, list):
                containers.append(item)
            elif isinstance(item, dict):
                if item.get("_placeholder") is not True:
                    containers.append(item)
                    continue
                num = item.get("num")
                if type(num) is not int or not 0 <= num < count or slots[num] is not None:
                    raise RemoteError(Fault.BAD_ATTACHMENTS, f"placeholder number {quote(num)} of {count}")
                slots[num] = (container, key)
                found += 1
    if found != count:
        raise RemoteError(Fault.BAD_ATTACHMENTS, f"{found} placeholders for {count} attachments")
    return [slot for slot in slots if slot is not None]
