"""A cluster of Socket.IO servers: this package's and Node's, with clients of all of them."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from copy import copy
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect

from roomcast.realtime import ServeOptions, Server, ServerOptions, Site, serve
from roomcast.realtime.adapters.redis import RedisAdapter
from roomcast.realtime.cluster.commands import Adapter
from roomcast.redis_client import RedisAddress, RedisOptions
from roomcast.wire.socketio import Decoder, Packet, PacketType
from support.programs import unavailable

NODE = Path(__file__).resolve().parents[1] / "integration/adapters/node"
UNDEFINED = {"$undefined": True}


class NodeServer:
    """The Node server, a process that executes commands from its standard input."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.port = port
        self._process = process
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self._reading = asyncio.create_task(self._read())

    async def __call__(self, op: str, **command: Any) -> Any:
        assert self._process.stdin is not None
        self._last += 1
        answer = self._waiting[self._last] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": self._last, "op": op, **command}, default=_for_node)
        self._process.stdin.write(line.encode() + b"\n")
        async with asyncio.timeout(15):
            return await answer

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = json.loads(line)
            answer = self._waiting.pop(message["id"])
            if "error" in message:
                answer.set_exception(RuntimeError(message["error"]))
            else:
                answer.set_result(message["result"])

    async def end(self) -> None:
        # It exits at the end of its input. A signal would reach only the launcher if Node comes from a wheel.
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(5):
            await self._process.wait()
            await self._reading


def _for_node(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$date": value.timestamp() * 1_000}
    raise TypeError(type(value))


def require_node_peers() -> str:
    """Node's path; without it or its packages the test is skipped loudly, and fails under ``CI=true``."""
    node = shutil.which("node")
    if node is not None and (NODE / "node_modules/@socket.io/redis-adapter").exists():
        return node
    reason = (
        "the Node servers of the mixed cluster are not installed: make .make/node-peers, and run through `make test`"
    )
    return unavailable(reason)


@asynccontextmanager
async def node_peer(redis_port: int, *kind: str) -> AsyncIterator[NodeServer]:
    process = await asyncio.create_subprocess_exec(
        require_node_peers(),
        str(NODE / "peer.mjs"),
        str(redis_port),
        *kind,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=8 * 1024 * 1024,
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        first = await process.stdout.readline()
    peer = NodeServer(process, json.loads(first)["port"])
    try:
        yield peer
    finally:
        await peer.end()


class Client:
    """A client of any of the servers."""

    def __init__(self, websocket: ClientConnection, sid: str) -> None:
        self.sid = sid
        self.websocket = websocket
        self._decoder = Decoder()

    @classmethod
    async def open(cls, port: int, namespace: str = "/") -> Client:
        url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
        websocket = await connect(url, compression=None, ping_interval=None)
        await websocket.recv()
        await websocket.send("40" if namespace == "/" else f"40{namespace},")
        answer = str(await websocket.recv())
        return cls(websocket, json.loads(answer[answer.index("{") :])["sid"])

    async def packet(self) -> Packet:
        while True:
            message = await self.websocket.recv()
            if message == "2":
                await self.websocket.send("3")
                continue
            packet = self._decoder.add(message.removeprefix("4") if isinstance(message, str) else message)
            if packet is not None:
                return packet

    async def until(self, *last: Any) -> list[list[Any]]:
        """The events up to, and without, this one."""
        got: list[list[Any]] = []
        async with asyncio.timeout(10):
            while (packet := await self.packet()).data != [*last]:
                assert packet.type is PacketType.EVENT, (packet, got)
                got.append(packet.data)
        return got


class Cluster:
    """Servers of this package and of Node.

    Args:
        new_adapter: Makes the adapter of a server of this package.
        stack: Closes what `add`, `add_node` and `client` open.

    Attributes:
        ports: Of every server by name.
        servers: Of this package.
        nodes: Servers of Node.
    """

    def __init__(self, new_adapter: Callable[[], Adapter], stack: AsyncExitStack) -> None:
        self.ports: dict[str, int] = {}
        self.servers: dict[str, Server] = {}
        self.nodes: dict[str, NodeServer] = {}
        self._new_adapter = new_adapter
        self._stack = stack

    def borrowed(self, stack: AsyncExitStack) -> Self:
        """The same servers; ``stack`` closes what else is opened."""
        borrowed = copy(self)
        borrowed.ports, borrowed.servers = dict(self.ports), dict(self.servers)
        borrowed._stack = stack
        return borrowed

    async def add_node(self, name: str, redis_port: int, *kind: str) -> NodeServer:
        node = await self._stack.enter_async_context(node_peer(redis_port, *kind))
        self.ports[name] = node.port
        self.nodes[name] = node
        return node

    async def add(self, name: str, *, server_options: ServerOptions | None = None) -> Server:
        adapter = self._new_adapter()
        server = Server(server_options, adapter=adapter)

        @server.on("join")
        async def join(sid: str, room: str) -> None:
            await server.enter_room(sid, room)

        server.on("nothing", lambda sid: None, namespace="/x")
        self.ports[name] = await self._stack.enter_async_context(_serving(server))
        self.servers[name] = server
        return server

    async def client(self, name: str, namespace: str = "/") -> Client:
        client = await Client.open(self.ports[name], namespace)
        self._stack.push_async_callback(client.websocket.close)
        return client


@asynccontextmanager
async def _serving(server: Server) -> AsyncIterator[int]:
    stop = asyncio.Event()
    ready = asyncio.get_running_loop().create_future()
    site = Site(server.asgi(), "127.0.0.1", 0)
    task = asyncio.create_task(serve([site], ServeOptions(on_ready=ready.set_result), stop=stop))
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield int(ready.result()[0][0][1])
    finally:
        stop.set()
        await task


def redis_options(port: int) -> RedisOptions:
    return RedisOptions(addresses=(RedisAddress("127.0.0.1", port),))


def redis_adapter(port: int) -> RedisAdapter:
    return RedisAdapter(redis_options(port))
