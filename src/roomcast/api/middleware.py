"""What every request passes before the routes: the host that it names, its body's type and its body's size.

Plain ASGI, since the framework's own middleware reads whole bodies.

Layer: api. Source: RFC 9110 §7.4 (misdirected requests); the advisories on DNS rebinding and on JSON as text/plain.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from roomcast.api.problems import problem_response

#: A message holds 32,768 characters of at most 4 bytes; JSON escapes can make six of one.
MAX_BODY_BYTES: Final = 1_048_576
WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


def host_name(header: str) -> str:
    """The host of a Host header, without its port, in lower case: ``[::1]:3000`` → ``[::1]``."""
    header = header.strip().lower()
    if header.startswith("["):
        name, bracket, _ = header.partition("]")
        return name + bracket
    return header.partition(":")[0]


class HostCheck:
    """Refuses requests for another host: a page of an attacker whose name was rebound to this address.

    Args:
        app: What follows.
        hosts: Names that are answered to, IPv6 in brackets.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 421, or pass the request on."""
        if scope["type"] == "http":
            named = Headers(scope=scope).getlist("host")
            if len(named) != 1 or host_name(named[0]) not in self._hosts:
                response = problem_response(421, "this server does not answer to that Host")
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyRules:
    """Refuses bodies that are not JSON, and cuts those that are too long while they are read.

    A browser sends text/plain across origins without asking; JSON it asks about first.

    Args:
        app: What follows.
        limit_bytes: Largest body that is taken.
    """

    def __init__(self, app: ASGIApp, limit_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 415 or 413, or pass the request on."""
        if scope["type"] != "http" or scope["method"] not in WITH_BODY:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if (
            scope["method"] == "PUT"
            and "transfer-encoding" not in headers
            and headers.get("content-length", "0") == "0"
        ):
            # Nothing to parse; a form cannot send it, so it cannot be forged across origins.
            await self._app(scope, receive, send)
            return
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            response = problem_response(415, "send the body as JSON, with Content-Type: application/json")
            await response(scope, receive, send)
            return
        too_large = f"the body is longer than {self._limit_bytes} bytes"
        declared = headers.get("content-length", "0")
        if not declared.isascii() or not declared.isdigit() or int(declared[:20]) > self._limit_bytes:
            # What was not read cannot be skipped: the connection ends with the answer.
            response = problem_response(413, too_large, headers={"Connection": "close"})
            await response(scope, receive, send)
            return
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit_bytes:
                raise HTTPException(413, too_large, {"Connection": "close"})
            return message

        await self._app(scope, limited, send)
