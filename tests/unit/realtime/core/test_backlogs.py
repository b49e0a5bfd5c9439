from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from roomcast.realtime.core.backlogs import LOST_LIMIT_S, PATIENCE_S, STALLED_S, Backlogs
from support.virtual_time import run_in_virtual_time

LIMIT = 1_000


class Client:
    """The connection of a client that reads at a rate."""

    def __init__(self, waiting_bytes: float = 0, rate: float = 0) -> None:
        self._waiting_bytes, self._rate = waiting_bytes, rate
        self._began = asyncio.get_running_loop().time()

    @property
    def backlog_bytes(self) -> int:
        return max(0, int(self._waiting_bytes - self._rate * (asyncio.get_running_loop().time() - self._began)))


Waits = Callable[..., Coroutine[Any, Any, float]]


def waits_of(backlogs: Backlogs) -> Waits:
    async def waits(*clients: Client) -> float:
        """How long an emit to these clients waits."""
        for client in clients:
            if client.backlog_bytes > backlogs.watch_bytes:
                # Only its backlog is used.
                backlogs.watch(client, client.backlog_bytes, client.backlog_bytes)  # type: ignore[arg-type]
        began = asyncio.get_running_loop().time()
        await backlogs.wait(lambda connection: connection in clients)
        return asyncio.get_running_loop().time() - began

    return waits


def run(test: Callable[[Backlogs, Waits], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        backlogs = Backlogs(asyncio.get_running_loop, LIMIT)
        await test(backlogs, waits_of(backlogs))
        backlogs.stop()

    run_in_virtual_time(main())


def test_an_emit_waits_from_half_of_the_limit_to_a_quarter() -> None:
    async def test(backlogs: Backlogs, waits: Waits) -> None:
        assert await waits(Client(500, rate=100)) == 0
        assert await waits(Client(501, rate=100)) == pytest.approx(2.51, abs=0.01)
        assert await waits(Client(0)) == 0

    run(test)


def test_an_emit_waits_only_for_its_own_recipients() -> None:
    async def test(backlogs: Backlogs, waits: Waits) -> None:
        slow = asyncio.create_task(waits(Client(900, rate=200)))
        await asyncio.sleep(0)
        assert await waits(Client(400)) == 0
        assert not slow.done()
        assert await slow == pytest.approx(3.25, abs=0.01)

    run(test)


def test_emits_wait_once_for_a_client_that_does_not_read() -> None:
    async def test(backlogs: Backlogs, waits: Waits) -> None:
        stalled = Client(900)
        assert await asyncio.gather(waits(stalled), waits(stalled)) == pytest.approx([STALLED_S] * 2, abs=0.01)
        assert await waits(stalled) == 0

    run(test)


def test_emits_do_not_wait_for_a_client_that_has_not_read_for_a_while() -> None:
    async def test(backlogs: Backlogs, waits: Waits) -> None:
        stalled = Client(400)
        assert await waits(stalled) == 0
        await asyncio.sleep(STALLED_S + 0.1)
        stalled._waiting_bytes = 900
        assert await waits(stalled) == 0

    run(test)


def test_a_client_that_reads_more_slowly_than_the_server_emits_counts_as_reading() -> None:
    async def test(backlogs: Backlogs, waits: Waits) -> None:
        client = Client(300, rate=100)
        for _ in range(20):
            before_bytes = client.backlog_bytes
            client._waiting_bytes += 10 + 5
            backlogs.watch(client, before_bytes, client.backlog_bytes)  # type: ignore[arg-type]  # as above
            assert await waits(client) == 0
            await asyncio.sleep(0.1)
        client._waiting_bytes += 300
        assert await waits(client) > STALLED_S

    run(test)


def test_emits_wait_a_limited_time_for_a_client_that_reads_a_little() -> None:
    async def test(backlogs: Backlogs, waits: Waits) -> None:
        trickling = Client(900, rate=2)
        assert await waits(trickling) == pytest.approx(PATIENCE_S, abs=0.02)
        assert await waits(trickling) == 0

    run(test)


def test_many_clients_that_do_not_read_cost_a_limited_time() -> None:
    async def test(backlogs: Backlogs, waits: Waits) -> None:
        lost = [await waits(Client(900)) for _ in range(30)]
        assert max(lost[:5]) == pytest.approx(STALLED_S, abs=0.01)
        assert sum(lost) < LOST_LIMIT_S + 30 * 0.06 + 1
        assert await waits(Client(600, rate=5_000)) > 0  # a client that reads is still waited for
        await asyncio.sleep(60)
        assert await waits(Client(900)) == pytest.approx(STALLED_S, abs=0.01)

    run(test)


def test_the_emits_to_a_client_that_disconnects_go_on() -> None:
    async def test(backlogs: Backlogs, waits: Waits) -> None:
        client = Client(900)
        emit = asyncio.create_task(waits(client))
        await asyncio.sleep(0.1)
        backlogs.forget(client)  # type: ignore[arg-type]  # as above
        assert await emit == pytest.approx(0.1, abs=0.01)
        other = asyncio.create_task(waits(Client(900)))
        await asyncio.sleep(0.1)
        backlogs.stop()
        assert await other == pytest.approx(0.1, abs=0.01)

    run(test)


def test_emits_that_are_cancelled_leave_the_others_waiting() -> None:
    async def test(backlogs: Backlogs, waits: Waits) -> None:
        client = Client(900, rate=200)
        first, second = (asyncio.create_task(waits(client)) for _ in range(2))
        await asyncio.sleep(0.1)
        first.cancel()
        assert await second == pytest.approx(3.25, abs=0.01)
        assert not backlogs.watched

    run(test)
