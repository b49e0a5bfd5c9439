"""Contradictory options are rejected; secrets are not shown."""

from __future__ import annotations

import pytest

from roomcast.redis_client import RedisAddress, RedisOptions

HERE = RedisAddress("127.0.0.1", 6379)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"addresses": ()}, "at least one address"),
        ({"cluster": True, "sentinel_master": "m"}, "not both"),
        ({"cluster": True, "db": 1}, "database 0"),
        ({"addresses": (HERE, HERE)}, "several addresses"),
    ],
)
def test_contradictory_options_are_rejected(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RedisOptions(**options)  # type: ignore[arg-type]  # the test is about wrong values


def test_secrets_are_not_in_the_repr() -> None:
    assert "s3cret" not in repr(RedisOptions(password="s3cret", sentinel_password="s3cret"))


def test_an_address_reads_as_one() -> None:
    assert str(HERE) == "127.0.0.1:6379"
    assert str(RedisAddress("::1", 6379)) == "[::1]:6379"
