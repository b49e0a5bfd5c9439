"""The fast path for servers whose messages are not plain frames of JSON: permessage-deflate, the msgpack parser.

Such a websocket has no `direct_write`. A message is still encoded once for all members of a room: compression without
context takeover does not depend on earlier messages.

Layer: realtime.transports. Source: RFC 7692; socket.io-msgpack-parser 3.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.headers import build_extension, parse_extension
from websockets.protocol import Protocol

from roomcast.realtime.core.engine import Engine
from roomcast.realtime.fanout.message import Batch
from roomcast.realtime.requests.request import EngineRequest
from roomcast.realtime.transports.admission import initial_headers
from roomcast.realtime.transports.proxies import AddressSource
from roomcast.realtime.transports.websocket import WebSocketProtocol

# Without context takeover a connection holds no window (32 KiB, and more for compression) between two messages.
_FACTORY = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)
_WINDOW_BITS = 15  # of the frames that all clients share


class _Inflate(PerMessageDeflate):
    """The extension of one connection; counts the time that it takes.

    `decode` inflates up to the limit of a message and then raises, so a small frame cannot become a large message.

    Attributes:
        took_s: Time since this was last set to 0.
    """

    def __init__(self, window_bits: int) -> None:
        """Without context takeover; the client compresses with up to this many bits of window."""
        super().__init__(True, True, window_bits, _WINDOW_BITS)
        self.took_s = 0.0

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """See `PerMessageDeflate`."""
        began = time.thread_time()
        try:
            return super().decode(frame, max_size=max_size)
        finally:
            self.took_s += time.thread_time() - began


def negotiate(offers: str) -> tuple[str, _Inflate] | None:
    """Accept the first usable offer of permessage-deflate in ``Sec-WebSocket-Extensions``.

    Returns:
        The value of the response's header, and the extension; None if there is no such offer. An offer with a smaller
        ``server_max_window_bits`` is not usable.
    """
    try:
        parsed = parse_extension(offers)
    except InvalidHeader:
        return None
    for name, parameters in parsed:
        if name != PerMessageDeflate.name:
            continue
        try:
            answered, extension = _FACTORY.process_request_params(parameters, [])
        except NegotiationError:
            continue
        if extension.local_max_window_bits == _WINDOW_BITS:
            return build_extension([(name, answered)]), _Inflate(extension.remote_max_window_bits)
    return None


class EncodedWebSocketProtocol(WebSocketProtocol):
    """One websocket of a server with one of these options."""

    __slots__ = ("_deflate", "_extension")

    def __init__(self, *args: Any) -> None:
        """The signature of uvicorn's protocol classes."""
        super().__init__(*args)
        self._deflate: _Inflate | None = None
        self._extension = b""  # the line of the response's head

    def open(self, method: str, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """See `WebSocketProtocol`."""
        if self.engine.options.per_message_deflate_threshold_bytes is not None:
            offers = b", ".join(value for name, value in headers if name == b"sec-websocket-extensions")
            found = negotiate(offers.decode("latin-1")) if offers else None
            if found is not None:
                answer, self._deflate = found
                self._extension = b"sec-websocket-extensions: %b\r\n" % answer.encode()
        super().open(method, url, headers)

    def _head(self, accepted: bytes, more: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
        return super()._head(accepted + self._extension, more)

    def _open_session(self, request: EngineRequest, accepted: bytes) -> None:
        # Without a `direct_write` the OPEN packet is written at the end of the tick.
        self._transport.write(self._head(accepted, initial_headers(self.engine, request)))
        self.engine.open(request.handshake(), self.bind)

    def _new_parser(self) -> Protocol:
        parser = super()._new_parser()
        if self._deflate is not None:
            parser.extensions = [self._deflate]
        return parser

    def _parse(self, data: bytes) -> bool:
        more = super()._parse(data)
        inflate = self._deflate
        if inflate is not None and inflate.took_s and self._connection is not None:
            self._connection.spend_time(inflate.took_s)
            inflate.took_s = 0.0
        return more

    def direct_write(self) -> Callable[[bytes], object] | None:
        """See `Transport`; `send` encodes what is written."""
        return None

    def _write_at_once(self, wanted: bool) -> None:
        """Every packet goes through `send`."""

    def _encode(self, batch: Batch) -> bytes:
        messages = batch.messages
        options = self.engine.options
        if options.parser == "msgpack":
            messages = [message.packed for message in messages]
        threshold = options.per_message_deflate_threshold_bytes
        if self._deflate is None or threshold is None:
            return b"".join([message.frames for message in messages])
        return b"".join([message.compressed_frames(threshold) for message in messages])


def websocket_protocol(engine: Engine, proxies: AddressSource) -> type[WebSocketProtocol]:
    """The protocol class of one server, for ``uvicorn.Config(ws=…)``."""
    options = engine.options
    plain = options.parser == "json" and options.per_message_deflate_threshold_bytes is None
    base = WebSocketProtocol if plain else EncodedWebSocketProtocol
    return type("BoundWebSocketProtocol", (base,), {"__slots__": (), "engine": engine, "proxies": proxies})
