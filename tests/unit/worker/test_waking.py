from __future__ import annotations

import asyncio
from contextlib import suppress

from roomcast.chat.ports import LogUnavailable, SignalSink
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.worker.waking import WorkerCall, answer_calls
from support.virtual_time import run_in_virtual_time


class FailingLog(MemoryEventLog):
    """Fails as often as set."""

    failures = 0

    async def signal(self, chat_id: str, payload: bytes) -> None:
        self._fail()
        await super().signal(chat_id, payload)

    async def subscribe(self, chat_id: str, sink: object, signals: SignalSink | None = None) -> object:  # type: ignore[override] # the sink is passed on
        self._fail()
        return await super().subscribe(chat_id, sink, signals)  # type: ignore[arg-type] # as above

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise LogUnavailable("away")


async def run_both(log: FailingLog) -> int:
    """How many calls of three, 10 s apart, woke a worker."""
    woken: list[float] = []
    call = WorkerCall(log)
    tasks = [
        asyncio.create_task(answer_calls(log, lambda: woken.append(asyncio.get_running_loop().time()))),
        asyncio.create_task(call.run()),
    ]
    for _ in range(3):
        await asyncio.sleep(10)
        call.wake()
        call.wake()
    await asyncio.sleep(1)
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert not log._sinks
    return len(woken)


def test_calls_wake_the_workers_of_other_processes() -> None:
    assert run_in_virtual_time(run_both(FailingLog())) == 3


def test_a_lost_call_and_a_late_subscription_do_not_end_the_calls() -> None:
    log = FailingLog()
    log.failures = 1
    assert run_in_virtual_time(run_both(log)) == 3

    async def lose_one() -> int:
        log = FailingLog()
        asyncio.get_running_loop().call_later(9, setattr, log, "failures", 1)
        return await run_both(log)

    assert run_in_virtual_time(lose_one()) == 2
