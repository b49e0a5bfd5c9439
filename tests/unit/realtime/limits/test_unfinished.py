from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from roomcast.realtime.limits.timers import TimerWheel
from roomcast.realtime.limits.unfinished import UnfinishedInput
from roomcast.wire.errors import RemoteError
from support.virtual_time import run_in_virtual_time

TIMEOUT_S = 30.0
RESOLUTION_S = 0.25


class Client:
    """Sends input, and records when it is given up."""

    def __init__(self) -> None:
        self.given_up: list[tuple[float, str]] = []
        self.input_waits = False

    def give_up_input(self, error: RemoteError) -> None:
        self.given_up.append((asyncio.get_running_loop().time(), error.detail))


def with_input(limit_bytes: int) -> Callable[[Callable[[UnfinishedInput], Coroutine[Any, Any, None]]], None]:
    def run(steps: Callable[[UnfinishedInput], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            wheel = TimerWheel(asyncio.get_running_loop(), RESOLUTION_S)
            await steps(UnfinishedInput(wheel, limit_bytes, TIMEOUT_S))
            wheel.stop()

        run_in_virtual_time(main())

    return run


def test_the_input_that_was_begun_first_is_given_up_beyond_the_limit() -> None:
    first, second, third = Client(), Client(), Client()

    @with_input(100)
    async def steps(unfinished: UnfinishedInput) -> None:
        unfinished.hold(first, 40)
        unfinished.hold(second, 60)
        unfinished.hold(first, 10)
        unfinished.hold(third, 30)
        assert not first.given_up
        unfinished.hold(third, 31)
        assert [len(client.given_up) for client in (first, second, third)] == [1, 0, 0]
        assert unfinished.size_bytes == 91
        unfinished.hold(third, 200)
        assert [len(client.given_up) for client in (first, second, third)] == [1, 1, 1]
        assert unfinished.size_bytes == 0


def test_released_input_is_not_counted_and_has_no_deadline() -> None:
    client = Client()

    @with_input(100)
    async def steps(unfinished: UnfinishedInput) -> None:
        unfinished.hold(client, 100)
        unfinished.release(client)
        unfinished.release(client)
        assert unfinished.size_bytes == 0
        await asyncio.sleep(2 * TIMEOUT_S)
        assert not client.given_up


def test_each_input_has_its_own_deadline_from_its_beginning() -> None:
    clients = [Client() for _ in range(3)]

    @with_input(100)
    async def steps(unfinished: UnfinishedInput) -> None:
        for client in clients:
            unfinished.hold(client, 1)
            await asyncio.sleep(9)
        unfinished.hold(clients[0], 2)  # more of the same input
        unfinished.release(clients[1])
        unfinished.hold(clients[1], 1)  # another one
        await asyncio.sleep(2 * TIMEOUT_S)
        for client, begun in zip(clients, (0, 27, 18), strict=True):
            ((at, detail),) = client.given_up
            assert begun + TIMEOUT_S <= at <= begun + TIMEOUT_S + 2 * RESOLUTION_S
            assert detail == "a message or packet is incomplete after 30.0 s"
        assert unfinished.size_bytes == 0


def test_input_that_the_server_does_not_read_has_its_time_again() -> None:
    client, other = Client(), Client()

    @with_input(100)
    async def steps(unfinished: UnfinishedInput) -> None:
        client.input_waits = True
        unfinished.hold(client, 1)
        unfinished.hold(other, 1)
        await asyncio.sleep(TIMEOUT_S + 2 * RESOLUTION_S)
        assert not client.given_up
        assert other.given_up
        client.input_waits = False
        await asyncio.sleep(TIMEOUT_S + RESOLUTION_S)
        assert client.given_up
