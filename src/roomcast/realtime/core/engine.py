"""One server: its connections, namespaces, timers and handlers, from the first handshake to the shutdown.

Layer: realtime.core.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

from roomcast.realtime.cluster.commands import (
    AckListener,
    Adapter,
    Broadcast,
    Command,
    Disconnect,
    Join,
    Leave,
    OrderedAdapter,
    PendingAcks,
    RoomWatcher,
    Selection,
    ServerEvent,
    SocketDescription,
)
from roomcast.realtime.cluster.gathering import Queries
from roomcast.realtime.cluster.membership import Membership
from roomcast.realtime.cluster.nodes import NODE_ID_CHARS, SessionForwarder
from roomcast.realtime.cluster.operators import BroadcastOperator
from roomcast.realtime.core.acks import BroadcastAcks
from roomcast.realtime.core.backlogs import Backlogs
from roomcast.realtime.core.connection import SID_CHARS, Connection, new_sid
from roomcast.realtime.core.handlers.dispatch import Dispatcher
from roomcast.realtime.core.handlers.dynamic import DynamicNamespaces
from roomcast.realtime.core.handlers.hooks import HookedDispatcher, Hooks
from roomcast.realtime.core.handlers.listeners import AnyListener
from roomcast.realtime.core.handlers.registry import CATCH_ALL, Parent, Registry
from roomcast.realtime.core.hub import Hub
from roomcast.realtime.core.observer import Observer
from roomcast.realtime.core.ports import NewPackets, Transport
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.core.recovery.ordered import OrderedRecovery
from roomcast.realtime.core.recovery.sessions import RecoverableHub, Recovery
from roomcast.realtime.core.server_events import ServerEventHandler, ServerEvents
from roomcast.realtime.core.socket import Socket, SocketConnection
from roomcast.realtime.errors import RoomLimitExceeded
from roomcast.realtime.fanout.log import FanoutLog
from roomcast.realtime.fanout.pacing import Pacer
from roomcast.realtime.limits.reading import ReadTurns
from roomcast.realtime.limits.timers import TimerWheel
from roomcast.realtime.limits.unfinished import UnfinishedInput
from roomcast.realtime.options import RecoveryOptions, ServerOptions
from roomcast.realtime.requests.handshake import Handshake
from roomcast.realtime.requests.origins import OriginPolicy
from roomcast.wire.engineio_http import TransportName
from roomcast.wire.socketio import DEFAULT_NAMESPACE
from roomcast.wire.socketio_msgpack import MsgpackSession
from roomcast.wire.socketio_session import SocketSession

logger = logging.getLogger(__name__)

# Resolution of the timers, and so the longest delay of one: a twentieth of the shortest interval, within these limits.
_RESOLUTION_SHARE: Final = 20
_RESOLUTION_MIN_S: Final = 0.005
_RESOLUTION_MAX_S: Final = 0.05

# The part of ``max_connections`` that sessions without a namespace may take: anyone can open them. Half of them is more
# than the clients of a restarted server open before the first ones are connected.
_UNCONNECTED_PART: Final = 2
# Beyond that part, the oldest one yields after this share of ``connect_timeout_s``, and new ones are refused before.
_YIELD_SHARE: Final = 3

# How long `Engine.abort` waits for cancelled handlers. It then leaves the rest to the shutdown of the event loop.
_CANCEL_LIMIT_S: Final = 0.5


class Engine:
    """The state that transports and `Server` share.

    Args:
        options: The server's options.
        observer: Receives metrics and log events; must not raise (`observer.GuardedObserver`).
        adapter: Carries commands to the other servers.
        node_id: Id of this node in session ids; empty: there are no other nodes.
        forwarder: Forwards requests to sessions on other nodes; None: there are no other nodes.

    Attributes:
        membership: Starts the adapter at the first use of the server; commands for other servers go through it.
        registry: The registered handlers.
        dynamic: The namespaces whose names follow a rule.
        queries: Queries to the other servers.
        server_events: The handlers for events of the other servers.
        max_connections: The option, or what the process has descriptors for if that is less.
        connections: Open and closing sessions by Engine.IO session id.
        unconnected: See `ConnectionHost`; also the next.
        silent: The oldest one first.
        backlogs: The connections whose client has much left to read.
        admitting: Number of requests about which ``allow_request`` has not decided yet.
        new_packets: See `ConnectionHost`.
        tasks: Tasks of the running handlers.
        turns: The connections whose input waits.
        origins: The rules for ``Origin`` and ``Host``.
        recovery: The sessions that clients can return to; None: recovery is off.
        accepting: Whether new sessions are accepted; False during a drain.
    """

    def __init__(
        self,
        options: ServerOptions,
        observer: Observer,
        adapter: Adapter,
        node_id: str = "",
        forwarder: SessionForwarder | None = None,
    ) -> None:
        self.options = options
        self.observer = observer
        self.adapter = adapter
        adapter.bind(self)
        self.membership = Membership(adapter)
        self._on_room = adapter.watch_room if isinstance(adapter, RoomWatcher) else None
        self.forwarder = forwarder
        self.registry = Registry()
        self.dynamic = DynamicNamespaces(self.registry, keep_empty=not options.cleanup_empty_child_namespaces)
        self.dispatcher = Dispatcher(self.registry, observer)
        self.recovery = None if options.recovery is None else self._new_recovery(options.recovery)
        self.queries = Queries(adapter, self.membership, options.max_queries, options.query_limit_bytes)
        self.backlogs = Backlogs(lambda: self.loop, options.outbox_limit_bytes)
        # One flush must not take a client from a backlog that emits do not wait for to one that closes its connection.
        flush_limit_bytes = min(options.flush_limit_bytes, self.backlogs.watch_bytes)
        self.log: FanoutLog[SocketConnection] = FanoutLog(Pacer(options.flush_rest_limit_s), flush_limit_bytes)
        self.connections: dict[str, Connection] = {}
        self.max_connections = options.max_connections
        self.unconnected: set[SocketConnection] = set()
        self.silent: dict[SocketConnection, float] = {}
        self.admitting = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.server_events = ServerEvents(self.tasks, options.max_queries)
        self.turns = ReadTurns()
        self.origins = OriginPolicy(options)
        self.accepting = True
        self.new_packets: NewPackets = MsgpackSession if options.parser == "msgpack" else SocketSession
        self.limits = options.limits()
        self.timeouts = options.timeouts()
        websocket = TransportName.WEBSOCKET
        self.upgrades: Sequence[TransportName] = (websocket,) if websocket in options.transports else ()
        self._hooks: Hooks | None = None
        self._node_id = node_id
        self._hubs: dict[str, Hub] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wheel: TimerWheel | None = None
        self._unfinished: UnfinishedInput | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The server's event loop: the one that is running at the first access."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    @property
    def wheel(self) -> TimerWheel:
        """The timer wheel for all deadlines of the server."""
        if self._wheel is None:
            options = self.options
            shortest = min(options.ping_interval_s, options.ping_timeout_s, options.connect_timeout_s)
            resolution = min(max(shortest / _RESOLUTION_SHARE, _RESOLUTION_MIN_S), _RESOLUTION_MAX_S)
            self._wheel = TimerWheel(self.loop, resolution)
        return self._wheel

    @property
    def unfinished(self) -> UnfinishedInput:
        """See `ConnectionHost`."""
        if self._unfinished is None:
            options = self.options
            self._unfinished = UnfinishedInput(self.wheel, options.unfinished_limit_bytes, options.unfinished_timeout_s)
        return self._unfinished

    @property
    def hooks(self) -> Hooks:
        """Middleware and listeners of namespaces. The first access makes events pass them."""
        if self._hooks is None:
            self._hooks = Hooks(self.registry)
            self.dispatcher = HookedDispatcher(self.registry, self.observer, self._hooks)
            self.registry.hooked = True
        return self._hooks

    def add_outgoing_listener(self, namespace: str | Parent, listener: AnyListener) -> None:
        """Call a listener for what is emitted to sockets of a namespace, those that are connected now included."""
        hooks = self.hooks
        hooks.listeners(namespace).outgoing.append(listener)
        for hub in self._hubs.values():
            if hooks.covers(namespace, hub.namespace):
                for socket in hub.sockets.values():
                    socket.listen_for_namespace(hooks.outgoing(hub.namespace))

    def enable_hooks(self) -> None:
        """See `ConnectionHost`."""
        _ = self.hooks

    def now(self) -> float:
        """The current time in monotonic seconds."""
        return self.loop.time()

    # -- connections --------------------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether a new session must be refused."""
        return self.crowded and (not self.accepting or self._yielding() is None)

    @property
    def crowded(self) -> bool:
        """Whether a new session is refused unless another one yields.

        The server is draining, or ``max_connections`` is reached, or half of it by sessions without a namespace.
        """
        limit = self.max_connections
        pipes = 0 if self.forwarder is None else 2 * len(self.forwarder.pipes)  # of two sockets each
        return (
            not self.accepting
            or len(self.connections) + pipes >= limit
            or len(self.unconnected) + self.admitting >= max(1, limit // _UNCONNECTED_PART)
        )

    def _yielding(self) -> SocketConnection | None:
        """The oldest session that has not sent a CONNECT packet, if it must yield to a new one."""
        latest = self.now() - self.options.connect_timeout_s / _YIELD_SHARE
        oldest = next(iter(self.silent), None)
        return oldest if oldest is not None and self.silent[oldest] <= latest else None

    def limit(self, connections: int, forwards: int) -> None:
        """Lower ``max_connections`` and ``max_forwards`` to what the process has descriptors for."""
        self.max_connections = min(self.options.max_connections, connections)
        if self.forwarder is not None:
            self.forwarder.max_forwards = min(self.options.max_forwards, forwards)

    def new_session_id(self) -> str:
        """An id that cannot be guessed, with the id of this node at its end."""
        return new_sid() + self._node_id

    def owner_of(self, sid: str) -> str | None:
        """The id of the node that created a session; None: this node created it, or ``sid`` contains no node id."""
        if not self._node_id or len(sid) != SID_CHARS + NODE_ID_CHARS:
            return None
        owner = sid[SID_CHARS:]
        return None if owner == self._node_id else owner

    def open(self, handshake: Handshake, bind: Callable[[Connection], Transport], head: bytes = b"") -> Connection:
        """Open a session and send its OPEN packet.

        Args:
            handshake: The request that opens the session.
            bind: Called with the new connection; attaches it to its transport and returns the transport.
            head: See `Connection.open`.
        """
        yielding = self._yielding() if self.crowded else None
        if yielding is not None:
            yielding.abort(Reason.CONNECT_TIMEOUT)
        connection = Connection(self, handshake, bind)
        self.connections[connection.sid] = connection
        self.unconnected.add(connection)
        self.silent[connection] = self.now()
        self.observer.connection_opened(connection)
        connection.open(head)
        return connection

    def has_session(self, sid: str) -> bool:
        """See `ConnectionHost`."""
        return sid in self.connections

    def remove_session(self, sid: str, reason: Reason) -> None:
        """See `ConnectionHost`."""
        connection = self.connections.pop(sid, None)
        if connection is not None:
            self.unconnected.discard(connection)
            self.silent.pop(connection, None)
            self.unfinished.release(connection)
            self.backlogs.forget(connection)
            self.observer.connection_closed(connection, reason)

    # -- namespaces ---------------------------------------------------------------------------------------------------

    def accepts_namespace(self, namespace: str, auth: Any) -> bool | Awaitable[bool]:
        """See `ConnectionHost`. Names come before rules, and rules before ``*``, as for handlers."""
        listed = self.options.namespaces
        if namespace == DEFAULT_NAMESPACE:
            return True
        if namespace in listed or self.registry.names(namespace):
            self.dynamic.attach(namespace)
            return True
        any_name = CATCH_ALL in listed or self.registry.names(CATCH_ALL)
        found = self.dynamic.admit(namespace, auth)
        if isinstance(found, bool):
            return found or any_name
        return self._any_of(found, any_name)

    async def _any_of(self, found: Awaitable[bool], otherwise: bool) -> bool:
        return await found or otherwise

    def release_namespace(self, namespace: str) -> None:
        """See `ConnectionHost`."""
        if namespace not in self._hubs:
            self.dynamic.release(namespace)

    def hub(self, namespace: str) -> Hub:
        """See `ConnectionHost`."""
        hub = self._hubs.get(namespace)
        if hub is None:
            if self.recovery is None:
                hub = Hub(namespace, self.log, self._drop_hub, self._on_room)
            else:
                hub = RecoverableHub(namespace, self.log, self._drop_hub, self._on_room, self.recovery)
            self._hubs[namespace] = hub
            self.adapter.serve(namespace)
        return hub

    def used_hub(self, namespace: str) -> Hub | None:
        """The hub of a namespace; None if the namespace has no socket."""
        return self._hubs.get(namespace)

    def everyone(self, namespace: str) -> BroadcastOperator:
        """See `ConnectionHost`."""
        return BroadcastOperator(self, namespace)

    def _drop_hub(self, hub: Hub) -> None:
        if self.recovery is not None and self.recovery.holds(hub.namespace):
            return  # it records what the clients of the lost sessions miss
        # If the option ``namespaces`` has ``*``, clients choose the names, and hubs without sockets would accumulate.
        if self._hubs.get(hub.namespace) is hub:
            del self._hubs[hub.namespace]
            self.dynamic.release(hub.namespace)
            self.adapter.unserve(hub.namespace)

    def release_hub(self, namespace: str) -> None:
        """See `recovery.RecoveryHost`."""
        hub = self._hubs.get(namespace)
        if hub is not None and not hub.sockets:
            self._drop_hub(hub)

    # -- `cluster.Node`, for the adapter ------------------------------------------------------------------------------

    def apply_command(self, command: Command) -> None:
        """See `cluster.Node`."""
        if isinstance(command, Broadcast):
            hub = self._hubs.get(command.to.namespace)
            if hub is not None:
                message = command.message.message(hub.namespace)
                hub.broadcast(command.to.rooms, message, command.to.skip, volatile=command.volatile)
            return
        if isinstance(command, ServerEvent):
            self.server_events.receive(command, None)
            return
        if self.recovery is not None:
            self.recovery.record_command(command)
        for socket in self.recipients(command.sockets):
            self._apply_to(socket, command)

    def apply_everywhere(self, command: Command) -> None:
        """Apply a command on this server and the others."""
        if self.recovery is not None:
            self.recovery.apply_everywhere(command)
        else:
            self.apply_command(command)
            self.membership.publish(command)

    def _new_recovery(self, options: RecoveryOptions) -> Recovery:
        adapter = self.adapter
        if isinstance(adapter, OrderedAdapter):
            return OrderedRecovery(options, self, new_sid, adapter)
        return Recovery(options, self, new_sid)

    def _apply_to(self, socket: Socket, command: Join | Leave | Disconnect) -> None:
        match command:
            case Join(_, rooms):
                self._join(socket, rooms)
            case Leave(_, rooms):
                for room in rooms:
                    socket.leave(room)
            case Disconnect(_, close=True):
                # Send DISCONNECT packets first, as Node does: without them the client would reconnect.
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
            logger.warning("%r cannot join a room: %s", socket, error)

    def namespaces(self) -> Collection[str]:
        """See `cluster.Node`."""
        handled = self.registry.namespaces() | self.server_events.namespaces()
        named = {DEFAULT_NAMESPACE, *self.options.namespaces, *handled}
        return (named - {CATCH_ALL}) | self._hubs.keys()

    def occupied(self, namespace: str, room: str | None) -> bool:
        """See `cluster.Node`."""
        hub = self._hubs.get(namespace)
        return hub is not None and (room is None or hub.occupied(room) or self.recovery is not None)

    def rooms(self, namespace: str) -> Collection[str]:
        """See `cluster.Node`."""
        hub = self._hubs.get(namespace)
        return () if hub is None else {*hub.rooms, *(socket.sid for socket in hub.members(None))}

    def members(self, selection: Selection) -> Sequence[Socket]:
        """The selected connected sockets of this server, each once."""
        hub = self._hubs.get(selection.namespace)
        return () if hub is None else hub.select(selection.rooms, selection.skip)

    def sids(self, selection: Selection) -> Sequence[str]:
        """See `cluster.Node`."""
        return [socket.sid for socket in self.members(selection)]

    def describe(self, selection: Selection) -> Sequence[SocketDescription]:
        """See `cluster.Node`."""
        return [
            SocketDescription(socket.sid, socket.handshake, socket.rooms, socket.data)
            for socket in self.members(selection)
        ]

    def on_server_event(self, namespace: str, event: str, handler: ServerEventHandler) -> None:
        """See `broadcasting.NamespaceHost`."""
        self.server_events.add(namespace, event, handler)
        self.adapter.serve(namespace)

    def receive(self, event: ServerEvent, answer: Callable[[Any], None] | None) -> None:
        """See `cluster.Node`."""
        self.server_events.receive(event, answer)

    def ask(self, selection: Selection, args: Sequence[Any], listener: AckListener) -> PendingAcks:
        """See `cluster.Node`."""
        return BroadcastAcks(selection.namespace, self.recipients(selection), args, listener)

    def recipients(self, selection: Selection) -> Sequence[Socket]:
        """The selected sockets of this server that are connected or inside their ``connect`` handler, each once."""
        hub = self._hubs.get(selection.namespace)
        return () if hub is None else hub.select(selection.rooms, selection.skip, connecting=True)

    @property
    def alone(self) -> bool:
        """See `operators.OperatorHost`."""
        return self.adapter.alone

    @property
    def emits_wait(self) -> bool:
        """See `operators.OperatorHost`."""
        return self.log.flushed_early or bool(self.backlogs.watched)

    async def make_room(self, selection: Selection) -> None:
        """See `operators.OperatorHost`."""
        if self.log.flushed_early:
            await asyncio.sleep(0)
            self.log.flushed_early = False  # after the pause, so that the emits of other tasks keep their order
        hub = self._hubs.get(selection.namespace)
        if hub is not None:
            await self.backlogs.wait(lambda connection: hub.concerns(connection, selection.rooms, selection.skip))

    # -- shutdown -----------------------------------------------------------------------------------------------------

    async def shutdown(self) -> None:
        """Close every connection, and wait for the handlers."""
        self.accepting = False
        for connection in list(self.connections.values()):
            connection.close(Reason.SHUTDOWN)
        while self.tasks:
            await asyncio.wait(set(self.tasks))
        await self.abort()

    async def abort(self) -> None:
        """End the remaining connections, handlers and timers at once. Afterwards the engine can be used again."""
        for connection in list(self.connections.values()):
            connection.abort(Reason.SHUTDOWN)
        for task in self.tasks:
            task.cancel("the server has stopped")
        if self.tasks:
            await asyncio.wait(set(self.tasks), timeout=_CANCEL_LIMIT_S)
        if self.forwarder is not None:
            await self.forwarder.close()
        self.log.flush()
        if self.recovery is not None:
            self.recovery.clear()
        self.backlogs.stop()
        self.queries.stop()
        if self._wheel is not None:
            self._wheel.stop()
            self._wheel = self._unfinished = None
        self._loop = None
        self.accepting = True
