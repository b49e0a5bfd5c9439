"""How Redis is reached: addresses, credentials, TLS, time limits.

Layer: redis_client.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple


class RedisAddress(NamedTuple):
    """The address of a server, sentinel or cluster node."""

    host: str
    port: int

    def __str__(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisTls:
    """TLS to Redis. The server's certificate is always verified.

    Attributes:
        ca_file: PEM file of the trusted certificate authorities; None: the system's.
        cert_file: PEM file of the client certificate, if the server requires one.
        key_file: PEM file of its key.
        check_hostname: Whether the certificate has to name the host. Cluster and Sentinel report IP addresses; turn it
            off where certificates name hosts only.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    check_hostname: bool = True

    def context(self) -> ssl.SSLContext:
        """The context for connections that redis-py does not make. Files are read once."""
        return _context(self)


@lru_cache(maxsize=8)
def _context(tls: RedisTls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.check_hostname = tls.check_hostname
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """One Redis, for every part that uses it: the log, the adapter, the directory, the presence board.

    Attributes:
        addresses: The server; with ``sentinel_master`` the sentinels; with ``cluster`` some nodes to start from.
        sentinel_master: Name of the master in the sentinels' configuration; None: no Sentinel.
        cluster: Whether the addresses are nodes of a Redis Cluster.
        username: ACL user; None: the default user.
        password: Its password.
        sentinel_username: ACL user of the sentinels.
        sentinel_password: Its password; sentinels do not take over the servers' password.
        db: Database number; a cluster has 0 only. Channels do not depend on it.
        tls: None: plain TCP.
        connect_timeout_s: Limit of one connection attempt with its login and first subscriptions. More than the first
            SYN retransmission (1 s) would hide a dead node.
        command_timeout_s: Limit of one command with its retries; a join that takes longer is answered ``unavailable``.
        max_connections: Concurrent commands, per node. A command takes about 0.1 ms.
        probe_interval_s: Interval of the liveness probes on subscriber connections.
        probe_timeout_s: A probe without a reply after this time ends the connection. A dead connection is detected
            within the sum of both.
        topology_interval_s: How often the sentinels or the cluster are asked for the masters.
        retry_min_s: Longest first pause between connection attempts; see `backoff.Backoff`.
        retry_max_s: Longest pause: Redis is used again at most so long after it returned.
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
        """Reject combinations that no Redis has."""
        if not self.addresses:
            raise ValueError("addresses is empty: give at least one address")
        if self.cluster and self.sentinel_master is not None:
            raise ValueError("sentinel_master and cluster exclude each other: give one of them, not both")
        if self.cluster and self.db:
            raise ValueError("a Redis Cluster has database 0 only")
        if len(self.addresses) > 1 and not self.cluster and self.sentinel_master is None:
            raise ValueError("several addresses need sentinel_master or cluster=True")
