"""Bounds of the Redis adapter.

Layer: realtime.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RedisAdapterOptions:
    """How much the adapter may use. How Redis is reached is in `redis_client.RedisOptions`.

    Attributes:
        key: Begins every channel; the ``key`` option of Node's adapter and emitter.
        max_message_bytes: A larger message is not sent, and a connection that begins to receive one is closed: Redis
            itself disconnects subscribers whose output buffer exceeds 32 MiB, which would be all of them at once.
        queue_limit_bytes: Messages that may wait while Redis is unreachable or slow; the oldest is dropped first.
        queue_limit_s: How long a message may wait.
        max_ack_requests: Acknowledged broadcasts of other servers that may be pending here at one time.
        max_ack_timeout_s: Longest timeout of such a broadcast, whatever the other server asks for.
    """

    key: str = "socket.io"
    max_message_bytes: int = 4_194_304
    queue_limit_bytes: int = 8_388_608
    queue_limit_s: float = 10.0
    max_ack_requests: int = 1_000
    max_ack_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        """Reject bounds that contradict each other."""
        if not self.key:
            raise ValueError("key is empty: give a prefix for the channels, as the other servers have it")
        if self.queue_limit_bytes < self.max_message_bytes:
            raise ValueError("queue_limit_bytes is less than max_message_bytes: the largest message could never wait")
