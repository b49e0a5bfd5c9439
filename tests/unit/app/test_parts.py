from __future__ import annotations

import asyncio

import pytest

from roomcast.app.errors import PartDied
from roomcast.app.parts import Parts


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_part_that_fails_ends_the_process_and_is_named() -> None:
    async def fail() -> None:
        raise ValueError("out of luck")

    stop = asyncio.Event()
    parts = Parts(stop, 1.0)
    parts.start("worker", forever())
    parts.start("relay", fail())
    await asyncio.wait_for(stop.wait(), 1)
    with pytest.raises(PartDied, match=r"the relay failed.*ValueError: out of luck") as died:
        parts.check()
    assert died.value.part == "relay"
    await parts.stop()


async def test_a_part_that_returns_ends_the_process_too() -> None:
    async def leave() -> None:
        return

    stop = asyncio.Event()
    parts = Parts(stop, 1.0)
    parts.start("worker", leave())
    await asyncio.wait_for(stop.wait(), 1)
    with pytest.raises(PartDied, match="the worker failed"):
        parts.check()


async def test_parts_that_are_stopped_have_not_died() -> None:
    stop = asyncio.Event()
    parts = Parts(stop, 1.0)
    parts.start("worker", forever())
    await parts.stop()
    await parts.stop()
    parts.check()
    assert not stop.is_set()


async def test_a_part_that_does_not_end_is_left_after_the_limit(caplog) -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    parts = Parts(asyncio.Event(), 0.01)
    parts.start("stubborn one", stubborn())
    await asyncio.sleep(0)
    await parts.stop()
    assert "the stubborn one did not end within" in caplog.text
    release.set()
    await asyncio.sleep(0)
