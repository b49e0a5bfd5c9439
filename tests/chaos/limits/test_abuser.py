"""One user at 100 times its limit beside 200 others: it is refused, and the others hardly notice."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from support.http_senders import send
from support.large_store import load_now
from support.processes import Roomcast

pytestmark = pytest.mark.chaos
SECRET = "a secret of more than thirty-two bytes"
USERS = 200
#: Seconds between two messages of a user.
PAUSE_S = 2.0
#: Messages per minute.
LIMIT = 60
PHASE_S = 8.0


class Load:
    """The users of one server."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.issuer = TokenIssuer(AuthOptions(SECRET))
        self.took: list[float] = []
        self.statuses: Counter[int] = Counter()

    def headers(self, user: str, *, service: bool = False) -> str:
        return f"Authorization: Bearer {self.issuer.issue(user, ttl_s=3_600, service=service)}\r\n"

    async def run(self, user: str, pause_s: float, outcomes: Counter[int], took: list[float]) -> None:
        """Send for one phase, at a constant rate."""
        address, _, port = self.host.partition(":")
        streams = await asyncio.open_connection(address, int(port))
        headers, body = self.headers(user), {"chatId": f"chat-{user}", "role": "USER", "content": "hello"}
        due = time.perf_counter() + random.uniform(0, pause_s)
        ends = due + PHASE_S
        while max(due, time.perf_counter()) < ends:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            began = time.perf_counter()
            status, _ = await send(streams, self.host, body, headers)
            outcomes[status] += 1
            took.append(time.perf_counter() - began)
            due += pause_s
        streams[1].close()

    async def phase(self, abuser_pause_s: float | None) -> tuple[float, float, Counter[int]]:
        """Median and 99th percentile of the others in milliseconds, and the answers to the abuser."""
        others: Counter[int] = Counter()
        refused: Counter[int] = Counter()
        took: list[float] = []
        tasks = [self.run(f"u{number}", PAUSE_S, others, took) for number in range(USERS)]
        if abuser_pause_s is not None:
            # Eight connections, since one would wait for each answer.
            tasks += [self.run("abuser", 8 * abuser_pause_s, refused, []) for _ in range(8)]
        await asyncio.gather(*tasks)
        assert set(others) == {201}, others
        took.sort()
        return took[len(took) // 2] * 1000, took[len(took) * 99 // 100] * 1000, refused


async def test_one_abuser_beside_two_hundred_users(tmp_path: Path) -> None:
    env = {"ROOMCAST_SECRET": SECRET, "ROOMCAST_RESPONDER": "none", "ROOMCAST_LIMIT_MESSAGES": str(LIMIT)}
    with Roomcast.up(tmp_path, env=env) as server:
        load = Load(urlsplit(server.api_url).netloc)
        authorization = dict([load.headers("backend", service=True).strip().split(": ")])
        async with httpx.AsyncClient(base_url=server.api_url, headers=authorization) as backend:
            for user in ("abuser", *(f"u{number}" for number in range(USERS))):
                body = {"id": f"chat-{user}", "members": [user]}
                assert (await backend.post("/api/chats", json=body)).status_code == 201
        pause_s = 60 / (100 * LIMIT)
        began = time.perf_counter()
        phases = [await load.phase(abuser) for abuser in (None, pause_s) * 3]  # in turn
    for median, p99, refused in phases:
        print(f"others: median {median:.1f} ms, p99 {p99:.1f} ms; abuser {dict(refused)}")  # noqa: T201 - figures
    print(load_now())  # noqa: T201 - figures
    answers = sum((refused for _, _, refused in phases), Counter[int]())
    assert set(answers) == {201, 429}, answers
    assert answers[429] > answers[201]
    assert answers[201] <= LIMIT * (1 + (time.perf_counter() - began) / 60)
    quiet = [p99 for _, p99, _ in phases[::2]]
    assert max(quiet) <= 1.5 * min(quiet), f"the machine is too busy to compare: p99 without the abuser is {quiet} ms"
    assert min(p99 for _, p99, _ in phases[1::2]) < 1.5 * min(quiet)
