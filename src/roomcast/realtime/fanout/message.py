"""Outgoing messages: encoded once, framed once, and shared by all connections that receive them.

`OutgoingMessage` is one Engine.IO message in the forms that the transports write. `Batch` is a sequence of messages for
one write, shared by all connections that receive the same ones. `EncodedEvent` is what applications create and emit.

Layer: realtime.fanout. Source: Engine.IO v4, "Packet encoding"; RFC 6455 §5.1.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any, Final, Self

from roomcast.wire.engineio import encode_payload
from roomcast.wire.engineio_session import CLOSE_PACKET, NOOP_PACKET, PING_PACKET
from roomcast.wire.limits import Limits
from roomcast.wire.socketio import DEFAULT_NAMESPACE, Decoder, Packet, encode_event, encode_event_json
from roomcast.wire.socketio_msgpack import encode_packet
from roomcast.wire.websocket_frames import binary_frame, compressed_frame, text_frame

logger = logging.getLogger(__name__)

#: Before the arguments of an event of the default namespace.
_HEAD: Final = encode_event_json(DEFAULT_NAMESPACE, b"")

# For packets that this server has encoded itself.
_OWN_LIMITS: Final = Limits(
    max_attachments=1_000_000,
    max_reassembly_bytes=2**62,
    max_event_name_length=2**31,
    max_json_depth=10_000,
    max_json_digits=10_000,
)
# The compression of a larger message would hold up the event loop for more than a few milliseconds.
_MAX_COMPRESSED_BYTES: Final = 128 * 1024


class OutgoingMessage:
    """One text packet and the binary packets that belong to it.

    Server frames are not masked, so they are the same bytes for every connection (RFC 6455 §5.3).

    Attributes:
        text: The Engine.IO packet with its type: ``42["new-msg",{…}]``; empty in a `packed` message.
        attachments: The binary packets that follow it.
        size_bytes: Its approximate size in a queue.
    """

    __slots__ = ("_compressed", "_frames", "_packed", "_payload", "attachments", "size_bytes", "text")
    # Set at the first use: most servers need neither, and setting them here would take a hundredth of an emit.
    _compressed: bytes
    _packed: OutgoingMessage

    def __init__(self, text: bytes, attachments: Sequence[bytes] = ()) -> None:
        self.text = text
        self.attachments = tuple(attachments)
        self.size_bytes = len(text)
        if attachments:
            self.size_bytes += sum(map(len, attachments))
        self._frames: bytes | None = None
        self._payload: bytes | None = None

    @classmethod
    def of(cls, packets: Sequence[str | bytes]) -> Self:
        """From the packets of `roomcast.wire.socketio`: a text packet, then its attachments."""
        text, *attachments = packets
        if not attachments and isinstance(text, str):
            return cls(text.encode())
        return cls(
            text.encode() if isinstance(text, str) else text, [data for data in attachments if isinstance(data, bytes)]
        )

    @property
    def frames(self) -> bytes:
        """All websocket frames in one buffer. Computed once."""
        if self._frames is None:
            if not self.attachments:
                self._frames = text_frame(self.text)
            else:
                text = [text_frame(self.text)] if self.text else []
                self._frames = b"".join([*text, *map(binary_frame, self.attachments)])
        return self._frames

    @property
    def payload(self) -> bytes:
        """The packets as part of a polling payload, binary as ``b<base64>``. Computed once.

        Raises:
            EncodeError: the text contains U+001E, the separator, which JSON escapes.
        """
        if self._payload is None:
            if not self.attachments:
                self._payload = self.text
            else:
                text = [self.text.decode()] if self.text else []
                self._payload = encode_payload([*text, *self.attachments])
        return self._payload

    def compressed_frames(self, threshold_bytes: int) -> bytes:
        """`frames`, with those compressed whose payload has this size. Computed once; a server has one threshold."""
        try:
            return self._compressed
        except AttributeError:
            pass
        parts = [(self.text, True)] if self.text else []
        parts += [(data, False) for data in self.attachments]
        frames = []
        for data, is_text in parts:
            if threshold_bytes <= len(data) <= _MAX_COMPRESSED_BYTES:
                frames.append(compressed_frame(data, text=is_text))
            else:
                frames.append(text_frame(data) if is_text else binary_frame(data))
        self._compressed = b"".join(frames)
        return self._compressed

    def packet(self) -> Packet:
        """The Socket.IO packet, as a client decodes it."""
        decoder = Decoder(_OWN_LIMITS)
        packet = decoder.add(self.text[1:].decode())
        for attachment in self.attachments:
            packet = decoder.add(attachment)
        if packet is None:
            raise RuntimeError("attachments are missing")
        return packet

    @property
    def packed(self) -> OutgoingMessage:
        """This message for clients with the msgpack parser; itself if it is no Socket.IO packet. Computed once.

        `NOOP` if msgpack cannot hold it, which is logged: it may share a write with messages of others.
        """
        if not self.text.startswith(b"4"):
            return self
        try:
            return self._packed
        except AttributeError:
            pass
        try:
            self._packed = OutgoingMessage(b"", (encode_packet(self.packet()),))
        except Exception:
            logger.exception("a message cannot be encoded as msgpack: it is not sent")
            self._packed = NOOP
        return self._packed

    def __repr__(self) -> str:
        """The first characters of the text."""
        return f"OutgoingMessage({self.text[:60]!r}, attachments={len(self.attachments)})"


class Batch:
    """Messages for one write, in order.

    Attributes:
        messages: The messages, in order.
        volatile: For each message, whether it may be dropped for a connection with a write backlog.
    """

    __slots__ = ("_frames", "_non_volatile", "messages", "volatile")

    def __init__(self, messages: Sequence[OutgoingMessage], volatile: Sequence[bool]) -> None:
        self.messages = messages
        self.volatile = volatile
        self._frames: bytes | None = None
        self._non_volatile: Batch | None = None

    @property
    def frames(self) -> bytes:
        """All websocket frames in one buffer. Computed once."""
        if self._frames is None:
            if len(self.messages) == 1:
                self._frames = self.messages[0].frames
            else:
                self._frames = b"".join([message.frames for message in self.messages])
        return self._frames

    @property
    def non_volatile(self) -> Batch:
        """This batch without its volatile messages."""
        if self._non_volatile is None:
            if any(self.volatile):
                kept = [m for m, volatile in zip(self.messages, self.volatile, strict=True) if not volatile]
                self._non_volatile = Batch(kept, [False] * len(kept))
            else:
                self._non_volatile = self
        return self._non_volatile


class EncodedEvent:
    """An event with encoded arguments, for any number of sockets, rooms and namespaces.

    Create it with `from_json` or `from_args`.

    Attributes:
        size_bytes: Its approximate size in a queue.
    """

    __slots__ = ("_args", "_json", "_message", "_others", "size_bytes")

    def __init__(self, json: bytes | None, args: Sequence[Any] | None) -> None:
        self._json = json
        self._args = args
        # For the default namespace; for others by name.
        self._message = self._encode(DEFAULT_NAMESPACE)
        self._others: dict[str, OutgoingMessage] | None = None
        self.size_bytes = self._message.size_bytes

    @classmethod
    def from_json(cls, args: bytes) -> Self:
        """From the argument array as UTF-8 JSON, ``["new-msg",{…}]``, which is not validated."""
        return cls(args, None)

    @classmethod
    def from_args(cls, event: str, *args: Any) -> Self:
        """From an event's name and arguments; ``bytes`` anywhere in them are sent as binary attachments.

        Raises:
            EncodeError: an argument cannot be encoded.
        """
        return cls(None, (event, *args))

    @property
    def args(self) -> Sequence[Any]:
        """Event name and arguments. With `from_json` each call parses the JSON again.

        Raises:
            ValueError: the argument of `from_json` is not JSON.
        """
        return list(json.loads(self._json)) if self._json is not None else self._args or ()

    def message(self, namespace: str) -> OutgoingMessage:
        """The message for one namespace. Computed once for each."""
        if namespace == DEFAULT_NAMESPACE:
            return self._message
        if self._others is None:
            self._others = {}
        message = self._others.get(namespace)
        if message is None:
            message = self._others[namespace] = self._encode(namespace)
        return message

    def _encode(self, namespace: str) -> OutgoingMessage:
        if self._json is not None:
            is_default = namespace == DEFAULT_NAMESPACE
            return OutgoingMessage(_HEAD + self._json if is_default else encode_event_json(namespace, self._json))
        return OutgoingMessage.of(encode_event(namespace, self._args or ()))


#: Closes a polling session, after the queued messages.
CLOSE: Final = OutgoingMessage(CLOSE_PACKET.encode())
#: Answers a poll when no message is queued.
NOOP: Final = OutgoingMessage(NOOP_PACKET.encode())
PING: Final = OutgoingMessage(PING_PACKET.encode())
