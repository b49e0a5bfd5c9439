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
            dropped first. In a Redis Cluster this holds for each master.
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


@dataclass(frozen=True, slots=True)
class RedisStreamOptions:
    """The stream of `RedisStreamsAdapter`, with the names and defaults of Node's adapter.

    Attributes:
        stream: Its key; ``streamName``.
        max_len: Approximate number of its entries; ``maxLen``. Older ones are lost for clients that return, and for a
            server that has not read them.
        read_count: Entries of one read; ``readCount``.
        block_s: How long a read waits for entries; ``blockTimeInMs``.
        session_key_prefix: Before the ``pid``, in the keys of sessions; ``sessionKeyPrefix``.
        read_limit_bytes: Largest reply to a read. A larger one is read in parts.
    """

    stream: str = "socket.io"
    max_len: int = 10_000
    read_count: int = 100
    block_s: float = 5.0
    session_key_prefix: str = "sio:session:"
    read_limit_bytes: int = 67_108_864

    def __post_init__(self) -> None:
        """Reject names that are empty, and numbers that are not positive."""
        if not self.stream:
            raise ValueError("stream is empty: set the key that the other servers use")
        for name in ("max_len", "read_count", "block_s", "read_limit_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")
