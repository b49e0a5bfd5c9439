"""Dynamic namespaces, middleware, catch-all listeners and acknowledgements: the same scenario on Node's server."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from roomcast.realtime import (
    NO_ACK,
    ConnectionRefusedError,  # noqa: A004 - python-socketio's name
    EventRefused,
    IncomingEvent,
    Server,
    Socket,
)

pytestmark = pytest.mark.node

HERE = Path(__file__).parent
CLIENT = HERE.parents[2] / "web/node_modules/socket.io-client/build/esm-debug/index.js"
NODE_SERVER = HERE.parent / "adapters/node/node_modules/socket.io/wrapper.mjs"


def dynamic_namespaces(server: Server) -> list[str]:
    """The namespaces of ``hooks.mjs``; returns the names about which the function was asked."""
    tenants = server.dynamic_namespace(re.compile(r"^/tenant-\d+$"))

    @tenants.use
    def not_banned(socket: Socket) -> None:
        if socket.auth.get("banned"):
            raise ConnectionRefusedError("banned", {"until": 5})

    @tenants.event
    async def connect(namespace: str, sid: str, environ: Any) -> None:
        server.socket(sid, namespace).emit("hello", namespace)

    @tenants.on("everyone")
    async def everyone(namespace: str, sid: str) -> None:
        await server.emit("news", namespace, namespace=namespace)

    @tenants.on("every tenant")
    def every_tenant(namespace: str, sid: str) -> None:
        tenants.emit("bulletin", 1)

    asked = []

    async def dated(name: str, auth: Any) -> bool:
        asked.append(name)
        await asyncio.sleep(0)
        return name.startswith("/dated-") and auth.get("key") == "k"

    @server.dynamic_namespace(dated).on("connect")
    def connect_dated(namespace: str, sid: str, environ: Any) -> None:
        server.socket(sid, namespace).emit("hello", namespace)

    return asked


def guarded_namespace(server: Server) -> None:
    def first(socket: Socket) -> None:
        socket.data["order"] = ["first"]

    async def second(socket: Socket) -> None:
        await asyncio.sleep(0)
        socket.data["order"].append("second")
        if socket.auth.get("token") != "t":
            raise ConnectionRefusedError("unauthorized", {"code": 401})

    server.use(first, "/guarded")
    server.use(second, "/guarded")
    guarded_handlers(server)


def guarded_handlers(server: Server) -> None:
    def pass_change_or_refuse(event: IncomingEvent) -> None:
        if event.name == "double":
            event.name, event.args[0] = "echo", event.args[0] * 2
        if event.name == "refused":
            raise EventRefused

    @server.event(namespace="/guarded")
    def connect(sid: str, environ: Any) -> None:
        socket = server.socket(sid, "/guarded")
        socket.data["seen"], socket.data["outgoing"] = [], []
        socket.on_any(lambda name, *args: socket.data["seen"].append(name))
        socket.on_any_outgoing(lambda *event: socket.data["outgoing"].append(event))
        socket.use(pass_change_or_refuse)

    server.on("echo", lambda sid, value: value, "/guarded")
    server.on("order", lambda sid: server.socket(sid, "/guarded").data["order"], "/guarded")
    server.on("silent", lambda sid: NO_ACK, "/guarded")

    @server.on("later", namespace="/guarded")
    def later(sid: str) -> Any:
        ack = server.socket(sid, "/guarded").take_ack()
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, ack, "late")
        loop.call_later(0.01, ack, "twice")
        return NO_ACK

    @server.on("say", namespace="/guarded")
    async def say(sid: str) -> None:
        await server.enter_room(sid, "room", "/guarded")
        server.socket(sid, "/guarded").emit("direct", b"\x01")
        await server.emit("to room", {"a": 1}, room="room", namespace="/guarded")
        await server.emit("to all", namespace="/guarded")
        await server.emit("to others", skip_sid=["room"], namespace="/guarded")

    @server.on("seen", namespace="/guarded")
    def seen(sid: str) -> Any:
        data = server.socket(sid, "/guarded").data
        return {"seen": data["seen"], "outgoing": data["outgoing"]}


async def test_the_official_client_sees_the_same_as_on_nodes_server(serving: Any) -> None:
    server = Server()
    asked = dynamic_namespaces(server)
    guarded_namespace(server)
    node = shutil.which("node")
    assert node is not None
    assert NODE_SERVER.exists(), "run: make .make/node-peers"
    async with serving(server) as running:
        process = await asyncio.create_subprocess_exec(
            node,
            str(HERE / "js/hooks.mjs"),
            str(CLIENT),
            str(NODE_SERVER),
            running.url,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    seen = json.loads(out)
    assert seen["other"] == seen["node"]
    assert len(asked) == seen["asked"]
    assert ["double", 8] in seen["other"]
    assert ["silent", "no ack"] in seen["other"]
    assert not server.engine.registry.children
