"""The way of a valid message, without the framework, whose work for a request costs more than all the rest.

Any other request goes to the declared route (`routes.send_message`), which gives every error of a request and the
OpenAPI document; a use case that fails is answered by the framework's handlers. So both have the same contract.

Layer: api.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError
from starlette.routing import BaseRoute, Match, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from roomcast.api.callers import authenticate
from roomcast.api.middleware import HEADERS
from roomcast.api.routes import SEND_PATH, commit, current_trace
from roomcast.api.services import ApiServices
from roomcast.chat.model import Committed
from roomcast.contract import rest

# Key of the scope.
_FAILURE: Final = "roomcast.failure"
_NO_STORE: Final = (b"cache-control", b"no-store")
_JSON: Final = (b"content-type", b"application/json")


class _FailedSend(BaseRoute):
    """A route that raises what a direct send has raised, so that the framework's handlers answer it.

    Attributes:
        path: As of the declared route, for the durations of requests.
    """

    path: Final = SEND_PATH

    def matches(self, scope: Scope) -> tuple[Match, dict[str, Any]]:
        """Match a failed direct send."""
        return (Match.FULL, {"route": self}) if _FAILURE in scope else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the signature of ASGI
        """Raise the failure."""
        raise scope[_FAILURE]


class DirectSend:
    """Serves a valid message; other requests go to ``app``.

    Args:
        app: The framework.
        router: Its router, which gets a first route.
        services: The use cases.
    """

    def __init__(self, app: ASGIApp, router: Router, services: ApiServices) -> None:
        self._app = app
        self._services = services
        self._route = _FailedSend()
        router.routes.insert(0, self._route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if (
            scope["type"] != "http"
            or scope["method"] != "POST"
            or scope["path"].removeprefix(scope.get("root_path", "")) != SEND_PATH
        ):
            await self._app(scope, receive, send)
            return
        try:
            outcome = await self._send_message(scope[HEADERS], receive)
        except Exception as error:  # noqa: BLE001 - `_FailedSend` raises it again
            scope[_FAILURE] = error
            try:
                await self._app(scope, receive, send)
            finally:
                del scope[_FAILURE]  # its traceback refers to the scope: a cycle that would keep the body
            return
        if isinstance(outcome, bytes):
            await self._app(scope, _replay(outcome, receive), send)
        elif outcome is not None:
            scope["route"] = self._route
            payload = outcome.event.payload
            headers = [_NO_STORE, (b"content-length", b"%d" % len(payload)), _JSON]
            await send({"type": "http.response.start", "status": 201 if outcome.created else 200, "headers": headers})
            await send({"type": "http.response.body", "body": payload})

    async def _send_message(self, headers: Mapping[bytes, bytes], receive: Receive) -> Committed | bytes | None:
        """Validate, authenticate, send. Returns the body if it is not valid, None if the client has left."""
        body = await _body(receive)
        if body is None:
            return None
        try:
            command = rest.SendMessage.model_validate_json(body)
        except ValidationError:
            return body
        given = headers.get(b"authorization")
        caller = authenticate(self._services.verifier, None if given is None else given.decode("latin-1"))
        trace = current_trace(self._services.tracer, headers.get(b"traceparent", b"").decode("latin-1"))
        return await commit(self._services.writer, caller, command, trace)


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None if the client has left."""
    parts = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that begins with this body."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
