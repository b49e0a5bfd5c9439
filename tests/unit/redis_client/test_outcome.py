"""`Outcome` logs changes only, the cause first; `RedisUnavailable` knows the code of an error reply."""

from __future__ import annotations

import asyncio

import pytest

from roomcast.redis_client import Outcome, RedisUnavailable
from support.virtual_time import run_in_virtual_time

OOM = RedisUnavailable.of_reply("OOM command not allowed")


def test_a_row_of_failures_is_one_line_and_a_recovery_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def main() -> None:
        outcome = Outcome("append", "events wait")
        for _ in range(100):
            outcome.fail(OOM)
            await asyncio.sleep(0.1)
        assert (outcome.error, outcome.failures) == (OOM, 100)
        assert outcome.failed_since == 0.0
        await asyncio.sleep(1)
        for _ in range(100):
            outcome.succeed()
        assert (outcome.error, outcome.failed_since) == (None, None)

    run_in_virtual_time(main())
    assert caplog.messages == [
        "redis: OOM command not allowed; append: events wait",
        "redis: append works again",
    ]


def test_failures_among_successes_are_one_line_and_another_code_is_another(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def main() -> None:
        outcome = Outcome("append", "events wait")
        for _ in range(100):
            outcome.fail(OOM)
            outcome.succeed()
            assert outcome.error is None
            await asyncio.sleep(0.1)
        outcome.fail(RedisUnavailable("no answer"))

    run_in_virtual_time(main())
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "redis: OOM command not allowed",
        "redis: no answer",
    ]


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("READONLY You can't write against a read only replica. script: 0a, on @user_script:5.", "READONLY"),
        ("ERR Error running script (call to f_0a): @user_script:5: @user_script: 5: -READONLY You can't", "READONLY"),
        ("ERR unknown command", "ERR"),
        ("no code", "ERR"),
    ],
)
def test_the_code_of_a_reply_is_known_also_from_inside_a_script(reply: str, code: str) -> None:
    assert RedisUnavailable.of_reply(reply).code == code


def test_a_long_cause_is_cut() -> None:
    assert len(str(RedisUnavailable("x" * 1_000))) == 200
