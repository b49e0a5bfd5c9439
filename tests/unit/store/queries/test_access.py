from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from roomcast.chat.errors import StoreUnavailable
from roomcast.store.opening import open_store
from support.backend import fresh_database
from support.waiting import until


async def test_a_question_that_waits_for_a_read_fails_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_store(fresh_database(tmp_path)) as store:
        reads, gate = 0, asyncio.Event()

        async def fail(_work: object) -> Any:
            nonlocal reads
            reads += 1
            await gate.wait()
            raise StoreUnavailable

        with monkeypatch.context() as patch:
            patch.setattr(store.chats._database, "read", fail)
            asked = [asyncio.create_task(store.chats.access("c", None, None))]
            await until(lambda: reads)
            asked += [asyncio.create_task(store.chats.access("c", user, None)) for user in ("ann", "bob")]
            await asyncio.sleep(0)
            gate.set()
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
        assert reads == 1
        assert not (await store.chats.access("c", None, None)).exists


async def test_questions_of_successive_iterations_of_the_loop_share_a_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(fresh_database(tmp_path)) as store:
        read, reads = store.chats._database.read, 0

        async def counted(work: Any) -> Any:
            nonlocal reads
            reads += 1
            return await read(work)

        monkeypatch.setattr(store.chats._database, "read", counted)
        asked = []
        for user in ("ann", "bob", "eve"):
            asked.append(asyncio.create_task(store.chats.access("c", user, None)))
            await asyncio.sleep(0)
        await asyncio.gather(*asked)
        assert reads == 1
