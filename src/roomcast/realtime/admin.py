"""The namespace ``/admin`` for the official admin UI (``@socket.io/admin-ui``). Off unless `instrument` is called.

In the mode ``production`` the UI shows servers, namespaces and counts; this costs a timer. In ``development`` it also
shows each socket, room and event, which encodes every event a second time.

Layer: realtime. Source: ``@socket.io/admin-ui`` 0.5 ``lib/index.ts``, ``lib/typed-events.ts``.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import socket as network
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from roomcast.realtime.cluster.commands import Broadcast, Selection
from roomcast.realtime.cluster.operators import BroadcastOperator
from roomcast.realtime.core.observer import ObservedConnection, ObservedSocket, Observer
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.core.socket import Socket
from roomcast.realtime.errors import ConnectionRefusedError  # noqa: A004 - python-socketio's name
from roomcast.realtime.fanout.message import EncodedEvent
from roomcast.realtime.requests.handshake import Handshake
from roomcast.realtime.server import Server
from roomcast.wire.engineio_http import TransportName
from roomcast.wire.errors import EncodeError

# The UI marks a server as unhealthy without statistics for 10 s.
_STATS_INTERVAL_S: Final = 2.0
# Events and changes that the UI is sent in one interval: more cannot be read there, and would slow down the server.
_MAX_REPORTS: Final = 2_000
_MAX_SESSIONS: Final = 100
# 32 MiB and about 0.1 s for each attempt; more than these at once are refused without one.
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**15, 8, 1
_SCRYPT_MEMORY: Final = 64 * 1024 * 1024
_MAX_ATTEMPTS: Final = 4
_MAX_PASSWORD_CHARS: Final = 1_024
_HIDDEN_HEADERS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
# Node's names, where they differ.
_REASONS: Final = {
    Reason.CLIENT_DISCONNECT: "client namespace disconnect",
    Reason.SERVER_DISCONNECT: "server namespace disconnect",
}
_ADMIN_KEY: Final = "_admin"  # where Node's servers look for what they show of sockets of other servers


def hash_password(password: str) -> str:
    """The value of `AdminOptions.password_hash` for a password: scrypt with a random salt."""
    salt = secrets.token_bytes(16)
    digest = _scrypt(password, salt, _SCRYPT_N, _SCRYPT_R, _SCRYPT_P)
    return f"scrypt${_SCRYPT_N}${_SCRYPT_R}${_SCRYPT_P}${_base64(salt)}${_base64(digest)}"


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(_bytes(password), salt=salt, n=n, r=r, p=p, maxmem=_SCRYPT_MEMORY)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # text of a client may hold half of a surrogate pair


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass(frozen=True, slots=True)
class _Secret:
    """A parsed password hash."""

    n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> _Secret:
        try:
            n, r, p, salt, digest = text.removeprefix("scrypt$").split("$")
            return cls(
                int(n), int(r), int(p), base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)
            )
        except (ValueError, binascii.Error):
            hint = ", and bcrypt is not supported" if text.startswith("$2") else ""
            raise ValueError(
                f"password_hash is not a result of roomcast.realtime.admin.hash_password(){hint}"
            ) from None

    def matches(self, password: str) -> bool:
        return hmac.compare_digest(_scrypt(password, self.salt, self.n, self.r, self.p), self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminOptions:
    """Options of `instrument`.

    Attributes:
        username: The name to log in with.
        password_hash: The result of `hash_password`.
        namespace: The namespace.
        mode: See the module. Node: by the variable ``NODE_ENV``.
        read_only: The UI cannot emit, join, leave and disconnect. Node: False.
        server_id: The name of this server in the UI; empty: host name and process id.
        session_s: How long a browser that has logged in need not do so again.
    """

    username: str
    password_hash: str = field(repr=False)
    namespace: str = "/admin"
    mode: Literal["production", "development"] = "production"
    read_only: bool = False
    server_id: str = ""
    session_s: float = 86_400.0


def instrument(server: Server, options: AdminOptions) -> None:
    """Add the namespace for the admin UI to a server, before it serves. The page must be an allowed origin.

    Raises:
        ValueError: ``password_hash`` is not a result of `hash_password`.
    """
    _Admin(server, options)


class _Admin(Observer):
    def __init__(self, server: Server, options: AdminOptions) -> None:
        self._server = server
        self._engine = server.engine
        self._options = options
        self._secret = _Secret.parse(options.password_hash)
        self._sessions: OrderedDict[str, float] = OrderedDict()
        self._lock = asyncio.Lock()
        self._attempts = 0
        self._counts: Counter[tuple[int, str, str | None]] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._reports = 0
        self._rooms: dict[tuple[str, str], frozenset[str]] = {}
        self._started = time.monotonic()
        namespace = options.namespace
        server.use(self._authenticate, namespace)
        server.on("connect", self._connect, namespace)
        if not options.read_only:
            server.on("emit", self._emit, namespace)
            server.on("join", self._join, namespace)
            server.on("leave", self._leave, namespace)
            server.on("_disconnect", self._disconnect, namespace)
        if options.mode == "development":
            server.on_any(self._event_received, "*")
            server.on_any_outgoing(self._event_sent, "*")
        observer: Any = self._engine.observer  # a GuardedObserver
        observer.also(self)

    # -- log in -------------------------------------------------------------------------------------------------------

    async def _authenticate(self, socket: Socket) -> None:
        auth = socket.auth
        session, username, password = (auth.get(name) for name in ("sessionId", "username", "password"))
        if isinstance(session, str) and self._sessions.get(session, 0.0) > time.monotonic():
            return
        if not isinstance(username, str) or not isinstance(password, str) or len(password) > _MAX_PASSWORD_CHARS:
            raise ConnectionRefusedError("invalid credentials")
        if not await self._matches(username, password):
            raise ConnectionRefusedError("invalid credentials")
        session = secrets.token_hex(16)
        self._sessions[session] = time.monotonic() + self._options.session_s
        if len(self._sessions) > _MAX_SESSIONS:
            self._sessions.popitem(last=False)
        socket.emit("session", session)

    async def _matches(self, username: str, password: str) -> bool:
        if self._attempts >= _MAX_ATTEMPTS:
            raise ConnectionRefusedError("too many attempts: try again later")
        self._attempts += 1
        try:
            async with self._lock:  # one after the other
                matches = await asyncio.to_thread(self._secret.matches, password)
        finally:
            self._attempts -= 1
        return hmac.compare_digest(_bytes(username), _bytes(self._options.username)) and matches

    async def _connect(self, sid: str, environ: Any) -> None:  # noqa: ARG002 - a handler's signature
        options = self._options
        features = ["AGGREGATED_EVENTS"]
        if not options.read_only:
            features += ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"]
        if options.mode == "development":
            features.append("ALL_EVENTS")
        socket = self._server.socket(sid, options.namespace)
        socket.emit("config", {"supportedFeatures": features})
        socket.emit("server_stats", self._stats())
        if options.mode == "development":
            socket.emit("all_sockets", await self._all_sockets())

    # -- commands of the UI -------------------------------------------------------------------------------------------

    def _selected(self, namespace: str, room: str | None) -> BroadcastOperator:
        selected = self._server.of(namespace).everyone
        return selected.to(room) if room else selected

    async def _emit(self, sid: str, namespace: str, room: str | None, event: str, *args: Any) -> None:  # noqa: ARG002 - as above
        await self._selected(namespace, room).emit(event, *args)

    async def _join(self, sid: str, namespace: str, room: str, of: str | None = None) -> None:  # noqa: ARG002 - as above
        await self._selected(namespace, of).sockets_join(room)

    async def _leave(self, sid: str, namespace: str, room: str, of: str | None = None) -> None:  # noqa: ARG002 - as above
        await self._selected(namespace, of).sockets_leave(room)

    async def _disconnect(self, sid: str, namespace: str, close: bool = False, room: str | None = None) -> None:  # noqa: ARG002 - as above
        await self._selected(namespace, room).disconnect_sockets(close=bool(close))

    # -- what happens on this server ----------------------------------------------------------------------------------

    def connection_opened(self, connection: ObservedConnection) -> None:  # noqa: ARG002 - the port's signature
        """See `Observer`."""
        self._count("rawConnection")
        if self._timer is None:
            self._timer = self._engine.loop.call_later(_STATS_INTERVAL_S, self._tick)

    def connection_closed(self, connection: ObservedConnection, reason: Reason) -> None:  # noqa: ARG002 - as above
        """See `Observer`."""
        self._count("rawDisconnection", reason.value)

    def event_received(self, socket: ObservedSocket, event: str, handled: bool) -> None:  # noqa: ARG002 - as above
        """See `Observer`."""
        self._count("packetsIn")

    def socket_connected(self, socket: ObservedSocket) -> None:
        """See `Observer`."""
        if self._options.mode == "development" and isinstance(socket, Socket):
            socket.data[_ADMIN_KEY] = _admin_data(socket)
            self._rooms[socket.namespace, socket.sid] = socket.rooms
            described = _describe(socket.namespace, socket.sid, socket.handshake, socket.rooms, socket.data)
            self._report("socket_connected", described, _now())

    def socket_disconnected(self, socket: ObservedSocket, reason: Reason) -> None:
        """See `Observer`."""
        if self._options.mode == "development":
            self._rooms.pop((socket.namespace, socket.sid), None)
            named = _REASONS.get(reason, reason.value)
            self._report("socket_disconnected", socket.namespace, socket.sid, named, _now())

    def connection_upgraded(self, connection: ObservedConnection) -> None:
        """See `Observer`."""
        if self._options.mode == "development":
            for socket in getattr(connection, "sockets", {}).values():
                admin = socket.data.setdefault(_ADMIN_KEY, {})
                admin["transport"] = connection.transport_name.value
                update = {"id": socket.sid, "nsp": socket.namespace, "transport": admin["transport"]}
                self._report("socket_updated", update)

    def _event_received(self, socket: Socket, *event: Any) -> None:
        if socket.namespace != self._options.namespace:
            self._report("event_received", socket.namespace, socket.sid, event, _now())

    def _event_sent(self, socket: Socket, *event: Any) -> None:
        if socket.namespace != self._options.namespace:
            self._report("event_sent", socket.namespace, socket.sid, event, _now())

    # -- to the UI ----------------------------------------------------------------------------------------------------

    def _count(self, kind: str, detail: str | None = None) -> None:
        self._counts[int(time.time()) * 1000, kind, detail] += 1

    @property
    def _watched(self) -> bool:
        """Whether the UI may be open, on this server or on another one."""
        return self._engine.used_hub(self._options.namespace) is not None or not self._engine.adapter.alone

    def _report(self, event: str, *args: Any) -> None:
        if self._watched and self._reports < _MAX_REPORTS:
            self._reports += 1
            self._send(event, *args)

    def _send(self, event: str, *args: Any) -> None:
        try:
            message = EncodedEvent.from_args(event, *args)
        except EncodeError:  # what an application emits must be JSON, but `data` may hold anything
            message = EncodedEvent.from_args(event, *json.loads(json.dumps(args, default=repr)))
        command = Broadcast(Selection(self._options.namespace, None), message, volatile=event != "server_stats")
        self._engine.apply_command(command)
        self._engine.membership.publish(command)

    def _tick(self) -> None:
        self._timer = None
        if not self._engine.connections:
            self._counts.clear()
            return  # the next connection starts it again
        self._timer = self._engine.loop.call_later(_STATS_INTERVAL_S, self._tick)
        self._reports = 0
        if self._watched:
            self._send("server_stats", self._stats())
            if self._options.mode == "development":
                self._report_rooms()
        self._counts.clear()

    def _report_rooms(self) -> None:
        """Report the rooms that sockets have entered and left since the last time."""
        for (namespace, sid), before in list(self._rooms.items()):
            hub = self._engine.used_hub(namespace)
            socket = None if hub is None else hub.sockets.get(sid)
            if socket is None:
                continue
            rooms = socket.rooms
            self._rooms[namespace, sid] = rooms
            for room in rooms - before:
                self._report("room_joined", namespace, room, sid, _now())
            for room in before - rooms:
                self._report("room_left", namespace, room, sid, _now())

    def _stats(self) -> dict[str, Any]:
        polling = TransportName.POLLING
        host = network.gethostname()
        hubs = ((name, self._engine.used_hub(name)) for name in sorted(self._engine.namespaces()))
        return {
            "serverId": self._options.server_id or f"{host}#{os.getpid()}",
            "hostname": host,
            "pid": os.getpid(),
            "uptime": time.monotonic() - self._started,
            "clientsCount": len(self._engine.connections),
            "pollingClientsCount": sum(c.transport_name is polling for c in self._engine.connections.values()),
            "aggregatedEvents": [
                {"timestamp": at, "type": kind, "count": count, **({} if detail is None else {"subType": detail})}
                for (at, kind, detail), count in self._counts.items()
            ],
            "namespaces": [
                {"name": name, "socketsCount": 0 if hub is None else len(hub.sockets)} for name, hub in hubs
            ],
        }

    async def _all_sockets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for namespace in sorted(self._engine.namespaces()):
            sockets = await self._server.of(namespace).fetch_sockets()
            found += (_describe(namespace, one.sid, one.handshake, one.rooms, one.data) for one in sockets)
        return json.loads(json.dumps(found, default=repr))  # type: ignore[no-any-return]


def _admin_data(socket: Socket) -> dict[str, Any]:
    connection = socket.connection
    # The UI groups the sockets of one client. The session id itself authenticates polling requests.
    client = hashlib.sha256(f"{connection.handshake.time}{id(connection)}".encode()).hexdigest()
    return {"clientId": client[:12], "transport": connection.transport_name.value}


def _describe(
    namespace: str, sid: str, handshake: Handshake, rooms: frozenset[str], data: dict[str, Any]
) -> dict[str, Any]:
    admin = data.get(_ADMIN_KEY)
    admin = admin if isinstance(admin, dict) else {}
    headers = {name: "(hidden)" if name in _HIDDEN_HEADERS else value for name, value in handshake.headers.items()}
    issued = datetime.fromtimestamp(handshake.time, UTC)
    return {
        "id": sid,
        "clientId": admin.get("clientId", ""),
        "transport": admin.get("transport", handshake.transport.value),
        "nsp": namespace,
        "data": {name: value for name, value in data.items() if name != _ADMIN_KEY},
        "handshake": {
            "address": handshake.headers.get("cf-connecting-ip") or handshake.address or "",
            "headers": headers,
            "query": handshake.query,
            "issued": int(handshake.time * 1000),
            "secure": handshake.secure,
            "time": issued.isoformat(),
            "url": f"{handshake.path}?{handshake.query_string}",
            "xdomain": "origin" in handshake.headers,
        },
        "rooms": sorted({sid, *rooms}),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
