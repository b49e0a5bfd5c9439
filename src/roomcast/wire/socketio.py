"""Socket.IO v5 packets: text and binary, to and from Engine.IO messages.

The ``encode_…`` functions return encoded Engine.IO packets: ``str`` is text that begins with the type ``4``, ``bytes``
is an attachment. ``Decoder`` takes the data of an Engine.IO message, without the ``4``.

Layer: wire (standard library only). Source: Socket.IO protocol v5, whose sections are quoted; socket.io-parser 4.
Where this module is stricter than socket.io-parser, the advisory is cited.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Any, Final

from roomcast.wire.errors import EncodeError, Fault, RemoteError, quote
from roomcast.wire.limits import DEFAULT_LIMITS, Limits
from roomcast.wire.strict_json import JsonReader, ObjectHook, reader_for, write

DEFAULT_NAMESPACE: Final = "/"

# Names that Socket.IO libraries or Node's EventEmitter reserve; never accepted as event names (CVE-2023-32695).
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

# "Format": <packet type>[<# of binary attachments>-][<namespace>,][<acknowledgment id>]. Limits are checked later.
_MAX_ACK_DIGITS: Final = 17
_HEADER: Final = re.compile(rf"(?:([0-4])|([56])([0-9]{{1,10}})-)(?:(/[^,]*),?)?([0-9]{{0,{_MAX_ACK_DIGITS}}})")


@dataclass(slots=True)
class Packet:
    """One Socket.IO packet, with its attachments in place of the placeholders.

    Attributes:
        type: Packet type; decoded ``BINARY_EVENT`` and ``BINARY_ACK`` packets become ``EVENT`` and ``ACK``.
        namespace: ``/`` if the packet names no namespace.
        data: ``CONNECT``: dict or None. ``EVENT``: list of event name and arguments. ``ACK``: list of arguments.
            ``CONNECT_ERROR``: dict or str. ``DISCONNECT``: None.
        ack_id: Id of the acknowledgement that an ``EVENT`` requests or that an ``ACK`` is.
    """

    type: PacketType
    namespace: str = DEFAULT_NAMESPACE
    data: Any = None
    ack_id: int | None = None


# -- encoding ---------------------------------------------------------------------------------------------------------


def encode_event(namespace: str, args: Sequence[Any], ack_id: int | None = None) -> list[str | bytes]:
    """Encode EVENT or BINARY_EVENT: one text packet, then its attachments.

    Args:
        namespace: Target namespace.
        args: Event name and arguments.
        ack_id: If given, requests an acknowledgement with this id.

    Raises:
        EncodeError: an argument cannot be sent.
    """
    return _encode_args("2", "5", namespace, args, ack_id)


def encode_event_once(namespace: str, args: Sequence[Any]) -> Callable[[int], list[str | bytes]]:
    """Encode an event that several clients acknowledge: a function from the id to the result of `encode_event`.

    Raises:
        EncodeError: an argument cannot be sent.
    """
    text, attachments = write(args)
    head = _header(f"5{len(attachments)}-" if attachments else "2", namespace, None)
    return lambda ack_id: [f"{head}{ack_id}{text}", *attachments]


def encode_ack(namespace: str, args: Sequence[Any], ack_id: int) -> list[str | bytes]:
    """Encode ACK or BINARY_ACK; the arguments are as in ``encode_event``, without an event name."""
    return _encode_args("3", "6", namespace, args, ack_id)


def encode_event_json(namespace: str, args_json: bytes) -> bytes:
    """Encode EVENT, as UTF-8, from arguments that are JSON already; the JSON is not validated.

    Args:
        namespace: Target namespace.
        args_json: JSON array of event name and arguments, UTF-8, without binary values.
    """
    return b"%b%b" % (_header("2", namespace, None).encode(), args_json)


def encode_connect(namespace: str, sid: str, pid: str | None = None) -> str:
    """Encode CONNECT: the server's response to an accepted client ("Connection to a namespace").

    Args:
        namespace: The namespace.
        sid: Id of the socket.
        pid: The secret id for connection state recovery, if it is on. Source: Node, ``lib/socket.ts``.
    """
    return _header("0", namespace, None) + _text({"sid": sid} if pid is None else {"sid": sid, "pid": pid})


def encode_connect_error(namespace: str, message: str, data: Any = None) -> str:
    """Encode CONNECT_ERROR: the response to a rejected client. As in Node, ``data`` is omitted if it is None."""
    error: dict[str, Any] = {"message": message}
    if data is not None:
        error["data"] = data
    return _header("4", namespace, None) + _text(error)


def encode_disconnect(namespace: str) -> str:
    """Encode DISCONNECT: the server ends the connection to a namespace."""
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


def _accept_all(_packet_type: PacketType, _namespace: str) -> None:
    """The default check: accepts every packet."""


def _want_all(_packet: Packet) -> bool:
    """The default of ``is_wanted``."""
    return True


@dataclass(slots=True)
class _Incomplete:
    """A binary packet whose attachments are missing.

    It keeps the JSON text, which is parsed again once all attachments have arrived: the parsed value can take thirty
    times the memory of the text.
    """

    packet: Packet
    text: str
    start: int
    count: int
    wanted: bool
    attachments: list[bytes] = field(default_factory=list)
    received: int = 0
    size_bytes: int = 0


class Decoder:
    """Decodes the packets of one connection. Holds at most one packet, while its attachments are missing."""

    __slots__ = ("_check_header", "_incomplete", "_is_wanted", "_limits", "_reader")

    def __init__(
        self,
        limits: Limits = DEFAULT_LIMITS,
        check_header: Callable[[PacketType, str], None] = _accept_all,
        is_wanted: Callable[[Packet], bool] = _want_all,
    ) -> None:
        """Start without a pending packet.

        Args:
            limits: Limits of the input.
            check_header: Called with the type (``EVENT`` and ``ACK`` also for their binary forms) and the namespace of
                each packet before its JSON is parsed. Raises ``RemoteError`` to reject the packet.
            is_wanted: Called with each packet that has attachments, before they arrive. If it returns False, neither
                the packet nor its attachments are kept.
        """
        self._limits = limits
        self._reader = reader_for(limits)
        self._check_header = check_header
        self._is_wanted = is_wanted
        self._incomplete: _Incomplete | None = None

    @property
    def held_bytes(self) -> int:
        """The memory of a packet whose attachments are missing; 0 if there is none."""
        incomplete = self._incomplete
        if incomplete is None or not incomplete.wanted:
            return 0
        return sys.getsizeof(incomplete.text) + incomplete.size_bytes

    @property
    def complete(self) -> bool:
        """Whether no attachment is missing. Such a decoder is like a new one."""
        return self._incomplete is None

    def add(self, data: str | bytes) -> Packet | None:
        """Process the next Engine.IO message.

        Args:
            data: ``str`` is text without the Engine.IO type, ``bytes`` is an attachment.

        Returns:
            The packet that this message completes; None while attachments are missing, and if it is not wanted.

        Raises:
            RemoteError: the message is not a valid packet, or not allowed at this point.
        """
        if not isinstance(data, str):
            return self._add_attachment(data)
        if self._incomplete is not None:
            raise RemoteError(Fault.UNEXPECTED_TEXT, "text while attachments are missing")
        return self._decode(data)

    def _decode(self, text: str) -> Packet | None:
        header = _HEADER.match(text)
        if header is None:
            fault = Fault.BAD_ATTACHMENTS if text[:1] in {"5", "6"} else Fault.BAD_PACKET_TYPE
            raise RemoteError(fault, f"not a Socket.IO packet: {quote(text)}")
        plain, binary, count, namespace, ack_digits = header.groups()
        if namespace is None:
            namespace = DEFAULT_NAMESPACE
        if binary is None:
            packet_type = _TYPES[plain]
        else:
            packet_type = PacketType.EVENT if binary == "5" else PacketType.ACK
            if int(count) > self._limits.max_attachments:  # CVE-2026-33151
                raise RemoteError(
                    Fault.TOO_MANY_ATTACHMENTS, f"{count} attachments; the limit is {self._limits.max_attachments}"
                )
        self._check_header(packet_type, namespace)  # before memory is allocated: python-socketio #1574

        packet = Packet(packet_type, namespace, None, _ack_id(ack_digits, self._limits))
        start = header.end()
        placeholders: list[dict[str, Any]] = []
        if start < len(text):
            packet.data = self._reader.read(
                text, start, None if binary is None else _placeholder_hook(placeholders.append)
            )
            if packet.data is None:  # a payload may be absent, but no packet type allows null
                raise RemoteError(Fault.BAD_PAYLOAD, "the payload is null")
        check_payload(packet, self._limits)
        if binary is None:
            return packet
        _check_placeholders(placeholders, int(count))
        # A binary header that announces no attachments is complete; no attachment would ever follow (CVE-2026-69185).
        if not placeholders:
            return packet
        wanted = self._is_wanted(packet)
        packet.data = None
        self._incomplete = _Incomplete(packet, text if wanted else "", start, len(placeholders), wanted)
        return None

    def _add_attachment(self, data: bytes) -> Packet | None:
        incomplete = self._incomplete
        if incomplete is None:
            raise RemoteError(Fault.UNEXPECTED_BINARY, "an attachment that no packet announced")
        incomplete.received += 1
        incomplete.size_bytes += len(data)
        if incomplete.size_bytes > self._limits.max_reassembly_bytes:
            raise RemoteError(Fault.TOO_LARGE, f"attachments of more than {self._limits.max_reassembly_bytes} bytes")
        if incomplete.wanted:
            incomplete.attachments.append(data)
        if incomplete.received < incomplete.count:
            return None
        self._incomplete = None
        if not incomplete.wanted:
            return None
        attachments = incomplete.attachments
        hook = _placeholder_hook(lambda placeholder: attachments[placeholder["num"]])
        incomplete.packet.data = self._reader.read(incomplete.text, incomplete.start, hook)
        return incomplete.packet


def check_payload(packet: Packet, limits: Limits) -> None:
    """Check that the payload is one of the packet's type.

    Raises:
        RemoteError: it is not.
    """
    data = packet.data
    match packet.type:
        case PacketType.EVENT:
            _check_event(data, limits)
        case PacketType.ACK:
            if not isinstance(data, list):  # "Acknowledgement"
                raise RemoteError(Fault.BAD_PAYLOAD, "the payload of ACK is not an array")
            if packet.ack_id is None:
                raise RemoteError(Fault.BAD_ACK_ID, "ACK without id")
        case PacketType.CONNECT:
            if data is not None and not isinstance(data, dict):
                raise RemoteError(Fault.BAD_PAYLOAD, "the payload of CONNECT is not an object")
        case PacketType.CONNECT_ERROR:
            if not isinstance(data, dict | str):
                raise RemoteError(Fault.BAD_PAYLOAD, "the payload of CONNECT_ERROR is not an object or string")
        case _:  # DISCONNECT; the binary types have become EVENT and ACK
            if data is not None:
                raise RemoteError(Fault.BAD_PAYLOAD, "DISCONNECT has a payload")


def decode_plain_event(data: str, reader: JsonReader) -> tuple[list[Any], int | None] | None:
    """Decode an event in the main namespace, without attachments, in less time than a `Decoder`.

    Returns:
        Name and arguments, and the ack id; None if the message is another one, for a decoder.

    Raises:
        RemoteError: as `Decoder.add`.
    """
    start = data.find("[", 1, _MAX_ACK_DIGITS + 2)
    digits = data[1:start]
    if start < 0 or data[0] != "2" or (digits and not (digits.isdecimal() and digits.isascii())):
        return None
    ack_id = _ack_id(digits, reader.limits)
    args = reader.read(data, start)
    _check_event(args, reader.limits)
    return args, ack_id


def _ack_id(digits: str, limits: Limits) -> int | None:
    if not digits:
        return None
    ack_id = int(digits)
    if ack_id > limits.max_ack_id:
        raise RemoteError(Fault.BAD_ACK_ID, f"{digits} is more than {limits.max_ack_id}")
    return ack_id


def _check_event(args: Any, limits: Limits) -> None:
    if not isinstance(args, list) or not args:  # "Sending and receiving data"
        raise RemoteError(Fault.BAD_PAYLOAD, "the payload of EVENT is not a non-empty array")
    name = args[0]
    # Node accepts numbers as names. bool is excluded, though it is a subclass of int in Python.
    if isinstance(name, str):
        if name in RESERVED_EVENTS or len(name) > limits.max_event_name_length:
            raise RemoteError(Fault.BAD_EVENT_NAME, f"the event name {quote(name)} is reserved or too long")
    elif isinstance(name, bool) or not isinstance(name, int | float):  # CVE-2023-32695
        raise RemoteError(Fault.BAD_EVENT_NAME, f"an event name of type {type(name).__name__}")


def _placeholder_hook(found: Callable[[dict[str, Any]], Any]) -> ObjectHook:
    """An ``object_hook`` that passes placeholders to ``found``, and replaces each by the result unless that is None."""

    def hook(item: dict[str, Any]) -> Any:
        if "_placeholder" not in item or item["_placeholder"] is not True:
            return item
        attachment = found(item)
        return item if attachment is None else attachment

    return hook


def _check_placeholders(placeholders: Sequence[dict[str, Any]], count: int) -> None:
    """Check that each number from 0 to ``count`` - 1 occurs in exactly one placeholder, as every encoder writes it.

    Node accepts several placeholders for one attachment, which an echo of the packet would multiply. Numbers that are
    out of range were a vulnerability (CVE-2022-2421).
    """
    if len(placeholders) != count:
        raise RemoteError(Fault.BAD_ATTACHMENTS, f"{len(placeholders)} placeholders for {count} attachments")
    missing = set(range(count))
    for placeholder in placeholders:
        num = placeholder.get("num")
        if type(num) is not int or num not in missing:
            raise RemoteError(
                Fault.BAD_ATTACHMENTS, f"placeholder {quote(num)} is repeated or invalid; {count} attachments"
            )
        missing.discard(num)
