"""An HTTP server of the tests that answers as a provider of AI models does, with a script of its bytes.

`Provider` listens on a real socket, records each request, and whether the client closed the connection in the middle.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

#: One step of a script: bytes to send, seconds to wait, or an event to wait for.
Step = bytes | float | asyncio.Event


@dataclass
class Request:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    #: Set when the client closes the connection before the script has ended.
    closed: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Answer:
    """A response: the status, further headers, and the steps of its body, which ends with the connection."""

    steps: Iterable[Step] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Provider:
    """Answers each request with the next answer, or with what the next function returns; the last one repeats."""

    def __init__(self, *answers: Answer | Callable[[Request], Answer]) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.arrived = asyncio.Condition()
        self.url = ""

    async def request(self, number: int) -> Request:
        """The request with this number, from 0, as soon as it has arrived."""
        async with asyncio.timeout(10), self.arrived:
            await self.arrived.wait_for(lambda: len(self.requests) > number)
        return self.requests[number]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection, which has one request."""
        request = await _read_request(reader)
        async with self.arrived:
            answer = self.answers[min(len(self.requests), len(self.answers) - 1)]
            self.requests.append(request)
            self.arrived.notify_all()
        if not isinstance(answer, Answer):
            answer = answer(request)
        headers = {"Content-Type": "text/event-stream", "Connection": "close", **answer.headers}
        lines = [f"HTTP/1.1 {answer.status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        script = asyncio.create_task(_play(answer.steps, writer))
        ended = asyncio.create_task(reader.read())
        await asyncio.wait({script, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not script.done() or not script.result():
            request.closed.set()
            script.cancel()
        ended.cancel()
        await asyncio.gather(script, ended, return_exceptions=True)
        writer.close()


async def _play(steps: Iterable[Step], writer: asyncio.StreamWriter) -> bool:
    """Whether the client has received the whole script."""
    for step in steps:
        match step:
            case bytes():
                writer.write(step)
                try:
                    await writer.drain()
                except ConnectionError:
                    return False
            case asyncio.Event():
                await step.wait()
            case _:
                await asyncio.sleep(step)
    return True


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, json.loads(body) if body else None)


@asynccontextmanager
async def running_provider(*answers: Answer | Callable[[Request], Answer]) -> AsyncIterator[Provider]:
    """A provider on a free port of the loopback interface."""
    provider = Provider(*answers)
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await provider.serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    provider.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield provider
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def event(data: Any) -> bytes:
    """One server-sent event with a JSON value."""
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def chat_chunk(
    content: str | None = None, finish: str | None = None, *, usage: dict[str, int] | None = None, **delta: Any
) -> bytes:
    """One chunk of Chat Completions."""
    if content is not None:
        delta["content"] = content
    choices = [] if usage is not None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": choices, "usage": usage}
    return event(chunk)


DONE = b"data: [DONE]\n\n"
