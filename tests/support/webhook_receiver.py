"""An HTTP server that receives webhooks, as an application of the tests."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any


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
        port: Of 127.0.0.1; kept by `stop` and `start`.
    """

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.seqs: defaultdict[str, dict[int, None]] = defaultdict(dict)
        self.answer: Callable[[Any], tuple[int, dict[str, str]]] = lambda _body: (200, {})
        self.delay_s = 0.0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._arrived = asyncio.Condition()
        self._connections: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

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

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections, and cut those that are open."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._connections):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await self._answer(reader, writer)
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        status, further = self.answer(json.loads(raw))
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        lines = [f"HTTP/1.1 {status} Scripted", "Content-Length: 2", *(f"{n}: {v}" for n, v in further.items())]
        writer.write("\r\n".join([*lines, "", "ok"]).encode())
        await writer.drain()
        async with self._arrived:
            self.requests.append(Received(headers, raw, status))
            if status == HTTPStatus.OK and "seq" in (event := json.loads(raw)):
                self.seqs[event["data"]["chatId"]].setdefault(event["seq"])
            self._arrived.notify_all()


@asynccontextmanager
async def running_receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts connections."""
    receiver = Receiver()
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()
