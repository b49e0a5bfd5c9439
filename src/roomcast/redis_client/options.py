"""Where Redis is, and how long it may take.

Layer: redis_client.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import NamedTuple


class RedisAddress(NamedTuple):
    """One server, sentinel or cluster node."""

    host: str
    port: int

    def __str__(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisTls:
    """TLS to Redis. The server's certificate is always checked.

    Attributes:
        ca_file: PEM file of the authorities to trust; None: the system's.
        cert_file: PEM file of our own certificate, if the server asks for one.
        key_file: PEM file of its key.
        check_hostname: Whether the certificate has to name the host that was dialled. Cluster and Sentinel tell
            addresses; turn it off where certificates name hosts only.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    check_hostname: bool = True

    def context(self) -> ssl.SSLContext:
        """What the live feed dials with."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.check_hostname = self.check_hostname
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """How Redis is reached.

    Attributes:
        addresses: The server; with ``sentinel_master`` the sentinels; with ``cluster`` some nodes to start from.
        sentinel_master: Name under which the sentinels know the master; None: no Sentinel.
        cluster: Whether the addresses are those of a Redis Cluster.
        username: ACL user; None: the default one.
        password: Of that user.
        sentinel_username: ACL user of the sentinels.
        sentinel_password: Of that user; sentinels do not share the servers' password by themselves.
        db: Number of the database; a cluster has 0 only. Channels are not divided by it.
        tls: None: plain TCP.
        connect_timeout_s: Limit of one connection attempt. Longer than one lost SYN (1 s) would hide a dead node.
        command_timeout_s: Limit of one command with its retries: what a join waits at most before it is told
            ``unavailable``.
        max_connections: Commands under way at one time, per node. A command takes about 0.1 ms.
        probe_interval_s: How often the live feed is proven alive.
        probe_timeout_s: How long a proof may take before the feed counts as deaf. With ``probe_interval_s`` this is
            the time in which a deaf listener is found.
        topology_interval_s: How often the sentinels or the cluster are asked who the masters are.
        retry_min_s: First pause between connection attempts, doubled up to ``retry_max_s``, with jitter.
        retry_max_s: Longest such pause: a returned Redis is used within it.
    """

    addresses: tuple[RedisAddress, ...] = (RedisAddress("127.0.0.1", 6379),)
    sentinel_master: str | None = None
    cluster: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    db: int = 0
    tls: RedisTls | None = None
    connect_timeout_s: float = 1.0
    command_timeout_s: float = 2.0
    max_connections: int = 16
    probe_interval_s: float = 2.0
    probe_timeout_s: float = 3.0
    topology_interval_s: float = 5.0
    retry_min_s: float = 0.05
    retry_max_s: float = 1.0

    def __post_init__(self) -> None:
        """Refuse combinations that no Redis has."""
        if not self.addresses:
            raise ValueError("Redis needs at least one address")
        if self.cluster and self.sentinel_master is not None:
            raise ValueError("Redis is reached through Sentinel or as a Cluster, not both")
        if self.cluster and self.db:
            raise ValueError("a Redis Cluster has database 0 only")
        if len(self.addresses) > 1 and not self.cluster and self.sentinel_master is None:
            raise ValueError("several addresses need a Sentinel master name or the cluster flag")
