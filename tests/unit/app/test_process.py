"""What a process does once it serves."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from roomcast.app.config import gateway_config
from roomcast.app.process import running_process
from roomcast.settings import Settings
from support.ports import free_port


@pytest.fixture
def collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("collector")
async def test_runs_of_the_garbage_collector_leave_out_what_the_start_has_created() -> None:
    ready = asyncio.Event()
    config = gateway_config(Settings(internal_port=free_port()), host="127.0.0.1")
    assert gc.get_freeze_count() < 1_000
    async with running_process(config, ready.set) as process:
        serving = asyncio.create_task(process.serve([]))
        await asyncio.wait_for(ready.wait(), 10)
        assert gc.get_freeze_count() > 10_000
        serving.cancel()
        await asyncio.wait({serving})
