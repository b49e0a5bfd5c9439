"""A programmable Socket.IO server: sessions, namespaces, rooms, acks, fan-out, transports. Knows nothing of chat.

May import: wire.

| module | what |
|---|---|
| ``server``, ``namespace`` | python-socketio's names over ours; handlers and how they are found |
| ``socket``, ``hub`` | one client in one namespace; the sockets and rooms of a namespace |
| ``fanout``, ``message`` | the log of a tick's emits: encoded and framed once, one ordered write for each connection |
| ``connection``, ``engine`` | one Engine.IO connection; all of them and their end |
| ``heartbeat`` | one timer for all deadlines |
| ``inbox``, ``dispatch`` | order and bounds of handlers; calling them |
| ``application`` | the ASGI application over the transports ``polling`` and ``asgi_websocket`` |
| ``websocket_protocol`` | the fast path |
| ``admission``, ``origins``, ``proxies``, ``handshake`` | who may connect, and what is known of them |
| ``serving``, ``http_protocol`` | the process: binding, bounds of requests, signals, the drain |
| ``adapters`` | the port to the other servers of a cluster |
| ``observer``, ``options``, ``errors`` | what is told, what can be set, what can go wrong |
"""

from roomcast.realtime.core.handshake import Handshake
from roomcast.realtime.core.observer import Observer
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.core.socket import Socket
from roomcast.realtime.errors import (
    AckLimitExceeded,
    AckTimeout,
    AddressInUse,
    AddressUnavailable,
    ConnectionRefusedError,  # noqa: A004 - python-socketio's name
    RealtimeError,
    RoomLimitExceeded,
    ServeError,
    SocketGone,
    StartupFailed,
)
from roomcast.realtime.fanout.message import EncodedEvent
from roomcast.realtime.namespace import Namespace
from roomcast.realtime.options import ANY_ORIGIN, ServeOptions, ServerOptions
from roomcast.realtime.server import Server
from roomcast.realtime.serving.process import Site, loop_factory, serve

__all__ = [
    "ANY_ORIGIN",
    "AckLimitExceeded",
    "AckTimeout",
    "AddressInUse",
    "AddressUnavailable",
    "ConnectionRefusedError",
    "EncodedEvent",
    "Handshake",
    "Namespace",
    "Observer",
    "RealtimeError",
    "Reason",
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
