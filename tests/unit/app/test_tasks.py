from __future__ import annotations

import asyncio

import pytest

from roomcast.app.errors import TaskFailed
from roomcast.app.tasks import BackgroundTasks


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_task_that_raises_ends_the_process_and_is_named() -> None:
    async def fail() -> None:
        raise ValueError("out of luck")

    failed = asyncio.Event()
    tasks = BackgroundTasks(failed, 1.0)
    tasks.start("worker", forever())
    tasks.start("relay", fail())
    await failed.wait()
    with pytest.raises(TaskFailed, match=r"the relay failed.*ValueError: out of luck"):
        tasks.check()
    await tasks.stop()


async def test_a_task_that_returns_ends_the_process() -> None:
    async def leave() -> None:
        return

    failed = asyncio.Event()
    tasks = BackgroundTasks(failed, 1.0)
    tasks.start("worker", leave())
    await failed.wait()
    with pytest.raises(TaskFailed, match="the worker ended without an error"):
        tasks.check()


async def test_stopped_tasks_have_not_failed() -> None:
    failed = asyncio.Event()
    tasks = BackgroundTasks(failed, 1.0)
    tasks.start("worker", forever())
    await tasks.stop()
    await tasks.stop()
    tasks.check()
    assert not failed.is_set()


async def test_a_task_that_does_not_stop_is_left_behind_at_the_limit(caplog) -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    tasks = BackgroundTasks(asyncio.Event(), 0.01)
    tasks.start("stubborn one", stubborn())
    await asyncio.sleep(0)
    await tasks.stop()
    (record,) = caplog.records
    assert (record.message, record.task) == ("a background task did not stop in time", "stubborn one")
    release.set()
    await asyncio.sleep(0)
