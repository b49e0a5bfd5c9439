"""When the adapter starts and stops without a lifespan."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

import roomcast.realtime
from roomcast.realtime.adapters.memory import MemoryAdapter
from roomcast.realtime.cluster.commands import Command, Leave, Selection
from roomcast.realtime.cluster.membership import Membership


class SlowAdapter(MemoryAdapter):
    """Waits for ``gate`` in `start`, and keeps what is published once `start` has begun."""

    alone = False  # type: ignore[assignment]  # a property of the port

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.failure: Exception | None = None
        self.log: list[object] = []
        self.running = False

    async def start(self) -> None:
        self.log.append("start")
        self.running = True
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.log.append("started")

    async def stop(self) -> None:
        if self.running:
            self.log.append("stop")
        self.running = False

    def publish(self, command: Command) -> None:
        assert self.running
        self.log.append(command)


def leave(number: int) -> Command:
    return Leave(Selection("/", (str(number),)), ("r",))


async def test_requests_that_arrive_together_start_the_adapter_once_and_wait_for_it() -> None:
    adapter = SlowAdapter()
    membership = Membership(adapter)
    requests = [asyncio.create_task(membership.join()) for _ in range(3)]
    await asyncio.sleep(0)
    requests[0].cancel()  # a client that has disconnected
    await asyncio.sleep(0)
    assert adapter.log == ["start"]
    assert not any(request.done() for request in requests[1:])
    adapter.gate.set()
    await asyncio.gather(*requests[1:])
    assert adapter.log == ["start", "started"]
    await membership.leave()
    await membership.leave()
    assert adapter.log == ["start", "started", "stop"]


async def test_commands_before_and_during_the_start_keep_their_order() -> None:
    adapter = SlowAdapter()
    membership = Membership(adapter)
    membership.publish(leave(1))
    membership.publish(leave(2))
    await asyncio.sleep(0)
    membership.publish(leave(3))
    assert adapter.log == ["start", leave(1), leave(2), leave(3)]
    await membership.leave()


async def test_a_late_emit_does_not_start_the_adapter_again_and_a_request_does() -> None:
    adapter = SlowAdapter()
    adapter.gate.set()
    membership = Membership(adapter)
    await membership.join()
    await membership.leave()
    membership.publish(leave(1))
    await asyncio.sleep(0)
    assert adapter.log == ["start", "started", "stop"]
    await membership.join()
    membership.publish(leave(2))
    assert adapter.log[3:] == ["start", "started", leave(2)]
    await membership.leave()


async def test_a_failed_start_fails_its_requests_and_the_next_one_tries_again() -> None:
    adapter = SlowAdapter()
    adapter.gate.set()
    adapter.failure = OSError("no network")
    membership = Membership(adapter)
    with pytest.raises(OSError, match="no network"):
        await membership.join()
    adapter.failure = None
    await membership.join()
    assert membership.joined
    await membership.leave()


def test_the_adapter_stops_at_the_end_of_the_event_loop_and_starts_in_the_next_one() -> None:
    adapter = SlowAdapter()
    membership = Membership(adapter)

    async def main() -> None:
        adapter.gate.set()
        await membership.join()

    async def emit() -> None:
        membership.publish(leave(1))
        await asyncio.sleep(0)

    asyncio.run(main())
    assert adapter.log == ["start", "started", "stop"]
    asyncio.run(emit())
    assert adapter.log[3:] == ["start", leave(1), "stop"] or adapter.log[3:] == ["start", "started", leave(1), "stop"]


async def test_a_server_without_a_cluster_has_no_task() -> None:
    tasks = asyncio.all_tasks()
    membership = Membership(MemoryAdapter())
    await membership.join()
    membership.publish(leave(1))
    assert asyncio.all_tasks() == tasks


def test_every_command_goes_through_the_membership() -> None:
    """An adapter that is used directly may not have been started."""
    root = Path(roomcast.realtime.__file__).parent
    direct = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if re.search(r"adapter\.(publish|start|stop)\(", path.read_text()) and path.name != "membership.py"
    ]
    assert direct == []
