"""Limits of the Redis adapter.

Layer: realtime.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RedisAdapterOptions:
    """Limits of the adapter, and its channel prefix. The connection to Redis is set in `redis_client.RedisOptions`.

    Attributes:
        key: Prefix of every channel name; the ``key`` option of Node's adapter and emitter.
        max_message_bytes: Largest message. A larger one is not sent, and a connection that begins to receive one is
            closed. Without a limit, one huge message could exceed the output buffer of every subscriber (32 MiB in
            Redis), and Redis would disconnect them all at once.
        queue_limit_bytes: Maximum size of all messages that wait while Redis is unreachable or slow; the oldest is
            dropped first.
        queue_limit_s: How long a message may wait before it is dropped.
        list_interval_s: Interval at which the servers of the cluster are listed while a query lacks answers: the
            answers of a server that has left are not waited for.
        max_ack_requests: Maximum number of broadcasts with acknowledgements, from other servers, that are pending here.
        max_ack_timeout_s: Longest timeout of such a broadcast; a longer one that another server requests is shortened.
    """

    key: str = "socket.io"
    max_message_bytes: int = 4_194_304
    queue_limit_bytes: int = 8_388_608
    queue_limit_s: float = 10.0
    list_interval_s: float = 0.5
    max_ack_requests: int = 1_000
    max_ack_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        """Reject an empty key, and limits that contradict each other."""
        if not self.key:
            raise ValueError("key is empty: set the channel prefix that the other servers use")
        if self.queue_limit_bytes < self.max_message_bytes:
            raise ValueError("queue_limit_bytes is less than max_message_bytes: the largest message would not fit")
