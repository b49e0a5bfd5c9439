"""Prefixes that would change the names of the log's keys are rejected."""

from __future__ import annotations

import pytest

from roomcast.eventlog.redis import RedisLogOptions


@pytest.mark.parametrize("prefix", ["", "a{b}", "a b", "x" * 65, "ä"])
def test_a_prefix_that_would_change_the_hash_tag_is_rejected(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        RedisLogOptions(prefix=prefix)
