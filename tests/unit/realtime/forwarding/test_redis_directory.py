"""Which nodes the directory keeps when Redis lists fewer."""

from __future__ import annotations

import json

from roomcast.realtime.forwarding.redis_directory import DirectoryOptions, RedisDirectory
from roomcast.redis_client import Commands, RedisOptions

NODE = "abcdefgh"
RECORD = json.dumps({"v": 1, "host": "10.0.0.1", "port": 3002, "secret": "s"}).encode()


async def test_a_redis_that_lost_its_data_removes_a_node_only_when_it_stays_missing() -> None:
    directory = RedisDirectory(Commands(RedisOptions()), DirectoryOptions(missing_s=5.0))
    directory._update([NODE.encode(), RECORD], 0.0)
    for now in (1.0, 3.0, 5.9):
        directory._update([], now)
        assert NODE in directory.alive()
    directory._update([NODE.encode(), RECORD], 6.0)
    directory._update([], 7.0)
    assert NODE in directory.alive()
    directory._update([], 12.0)
    assert NODE not in directory.alive()
