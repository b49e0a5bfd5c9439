"""The public types of `roomcast.realtime`: mypy checks this file, and nothing runs it.

``assert_type`` pins what a caller gets. An ignored error pins what a caller must not write: mypy also reports an ignore
that is not needed.
"""

from __future__ import annotations

import signal
from contextlib import AbstractAsyncContextManager
from typing import Any, assert_type

from roomcast.realtime import (
    Ack,
    BroadcastOperator,
    EncodedEvent,
    Handshake,
    Namespace,
    NamespaceOperator,
    RemoteSocket,
    ServeOptions,
    Server,
    ServerOptions,
    Site,
    Socket,
    serve,
)


async def values(server: Server, socket: Socket) -> None:
    assert_type(server.options, ServerOptions)
    assert_type(server.connections, int)
    assert_type(server.socket("sid"), Socket)
    assert_type(server.sockets("room"), list[Socket])
    assert_type(server.rooms("sid"), list[str])
    assert_type(server.transport("sid"), str)
    assert_type(await server.call("question", to="sid", timeout=5), Any)
    assert_type(await server.get_session("sid"), dict[str, Any])
    assert_type(server.session("sid"), AbstractAsyncContextManager[dict[str, Any]])
    assert_type(server.get_environ("sid")["REMOTE_ADDR"], Any)
    assert_type(socket.sid, str)
    assert_type(socket.rooms, frozenset[str])
    assert_type(socket.handshake, Handshake)
    assert_type(socket.data, dict[str, Any])
    assert_type(socket.take_ack(), Ack)
    assert_type(EncodedEvent.from_args("news", 1), EncodedEvent)


async def operators(server: Server, socket: Socket) -> None:
    assert_type(server.of("/admin"), NamespaceOperator)
    assert_type(server.of("/admin").everyone, BroadcastOperator)
    assert_type(server.of("/admin").except_("room").timeout(2), BroadcastOperator)
    assert_type(server.to("room"), BroadcastOperator)
    assert_type(server.to(["one", "two"]).except_("three").local.volatile, BroadcastOperator)
    assert_type(socket.broadcast, BroadcastOperator)
    assert_type(await server.to("room").emit("news", 1, b"two"), None)
    assert_type(await server.to("room").emit_with_ack("news", 1), list[Any])
    assert_type(await server.to("room").fetch_sockets(), list[RemoteSocket])
    await server.to("room").emit(1)  # type: ignore[arg-type]  # the name is a str


async def remote_sockets(socket: RemoteSocket) -> None:
    assert_type(socket.sid, str)
    assert_type(socket.rooms, frozenset[str])
    assert_type(socket.handshake, Handshake)
    assert_type(socket.data, dict[str, Any])
    assert_type(await socket.emit_with_ack("question"), Any)


async def events_between_servers(server: Server) -> None:
    @server.on_server_side_emit("reload")
    async def reload(what: str) -> int:
        return len(what)

    assert_type(await reload("texts"), int)
    assert_type(await server.server_side_emit_with_ack("reload", "texts", timeout_s=2), list[Any])


async def handlers_keep_their_types(server: Server) -> None:
    @server.event
    async def say(sid: str, text: str) -> str:
        return text

    @server.on("count")
    def count(sid: str) -> int:
        return 1

    assert_type(await say("sid", "text"), str)
    assert_type(count("sid"), int)
    server.register_namespace(Namespace("/admin"))
    server.on(1, count)  # type: ignore[call-overload]  # the name is a str


async def processes(server: Server) -> None:
    options = ServeOptions(on_ready=lambda addresses: None)
    assert_type(await serve([Site(server.asgi(), "127.0.0.1", 0)], options), signal.Signals | None)
    await server.emit(1)  # type: ignore[arg-type]  # the name is a str
    ServerOptions(unknown=1)  # type: ignore[call-arg]  # there is no such option
