"""How to connect to Redis: addresses, credentials, TLS, time limits.

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
        """``host:port``, with an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisTls:
    """TLS to Redis. The server's certificate is always verified.

    Attributes:
        ca_file: PEM file of the trusted certificate authorities; None: the certificate authorities of the system.
        cert_file: PEM file of the client certificate, if the server requires one.
        key_file: PEM file of the client certificate's private key.
        check_hostname: Whether the certificate must contain the host. Cluster and Sentinel report IP addresses: turn
            the check off if the certificates contain host names only.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    check_hostname: bool = True

    def context(self) -> ssl.SSLContext:
        """The TLS context for connections that redis-py does not open. The files are read once."""
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
    """The Redis that the log, the adapter, the directory and the presence board use.

    Attributes:
        addresses: Address of the server; with ``sentinel_master`` of the sentinels; with ``cluster`` of some nodes.
        sentinel_master: Name of the master in the sentinels' configuration; None: Sentinel is not used.
        cluster: Whether the addresses are nodes of a Redis Cluster.
        username: ACL user; None: the default user.
        password: Password of the user.
        sentinel_username: ACL user on the sentinels; None: the default user.
        sentinel_password: Password on the sentinels, which do not use ``password``.
        db: Database number; a cluster has database 0 only. All databases share their channels.
        tls: TLS settings; None: plain TCP.
        connect_timeout_s: Time limit of one connection attempt, including login and first subscriptions. A limit above
            the first SYN retransmission (1 s) would delay the detection of a dead node.
        command_timeout_s: Time limit of one command, including its retries; a join that takes longer is answered
            ``unavailable``.
        max_connections: Maximum number of concurrent commands, and of connections to each node. A command takes about
            0.1 ms.
        probe_interval_s: Interval of the liveness probes on subscriber connections.
        probe_timeout_s: A connection is closed if a probe has no reply after this time. A dead connection is detected
            within ``probe_interval_s + probe_timeout_s``.
        topology_interval_s: Interval at which the masters are looked up, in the sentinels or the cluster.
        retry_min_s: Longest first pause between connection attempts; see `backoff.Backoff`.
        retry_max_s: Longest pause between connection attempts, and so the longest delay until a recovered Redis is
            used.
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
        """Reject invalid combinations."""
        if not self.addresses:
            raise ValueError("addresses is empty: give at least one address")
        if self.cluster and self.sentinel_master is not None:
            raise ValueError("sentinel_master and cluster exclude each other: give one of them, not both")
        if self.cluster and self.db:
            raise ValueError("a Redis Cluster has database 0 only")
        if len(self.addresses) > 1 and not self.cluster and self.sentinel_master is None:
            raise ValueError("several addresses need sentinel_master or cluster=True")
