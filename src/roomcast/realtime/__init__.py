"""A programmable Socket.IO server: sessions, namespaces, rooms, acknowledgements, fan-out, transports.

Usable without the rest of Roomcast. May import: wire, redis_client, backoff.

| module | what |
|---|---|
| ``server``, ``namespace`` | the server for applications, with python-socketio's names; namespaces as classes |
| ``admin`` | the namespace for the official admin UI |
| ``hooks`` | middleware, catch-all listeners, dynamic namespaces |
| ``options``, ``errors`` | what can be configured; exceptions |
| ``core`` | sessions, namespaces, rooms and handlers, without transports |
| ``cluster`` | the other servers: ports, and what can be done with sockets on any of them |
| ``requests``, ``limits`` | requests before there is a session; deadlines and limits of all clients |
| ``fanout`` | each emit encoded and framed once, one ordered write per connection and loop tick |
| ``transports`` | HTTP long-polling and websocket |
| ``serving`` | the process: ports, request limits, signals, the drain |
| ``forwarding`` | requests for sessions of other nodes |
| ``adapters`` | commands to the other servers of a cluster |
| ``compat`` | python-socketio's names, signatures and behaviours over the server |
"""

from typing import TYPE_CHECKING, Any

from roomcast.realtime.cluster.operators import BroadcastOperator, RemoteSocket
from roomcast.realtime.core.broadcasting import NamespaceOperator
from roomcast.realtime.core.handlers.hooks import IncomingEvent
from roomcast.realtime.core.handlers.registry import NO_ACK
from roomcast.realtime.core.observer import Observer
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.core.socket import Ack, Socket
from roomcast.realtime.errors import (
    AckLimitExceeded,
    AckTimeout,
    AddressInUse,
    AddressUnavailable,
    BroadcastAckTimeout,
    ClusterTimeout,
    ConnectionRefusedError,  # noqa: A004 - python-socketio's name
    EventRefused,
    QueryLimitExceeded,
    RealtimeError,
    RoomLimitExceeded,
    ServeError,
    SocketGone,
    StartupFailed,
)
from roomcast.realtime.fanout.message import EncodedEvent
from roomcast.realtime.hooks import DynamicNamespace
from roomcast.realtime.namespace import Namespace
from roomcast.realtime.options import ANY_ORIGIN, CookieOptions, RecoveryOptions, ServeOptions, ServerOptions
from roomcast.realtime.requests.handshake import Handshake
from roomcast.realtime.server import Server

if TYPE_CHECKING:
    from roomcast.realtime.serving.process import Site, loop_factory, serve
else:

    def __getattr__(name: str) -> Any:
        """What needs uvicorn, which an application that mounts its server may not have."""
        if name not in {"Site", "loop_factory", "serve"}:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            from roomcast.realtime.serving import process
        except ModuleNotFoundError as error:
            raise ImportError(f"{name} needs {error.name}: pip install 'roomcast-realtime[serve]'") from error
        value = globals()[name] = getattr(process, name)
        return value


__all__ = [
    "ANY_ORIGIN",
    "NO_ACK",
    "Ack",
    "AckLimitExceeded",
    "AckTimeout",
    "AddressInUse",
    "AddressUnavailable",
    "BroadcastAckTimeout",
    "BroadcastOperator",
    "ClusterTimeout",
    "ConnectionRefusedError",
    "CookieOptions",
    "DynamicNamespace",
    "EncodedEvent",
    "EventRefused",
    "Handshake",
    "IncomingEvent",
    "Namespace",
    "NamespaceOperator",
    "Observer",
    "QueryLimitExceeded",
    "RealtimeError",
    "Reason",
    "RecoveryOptions",
    "RemoteSocket",
    "RoomLimitExceeded",
    "ServeError",
    "ServeOptions",
    "Server",
    "ServerOptions",
    "Site",
    "Socket",
    "SocketGone",
    "StartupFailed",
    "loop_factory",
    "serve",
]
