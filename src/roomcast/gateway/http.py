"""The gateway's plain HTTP: a health check, and nothing else.

Layer: gateway. Source: the guide's ``server.ts`` (same JSON, same words).
"""

from __future__ import annotations

import json
from collections.abc import Callable

from roomcast.realtime.proxies import Receive, Scope, Send

_JSON = (b"content-type", b"application/json")
_TEXT = (b"content-type", b"text/plain; charset=utf-8")


class HealthApp:
    """ASGI application: ``GET /health``, 404 elsewhere.

    Args:
        connections: How many clients are connected.
    """

    def __init__(self, connections: Callable[[], int]) -> None:
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        match scope["type"]:
            case "lifespan":
                await _lifespan(receive, send)
            case "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1000})  # not accepted: 403
            case _ if scope["method"] == "GET" and scope["path"] == "/health":
                body = {"status": "healthy", "service": "websocket-server", "connections": self._connections()}
                await _answer(send, 200, json.dumps(body, separators=(",", ":")).encode(), _JSON)
            case _:
                await _answer(send, 404, b"Not Found", _TEXT)


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _answer(send: Send, status: int, body: bytes, content_type: tuple[bytes, bytes]) -> None:
    headers = [content_type, (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
