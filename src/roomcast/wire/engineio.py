"""Engine.IO v4 packets and polling payloads.

An encoded packet is ``str`` or ``bytes``. ``str`` is text that begins with the type digit (``4hello``). ``bytes`` is a
binary message, sent unchanged over websocket and as ``b<base64>`` over polling.

Layer: wire (standard library only). Source: Engine.IO protocol v4, "Packet encoding"; engine.io-parser 5.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from roomcast.wire.errors import EncodeError, Fault, RemoteError, quote
from roomcast.wire.limits import DEFAULT_LIMITS, Limits

# "Packet encoding", "HTTP long-polling": this character separates the packets of a payload.
SEPARATOR: Final = "\x1e"
_SEPARATOR_BYTES: Final = SEPARATOR.encode()


@unique
class PacketType(StrEnum):
    """Packet types; the value is the digit on the wire."""

    OPEN = "0"
    CLOSE = "1"
    PING = "2"
    PONG = "3"
    MESSAGE = "4"
    UPGRADE = "5"
    NOOP = "6"


_TYPES: Final = {member.value: member for member in PacketType}


@dataclass(slots=True)
class Packet:
    """One Engine.IO packet.

    Attributes:
        type: Packet type.
        data: The text after the type digit, which may be empty; ``bytes`` only with ``MESSAGE``.
    """

    type: PacketType
    data: str | bytes = ""


def decode_packet(data: str | bytes) -> Packet:
    """Decode one packet: a websocket message, or one packet of a polling payload.

    Args:
        data: ``str`` from a text frame or a payload, ``bytes`` from a binary frame. As in Node, text that begins with
            ``b`` is base64, over websocket too.

    Raises:
        RemoteError: ``BAD_PACKET_TYPE`` or ``BAD_BASE64``.
    """
    if not isinstance(data, str):
        return Packet(PacketType.MESSAGE, data)
    packet_type = _TYPES.get(data[:1])
    if packet_type is not None:
        return Packet(packet_type, data[1:])
    if data.startswith("b"):
        try:
            return Packet(PacketType.MESSAGE, a2b_base64(data[1:], strict_mode=True))
        except (Base64Error, ValueError):  # ValueError: not ASCII
            raise RemoteError(Fault.BAD_BASE64, f"not base64: {quote(data)}") from None
    raise RemoteError(Fault.BAD_PACKET_TYPE, f"not an Engine.IO packet: {quote(data)}")


def decode_text(data: bytes) -> str:
    """Decode UTF-8 and reject invalid bytes.

    Raises:
        RemoteError: ``BAD_UTF8``.
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise RemoteError(Fault.BAD_UTF8, f"not UTF-8: {quote(data)}") from None


def encode_payload(packets: Iterable[str | bytes]) -> bytes:
    """Encode the body of a polling response.

    Payloads may be joined with ``SEPARATOR``, so that packets can be encoded once and sent to many sessions.

    Args:
        packets: Encoded packets, in order.

    Raises:
        EncodeError: a text packet contains the separator. Only a raw Engine.IO message can, since JSON escapes it.
    """
    encoded = []
    for packet in packets:
        if isinstance(packet, str):
            if SEPARATOR in packet:
                raise EncodeError("a packet contains U+001E, which separates the packets of a polling payload")
            encoded.append(packet.encode())
        else:
            encoded.append(b"b" + b2a_base64(packet, newline=False))
    return _SEPARATOR_BYTES.join(encoded)


def decode_payload(body: bytes, limits: Limits = DEFAULT_LIMITS) -> Iterator[Packet]:
    """Decode the body of a POST, packet by packet.

    Decoding is lazy, so that the packets before an invalid packet are processed, as in Node.

    Raises:
        RemoteError: ``TOO_LARGE``, ``TOO_MANY_PACKETS`` or ``BAD_UTF8`` before the first packet; a fault of
            `decode_packet` at an invalid packet.
    """
    if len(body) > limits.max_payload_bytes:
        raise RemoteError(Fault.TOO_LARGE, f"{len(body)} bytes; the limit is {limits.max_payload_bytes}")
    if body.count(_SEPARATOR_BYTES) >= limits.max_payload_packets:
        raise RemoteError(Fault.TOO_MANY_PACKETS, f"more than {limits.max_payload_packets} packets in one payload")
    for packet in decode_text(body).split(SEPARATOR):
        yield decode_packet(packet)
