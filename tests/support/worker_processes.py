"""`roomcast worker` processes beside one API, on PostgreSQL and Redis."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from roomcast.chat.answers.answer import Answer, fold
from roomcast.chat.answers.chunks import decode_chunks
from roomcast.chat.ports import TurnFrame
from roomcast.eventlog.redis import RedisTurnStreams
from roomcast.redis_client import Commands, RedisAddress, RedisOptions
from support import redis_server
from support.clients import get, send
from support.postgres_server import PostgresServer
from support.processes import Roomcast
from support.redis_server import RedisServer
from support.waiting import until

_numbers = itertools.count(1)
FINAL = {"complete", "stopped", "incomplete", "failed"}


@dataclass(frozen=True)
class Deployment:
    """The running API, and what is needed to start workers and to follow answers."""

    api: Roomcast
    env: dict[str, str]
    streams: RedisTurnStreams
    query: Callable[[str], list[tuple[Any, ...]]]

    def worker(self, **env: str) -> Roomcast:
        """A worker, not started yet."""
        return Roomcast.worker(env={**self.env, **env})

    async def ask(self, chat_id: str, content: str = "/long 3000") -> str:
        """Send a USER message; the id of its turn."""
        return str((await send(self.api.api_url, chat_id, content))["turn"]["id"])

    async def events(self, chat_id: str) -> list[dict[str, Any]]:
        """All events of a chat."""
        found: list[dict[str, Any]] = (await get(f"{self.api.api_url}/api/chats/{chat_id}/events", after=0))["events"]
        return found

    async def message(self, chat_id: str, turn_id: str) -> dict[str, Any] | None:
        """The answer of a turn as it is stored; None before its start."""
        page = await get(f"{self.api.api_url}/api/chats/{chat_id}/messages")
        return next((message for message in page["messages"] if message["id"] == turn_id), None)

    async def frames(self, chat_id: str, turn_id: str) -> list[TurnFrame]:
        """The stream of a turn."""
        return list(await self.streams.read(chat_id, turn_id))

    async def streamed(self, chat_id: str, turn_id: str) -> str:
        """The text in the stream of a turn."""
        frames = await self.frames(chat_id, turn_id)
        if not frames:
            return ""
        frame = fold(frames)
        return Answer.from_chunks(decode_chunks(frame.chunks), frame.last).content()

    async def grows(self, chat_id: str, turn_id: str, least: int = 40) -> str:
        """The text in the stream, as soon as it has ``least`` characters."""

        async def long_enough() -> str | None:
            text = await self.streamed(chat_id, turn_id)
            return text if len(text) >= least else None

        return str(await until(long_enough, limit_s=15, step_s=0.05))

    async def ended(self, chat_id: str, turn_id: str, limit_s: float = 20.0) -> dict[str, Any]:
        """The answer of a turn, as soon as the turn has ended."""

        async def final() -> dict[str, Any] | None:
            message = await self.message(chat_id, turn_id)
            return message if message is not None and message["turn"]["status"] in FINAL else None

        message: dict[str, Any] = await until(final, limit_s=limit_s, step_s=0.1)
        return message


def outcome(message: dict[str, Any]) -> tuple[str, str | None]:
    """Status and reason of the turn of an answer."""
    return message["turn"]["status"], message["turn"]["reason"]


@contextlib.asynccontextmanager
async def running_deployment(postgres: PostgresServer, redis: RedisServer) -> AsyncIterator[Deployment]:
    """One API without a worker, on an empty database."""
    name = f"workers_{next(_numbers)}"
    postgres.execute(f"CREATE DATABASE {name}")
    shared = {"DATABASE_URL": postgres.url(name), "ROOMCAST_RESPONDER": "demo"}
    env = redis_server.environment(redis, **shared)
    commands = Commands(RedisOptions(addresses=(RedisAddress("127.0.0.1", redis.port),)))
    with Roomcast.api(None, env={**env, "ROOMCAST_WORKER": "off"}) as api:
        try:
            yield Deployment(api, env, RedisTurnStreams(commands), lambda sql: postgres.execute(sql, name))
        finally:
            await commands.close()
