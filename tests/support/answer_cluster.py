"""A cluster that answers: API replicas, workers and gateways on PostgreSQL and Redis, and a provider of the test."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx

from support import redis_server
from support.clients import get, send
from support.postgres_server import PostgresServer
from support.processes import Roomcast
from support.provider import DONE, Answer, Provider, Request, Step, running_provider
from support.redis_server import RedisServer
from support.waiting import until

FINAL = {"complete", "stopped", "incomplete", "failed"}
_numbers = itertools.count(1)
_PARAGRAPHS = (
    "回答は少しずつ大きくなります。家族👨‍👩‍👧‍👦と旗🇹🇼、結合文字 é ñ も同じです。\n\n",
    '```python\ndef answer(text: str) -> dict[str, str]:\n    return {"role": "AI", "content": text}\n```\n\n',
    "Plain words of a plain answer, one after the other, as most of them are.\n\n",
    "~~~\nunclosed fence 🏳️‍🌈 \u202eright to left\u202c\n",
)


def text_of_seed(seed: int, chars: int) -> str:
    """A text of at least ``chars`` UTF-16 units with emoji, combining marks and code fences."""
    random, text = Random(seed), ""
    while len(text) < chars:
        text += random.choice(_PARAGRAPHS)
    return text


def delta(text: str) -> bytes:
    """One chunk of Chat Completions in ASCII: half of a surrogate pair remains what it is."""
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"


STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n' + DONE


def tokens(text: str, seed: int, pause_s: float) -> Iterator[Step]:
    """A text in pieces that cut words, code fences and surrogate pairs anywhere."""
    random = Random(seed)
    units = text.encode("utf-16-le")
    while units:
        cut = 2 * random.randint(1, 8)
        yield delta(units[:cut].decode("utf-16-le", "surrogatepass"))
        units = units[cut:]
        yield pause_s
    yield STOP


def endless(pause_s: float) -> Iterator[Step]:
    """Words without end."""
    for number in itertools.count():
        yield delta(f"word{number} ")
        yield pause_s


def question(request: Request) -> str:
    """The last message of a request."""
    return str(request.body["messages"][-1]["content"])


@dataclass
class AnswerCluster:
    """The running processes.

    Attributes:
        apis: Without a worker.
        workers: Use the provider.
        gateways: Use the APIs in turn.
        provider: See `support.provider`.
        query: Runs SQL on the database.
    """

    apis: list[Roomcast]
    workers: list[Roomcast]
    gateways: list[Roomcast]
    provider: Provider
    query: Callable[[str], list[tuple[Any, ...]]]

    async def ask(self, chat_id: str, content: str = "question", api: int = 0) -> str:
        """Send a USER message; the id of its turn."""
        return str((await send(self.apis[api].api_url, chat_id, content))["turn"]["id"])

    async def message(self, chat_id: str, turn_id: str) -> dict[str, Any] | None:
        """The answer of a turn as it is stored; None before its start."""
        page = await get(f"{self.apis[0].api_url}/api/chats/{chat_id}/messages")
        return next((message for message in page["messages"] if message["id"] == turn_id), None)

    async def ended(self, chat_id: str, turn_id: str, limit_s: float = 20.0) -> dict[str, Any]:
        """The answer of a turn, as soon as the turn has ended."""

        async def final() -> dict[str, Any] | None:
            with contextlib.suppress(httpx.HTTPError):
                message = await self.message(chat_id, turn_id)
                return message if message is not None and message["turn"]["status"] in FINAL else None
            return None

        message: dict[str, Any] = await until(final, limit_s=limit_s, step_s=0.1)
        return message

    def states(self) -> dict[str, int]:
        """The number of turns by ``status reason``."""
        rows = self.query("SELECT status, coalesce(reason, ''), count(*) FROM turns GROUP BY 1, 2")
        return {f"{status} {reason}".strip(): int(count) for status, reason, count in rows}


@contextlib.asynccontextmanager
async def running_answers(
    postgres: PostgresServer,
    redis: RedisServer,
    *answers: Answer | Callable[[Request], Answer],
    apis: int = 1,
    workers: int = 1,
    gateways: int = 2,
    **env: str,
) -> AsyncIterator[AnswerCluster]:
    """Start everything, on an empty database."""
    name = f"answers_{next(_numbers)}"
    postgres.execute(f"CREATE DATABASE {name}")
    async with running_provider(*answers) as provider:
        shared = redis_server.environment(redis, DATABASE_URL=postgres.url(name))
        shared |= {"ROOMCAST_RESPONDER": "openai", "OPENAI_BASE_URL": provider.url, "OPENAI_MODEL": "scripted"}
        shared |= env
        api_list = [Roomcast.api(None, env={**shared, "ROOMCAST_WORKER": "off"}) for _ in range(apis)]
        worker_list = [Roomcast.worker(env=shared) for _ in range(workers)]
        only_redis = redis_server.environment(redis)
        gateway_list = [
            Roomcast.gateway(env={**only_redis, "API_URL": api_list[number % apis].internal_url})
            for number in range(gateways)
        ]
        with contextlib.ExitStack() as stack:
            everything: Sequence[Roomcast] = (*api_list, *worker_list, *gateway_list)
            for process in everything:
                stack.push(process)
            with ThreadPoolExecutor(2) as starters:
                list(starters.map(Roomcast.start, everything))
            yield AnswerCluster(api_list, worker_list, gateway_list, provider, lambda sql: postgres.execute(sql, name))
