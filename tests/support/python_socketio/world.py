"""One of the two servers of a case, and python-socketio's client, which records what it receives.

Everything that a case observes is free of ids: sids become ``<a>``, ``<b>`` by the name of the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import aiohttp
import socketio
import uvicorn

from support.clients import http_session

LIMIT_S = 5.0
#: How long an observation waits for something that must not come.
NOTHING_S = 0.15
#: The same where one server answers.
LONG_S = 1.0


class Peer(socketio.AsyncClient):  # type: ignore[misc]  # it has no types
    """A client.

    Attributes:
        name: Stands for its sids in observations.
        got: Events in order: ``[namespace, event, *args]``, the namespace only if it is not ``/``.
        answer: What it acknowledges events with.
    """

    def __init__(self, name: str, http: aiohttp.ClientSession, namespaces: list[str], serializer: str) -> None:
        super().__init__(reconnection=False, http_session=http, serializer=serializer)
        self.name = name
        self.got: list[Any] = []
        self.answer: Any = None
        self.ended = asyncio.Event()
        self._end = self.eio.disconnect
        self.eio.disconnect = self._end_after_writing
        for namespace in namespaces:
            prefix = [] if namespace == "/" else [namespace]
            for event in ("connect", "disconnect", "connect_error"):
                self.on(event, self._keep([*prefix, event]), namespace=namespace)
            self.on("*", self._keep_event(prefix), namespace=namespace)

    async def _end_after_writing(self, *args: Any, **options: Any) -> None:
        """End the session without waiting for the last poll, which the peer's server holds for 45 s."""
        if self.eio.current_transport == "polling" and self.eio.write_loop_task is not None:
            self.eio.read_loop_task = self.eio.write_loop_task
        await self._end(*args, **options)

    def _keep(self, prefix: list[str]) -> Any:
        def keep(*args: Any) -> None:
            self.got.append([*prefix, *args])
            if prefix[-1] != "connect":
                self.ended.set()

        return keep

    def _keep_event(self, prefix: list[str]) -> Any:
        def keep(event: str, *args: Any) -> Any:
            self.got.append([*prefix, event, *args])
            return self.answer

        return keep

    async def ask(self, event: str, data: Any = None, namespace: str | None = None, limit_s: float = LIMIT_S) -> Any:
        """The acknowledgement of an event, or the name of the exception."""
        try:
            return await self.call(event, data, namespace=namespace, timeout=limit_s)
        except socketio.exceptions.SocketIOError as error:
            return type(error).__name__


class World:
    """One of the servers.

    Attributes:
        lib: python-socketio, or `roomcast.realtime.compat.socketio`.
        sio: The server of the case, after `serve`.
        base: Its URL, without its Engine.IO path.
        transports: Those of clients for which the case names none.
    """

    def __init__(self, lib: ModuleType, http: aiohttp.ClientSession, transports: list[str]) -> None:
        self.lib = lib
        self.transports = transports
        self.sio: Any = None
        self.base = ""
        self.http = http
        self.peers: list[Peer] = []
        self._names = itertools.cycle("abcdefgh")
        self._hosting = contextlib.AsyncExitStack()

    def server(self, **options: Any) -> Any:
        """The server of the case."""
        self.sio = self.lib.AsyncServer(async_mode="asgi", **options)

        async def sync(*_: Any) -> str:
            return "done"

        self.sio.on("sync", sync)
        return self.sio

    async def host(self, app: Any = None) -> str:
        """Serve an ASGI application, by default that of the server alone."""
        app = self.lib.ASGIApp(self.sio) if app is None else app
        self.base = await self._hosting.enter_async_context(hosting(app))
        return self.base

    async def connect(
        self,
        auth: Any = None,
        namespaces: list[str] | None = None,
        transports: list[str] | None = None,
        headers: dict[str, str] | None = None,
        path: str = "socket.io",
        wait_s: float = LIMIT_S,
        serializer: str = "default",
    ) -> Peer:
        """A client; it is connected unless it received ``connect_error`` or nothing within `LIMIT_S`."""
        if not self.base:
            await self.host()
        namespaces = namespaces or ["/"]
        peer = Peer(next(self._names), self.http, namespaces, serializer)
        self.peers.append(peer)
        with contextlib.suppress(socketio.exceptions.ConnectionError):
            await peer.connect(
                self.base,
                auth=auth,
                namespaces=namespaces,
                transports=transports or self.transports,
                headers=headers or {},
                socketio_path=path,
                wait_timeout=wait_s,
            )
        return peer

    async def open(self, **options: Any) -> Peer:
        """A client that has received everything that was emitted to it."""
        peer = await self.connect(**options)
        await peer.ask("sync")
        return peer

    def seen(self, value: Any) -> Any:
        """The value as JSON, with names for sids."""
        names = {peer.get_sid(namespace): f"<{peer.name}>" for peer in self.peers for namespace in peer.namespaces}
        text = json.dumps(value, default=repr)
        for sid, name in names.items():
            if sid:
                text = text.replace(sid, name)
        return json.loads(text)

    async def close(self) -> None:
        """Disconnect the clients and stop serving."""
        for peer in self.peers:
            await peer.disconnect()
            await peer.shutdown()
        if self.sio is not None:
            await self.sio.shutdown()
        await self._hosting.aclose()


@contextlib.asynccontextmanager
async def hosting(app: Any) -> AsyncIterator[str]:
    """The URL of an application that uvicorn serves."""
    # log_config: configuring the loggers takes longer than the rest.
    config = uvicorn.Config(
        app, port=0, log_config=None, log_level="critical", ws="websockets-sansio", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined,method-assign]
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        # uvicorn's own shutdown sleeps. The server of the case has closed its sessions.
        for listening in server.servers:
            listening.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        if server.server_state.tasks:
            for task in server.server_state.tasks:  # polls that python-socketio has not ended
                task.cancel()
            await asyncio.wait(set(server.server_state.tasks), timeout=LIMIT_S)
        await server.lifespan.shutdown()


@contextlib.asynccontextmanager
async def world_of(lib: ModuleType, transport: str = "websocket") -> AsyncIterator[World]:
    """A world, closed at the end."""
    async with http_session() as http:
        world = World(lib, http, [transport])
        try:
            yield world
        finally:
            await world.close()
