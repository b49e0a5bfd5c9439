from __future__ import annotations

import asyncio

from roomcast.observability.log_context import add_to_log_context, log_context, log_facts


def test_facts_that_inner_code_adds_are_visible_to_outer_code_until_the_end() -> None:
    async def inner() -> None:
        add_to_log_context(user_id="ada", chat_id=None)

    async def main() -> None:
        with log_context(request_id="r1"):
            await asyncio.create_task(inner())
            assert log_facts() == {"request_id": "r1", "user_id": "ada"}
        assert log_facts() == {}

    asyncio.run(main())


def test_a_task_that_outlives_the_request_loses_its_facts() -> None:
    async def main() -> None:
        ended, read = asyncio.Event(), []

        async def outlive() -> None:
            read.append(dict(log_facts()))
            await ended.wait()
            read.append(dict(log_facts()))

        with log_context(request_id="r1"):
            task = asyncio.create_task(outlive())
            await asyncio.sleep(0)
        ended.set()
        await task
        assert read == [{"request_id": "r1"}, {}]

    asyncio.run(main())


def test_a_context_within_another_one_adds_facts_for_itself_only() -> None:
    with log_context(request_id="r1"):
        with log_context(chat_id="c1"):
            assert log_facts() == {"request_id": "r1", "chat_id": "c1"}
        assert log_facts() == {"request_id": "r1"}


def test_facts_without_a_context_are_ignored() -> None:
    add_to_log_context(user_id="ada")
    assert log_facts() == {}
