"""The route of a valid message, without the work that FastAPI does for each request: three times that of the rest.

Any other request goes to the declared route (`routes.send_message`), which gives every error and the OpenAPI document.
So both have the same contract.

Layer: api.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.routing import BaseRoute, Match
from starlette.types import Message, Receive, Scope, Send

from roomcast.api.callers import authenticate
from roomcast.api.routes import SEND_PATH, send_message, services_of
from roomcast.contract import rest

_DECLARED: Final = "roomcast.declared"


class DirectSend(BaseRoute):
    """Serves a valid message; before the declared routes in the router of ``app``.

    Attributes:
        path: As of the declared route, for the durations of requests.
    """

    path: Final = SEND_PATH

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def matches(self, scope: Scope) -> tuple[Match, dict[str, Any]]:
        """Match a message that has not been passed to the declared route."""
        if scope["type"] != "http" or scope["method"] != "POST" or _DECLARED in scope:
            return Match.NONE, {}
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return (Match.FULL, {"route": self}) if path == SEND_PATH else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Validate, authenticate, send."""
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        try:
            command = rest.SendMessage.model_validate_json(body)
        except ValidationError:
            await self._app.router({**scope, _DECLARED: True}, _replay(body, receive), send)
            return
        caller = authenticate(services_of(request).verifier, request.headers.get("authorization"))
        response = await send_message(request, caller, command)
        await response(scope, receive, send)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that begins with this body."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
