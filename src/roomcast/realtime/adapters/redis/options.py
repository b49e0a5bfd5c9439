"""Where the cluster's Redis is, and how much the adapter may use.

Layer: realtime.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ssl import SSLContext


@dataclass(frozen=True, slots=True)
class RedisAdapterOptions:
    """How the servers of a cluster reach each other.

    Attributes:
        addresses: ``(host, port)`` of the server; of a Redis Cluster, some of its nodes (its bus carries classic
            channels everywhere, so any will do); with ``sentinel_master`` of the sentinels.
        sentinel_master: Name under which the sentinels know the master; None: no Sentinel.
        username: ACL user; None: the default one.
        password: Of that user.
        sentinel_username: ACL user of the sentinels.
        sentinel_password: Of that user.
        tls: What is dialled with; None: plain TCP.
        key: Begins every channel; the ``key`` option of Node's adapter and emitter.
        connect_timeout_s: Limit of dialling, login and subscriptions together. Also how long `start` waits for a
            Redis that is away before it goes on without.
        probe_interval_s: How often both connections are proven alive, by a message that goes out through one and
            comes in through the other.
        probe_timeout_s: How long that may take before both are made anew.
        retry_min_s: First pause between attempts to connect, doubled up to ``retry_max_s``, with jitter.
        retry_max_s: Longest such pause: a returned Redis is used within it.
        max_message_bytes: A larger message is not sent, and a connection that begins to receive one is cut: Redis
            itself cuts subscribers whose output buffer passes 32 MiB, and everyone would go deaf together.
        queue_limit_bytes: What may wait for a Redis that is away or slow; the oldest is dropped first.
        queue_limit_s: How long it may wait: an emit of last minute is of no use to anybody.
        max_ack_requests: Acknowledged broadcasts of other servers that may be under way here at a time.
        max_ack_timeout_s: Longest time that such a broadcast is kept, whatever the other server asks for.
    """

    addresses: tuple[tuple[str, int], ...] = (("127.0.0.1", 6379),)
    sentinel_master: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: SSLContext | None = field(default=None, repr=False)
    key: str = "socket.io"
    connect_timeout_s: float = 2.0
    probe_interval_s: float = 2.0
    probe_timeout_s: float = 3.0
    retry_min_s: float = 0.05
    retry_max_s: float = 1.0
    max_message_bytes: int = 4_194_304
    queue_limit_bytes: int = 8_388_608
    queue_limit_s: float = 10.0
    max_ack_requests: int = 1_000
    max_ack_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not self.addresses:
            raise ValueError("Redis needs at least one address")
        if not self.key:
            raise ValueError("the key must not be empty: it keeps the channels apart from everybody else's")
        if self.queue_limit_bytes < self.max_message_bytes:
            raise ValueError("queue_limit_bytes is less than max_message_bytes: the largest message could never wait")
