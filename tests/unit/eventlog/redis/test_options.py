"""Options that would move the log's names are refused."""

from __future__ import annotations

import pytest

from roomcast.eventlog.redis import RedisLogOptions


@pytest.mark.parametrize("prefix", ["", "a{b}", "a b", "x" * 65, "ä"])
def test_a_prefix_that_would_move_the_hash_tag_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        RedisLogOptions(prefix=prefix)
