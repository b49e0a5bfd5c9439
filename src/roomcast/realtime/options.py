"""Options: one frozen dataclass for the Socket.IO server, one for the process that serves it.

Layer: realtime. Source: Node's ``ServerOptions`` (engine.io 6.6, socket.io 4.8); a default that differs has its reason.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any, Final, Literal

from roomcast.wire.engineio_http import ALL_TRANSPORTS, TransportName
from roomcast.wire.limits import Limits, Timeouts

_ORIGIN: Final = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")
# Unreserved characters of URLs, and no segments "." and "..".
_BASE_PATH: Final = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")
_MAX_BASE_PATH_CHARS: Final = 128
# RFC 9110 §5.6.2, "token"; RFC 6265 §4.1.1, "av-octet".
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_ATTRIBUTE: Final = re.compile(r"[\x20-\x3a\x3c-\x7e]+")
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_MAX_PORT: Final = 65_535
#: The entry of ``cors_allowed_origins`` for "every origin"; never a default.
ANY_ORIGIN: Final = "*"

#: ASGI extension of `serve`: an application calls its function ``mark`` for a response without an end of its own. A
#: drain closes the connection instead of waiting, and the client sees that the response is not complete.
CUT_AT_DRAIN: Final = "roomcast.cut_at_drain"

KIB: Final = 1024
MIB: Final = 1024 * KIB


def serialize_origin(origin: str) -> str:
    """The origin as browsers send it: in lower case, without the scheme's default port, IPv6 in its shortest form.

    Raises:
        ValueError: it is not ``scheme://host[:port]``. Source: RFC 6454 §6.2; URL standard, "host serializing".
    """
    problem = f"the origin {origin!r}; expected scheme://host[:port], without a path or a trailing slash"
    found = _ORIGIN.fullmatch(origin.lower())
    if found is None:
        raise ValueError(problem)
    scheme, host, digits = found.groups()
    default = DEFAULT_PORTS.get(scheme)
    port = default if digits is None else int(digits)
    if port is not None and not 1 <= port <= _MAX_PORT:
        raise ValueError(problem)
    if host.startswith("["):
        host = f"[{IPv6Address(host[1:-1])}]"
    return f"{scheme}://{host}" if port == default else f"{scheme}://{host}:{port}"


def _require_several(name: str, value: object) -> None:
    """A string is a sequence too, of its letters.

    Raises:
        TypeError: the value is a string.
    """
    if isinstance(value, str):
        raise TypeError(f"{name} is the string {value!r}; expected several: ({value!r},)")


def is_base_path(path: str) -> bool:
    """Whether applications can be served below this path, such as ``/chat``: its characters need no escapes in URLs."""
    return len(path) <= _MAX_BASE_PATH_CHARS and _BASE_PATH.fullmatch(path) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryOptions:
    """Limits of connection state recovery (`core.recovery.sessions`).

    Attributes:
        window_s: How long a lost session can be recovered. Node: 120 s.
        max_sessions: Maximum number of lost sessions; beyond it the one that was lost first is dropped.
        max_events: Maximum number of events that are kept. Clients that may have missed a dropped one get new sessions.
        max_bytes: Maximum memory of these events.
    """

    window_s: float = 120.0
    max_sessions: int = 20_000
    max_events: int = 50_000
    max_bytes: int = 64 * MIB

    def __post_init__(self) -> None:
        for name in ("window_s", "max_sessions", "max_events", "max_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieOptions:
    """A cookie with the session id, for load balancers that keep a client on one server. The defaults are Node's.

    Attributes:
        name: Its name.
        path: ``Path``; None: left out.
        http_only: ``HttpOnly``. Scripts of the page must not read the id, which authenticates polling requests.
        same_site: ``SameSite``; None: left out.
        secure: ``Secure``.
        domain: ``Domain``; None: left out.
        max_age_s: ``Max-Age``; None: until the browser closes.
    """

    name: str = "io"
    path: str | None = "/"
    http_only: bool = True
    same_site: Literal["strict", "lax", "none"] | None = "lax"
    secure: bool = False
    domain: str | None = None
    max_age_s: int | None = None

    def __post_init__(self) -> None:
        if _TOKEN.fullmatch(self.name) is None:
            raise ValueError(
                f"the name of the cookie {self.name!r}: only letters, digits and some punctuation (RFC 6265)"
            )
        for value in (self.path, self.domain):
            if value is not None and _ATTRIBUTE.fullmatch(value) is None:
                raise ValueError(f"{value!r} cannot be an attribute of a cookie")

    def header(self, value: str) -> str:
        """The value of ``Set-Cookie``."""
        parts = [f"{self.name}={value}"]
        if self.max_age_s is not None:
            parts.append(f"Max-Age={self.max_age_s}")
        if self.domain is not None:
            parts.append(f"Domain={self.domain}")
        if self.path is not None:
            parts.append(f"Path={self.path}")
        if self.http_only:
            parts.append("HttpOnly")
        if self.secure:
            parts.append("Secure")
        if self.same_site is not None:
            parts.append(f"SameSite={self.same_site.capitalize()}")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Options of one `roomcast.realtime.Server`.

    Attributes:
        path: The path of Engine.IO. Clients may omit the trailing slash.
        transports: The transports that clients may use. Polling sessions may upgrade if websocket is listed.
        ping_interval_s: Time between the last pong and the next ping.
        ping_timeout_s: Time limit for a pong.
        upgrade_timeout_s: Time limit from the handshake of an upgrading websocket to its upgrade packet.
        connect_timeout_s: How long a connection may be without a namespace: after its handshake, and after leaving the
            last one. Node: 45 s, and only after the handshake. Shorter here, since such a connection is anonymous.
        max_payload_bytes: Largest websocket message or POST body from a client.
        max_attachments: Maximum number of binary attachments of one Socket.IO packet.
        max_reassembly_bytes: Maximum total size of the attachments of one Socket.IO packet.
        unfinished_limit_bytes: Maximum memory of what all clients together have begun to send and not finished:
            attachments, websocket messages, bodies of posts. Beyond it the connection that began first is closed.
        unfinished_timeout_s: Time limit for a client to finish such input, as for a request body.
        outbox_limit_bytes: Write backlog at which the connection of a slow reader is closed. A single larger message
            is sent if nothing else waits. An awaited emit waits while a client that reads has half of it left to read.
        max_connections: Maximum number of Engine.IO sessions; further handshakes get 503. Sessions that no namespace
            has accepted yet may be half of it; then the oldest one without a CONNECT packet yields to a new one, after
            a third of ``connect_timeout_s``. The default is twice the number that one process serves at ease.
        max_packets_per_s: Packets of one connection per second; a second's worth may come at once. A faster client is
            not closed: the server reads from its connection later. Raise it for a service that publishes many events.
        max_rooms_per_socket: Maximum number of rooms of one socket, its own not counted.
        max_namespaces_per_connection: Maximum number of namespaces of one connection.
        max_pending_acks: Maximum number of acknowledgements that one connection has not sent yet.
        handler_concurrency: Coroutine handlers of one connection that run at once; further events wait.
        inbox_limit: Maximum number of events of one connection that wait, with a total size of ``max_payload_bytes``.
            At the limit the server stops reading from the transport, unless it waits for an acknowledgement or a pong
            of the client; then four times ``max_payload_bytes`` may wait.
        flush_limit_bytes: Emits of one loop tick are joined up to this size, then written early.
        flush_rest_limit_s: Longest pause between two flushes while emits arrive faster than they can be written; they
            then share a write. 0: no pause. This is the latency that it can add.
        cors_allowed_origins: Origins (``scheme://host[:port]``) whose pages may connect. The server's own origin (the
            one in ``Host``) may always connect. `ANY_ORIGIN` allows all.
        cors_same_host_ports: Ports whose pages may connect if their host is that of ``Host``.
        cors_credentials: Allow cookies in cross-origin polling. Has no effect with `ANY_ORIGIN`.
        allowed_hosts: Accepted values of ``Host``, without port; None: all. Set it on a server without authentication:
            DNS rebinding makes any page "same origin".
        max_forwards: Maximum number of polls and posts that are forwarded to other nodes at once; each uses a
            connection to that node.
        max_queries: Maximum number of queries to the other servers of a cluster (``fetch_sockets``, broadcasts with
            acknowledgements, ``server_side_emit`` with an answer) that wait for answers.
        query_limit_bytes: Maximum size of all answers to one such query, about 1 kB for each socket of a
            ``fetch_sockets``.
        namespaces: Accepted namespaces besides ``/`` and those with handlers; ``*`` accepts any.
        cleanup_empty_child_namespaces: Remove a child of a dynamic namespace with its last socket. Node: off. Here on,
            since clients choose the names. If off, 10,000 are kept, and a function that decides about names is not
            called again for them.
        recovery: Lets clients return to a session whose connection was lost; None: off. Each event then has one more
            argument for its clients, its offset.
        always_connect: Send the CONNECT packet before the ``connect`` handler runs, and a DISCONNECT packet if that
            refuses the client. Events of a client that is not accepted yet may then be handled. As in python-socketio.
        allow_request: Called with the `Handshake` of each request that opens a session, before the session exists;
            may be a coroutine function, which has ``connect_timeout_s``. The request is refused, with status 403 and
            code 4, unless it returns True; `ConnectionRefusedError` has the message for the client.
        initial_headers: Called with the same `Handshake`; returns headers for the response. Node: the event
            ``initial_headers``.
        cookie: A cookie with the session id in the response that opens a polling session. Off as in Node, whose
            servers read it no more than this one does.
        http_compression_threshold_bytes: Polling responses of this size are compressed if the client allows it, with
            Node's default; None: none is. Over TLS the length of a compressed response says something about its
            content: set None if responses can join a secret with text that an attacker has chosen (BREACH).
        per_message_deflate_threshold_bytes: Websocket messages of this size, up to 128 KiB, are compressed for clients
            that offer permessage-deflate, and compressed ones are accepted. Only under `serve`: other servers of ASGI
            have options of their own. None: off, as in Node, since it costs processor time on both sides. Without
            context takeover: connections hold no window, and a message is compressed once for all members of a room.
        parser: ``msgpack``: all clients use ``socket.io-msgpack-parser``. Values are those of JSON, and ``bytes``.
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
    unfinished_limit_bytes: int = 64 * MIB
    unfinished_timeout_s: float = 30.0
    outbox_limit_bytes: int = MIB
    max_connections: int = 20_000
    max_packets_per_s: float = 1_000.0
    max_rooms_per_socket: int = 128
    max_namespaces_per_connection: int = 64
    max_pending_acks: int = 1024
    handler_concurrency: int = 32
    inbox_limit: int = 64
    flush_limit_bytes: int = 256 * KIB
    flush_rest_limit_s: float = 0.005
    cors_allowed_origins: tuple[str, ...] = ()
    cors_same_host_ports: tuple[int, ...] = ()
    cors_credentials: bool = True
    allowed_hosts: tuple[str, ...] | None = None
    max_forwards: int = 5_000
    max_queries: int = 1_000
    query_limit_bytes: int = 64 * MIB
    namespaces: tuple[str, ...] = ()
    cleanup_empty_child_namespaces: bool = True
    recovery: RecoveryOptions | None = None
    always_connect: bool = False
    allow_request: Callable[[Any], bool | Awaitable[bool]] | None = None
    initial_headers: Callable[[Any], Iterable[tuple[str, str]]] | None = None
    cookie: CookieOptions | None = None
    http_compression_threshold_bytes: int | None = 1024
    per_message_deflate_threshold_bytes: int | None = None
    parser: Literal["json", "msgpack"] = "json"

    def __post_init__(self) -> None:
        for name in ("transports", "cors_allowed_origins", "allowed_hosts", "namespaces"):
            _require_several(name, getattr(self, name))
        if not self.path.startswith("/"):
            raise ValueError(f"path {self.path!r} must start with '/'")
        if self.parser not in {"json", "msgpack"}:
            raise ValueError(f"the parser {self.parser!r}; there are 'json' and 'msgpack'")
        if not self.transports:
            raise ValueError("transports is empty: name at least one")
        for name in (
            "ping_interval_s",
            "ping_timeout_s",
            "upgrade_timeout_s",
            "connect_timeout_s",
            "max_payload_bytes",
            "unfinished_limit_bytes",
            "unfinished_timeout_s",
            "max_connections",
            "outbox_limit_bytes",
            "max_packets_per_s",
            "handler_concurrency",
            "inbox_limit",
            "flush_limit_bytes",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")
        if self.flush_rest_limit_s < 0:
            raise ValueError("flush_rest_limit_s must not be negative")
        for origin in self.cors_allowed_origins:
            if origin != ANY_ORIGIN:
                serialize_origin(origin)

    def limits(self) -> Limits:
        """The limits of input, for `roomcast.wire`."""
        return Limits(
            max_payload_bytes=self.max_payload_bytes,
            max_attachments=self.max_attachments,
            max_reassembly_bytes=self.max_reassembly_bytes,
            max_namespaces=self.max_namespaces_per_connection,
            max_pending_acks=self.max_pending_acks,
            max_packets_per_s=self.max_packets_per_s,
        )

    def timeouts(self) -> Timeouts:
        """The time limits of a session, for `roomcast.wire`."""
        return Timeouts(
            ping_interval_s=self.ping_interval_s,
            ping_timeout_s=self.ping_timeout_s,
            upgrade_timeout_s=self.upgrade_timeout_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Options of `roomcast.realtime.serve`: limits and shutdown of a process that serves applications.

    Attributes:
        head_limit_bytes: Maximum size of a request head (request line and headers); above it 431.
        max_headers: Maximum number of header lines; above it 431.
        head_deadline_s: Time limit for a request head; then 408. Below 15 s, the usual bar for slow-head attacks.
        body_deadline_s: Time limit for a request body; then the connection is closed.
        unread_deadline_s: How long a client may make no progress in reading a response; then the connection is closed.
        keep_alive_s: How long an idle HTTP connection stays open. Above the 60 s of common proxies: if the proxy closes
            first, it never sends a request on a connection that the server is closing.
        trusted_proxies: Addresses or networks (``10.0.0.0/8``) whose ``X-Forwarded-For``, ``-Proto``, ``-Host`` and
            ``-Prefix`` are used; `ANY_ORIGIN` (``*``): all.
        base_path: Path below which a proxy serves the applications, ``/chat``; every path is accepted with and without
            it. ``X-Forwarded-Prefix`` of a trusted proxy takes its place.
        backlog: Length of the kernel's queue of connections that are not yet accepted; ``net.core.somaxconn`` and the
            number of file descriptors limit it, too. A client that finds it full tries again after 1 s.
        websocket_limit_bytes: Largest message of a websocket that an application receives over ASGI.
        unready_s: Time between ``on_unready`` and closing the listening sockets, for load balancers to react. Only on
            SIGTERM.
        drain_limit_s: Time limit for the drain that follows: sockets, requests in flight, handlers. Ctrl-C must end the
            process within 5 s in total.
        shutdown_limit_s: Time limit for the lifespan shutdowns of all applications, after the drain.
        drain_batch: Number of sockets closed at once; larger if ``drain_limit_s`` requires it.
        drain_pause_s: Mean pause between two batches; each one is drawn from 0.5 to 1.5 times this, so that clients
            do not reconnect in step.
        access_log: Log each HTTP request (logger ``uvicorn.access``).
        on_ready: Called with the bound addresses of each site, ``(host, port)``, when all sites accept connections.
        on_unready: Called when the shutdown begins, before anything is closed.
    """

    head_limit_bytes: int = 16 * KIB
    max_headers: int = 100
    head_deadline_s: float = 10.0
    body_deadline_s: float = 30.0
    unread_deadline_s: float = 30.0
    keep_alive_s: int = 75
    trusted_proxies: tuple[str, ...] = ()
    base_path: str = ""
    backlog: int = 8_192
    websocket_limit_bytes: int = MIB
    unready_s: float = 0.0
    drain_limit_s: float = 3.0
    shutdown_limit_s: float = 1.0
    drain_batch: int = 100
    drain_pause_s: float = 0.05
    access_log: bool = False
    on_ready: Callable[[Sequence[Sequence[tuple[str, int]]]], None] | None = None
    on_unready: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        _require_several("trusted_proxies", self.trusted_proxies)
        if self.base_path and not is_base_path(self.base_path):
            raise ValueError(f"base_path {self.base_path!r} must be a path such as '/chat', without a trailing slash")
