"""A programmable Socket.IO server: sessions, namespaces, rooms, acks, fan-out, transports. Knows nothing of chat.

May import: wire.
"""

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
from roomcast.realtime.handshake import Handshake
from roomcast.realtime.message import EncodedEvent
from roomcast.realtime.namespace import Namespace
from roomcast.realtime.observer import NullObserver, Observer, Reason
from roomcast.realtime.options import ANY_ORIGIN, ServeOptions, ServerOptions
from roomcast.realtime.server import Server
from roomcast.realtime.serving import Site, loop_factory, serve
from roomcast.realtime.socket import Socket

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
    "NullObserver",
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
