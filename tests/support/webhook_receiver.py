"""An HTTP server that receives webhooks, as an application of the tests."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp import web

from support.http_server import HttpServer


@dataclass(frozen=True)
class Received:
    """A request, and the status that it was answered with."""

    headers: dict[str, str]
    raw: bytes
    status: int

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def key(self) -> tuple[str, int]:
        """Chat and seq of the event."""
        return self.body["data"]["chatId"], self.body["data"]["seq"]


def verify(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether one of the signatures is that of the secret."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return expected in headers["webhook-signature"].split(" ")


class Receiver:
    """Answers each request with what `answer` returns: a status, and further headers.

    Attributes:
        requests: Every request with a response.
        seqs: The seqs of each chat in the order in which they were delivered first.
        delay_s: How long each response takes.
        start, stop: See `HttpServer`.
    """

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.seqs: defaultdict[str, dict[int, None]] = defaultdict(dict)
        self.answer: Callable[[Any], tuple[int, dict[str, str]]] = lambda _body: (200, {})
        self.delay_s = 0.0
        self._arrived = asyncio.Condition()
        self.server = HttpServer(self._answer)
        self.start, self.stop = self.server.start, self.server.stop

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def url(self) -> str:
        return f"{self.server.url}/hook"

    @property
    def delivered(self) -> list[Received]:
        """The requests that were answered with 200."""
        return [request for request in self.requests if request.status == 200]

    def first_copies(self) -> dict[str, list[int]]:
        """The seqs of each chat in the order in which they were delivered first."""
        return {chat_id: list(seqs) for chat_id, seqs in self.seqs.items()}

    async def until(self, condition: Callable[[], bool], limit_s: float = 20) -> None:
        """Wait for a condition, which is checked after each request."""
        async with asyncio.timeout(limit_s), self._arrived:
            await self._arrived.wait_for(condition)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        raw = await request.read()
        status, further = self.answer(json.loads(raw))
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        response = web.Response(text="ok", status=status, headers=further)
        await response.prepare(request)
        await response.write_eof()
        async with self._arrived:
            self.requests.append(Received(headers, raw, status))
            if status == HTTPStatus.OK and "seq" in (event := json.loads(raw)):
                self.seqs[event["data"]["chatId"]].setdefault(event["seq"])
            self._arrived.notify_all()
        return response


@asynccontextmanager
async def running_receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts connections."""
    receiver = Receiver()
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()
