"""Socket.IO packets in msgpack: one binary Engine.IO message for each packet, attachments included.

Layer: wire (standard library only). Source: socket.io-msgpack-parser 3; Socket.IO protocol v5, "Custom parser".
"""

from __future__ import annotations

from typing import Any

from roomcast.wire.errors import Fault, RemoteError, quote
from roomcast.wire.limits import Limits
from roomcast.wire.msgpack import pack, unpack
from roomcast.wire.socketio import Packet, PacketType, check_payload
from roomcast.wire.socketio_session import SocketEvent, SocketSession

_LAST_TYPE = PacketType.CONNECT_ERROR


def encode_packet(packet: Packet) -> bytes:
    """Encode a packet. The client requires that what a packet does not have is absent.

    Raises:
        EncodeError: a value cannot be encoded.
    """
    fields: dict[str, Any] = {"type": int(packet.type), "nsp": packet.namespace}
    if packet.data is not None:
        fields["data"] = packet.data
    if packet.ack_id is not None:
        fields["id"] = packet.ack_id
    return pack(fields)


def decode_packet(data: bytes, limits: Limits) -> Packet:
    """Decode a packet and check its fields.

    Raises:
        RemoteError: it is not a valid packet.
    """
    fields = unpack(data, limits)
    if not isinstance(fields, dict):
        raise RemoteError(Fault.BAD_PAYLOAD, "a packet in msgpack is not a map")
    kind, namespace, ack_id = fields.get("type"), fields.get("nsp"), fields.get("id")
    if type(kind) is not int or not 0 <= kind <= _LAST_TYPE:
        raise RemoteError(Fault.BAD_PACKET_TYPE, f"the packet type {quote(kind)}")
    # A name with a comma cannot be written in the text form of a packet.
    if not isinstance(namespace, str) or not namespace.startswith("/") or "," in namespace:
        raise RemoteError(Fault.BAD_NAMESPACE, f"the namespace {quote(namespace)}")
    if ack_id is not None and (type(ack_id) is not int or not 0 <= ack_id <= limits.max_ack_id):
        raise RemoteError(Fault.BAD_ACK_ID, f"the acknowledgement id {quote(ack_id)}")
    packet = Packet(PacketType(kind), namespace, fields.get("data"), ack_id)
    check_payload(packet, limits)
    return packet


class MsgpackSession(SocketSession):
    """The Socket.IO state of one connection whose client uses the parser.

    Its methods return packets in text form; transports convert what they write (`OutgoingMessage.packed`).
    """

    def receive(self, message: str | bytes) -> SocketEvent | None:
        """See `SocketSession`."""
        if self._closed:
            return None
        if isinstance(message, str):
            raise RemoteError(Fault.UNEXPECTED_TEXT, "text where msgpack is expected")
        packet = decode_packet(message, self._reader.limits)
        self._check_header(packet.type, packet.namespace)
        return self._on_packet(packet)
