"""One connection to a gateway: Socket.IO over a websocket.

The gateway pings; a connection on which nothing arrives for the announced time is dead. Frames are read only when the
caller receives: a slow caller makes the gateway wait and, in the end, disconnect, so nothing grows without limit here.

Layer: client. Source: Engine.IO protocol v4, Socket.IO protocol v5.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from roomcast.client.address import socket_url
from roomcast.client.api import Api
from roomcast.client.errors import Refused, Unreachable, cause_of
from roomcast.contract.errors import ErrorCode
from roomcast.wire import engineio
from roomcast.wire.errors import RemoteError
from roomcast.wire.limits import Limits
from roomcast.wire.socketio import DEFAULT_NAMESPACE, Decoder, Packet, PacketType, encode_event

_OPEN_LIMIT_S: Final = 10.0
#: Larger than any event: a text of 32,768 characters, and 256 KiB of other values.
_MAX_FRAME_BYTES: Final = 4_000_000
#: The answers of other servers to a websocket, and of a gateway to a host that it does not accept.
_NO_GATEWAY: Final = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.MISDIRECTED_REQUEST})
_LOST: Final = "the connection to the gateway was lost"


@asynccontextmanager
async def open_gateway(url: str, api: Api) -> AsyncIterator[GatewayConnection]:
    """A connection to the gateway at a base URL, closed at the end.

    Args:
        url: The base URL of the gateway.
        api: Has the token and how certificates are verified.

    Raises:
        Unreachable: there is no gateway, or it does not answer.
        Refused: the gateway refuses the token.
    """
    tls = api.tls if url.startswith("https:") else None
    try:
        async with connect(
            socket_url(url),
            open_timeout=_OPEN_LIMIT_S,
            ping_interval=None,
            close_timeout=1.0,
            max_size=_MAX_FRAME_BYTES,
            proxy=None,
            ssl=tls,
        ) as socket:
            connection = GatewayConnection(socket)
            async with asyncio.timeout(_OPEN_LIMIT_S):
                await connection.hand_shake(api.token())
            yield connection
    except InvalidStatus as error:
        status = error.response.status_code
        hint = ": it is none, has another path, or does not accept this host" if status in _NO_GATEWAY else ""
        raise Unreachable(f"the gateway at {url} answers {status}{hint}") from error
    except ConnectionClosed as error:
        raise Unreachable(_LOST) from error
    except (OSError, InvalidHandshake, InvalidURI, TimeoutError) as error:
        raise Unreachable(f"the gateway at {url} does not answer: {cause_of(error)}") from error
    except (RemoteError, ValueError, KeyError, TypeError) as error:
        raise Unreachable(f"{url} does not answer as a gateway of Roomcast: {error!r}") from error


class GatewayConnection:
    """One connection. Built by `open_gateway`, whose errors every method raises through."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._decoder = Decoder(Limits(max_json_depth=1_000, max_payload_bytes=_MAX_FRAME_BYTES))
        self._silence_limit_s = _OPEN_LIMIT_S

    async def hand_shake(self, token: str | None) -> None:
        """Open the session and connect to the main namespace.

        Raises:
            Refused: the gateway refuses the token.
        """
        opened = engineio.decode_packet(await self._socket.recv())
        if opened.type is not engineio.PacketType.OPEN:
            raise ValueError("no Engine.IO handshake")
        times = json.loads(opened.data)
        self._silence_limit_s = (times["pingInterval"] + times["pingTimeout"]) / 1_000
        await self._socket.send("40" + ("" if token is None else json.dumps({"token": token})))
        answer = await self._receive()
        if answer.type is PacketType.CONNECT_ERROR:
            message = answer.data["message"]
            if answer.data.get("data", {}).get("code") == ErrorCode.UNAUTHORIZED:
                raise Refused(message, ErrorCode.UNAUTHORIZED)
            raise Unreachable(f"the gateway refuses the connection: {message}")

    async def emit(self, name: str, payload: Any, ack_id: int) -> None:
        """Send an event whose ack `receive` returns."""
        for frame in encode_event(DEFAULT_NAMESPACE, [name, payload], ack_id):
            await self._socket.send(frame)

    async def receive(self) -> Packet:
        """The next event or ack. Answers pings.

        Raises:
            Unreachable: the connection is lost, or the gateway has ended it.
        """
        packet = await self._receive()
        if packet.type is PacketType.DISCONNECT:
            raise Unreachable("the gateway ended the connection")
        return packet

    async def _receive(self) -> Packet:
        while True:
            async with asyncio.timeout(self._silence_limit_s):
                frame = engineio.decode_packet(await self._socket.recv())
            if frame.type is engineio.PacketType.PING:
                await self._socket.send(engineio.PacketType.PONG.value)
            elif frame.type is engineio.PacketType.CLOSE:
                raise Unreachable("the gateway ended the connection")
            elif frame.type is engineio.PacketType.MESSAGE and (packet := self._decoder.add(frame.data)):
                return packet
