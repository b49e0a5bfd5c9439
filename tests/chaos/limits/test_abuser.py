"""One user at 100 times its limit beside 200 others: it is refused, and the others hardly notice.

The machine's own noise comes in bursts of seconds. So the abuser is switched on and off each second, in random order,
and the samples of all seconds of a kind are compared.
"""

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

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(480)]
SECRET = "a secret of more than thirty-two bytes"
USERS = 200
#: Seconds between two messages of a user.
PAUSE_S = 1.25
#: Messages per minute.
LIMIT = 60
#: Seconds between two messages of the abuser.
ABUSE_PAUSE_S = 60 / (100 * LIMIT)
SLICE_S = 1.0
#: After each switch, so that no message of one kind meets those of the other.
GUARD_S = 0.2
#: Of one slice of each kind; on a busy machine, more are needed for the samples of each kind.
MIN_PAIRS, MAX_PAIRS = 40, 120
MIN_SAMPLES = 4_000

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Load:
    """The users of one server.

    Attributes:
        took: Receives the latencies of the others in seconds; None while nothing is measured.
        others: Their answers by status.
        refused: The answers to the abuser by status.
        abused: Whether the abuser sends.
        abuse_s: How long it has sent.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.issuer = TokenIssuer(AuthOptions(SECRET))
        self.took: list[float] | None = None
        self.refused: Counter[int] = Counter()
        self.others: Counter[int] = Counter()
        self.abused = False
        self.abuse_s = 0.0
        self._free: list[Streams] = []
        self._open: list[asyncio.StreamWriter] = []

    def headers(self, user: str, *, service: bool = False) -> str:
        return f"Authorization: Bearer {self.issuer.issue(user, ttl_s=3_600, service=service)}\r\n"

    async def connect(self) -> Streams:
        address, _, port = self.host.partition(":")
        streams = await asyncio.open_connection(address, int(port))
        self._open.append(streams[1])
        return streams

    async def close(self) -> None:
        for writer in self._open:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._open), return_exceptions=True)

    async def use(self, user: str) -> None:
        """Send at a constant rate until the task is cancelled."""
        streams = await self.connect()
        headers, body = self.headers(user), {"chatId": f"chat-{user}", "role": "USER", "content": "hello"}
        due = time.perf_counter() + random.uniform(0, PAUSE_S)
        while True:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            took, began = self.took, time.perf_counter()
            status, _ = await send(streams, self.host, body, headers)
            self.others[status] += 1
            if took is not None:
                took.append(time.perf_counter() - began)
            due = max(due + PAUSE_S, time.perf_counter() - PAUSE_S)

    async def abuse(self) -> None:
        """Send at 100 times the limit while `abused`, until the task is cancelled; no message waits for an answer."""
        headers, body = self.headers("abuser"), {"chatId": "chat-abuser", "role": "USER", "content": "hello"}

        async def one() -> None:
            streams = None
            while self._free and (streams is None or streams[0].at_eof()):  # the server closes idle connections
                streams = self._free.pop()
            if streams is None or streams[0].at_eof():
                streams = await self.connect()
            status, _ = await send(streams, self.host, body, headers)
            self.refused[status] += 1
            self._free.append(streams)

        async with asyncio.TaskGroup() as sending:
            due = time.perf_counter()
            while True:
                now = time.perf_counter()
                if not self.abused:
                    due = now
                while self.abused and due <= now:
                    sending.create_task(one())
                    due += ABUSE_PAUSE_S
                await asyncio.sleep(ABUSE_PAUSE_S)

    async def slice(self, *, abused: bool) -> list[float]:
        """Latencies of the others, in one slice."""
        self.abused = abused
        await asyncio.sleep(GUARD_S)
        found = self.took = []
        await asyncio.sleep(SLICE_S)
        self.took = None
        self.abuse_s += (GUARD_S + SLICE_S) * abused
        return found


def count(slices: dict[bool, list[list[float]]]) -> int:
    """Samples of the kind that has fewer."""
    return min(sum(map(len, kind)) for kind in slices.values())


def p99(slices: list[list[float]]) -> float:
    """In milliseconds, over all samples."""
    samples = sorted(took for one in slices for took in one)
    return samples[len(samples) * 99 // 100] * 1000


async def test_one_abuser_beside_two_hundred_users(tmp_path: Path) -> None:
    env = {"ROOMCAST_SECRET": SECRET, "ROOMCAST_RESPONDER": "none", "ROOMCAST_LIMIT_MESSAGES": str(LIMIT)}
    slices: dict[bool, list[list[float]]] = {False: [], True: []}
    with Roomcast.up(tmp_path, env=env) as server:
        load = Load(urlsplit(server.api_url).netloc)
        authorization = dict([load.headers("backend", service=True).strip().split(": ")])
        async with httpx.AsyncClient(base_url=server.api_url, headers=authorization) as backend:
            for user in ("abuser", *(f"u{number}" for number in range(USERS))):
                body = {"id": f"chat-{user}", "members": [user]}
                assert (await backend.post("/api/chats", json=body)).status_code == 201
        tasks = [asyncio.create_task(load.use(f"u{number}")) for number in range(USERS)]
        tasks.append(asyncio.create_task(load.abuse()))
        began, used = time.perf_counter(), time.process_time()
        try:
            await asyncio.sleep(PAUSE_S)
            while len(slices[True]) < MAX_PAIRS:
                if len(slices[True]) >= MIN_PAIRS and count(slices) >= MIN_SAMPLES:
                    break
                for abused in random.sample((False, True), 2):
                    slices[abused].append(await load.slice(abused=abused))
                assert not any(task.done() for task in tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await load.close()
    elapsed_s, used_s = time.perf_counter() - began, time.process_time() - used
    quiet_ms, abused_ms = p99(slices[False]), p99(slices[True])
    # The noise of the estimate: the same comparison over slices that are drawn again.
    drawn = sorted(
        p99([slices[True][number] for number in pairs]) / p99([slices[False][number] for number in pairs])
        for pairs in (random.choices(range(len(slices[True])), k=len(slices[True])) for _ in range(200))
    )
    figures = (
        f"others: p99 {quiet_ms:.1f} ms, beside the abuser {abused_ms:.1f} ms: {abused_ms / quiet_ms:.2f} times",
        f"90% of redraws: {drawn[10]:.2f} to {drawn[189]:.2f} times",
        f"abuser: {dict(load.refused)}; client: {used_s / elapsed_s:.0%} of a core; {load_now()}",
    )
    print("\n".join(figures))  # noqa: T201 - figures
    assert set(load.others) == {201}, load.others
    assert set(load.refused) == {201, 429}, load.refused
    assert load.refused.total() > 0.9 * load.abuse_s / ABUSE_PAUSE_S
    assert load.refused[201] <= LIMIT * (1 + elapsed_s / 60)
    assert count(slices) >= MIN_SAMPLES
    assert used_s < elapsed_s / 2, "the client is too busy to measure"
    assert abused_ms < 1.5 * quiet_ms
