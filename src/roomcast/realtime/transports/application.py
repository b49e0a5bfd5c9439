"""The server as an ASGI application: Engine.IO on its path, all other requests to the wrapped application.

Under `roomcast.realtime.serve` the protocol class `websocket` handles websockets. In any other ASGI server this
application serves both transports.

Layer: realtime.transports.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

from roomcast.realtime.core.engine import Engine
from roomcast.realtime.core.environ import kept_scope
from roomcast.realtime.requests.request import EngineRequest
from roomcast.realtime.transports.asgi_websocket import serve_websocket
from roomcast.realtime.transports.polling import Polling
from roomcast.realtime.transports.proxies import AddressSource, ASGIApp, Receive, Scope, Send
from roomcast.realtime.transports.session_lookup import engine_path
from roomcast.wire.engineio_refusals import RequestRefused

logger = logging.getLogger(__name__)


class Application:
    """An ASGI application, which can also be mounted in another one, below any path.

    Args:
        engine: The server.
        fallback: Receives every request that is not for Engine.IO, and the lifespan; without it such requests get 404.

    Attributes:
        engine: As given; `serve` reads it for its protocol class.
    """

    def __init__(self, engine: Engine, fallback: ASGIApp | None) -> None:
        self.engine = engine
        self._fallback = fallback
        self._polling = Polling(engine)

    @property
    def has_fallback(self) -> bool:
        """Whether another application receives the requests and websockets that are not for Engine.IO."""
        return self._fallback is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, websocket, or the lifespan."""
        kind = scope["type"]
        path = None if kind == "lifespan" else engine_path(self.engine, scope["path"], scope.get("root_path", ""))
        if path is not None:
            if not self.engine.membership.joined:
                await self.engine.membership.join()
            request = engine_request(scope, path)
            if kind == "http":
                await self._polling.handle(request, receive, send)
            else:
                await serve_websocket(self.engine, request, receive, send)
        elif kind == "lifespan":
            await self.engine.membership.join()
            try:
                await _lifespan(self._fallback, scope, receive, self._leave_first(send))
            finally:
                await self.engine.membership.leave()
        elif self._fallback is not None:
            await self._fallback(scope, receive, send)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})  # before the accept: the client gets 403
        else:
            await _not_found(send)

    def _leave_first(self, send: Send) -> Send:
        """The server may end the process at once after the last event of a lifespan."""

        async def send_after(event: MutableMapping[str, Any]) -> None:
            if event["type"].startswith("lifespan.shutdown."):
                await self.engine.membership.leave()
            await send(event)

        return send_after


class InternalApplication:
    """An ASGI application for a node's internal address: polls and posts that other nodes forward.

    Forwarded websockets go to the protocol class of the site (`serving.process.Site`).

    Args:
        application: The application with the sessions.
        authenticator: Authenticates the other nodes.
        fallback: Receives every other request, and the lifespan.

    Attributes:
        engine: See `Application`.
        authenticator: As given.
    """

    def __init__(self, application: Application, authenticator: AddressSource, fallback: ASGIApp) -> None:
        self.engine = application.engine
        self.authenticator = authenticator
        self._fallback = fallback
        self._polling = Polling(application.engine)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        path = engine_path(self.engine, scope["path"]) if scope["type"] == "http" else None
        if path is None:
            await self._fallback(scope, receive, send)
            return
        request = engine_request(scope, path)
        try:
            view = self.authenticator.client(request.address, request.secure, request.headers)
        except RequestRefused as refused:
            await self._polling.refuse(request, refused, send)
            return
        request = replace(request, address=view.address, secure=view.secure, forwarded=True)
        await self._polling.handle(request, receive, send)


def engine_request(scope: Scope, path: str) -> EngineRequest:
    """A request from its ASGI scope, with its `engine_path`."""
    client = scope.get("client")
    websocket = scope["type"] == "websocket"
    return EngineRequest(
        method="GET" if websocket else scope["method"],
        path=path,
        query_string=scope["query_string"].decode("latin-1"),
        headers=scope["headers"],
        address=client[0] if client else None,
        secure=scope.get("scheme") in {"https", "wss"},
        websocket=websocket,
        scope=kept_scope(scope),
    )


async def _lifespan(fallback: ASGIApp | None, scope: Scope, receive: Receive, send: Send) -> None:
    """Run the lifespan of the application behind; without one that supports it, only answer the events.

    An application without a lifespan, as of Django, raises an exception before it answers (ASGI 3, "Lifespan").
    """
    received = answered = False

    async def receive_noted() -> MutableMapping[str, Any]:
        nonlocal received
        event = await receive()
        received = True
        return event

    async def send_noted(event: MutableMapping[str, Any]) -> None:
        nonlocal answered
        answered = True
        await send(event)

    if fallback is not None:
        try:
            await fallback(scope, receive_noted, send_noted)
        except Exception:
            if answered:
                raise
            logger.info("the application behind the Socket.IO server has no lifespan", exc_info=True)
        if answered:
            return
    if not received:
        await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _not_found(send: Send) -> None:
    body = b"Not Found"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": body})
