"""The way of a valid message, and of a gateway's questions, without the framework, whose work costs more than the rest.

Any other request goes to the declared route (`routes.messages.send_message`, `routes.internal.admit`), which gives
every error of a request and the OpenAPI document; a use case that fails is answered by the framework's handlers. So
both have the same contract.

Layer: api.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from roomcast.api.callers import authenticate, require_installation
from roomcast.api.middleware import HEADERS
from roomcast.api.problems import rate_problem
from roomcast.api.routes.internal import ADMISSIONS_PATH, decide
from roomcast.api.routes.messages import SEND_PATH, commit, current_trace
from roomcast.api.services import ApiServices
from roomcast.auth.scopes import ServiceScope
from roomcast.chat.errors import RateLimitReached
from roomcast.chat.model import Caller
from roomcast.contract import internal, rest

# Key of the scope.
_FAILURE: Final = "roomcast.failure"
_NO_STORE: Final = (b"cache-control", b"no-store")
_JSON: Final = (b"content-type", b"application/json")

#: Takes the headers and the body of a POST. Returns status and JSON of the response; None: the body is not valid.
Serve = Callable[[Mapping[bytes, bytes], bytes], Awaitable[tuple[int, bytes] | None]]


class _Failed(BaseRoute):
    """A route that raises what a direct route has raised, so that the framework's handlers answer it.

    Attributes:
        path: As of the declared route, for the durations of requests.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def matches(self, scope: Scope) -> tuple[Match, dict[str, Any]]:
        """Match a failed direct request."""
        return (Match.FULL, {"route": self}) if _FAILURE in scope else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the signature of ASGI
        """Raise the failure."""
        raise scope[_FAILURE]


class DirectRoute:
    """Serves the valid POST requests to one path; other requests go to ``app``.

    Args:
        app: The framework.
        router: Its router, which gets a first route.
        path: The path.
        serve: Serves a body.
    """

    def __init__(self, app: ASGIApp, router: Router, path: str, serve: Serve) -> None:
        self._app = app
        self._serve = serve
        self._route = _Failed(path)
        router.routes.insert(0, self._route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if (
            scope["type"] != "http"
            or scope["method"] != "POST"
            or scope["path"].removeprefix(scope.get("root_path", "")) != self._route.path
        ):
            await self._app(scope, receive, send)
            return
        try:
            body = await _body(receive)
            if body is None:
                return
            outcome = await self._serve(scope[HEADERS], body)
        except RateLimitReached as error:  # the framework takes as long as a commit, and abusers cause many
            scope["route"] = self._route
            await (await rate_problem(error))(scope, receive, send)
            return
        except Exception as error:  # noqa: BLE001 - `_Failed` raises it again
            scope[_FAILURE] = error
            try:
                await self._app(scope, receive, send)
            finally:
                del scope[_FAILURE]  # its traceback refers to the scope: a cycle that would keep the body
            return
        if outcome is None:
            await self._app(scope, _replay(body, receive), send)
            return
        scope["route"] = self._route
        status, payload = outcome
        headers = [_NO_STORE, (b"content-length", b"%d" % len(payload)), _JSON]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": payload})


def direct_send(app: ASGIApp, router: Router, services: ApiServices) -> ASGIApp:
    """The direct route of messages, in front of ``app``."""

    async def serve(headers: Mapping[bytes, bytes], body: bytes) -> tuple[int, bytes] | None:
        try:
            # Before the body, whose ids are those of the caller's tenant.
            caller = await _authenticate(services, headers, ServiceScope.WRITE)
            command = rest.SendMessage.model_validate_json(body)
        except (HTTPException, ValidationError):
            return None
        trace = current_trace(services.tracer, headers.get(b"traceparent", b"").decode("latin-1"))
        committed = await commit(services.writer, caller, command, trace)
        return 201 if committed.created else 200, committed.event.payload

    return DirectRoute(app, router, SEND_PATH, serve)


def direct_admissions(app: ASGIApp, router: Router, services: ApiServices) -> ASGIApp:
    """The direct route of admissions, in front of ``app``."""

    async def serve(headers: Mapping[bytes, bytes], body: bytes) -> tuple[int, bytes] | None:
        try:
            asked = internal.AdmissionRequests.model_validate_json(body)
        except ValidationError:
            return None
        require_installation(await _authenticate(services, headers, ServiceScope.ADMIN))
        return 200, (await decide(services, asked)).model_dump_json().encode()

    return DirectRoute(app, router, ADMISSIONS_PATH, serve)


async def _authenticate(services: ApiServices, headers: Mapping[bytes, bytes], needed: ServiceScope) -> Caller:
    given = headers.get(b"authorization")
    return await authenticate(services.verifier, None if given is None else given.decode("latin-1"), needed)


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
