"""The API on a free port, with answers that a test writes chunk by chunk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from roomcast.api.app import create_api
from roomcast.api.options import ApiOptions
from roomcast.api.services import ApiServices
from roomcast.auth.tokens import TokenVerifier
from roomcast.chat.answers.following import TurnFollower
from roomcast.chat.notifications.preferences import Devices, Preferences
from roomcast.chat.ports import Chunk
from roomcast.chat.use_cases.feed import Feed
from roomcast.chat.use_cases.read_state import ReadState
from roomcast.chat.use_cases.searching import ChatSearch
from roomcast.chat.use_cases.sessions import Sessions
from roomcast.eventlog.memory_streams import MemoryTurnStreams
from roomcast.realtime import ServeOptions, Site, serve
from support.api_client import AUTH
from support.backend import Backend, open_backend, personal_data


class ScriptedFollower(TurnFollower):
    """Follows answers that a test writes: every reader gets the chunks from the first one.

    Attributes:
        readers: How many streams are open.
    """

    def __init__(self, backend: Backend) -> None:
        streams = MemoryTurnStreams(backend.log)
        super().__init__(backend.log, streams, backend.store.chats, backend.store.turns)
        self.readers = 0
        self._chunks: list[Chunk] = []
        self._ended = False
        self._changed = asyncio.Condition()

    async def write(self, *chunks: Chunk, end: bool = False) -> None:
        """Write chunks, for every turn."""
        async with self._changed:
            self._chunks += chunks
            self._ended = end
            self._changed.notify_all()

    async def say(self, *texts: str, end: bool = True) -> None:
        """Write an answer of one text part."""
        deltas: Iterable[Chunk] = ({"type": "text-delta", "id": "0", "delta": text} for text in texts)
        await self.write({"type": "start", "messageId": "?"}, {"type": "text-start", "id": "0"}, *deltas)
        if end:
            await self.write({"type": "text-end", "id": "0"}, {"type": "finish"}, end=True)

    async def follow(self, chat_id: str, turn_id: str) -> AsyncGenerator[Chunk]:
        """See `TurnFollower`."""
        self.readers += 1
        try:
            read = 0
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda: self._ended or len(self._chunks) > read)  # noqa: B023 - awaited here
                    new = self._chunks[read:]
                read += len(new)
                for chunk in new:
                    yield {**chunk, "messageId": turn_id} if chunk["type"] == "start" else chunk
                if self._ended and read == len(self._chunks):
                    return
        finally:
            self.readers -= 1


@dataclass(frozen=True)
class DialectServer:
    """The running server."""

    http: httpx.AsyncClient
    url: str
    backend: Backend
    follower: ScriptedFollower
    stop: asyncio.Event
    app: Any


@asynccontextmanager
async def open_dialects(
    directory: Path, *, auth: bool = False, responder: str | None = "demo", options: ApiOptions | None = None
) -> AsyncIterator[DialectServer]:
    """Serve the API without a worker: turns wait in the queue, and the follower has their chunks."""
    async with open_backend(directory, responder=responder) as backend:
        follower, stop = ScriptedFollower(backend), asyncio.Event()
        verifier = TokenVerifier(AUTH) if auth else None
        sessions = Sessions(backend.store.sessions, lambda _ended: None)
        services = ApiServices(
            backend.writer,
            backend.reader,
            backend.admissions,
            backend.turns,
            follower,
            sessions,
            ReadState(backend.store.chats),
            Feed(backend.store.feed),
            ChatSearch(backend.store.chats, backend.store.search),
            Preferences(backend.store.chats),
            Devices(backend.store.pushes, None),
            verifier,
            personal=personal_data(backend, sessions),
        )
        app = create_api(services, options)
        ready = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            serve([Site(app, "127.0.0.1", 0)], ServeOptions(on_ready=ready.set_result), stop=stop)
        )
        url = f"http://127.0.0.1:{(await ready)[0][0][1]}"
        try:
            async with httpx.AsyncClient(base_url=url, timeout=10) as http:
                yield DialectServer(http, url, backend, follower, stop, app)
        finally:
            stop.set()
            await serving
