"""What can be set: one frozen dataclass for the Socket.IO server, one for the process that serves it.

Layer: realtime. Source: Node's ``ServerOptions`` (engine.io 6.6, socket.io 4.8); where a default differs, it says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from roomcast.wire.engineio_http import ALL_TRANSPORTS, TransportName
from roomcast.wire.limits import Limits, Timeouts

#: Stands in ``cors_allowed_origins`` for "every origin". Never implied by anything else.
ANY_ORIGIN: Final = "*"

KIB: Final = 1024
MIB: Final = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Options of one `roomcast.realtime.Server`.

    Attributes:
        path: Where Engine.IO listens. The trailing slash may be left out by clients.
        transports: What a client may use. A session that starts with polling may upgrade if websocket is listed too.
        ping_interval_s: Quiet time after which the server pings.
        ping_timeout_s: How long a pong may take.
        upgrade_timeout_s: How long a websocket may take from its handshake to the upgrade packet.
        connect_timeout_s: How long a connection may stay without a namespace: after its handshake, and after it left
            its last one. Node: 45 s, and only after the handshake. Shorter here, since such a connection is anonymous.
        max_payload_bytes: Largest message that a client may send: a websocket message or a POST body.
        max_attachments: Binary attachments of one Socket.IO packet.
        max_reassembly_bytes: All attachments of one Socket.IO packet together.
        outbox_limit_bytes: What may wait for a reader that does not read. Beyond it the connection is cut. A single
            larger message passes if nothing else waits.
        max_connections: Engine.IO sessions at once; further handshakes answer 503. None: the descriptors decide.
        max_rooms_per_socket: Rooms that one socket may be in, its own not counted.
        max_namespaces_per_connection: Namespaces that one connection may be in.
        max_pending_acks: Acknowledgements that one connection may owe at once.
        handler_concurrency: Coroutine handlers of one connection that may run at once; the others wait.
        inbox_limit: Events of one connection that may wait so, together at most ``max_payload_bytes``. Beyond it the
            transport is not read any further, acknowledgements included.
        flush_limit_bytes: Emits of one loop tick are joined up to this size, then written early.
        flush_rest_limit_s: Longest rest between two flushes while emits come faster than they can be written; they then
            share a write. 0: never rest. The most that it adds to a message's way.
        cors_allowed_origins: Origins (``scheme://host[:port]``) whose pages may connect, matched exactly. The page's
            own origin (the one in ``Host``) always may. Empty refuses all others. `ANY_ORIGIN` has to be stated.
        cors_credentials: Let cross-origin polling send cookies. Never together with `ANY_ORIGIN`.
        allowed_hosts: Values of ``Host``, without port, that handshakes are answered for; None: all. A server without
            authentication states its own names, since a rebound DNS name turns any page into "same origin".
        max_forwards: Requests for sessions of other nodes that may be under way here at one time; each is a connection
            to that node.
        namespaces: Namespaces that exist besides ``/`` and those with handlers; ``*`` accepts any.
    """

    path: str = "/socket.io/"
    transports: tuple[TransportName, ...] = ALL_TRANSPORTS
    ping_interval_s: float = 25.0
    ping_timeout_s: float = 20.0
    upgrade_timeout_s: float = 10.0
    connect_timeout_s: float = 12.0
    max_payload_bytes: int = 1_000_000
    max_attachments: int = 10
    max_reassembly_bytes: int = 4_000_000
    outbox_limit_bytes: int = MIB
    max_connections: int | None = None
    max_rooms_per_socket: int = 128
    max_namespaces_per_connection: int = 64
    max_pending_acks: int = 1024
    handler_concurrency: int = 32
    inbox_limit: int = 64
    flush_limit_bytes: int = 256 * KIB
    flush_rest_limit_s: float = 0.005
    cors_allowed_origins: tuple[str, ...] = ()
    cors_credentials: bool = True
    allowed_hosts: tuple[str, ...] | None = None
    max_forwards: int = 5_000
    namespaces: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ValueError(f"path {self.path!r} must start with '/'")
        if not self.transports:
            raise ValueError("transports is empty: nobody could connect")
        for name in (
            "ping_interval_s",
            "ping_timeout_s",
            "upgrade_timeout_s",
            "connect_timeout_s",
            "max_payload_bytes",
            "outbox_limit_bytes",
            "handler_concurrency",
            "inbox_limit",
            "flush_limit_bytes",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")
        if self.flush_rest_limit_s < 0:
            raise ValueError("flush_rest_limit_s must not be negative")
        for origin in self.cors_allowed_origins:
            if origin != ANY_ORIGIN and (not origin.startswith(("http://", "https://")) or origin.endswith("/")):
                raise ValueError(f"origin {origin!r} must be scheme://host[:port], without a slash at its end")

    def limits(self) -> Limits:
        """The bounds of what is read, as the wire takes them."""
        return Limits(
            max_payload_bytes=self.max_payload_bytes,
            max_attachments=self.max_attachments,
            max_reassembly_bytes=self.max_reassembly_bytes,
            max_namespaces=self.max_namespaces_per_connection,
            max_pending_acks=self.max_pending_acks,
        )

    def timeouts(self) -> Timeouts:
        """The times of a session, as the wire takes them."""
        return Timeouts(
            ping_interval_s=self.ping_interval_s,
            ping_timeout_s=self.ping_timeout_s,
            upgrade_timeout_s=self.upgrade_timeout_s,
            connect_timeout_s=self.connect_timeout_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Options of `roomcast.realtime.serving.process.serve`: what a process does around its applications.

    Attributes:
        head_limit_bytes: Largest request head (request line and headers); beyond it 431.
        max_headers: Header lines of one request; beyond it 431.
        head_deadline_s: How long a request head may take; then 408. Below the 15 s after which slow-head attacks must
            be gone.
        body_deadline_s: How long a request body may take; then the connection is closed.
        unread_deadline_s: How long a client may read nothing of what waits for it over HTTP; then it is cut.
        keep_alive_s: How long an idle HTTP connection is kept. Above the 60 s that proxies keep theirs, so that it is
            the proxy that closes first and never meets a closed connection.
        trusted_proxies: Addresses or networks (``10.0.0.0/8``) whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are
            believed; `ANY_ORIGIN` (``*``) believes everyone.
        backlog: Connections that the kernel queues for us.
        unready_s: Time between being unready (``on_unready``) and the listening sockets' end: what a load balancer
            needs to notice. Only on SIGTERM.
        drain_limit_s: Time for everything after that: closing sockets, requests in flight, handlers. Ctrl-C has to end
            within 5 s in all.
        shutdown_limit_s: Time for the lifespan shutdowns of all applications together, after the drain.
        drain_batch: Sockets closed at once; more if ``drain_limit_s`` would not suffice.
        drain_pause_s: Mean time between two batches; each pause is drawn from 0.5 to 1.5 of it, so that the clients of
            several servers do not return in step.
        access_log: Log a line for each HTTP request (logger ``uvicorn.access``).
        on_ready: Called with each site's addresses, ``(host, port)`` as bound, once all sites accept.
        on_unready: Called when the end begins, before anything is closed.
    """

    head_limit_bytes: int = 16 * KIB
    max_headers: int = 100
    head_deadline_s: float = 10.0
    body_deadline_s: float = 30.0
    unread_deadline_s: float = 30.0
    keep_alive_s: int = 75
    trusted_proxies: tuple[str, ...] = ()
    backlog: int = 2048
    unready_s: float = 0.0
    drain_limit_s: float = 3.0
    shutdown_limit_s: float = 1.0
    drain_batch: int = 100
    drain_pause_s: float = 0.05
    access_log: bool = False
    on_ready: Callable[[Sequence[Sequence[tuple[str, int]]]], None] | None = None
    on_unready: Callable[[], None] | None = None
