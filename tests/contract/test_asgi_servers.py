"""One behaviour in every ASGI server: a Socket.IO server that is mounted in another application, below a path."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from roomcast.realtime import Server, ServerOptions
from roomcast.realtime.adapters.memory import MemoryAdapter, MemoryBus
from support.asgi_servers import ASGI_SERVERS, AsgiServer
from support.recording_observer import RecordingObserver
from support.waiting import until

# uvicorn's implementation "websockets" is deprecated, and in wide use.
pytestmark = [
    pytest.mark.filterwarnings("ignore:websockets.legacy is deprecated"),
    pytest.mark.filterwarnings("ignore:The `websockets` implementation is deprecated"),
    pytest.mark.filterwarnings("ignore:remove second argument of ws_handler"),
]


@pytest.fixture(params=ASGI_SERVERS)
def asgi_server(request: pytest.FixtureRequest) -> AsgiServer:
    return ASGI_SERVERS[request.param]


@dataclass
class Client:
    """HTTP and websockets to the Socket.IO server at ``/ws/socket.io/``."""

    http: aiohttp.ClientSession
    url: str

    def get(self, sid: str = "", transport: str = "polling", **options: Any) -> Any:
        return self.http.get(f"{self.url}?EIO=4&transport={transport}&sid={sid}", **options)

    async def open_polling(self) -> str:
        async with self.http.get(f"{self.url}?EIO=4&transport=polling") as answer:
            assert answer.status == 200
            return str(json.loads((await answer.text())[1:])["sid"])

    async def post(self, sid: str, body: str) -> int:
        async with self.http.post(f"{self.url}?EIO=4&transport=polling&sid={sid}", data=body) as answer:
            return answer.status

    async def poll(self, sid: str) -> str:
        async with self.get(sid) as answer:
            assert answer.status == 200
            return await answer.text()

    async def open_websocket(self, sid: str = "", **options: Any) -> aiohttp.ClientWebSocketResponse:
        query = f"?EIO=4&transport=websocket&sid={sid}" if sid else "?EIO=4&transport=websocket"
        return await self.http.ws_connect(self.url + query, max_msg_size=0, **options)

    async def connect(self) -> aiohttp.ClientWebSocketResponse:
        """A websocket that is connected to the main namespace."""
        websocket = await self.open_websocket()
        assert (await websocket.receive_str()).startswith("0{")
        await websocket.send_str("40")
        assert (await websocket.receive_str()).startswith('40{"sid"')
        return websocket


@asynccontextmanager
async def mounted(asgi_server: AsgiServer, server: Server) -> AsyncIterator[Client]:
    @server.on("echo")
    def echo(_sid: str, *args: Any) -> tuple[Any, ...]:
        return args

    async def hello(_request: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route("/", hello), Mount("/ws", server.asgi())])
    async with asgi_server(app) as port, aiohttp.ClientSession() as http:
        yield Client(http, f"http://127.0.0.1:{port}/ws/socket.io/")


async def test_a_polling_session_sends_and_receives(asgi_server: AsgiServer) -> None:
    async with mounted(asgi_server, Server()) as client:
        sid = await client.open_polling()
        assert await client.post(sid, "40") == 200
        assert (await client.poll(sid)).startswith('40{"sid"')
        assert await client.post(sid, '420["echo","ü",1]\x1e421["echo"]') == 200
        assert await client.poll(sid) == '430["ü",1]\x1e431[]'


async def test_a_websocket_carries_text_and_binary_in_order(asgi_server: AsgiServer) -> None:
    async with mounted(asgi_server, Server()) as client:
        websocket = await client.connect()
        await websocket.send_str('451-0["echo",{"_placeholder":true,"num":0}]')
        await websocket.send_bytes(b"\x00\xff")
        await websocket.send_str('421["echo","ü"]')
        assert await websocket.receive_str() == '461-0[{"_placeholder":true,"num":0}]'
        assert await websocket.receive_bytes() == b"\x00\xff"
        assert await websocket.receive_str() == '431["ü"]'
        await websocket.close()


async def test_an_upgraded_session_loses_nothing_and_refuses_further_http_requests(asgi_server: AsgiServer) -> None:
    server = Server()
    async with mounted(asgi_server, server) as client:
        sid = await client.open_polling()
        await client.post(sid, "40")
        assert (await client.poll(sid)).startswith("40")
        poll = asyncio.create_task(client.poll(sid))
        (connection,) = server.engine.connections.values()
        await until(lambda: connection.transport._poll is not None)  # type: ignore[attr-defined]  # of polling
        websocket = await client.open_websocket(sid)
        await websocket.send_str("2probe")
        assert await websocket.receive_str() == "3probe"
        assert await poll == "6"
        await server.emit("news", 1)
        await websocket.send_str("5")
        await server.emit("news", 2)
        assert await websocket.receive_str() == '42["news",1]'
        assert await websocket.receive_str() == '42["news",2]'
        await websocket.send_str('420["echo",3]')
        assert await websocket.receive_str() == "430[3]"
        async with client.get(sid) as answer:
            assert answer.status == 400
            assert (await answer.json())["code"] == 3
        assert await client.post(sid, "40") == 400
        await websocket.close()


async def test_a_request_directly_after_the_upgrade_is_refused(asgi_server: AsgiServer) -> None:
    async with mounted(asgi_server, Server()) as client:
        port = int(client.url.split(":")[2].split("/")[0])
        path = b"/ws/socket.io/?EIO=4&transport="

        async def get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, query: bytes) -> tuple[int, bytes]:
            writer.write(b"GET %b%b HTTP/1.1\r\nhost: x\r\n\r\n" % (path, query))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return int(head.split()[1]), await reader.readexactly(length)

        # One connection for all polls: a new one would give the server time.
        polls = await asyncio.open_connection("127.0.0.1", port)
        _, opened = await get(*polls, b"polling")
        sid = json.loads(opened[1:])["sid"].encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET %bwebsocket&sid=%b HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n" % (path, sid)
        )
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x81\x86\0\0\0\x002probe")
        assert await reader.readexactly(8) == b"\x81\x063probe"
        writer.write(b"\x81\x81\0\0\0\x005")
        assert (await get(*polls, b"polling&sid=" + sid))[0] == 400
        polls[1].close()
        writer.close()


async def test_the_environ_has_the_scope_with_what_a_middleware_has_put_into_it(asgi_server: AsgiServer) -> None:
    server = Server()
    seen: list[object] = []

    @server.event
    def connect(sid: str, environ: Any) -> None:
        scope = environ["asgi.scope"]
        seen.append((scope["user"], scope["type"], environ["SERVER_PORT"], dict(scope["headers"])[b"x-test"]))

    application = server.asgi()

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await application({**scope, "user": "ada"}, receive, send)

    async with asgi_server(middleware) as port, aiohttp.ClientSession() as http:
        client = Client(http, f"http://127.0.0.1:{port}/socket.io/")
        websocket = await client.open_websocket(headers={"x-test": "1"})
        await websocket.receive_str()
        await websocket.send_str("40")
        sid = json.loads((await websocket.receive_str())[2:])["sid"]
        assert seen == [("ada", "websocket", str(port), b"1")]
        assert server.get_environ(sid)["asgi.scope"]["user"] == "ada"
        await websocket.close()


async def test_invalid_requests_get_the_answers_of_the_protocol(asgi_server: AsgiServer) -> None:
    async with mounted(asgi_server, Server()) as client:
        async with client.get("unknown") as answer:
            assert (answer.status, await answer.json()) == (400, {"code": 1, "message": "Session ID unknown"})
        async with client.get(transport="carrier-pigeon") as answer:
            assert (answer.status, await answer.json()) == (400, {"code": 0, "message": "Transport unknown"})
        async with client.get(headers={"origin": "https://evil.example"}) as answer:
            assert answer.status == 403
        for options in ({"origin": "https://evil.example"}, {"sid": "unknown"}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.open_websocket(**options)
            assert refused.value.status in {400, 403}
        async with client.http.get(client.url.replace("socket.io", "elsewhere")) as answer:
            assert answer.status == 404
        async with client.http.get(client.url.replace("/ws/socket.io", "")) as answer:
            assert await answer.text() == "hello"


async def test_clients_that_disconnect_without_a_word_are_noticed(asgi_server: AsgiServer) -> None:
    server = Server()
    reasons: list[str] = []
    server.on("disconnect", lambda _sid, reason: reasons.append(reason))
    async with mounted(asgi_server, server) as client:
        websocket = await client.connect()
        websocket._response.connection.transport.abort()  # type: ignore[union-attr]  # connected
        await until(lambda: not server.connections)
        assert reasons == ["transport close"]


async def test_the_server_closes_a_websocket(asgi_server: AsgiServer) -> None:
    server = Server()
    async with mounted(asgi_server, server) as client:
        websocket = await client.connect()
        (connection,) = server.engine.connections.values()
        (socket,) = server.sockets()
        socket.disconnect()
        assert await websocket.receive_str() == "41"
        await websocket.send_str("1")
        assert (await websocket.receive()).type is aiohttp.WSMsgType.CLOSE
        await until(lambda: not server.connections)
        assert connection.sockets == {}


async def test_messages_above_the_limit_are_refused(asgi_server: AsgiServer) -> None:
    server = Server(ServerOptions(max_payload_bytes=1_000))
    async with mounted(asgi_server, server) as client:
        sid = await client.open_polling()
        assert await client.post(sid, "4" + "x" * 1_000) == 413
        await client.post(sid, "1")
        websocket = await client.connect()
        await websocket.send_str("4" + "x" * 1_000)
        assert (await websocket.receive()).type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}
        await until(lambda: not server.connections)


async def test_a_client_that_does_not_read_is_closed(asgi_server: AsgiServer) -> None:
    observer = RecordingObserver()
    server = Server(observer=observer)
    async with mounted(asgi_server, server) as client:
        websocket = await client.connect()
        websocket._response.connection.transport.pause_reading()  # type: ignore[union-attr]  # connected
        for _ in range(2_000):
            if not server.connections:
                break
            await server.emit("big", "z" * 65_536)
            await asyncio.sleep(0)
        ((_, waiting),) = observer.of("peer_slow")
        assert waiting < 2**20 + 2 * 65_600
        websocket._response.connection.transport.abort()  # type: ignore[union-attr]  # connected


async def test_a_mounted_server_is_in_its_cluster_from_its_first_request_on(asgi_server: AsgiServer) -> None:
    bus = MemoryBus()
    other = Server(adapter=MemoryAdapter(bus))
    await other.start()
    server = Server(adapter=MemoryAdapter(bus))
    async with mounted(asgi_server, server) as client:
        assert len(bus.adapters) == 1
        websocket = await client.connect()
        await other.emit("news")
        assert await websocket.receive_str() == '42["news"]'
        await websocket.close()
    await server.shutdown()
    assert len(bus.adapters) == 1
    await other.shutdown()
