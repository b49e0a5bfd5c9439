"""Connections of a gateway to an API that is a function."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

import httpx

from roomcast.gateway.api.connections import NoAnswer


class HandledHttp:
    """Requests that a function answers; its `httpx.HTTPError` is a request without an answer."""

    def __init__(self, handle: Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]) -> None:
        self._handle = handle

    async def post(self, path: str, headers: str, body: bytes) -> tuple[int, bytes]:
        lines = [line.partition(": ")[::2] for line in headers.splitlines()]
        try:
            response = self._handle(httpx.Request("POST", f"http://api.test{path}", headers=lines, content=body))
            if inspect.isawaitable(response):
                response = await response
        except httpx.HTTPError as error:
            raise NoAnswer(repr(error)) from error
        return response.status_code, response.content

    def close(self) -> None: ...
