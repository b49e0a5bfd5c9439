"""``ASGIApp``: the server, files, and another application, as one ASGI application.

Layer: realtime.compat. Source: python-engineio 4.15, ``ASGIApp``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from roomcast.realtime.compat.async_server import AsyncServer
from roomcast.realtime.compat.static_files import StaticFile, StaticFiles, find_static_file
from roomcast.realtime.transports.proxies import ASGIApp as Application
from roomcast.realtime.transports.proxies import Receive, Scope, Send

Hook = Callable[[], Any]


class ASGIApp:
    """An ASGI application, which can also be mounted in another one.

    Args:
        socketio_server: The server.
        other_asgi_app: Receives all other requests, and the lifespan unless there is a hook for it.
        static_files: Files by path; see `static_files.StaticFiles`.
        socketio_path: Every path that begins with it belongs to the server. None or empty: all paths do.
        on_startup: Called at the start of the lifespan; may be a coroutine function.
        on_shutdown: Called at its end.
    """

    def __init__(
        self,
        socketio_server: AsyncServer,
        other_asgi_app: Application | None = None,
        static_files: StaticFiles | None = None,
        socketio_path: str | None = "socket.io",
        on_startup: Hook | None = None,
        on_shutdown: Hook | None = None,
    ) -> None:
        self.engineio_server = socketio_server
        self.other_asgi_app = other_asgi_app
        self.static_files: StaticFiles = static_files or {}
        name = None if socketio_path is None else socketio_path.strip("/")
        self.engineio_path = None if name is None else f"/{name}/" if name else "/"
        self.on_startup = on_startup
        self.on_shutdown = on_shutdown
        engine = socketio_server.native.engine
        if name:
            # What handlers read as PATH_INFO, and where `serve` expects websockets.
            engine.options = replace(engine.options, path=f"/{name}/")
        self._with_lifespan = socketio_server.native.asgi(self._serve_lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, websocket, or the lifespan."""
        if scope["type"] == "lifespan":
            await self.lifespan(scope, receive, send)
        elif self._is_engineio(scope):
            await self.engineio_server.handle_request(scope, receive, send)
        else:
            await self._serve_other(scope, receive, send)

    def _is_engineio(self, scope: Scope) -> bool:
        if self.engineio_path is None:
            return True
        # ASGI's path begins with root_path, which some frameworks remove.
        path: str = scope["path"] + "/"
        return path.startswith(self.engineio_path) or path.removeprefix(scope.get("root_path", "")).startswith(
            self.engineio_path
        )

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        file = find_static_file(scope["path"], self.static_files) if scope["type"] == "http" else None
        if file is not None:
            await self.serve_static_file(file, receive, send)
        elif self.other_asgi_app is not None:
            await self.other_asgi_app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})  # before the accept: the client gets 403
        else:
            await self.not_found(receive, send)

    async def lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Connect the server to the others of its cluster, and run the lifespan."""
        await self._with_lifespan(scope, receive, send)

    async def _serve_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.other_asgi_app is not None and self.on_startup is None and self.on_shutdown is None:
            await self.other_asgi_app(scope, receive, send)
            return
        for phase, hook in (("startup", self.on_startup), ("shutdown", self.on_shutdown)):
            await receive()
            try:
                result = None if hook is None else hook()
                if inspect.isawaitable(result):
                    await result
            except Exception as error:
                await send({"type": f"lifespan.{phase}.failed", "message": repr(error)})
                raise
            await send({"type": f"lifespan.{phase}.complete"})

    async def serve_static_file(self, static_file: StaticFile, receive: Receive, send: Send) -> None:
        """Respond with a file."""
        await receive()
        body = await asyncio.to_thread(static_file.path.read_bytes)
        await _respond(send, 200, static_file.content_type, body)

    async def not_found(self, receive: Receive, send: Send) -> None:  # noqa: ARG002 - python-socketio's signature
        """Respond that there is nothing at this path."""
        await _respond(send, 404, "text/plain", b"Not Found")


async def _respond(send: Send, status: int, content_type: str, body: bytes) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
