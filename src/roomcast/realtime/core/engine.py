"""All connections of one server: handshakes, clocks, the fan-out log, the hubs, the end.

Layer: realtime.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from roomcast.realtime.core.cluster import Adapter, Broadcast, Command, Disconnect, Join, Leave, Selection
from roomcast.realtime.core.connection import SID_CHARS, Connection, new_sid
from roomcast.realtime.core.dispatch import Dispatcher
from roomcast.realtime.core.handshake import Handshake
from roomcast.realtime.core.hub import Hub
from roomcast.realtime.core.nodes import NODE_ID_CHARS, Directory
from roomcast.realtime.core.observer import Observer
from roomcast.realtime.core.origins import OriginPolicy
from roomcast.realtime.core.ports import Transport
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.core.registry import CATCH_ALL, Registry
from roomcast.realtime.core.socket import Socket
from roomcast.realtime.core.timers import TimerWheel
from roomcast.realtime.errors import RoomLimitExceeded
from roomcast.realtime.fanout.log import FanoutLog
from roomcast.realtime.fanout.message import EncodedEvent, OutgoingMessage
from roomcast.realtime.fanout.pacing import Pacer
from roomcast.realtime.forwarding.forwarder import Forwarder
from roomcast.realtime.options import ServerOptions
from roomcast.wire.engineio_http import TransportName
from roomcast.wire.engineio_session import PING_PACKET
from roomcast.wire.socketio import DEFAULT_NAMESPACE

logger = logging.getLogger(__name__)

_PING: Final = OutgoingMessage(PING_PACKET.encode())

# Timers fire up to a twentieth of the shortest interval late, and never finer than the loop's own clock.
_RESOLUTION_SHARE: Final = 20
_RESOLUTION_MIN_S: Final = 0.005
_RESOLUTION_MAX_S: Final = 0.25


# A handler that does not end when it is cancelled is left to the loop's own end.
_CANCEL_LIMIT_S: Final = 0.5


class Engine:
    """What the transports and the `Server` share.

    Attributes:
        options: The server's options.
        observer: Told of what happens; guarded.
        adapter: The way to the other servers.
        registry: Handlers.
        dispatcher: Runs them.
        log: Everything that is sent goes through it.
        connections: Live sessions by Engine.IO id, those that are closing included.
        tasks: Handlers that run.
        origins: The rules for handshakes.
        accepting: Whether new sessions are accepted; False once the end has begun.
        forwarder: Reaches the sessions of other nodes; None: there are no others, or every client stays with one.
    """

    def __init__(
        self, options: ServerOptions, observer: Observer, adapter: Adapter, directory: Directory | None = None
    ) -> None:
        self.options = options
        self.adapter = adapter
        adapter.bind(self)
        self.observer = observer
        self.registry = Registry()
        self.dispatcher = Dispatcher(self.registry, observer)
        self.log: FanoutLog[Connection] = FanoutLog(Pacer(options.flush_rest_limit_s), options.flush_limit_bytes)
        self.connections: dict[str, Connection] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.origins = OriginPolicy(options)
        self.accepting = True
        self.limits = options.limits()
        self.timeouts = options.timeouts()
        websocket = TransportName.WEBSOCKET
        self.upgrades = (websocket,) if websocket in options.transports else ()
        self.forwarder = None if directory is None else Forwarder(directory, self)
        self._node_id = "" if directory is None else directory.node_id
        self._hubs: dict[str, Hub] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wheel: TimerWheel | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it runs in, from its first connection on."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    @property
    def wheel(self) -> TimerWheel:
        """All its deadlines."""
        if self._wheel is None:
            options = self.options
            shortest = min(options.ping_interval_s, options.ping_timeout_s, options.connect_timeout_s)
            resolution = min(max(shortest / _RESOLUTION_SHARE, _RESOLUTION_MIN_S), _RESOLUTION_MAX_S)
            self._wheel = TimerWheel(self.loop, resolution)
        return self._wheel

    def now(self) -> float:
        """Monotonic seconds."""
        return self.loop.time()

    def control(self, packet: str) -> OutgoingMessage:
        """The message of a control packet."""
        return _PING if packet == PING_PACKET else OutgoingMessage(packet.encode())

    # -- connections --------------------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether a new session has to be refused."""
        limit = self.options.max_connections
        pipes = 0 if self.forwarder is None else len(self.forwarder.pipes)
        return not self.accepting or (limit is not None and len(self.connections) + pipes >= limit)

    def new_session_id(self) -> str:
        """An id that cannot be guessed, and ends with this node's, if it has one."""
        return new_sid() + self._node_id

    def owner(self, sid: str) -> str | None:
        """The other node that made a session id; None: this one did, or nobody."""
        if not self._node_id or len(sid) != SID_CHARS + NODE_ID_CHARS:
            return None
        owner = sid[SID_CHARS:]
        return None if owner == self._node_id else owner

    def open(self, handshake: Handshake, transport: Transport) -> Connection:
        """Begin a session; its OPEN packet is on its way when this returns."""
        connection = Connection(self, handshake, transport, self.limits)
        self.connections[connection.sid] = connection
        self.observer.connection_opened(connection)
        connection.open()
        return connection

    def holds(self, connection: Connection) -> bool:
        """Whether the session is still known."""
        return connection.sid in self.connections

    def forget(self, connection: Connection, reason: Reason) -> None:
        """A session has ended."""
        if self.connections.pop(connection.sid, None) is not None:
            self.observer.connection_closed(connection, reason)

    # -- namespaces ---------------------------------------------------------------------------------------------------

    def knows(self, namespace: str) -> bool:
        """Whether clients may ask for this namespace."""
        names = self.options.namespaces
        return (
            namespace == DEFAULT_NAMESPACE or namespace in names or CATCH_ALL in names or self.registry.knows(namespace)
        )

    def hub(self, namespace: str) -> Hub:
        """The namespace's sockets and rooms."""
        hub = self._hubs.get(namespace)
        if hub is None:
            hub = self._hubs[namespace] = Hub(namespace, self.log)
            self.adapter.serve(namespace)
        return hub

    def used_hub(self, namespace: str) -> Hub | None:
        """The namespace's sockets and rooms; None if it has none."""
        return self._hubs.get(namespace)

    def drop_hub(self, hub: Hub) -> None:
        """A namespace has no socket left: with ``*`` clients invent names, which must not pile up."""
        if self._hubs.get(hub.namespace) is hub:
            del self._hubs[hub.namespace]
            self.adapter.unserve(hub.namespace)

    def hubs(self) -> Iterable[Hub]:
        """The namespaces that have sockets."""
        return self._hubs.values()

    def obey(self, command: Command) -> None:
        """Do for this server's sockets what was asked of the whole cluster (`adapters.Node`)."""
        if isinstance(command, Broadcast):
            to = command.to
            self.broadcast(to.namespace, to.rooms, command.message, to.skip, volatile=command.volatile)
            return
        hub = self._hubs.get(command.who.namespace)
        for socket in [] if hub is None else hub.selected(command.who.rooms, command.who.skip):
            match command:
                case Join(_, rooms):
                    self._join(socket, rooms)
                case Leave(_, rooms):
                    for room in rooms:
                        socket.leave(room)
                case Disconnect(_, close=True):
                    # Packets first, as Node does: a client that only sees its connection end would come back.
                    for other in list(socket.connection.sockets.values()):
                        other.disconnect()
                    socket.connection.close(Reason.SERVER_DISCONNECT)
                case Disconnect():
                    socket.disconnect()

    def _join(self, socket: Socket, rooms: Sequence[str]) -> None:
        try:
            for room in rooms:
                socket.join(room)
        except RoomLimitExceeded as error:
            logger.warning("%r cannot join: %s", socket, error)

    def namespaces(self) -> Collection[str]:
        """See `adapters.Node`."""
        named = {DEFAULT_NAMESPACE, *self.options.namespaces, *self.registry.namespaces()}
        return (named - {CATCH_ALL}) | self._hubs.keys()

    def occupied(self, namespace: str, room: str | None) -> bool:
        """See `adapters.Node`."""
        hub = self._hubs.get(namespace)
        return hub is not None and (room is None or room in hub.rooms or room in hub.sockets)

    def rooms(self, namespace: str) -> Collection[str]:
        """See `adapters.Node`."""
        hub = self._hubs.get(namespace)
        return () if hub is None else {*hub.rooms, *(socket.sid for socket in hub.members(None))}

    def members(self, who: Selection) -> Sequence[Socket]:
        """See `adapters.Node`."""
        hub = self._hubs.get(who.namespace)
        return () if hub is None else hub.selected(who.rooms, who.skip)

    def broadcast(
        self,
        namespace: str,
        rooms: Collection[str] | None,
        message: EncodedEvent,
        skip: Collection[str] = (),
        *,
        volatile: bool = False,
    ) -> None:
        """Emit to this server's sockets; see `Hub.broadcast`."""
        hub = self._hubs.get(namespace)
        if hub is not None:
            hub.broadcast(rooms, message.message(namespace), skip, volatile=volatile)

    # -- end ----------------------------------------------------------------------------------------------------------

    async def shutdown(self) -> None:
        """Close every connection and wait for the handlers."""
        self.accepting = False
        for connection in list(self.connections.values()):
            connection.close(Reason.SHUTDOWN)
        while self.tasks:
            await asyncio.wait(set(self.tasks))
        await self.abort()

    async def abort(self) -> None:
        """End what is left at once: connections, handlers, timers. It can be used again afterwards."""
        for connection in list(self.connections.values()):
            connection.cut(Reason.SHUTDOWN)
        for task in self.tasks:
            task.cancel("the server has ended")
        if self.tasks:
            await asyncio.wait(set(self.tasks), timeout=_CANCEL_LIMIT_S)
        if self.forwarder is not None:
            await self.forwarder.close()
        self.log.flush()
        if self._wheel is not None:
            self._wheel.stop()
            self._wheel = None
        self._loop = None
        self.accepting = True
