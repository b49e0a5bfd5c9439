"""Which servers are masters, and which of them owns a channel.

Layer: redis_client. Source: Redis Cluster specification, "Key distribution model".
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from operator import itemgetter

from redis.crc import key_slot

from roomcast.redis_client.options import RedisAddress


def slot_of(name: str | bytes) -> int:
    """The slot of a key or channel; text is encoded as UTF-8."""
    return key_slot(name.encode(errors="surrogatepass") if isinstance(name, str) else name)


@dataclass(frozen=True, slots=True)
class Topology:
    """The masters at the time of a look-up.

    Attributes:
        masters: Addresses of the masters.
        ranges: Slot ranges of a cluster, ``(first slot, last slot, owner)`` in ascending order; None: the only master
            owns every slot.
    """

    masters: frozenset[RedisAddress]
    ranges: tuple[tuple[int, int, RedisAddress], ...] | None = None

    def owner(self, name: str | bytes) -> RedisAddress | None:
        """The master that owns a key or channel; None: no master owns its slot."""
        if self.ranges is None:
            return next(iter(self.masters))
        slot = slot_of(name)
        index = bisect_right(self.ranges, slot, key=itemgetter(0)) - 1
        if index < 0 or self.ranges[index][1] < slot:
            return None
        return self.ranges[index][2]
