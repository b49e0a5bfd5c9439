from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from roomcast.chat.commands import MarkPublished
from roomcast.chat.errors import StoreUnavailable
from roomcast.store.engine.batch import CustomWrite
from roomcast.store.engine.database import Database
from roomcast.store.engine.writer import Writer, WriterOptions
from support.backend import fresh_database, new_message


class RecordingDatabase(Database):
    """Records for each transaction whether it was durable."""

    commits: list[bool]

    async def write(self, work: Callable[[Connection], Any], *, durable: bool = True) -> Any:
        self.commits.append(durable)
        return await super().write(work, durable=durable)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[RecordingDatabase]:
    RecordingDatabase.commits = []
    database = await RecordingDatabase.open(fresh_database(tmp_path))
    assert isinstance(database, RecordingDatabase)
    database.commits.clear()
    yield database
    await database.close()


async def test_writes_that_arrive_during_a_commit_share_the_next_one(database: RecordingDatabase) -> None:
    writer = Writer(database)
    first = asyncio.create_task(writer.commit(new_message()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    outcomes = await asyncio.gather(first, *(writer.commit(new_message()) for _ in range(49)))
    assert [outcome.event.seq for outcome in outcomes] == list(range(1, 51))
    assert len(database.commits) <= 3
    await writer.close()


async def test_a_batch_is_bounded(database: RecordingDatabase) -> None:
    writer = Writer(database, WriterOptions(max_batch=10))
    await asyncio.gather(*(writer.commit(new_message()) for _ in range(50)))
    assert len(database.commits) == 5
    await writer.close()


async def test_a_write_beyond_max_waiting_is_rejected_at_once(database: RecordingDatabase) -> None:
    writer = Writer(database, WriterOptions(max_waiting=3))
    outcomes = await asyncio.gather(*(writer.commit(new_message()) for _ in range(5)), return_exceptions=True)
    assert [isinstance(outcome, StoreUnavailable) for outcome in outcomes] == [False] * 3 + [True] * 2
    assert (await writer.commit(new_message())).event.seq == 4
    await writer.close()


async def test_only_durable_commands_wait_for_the_disk(database: RecordingDatabase) -> None:
    writer = Writer(database)
    for command in (
        MarkPublished({"c": 1}),
        CustomWrite(lambda _: None, durable=False),
        CustomWrite(lambda _: None),
        new_message(),
    ):
        await writer.commit(command)
    await asyncio.gather(writer.commit(MarkPublished({"c": 1})), writer.commit(new_message()))
    assert database.commits == [False, False, True, True, True]
    await writer.close()


async def test_a_closed_writer_has_committed_the_waiting_writes_and_accepts_no_more(
    database: RecordingDatabase,
) -> None:
    writer = Writer(database)
    waiting = [asyncio.create_task(writer.commit(new_message())) for _ in range(5)]
    await asyncio.sleep(0)
    await writer.close()
    assert all(task.done() for task in waiting)
    with pytest.raises(StoreUnavailable, match="closed"):
        await writer.commit(new_message())
