"""A cancelled command never leaves its reply to another caller (CVE-2023-28858, CVE-2023-28859)."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from roomcast.chat.ports import Head
from roomcast.eventlog.redis import RedisEventLog
from support.log_watch import entries

EPOCH = "e1"
CHATS = 20


async def _cancel_at_random(log: RedisEventLog, total: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - to repeat a failure
    chance = random.Random(seed)
    # Every chat has another head, so that a misdirected reply is detected.
    for chat in range(1, CHATS + 1):
        await log.append(f"c{chat}", EPOCH, entries(1, chat))

    async def ask(chat: int) -> None:
        assert await log.head(f"c{chat}") == Head(EPOCH, chat)

    cancelled = 0
    while cancelled < total:
        chats = [chance.randint(1, CHATS) for _ in range(64)]
        tasks = [asyncio.create_task(ask(chat)) for chat in chats]
        for task in chance.sample(tasks, 56):
            for _ in range(chance.randint(0, 3)):
                await asyncio.sleep(0)  # to a random one of its awaits
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, asyncio.CancelledError):
                cancelled += 1
            elif outcome is not None:
                raise outcome
    await asyncio.gather(*(ask(chat) for chat in range(1, CHATS + 1)))


async def test_replies_to_cancelled_commands_never_reach_other_callers(open_log) -> None:
    async with open_log(command_timeout_s=5) as log:
        await _cancel_at_random(log, 1_000)


@pytest.mark.chaos
async def test_replies_to_ten_thousand_cancelled_commands_never_reach_other_callers(open_log) -> None:
    async with open_log(command_timeout_s=10) as log:
        await _cancel_at_random(log, 10_000)


async def test_cancelled_subscriptions_leave_no_channel_and_no_waiter(open_log) -> None:
    chance = random.Random(7)
    async with open_log() as log:
        for _ in range(300):
            task = asyncio.create_task(log.subscribe(f"c{chance.randint(1, 5)}", lambda _epoch, _entries: None))
            for _ in range(chance.randint(0, 3)):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await task).close()
        assert log._listener._channels == {}
        assert log._channels == {}
