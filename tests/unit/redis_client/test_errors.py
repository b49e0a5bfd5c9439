"""What `RedisUnavailable` advises for errors that waiting cannot mend."""

from __future__ import annotations

import pytest

from roomcast.redis_client import RedisUnavailable


@pytest.mark.parametrize(
    ("reply", "advice"),
    [
        ("WRONGPASS invalid username-password pair or user is disabled.", "REDIS_PASSWORD"),
        ("NOAUTH Authentication required.", "REDIS_PASSWORD"),
        (
            "No master found for 'm' : <Redis> - AuthenticationError('Authentication required.')",
            "REDIS_SENTINEL_PASSWORD",
        ),
        ("ERR AUTH <password> called without any password configured for the default user.", "remove REDIS_PASSWORD"),
        ("NOPERM this user has no permissions to run the 'evalsha' command", "README.md"),
        (
            "ERR The user executing the script can't run this command or subcommand script: a1, on @user_script:3.",
            "README.md",
        ),
        ("ERR ACL failure in script: User roomcast has no permissions to run the 'setrange' command", "README.md"),
        ("ERR DB index is out of range", "REDIS_URL"),
        ("ERR This instance has cluster support disabled", "use redis:// in REDIS_URL"),
        ("MOVED 3999 127.0.0.1:6381", "use redis+cluster:// in REDIS_URL"),
        ("ERR unknown command 'EVALSHA', with args beginning with: ", "README.md"),
    ],
)
def test_an_error_that_waiting_cannot_mend_names_the_setting(reply: str, advice: str) -> None:
    assert advice in (RedisUnavailable.of_reply(reply).advice or "")


@pytest.mark.parametrize(
    "reply",
    [
        "OOM command not allowed when used memory > 'maxmemory'.",
        "READONLY You can't write against a read only replica.",
        "NOREPLICAS Not enough good replicas to write.",
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down",
        "Error 111 connecting to 127.0.0.1:1. Connection refused.",
        "Timeout reading from 127.0.0.1:6379",
    ],
)
def test_an_error_that_may_heal_has_no_advice(reply: str) -> None:
    assert RedisUnavailable.of_reply(reply).advice is None
