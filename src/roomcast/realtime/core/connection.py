"""One Engine.IO connection: its session, its transport, and the client's sockets in each namespace.

Everything that is sent goes through the server's fan-out log, so that it has one order. Everything that arrives goes
through the wire's session machines, whose effects are carried out here.

Layer: realtime. Source: engine.io 6 ``lib/socket.ts``, socket.io 4.8 ``lib/client.ts``.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from roomcast.realtime.core.inbox import Inbox
from roomcast.realtime.core.ports import Candidate, Transport
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.core.socket import Phase, Socket
from roomcast.realtime.fanout.message import CLOSE, Batch
from roomcast.wire.engineio_effects import (
    CloseCandidate,
    Closed,
    ClosePoll,
    CloseReason,
    Effect,
    MessageReceived,
    ReleasePoll,
    Send,
    SendOnCandidate,
    Upgraded,
)
from roomcast.wire.engineio_session import EngineSession
from roomcast.wire.errors import EncodeError, RemoteError
from roomcast.wire.limits import Limits
from roomcast.wire.socketio_session import (
    AckReceived,
    ConnectRequested,
    Disconnected,
    EventReceived,
    NamespaceState,
    SocketSession,
)

if TYPE_CHECKING:
    from roomcast.realtime.core.dispatch import Unfinished
    from roomcast.realtime.core.engine import Engine
    from roomcast.realtime.core.handshake import Handshake
    from roomcast.realtime.fanout.log import FanoutLog
    from roomcast.realtime.options import ServerOptions
    from roomcast.wire.engineio_http import TransportName

# 120 bits, as 20 characters like Node's: a polling session is whoever knows its id.
_SID_BYTES = 15
SID_CHARS = 20

_REASONS = {
    CloseReason.PING_TIMEOUT: Reason.PING_TIMEOUT,
    CloseReason.TRANSPORT_CLOSE: Reason.TRANSPORT_CLOSE,
    CloseReason.TRANSPORT_ERROR: Reason.TRANSPORT_ERROR,
    CloseReason.PARSE_ERROR: Reason.PARSE_ERROR,
    CloseReason.FORCED_CLOSE: Reason.SERVER_DISCONNECT,
}


def new_sid() -> str:
    """An id that cannot be guessed."""
    return secrets.token_urlsafe(_SID_BYTES)


class Connection:
    """A client's connection.

    Attributes:
        engine: What it belongs to.
        sid: The Engine.IO session id: a secret between the client and us.
        handshake: Its first request.
        session: Its Engine.IO state.
        packets: Its Socket.IO state.
        sockets: The client's sockets by namespace.
        write: See `fanout.Outlet`.
    """

    __slots__ = (
        "_candidate",
        "_connect_deadline",
        "_deadline",
        "_inbox",
        "_overflown",
        "_why",
        "engine",
        "handshake",
        "packets",
        "session",
        "sid",
        "sockets",
        "transport",
        "write",
    )

    def __init__(self, engine: Engine, handshake: Handshake, transport: Transport, limits: Limits) -> None:
        self.engine = engine
        self.handshake = handshake
        self.transport = transport
        self.sid = engine.new_session_id()
        self.session = EngineSession(
            self.sid,
            handshake.transport,
            upgrades=engine.upgrades,
            limits=limits,
            timeouts=engine.timeouts,
        )
        self.packets = SocketSession(engine.now(), limits=limits, timeouts=engine.timeouts)
        self.sockets: dict[str, Socket] = {}
        transport.bind(self)
        self.write: Callable[[bytes], object] | None = transport.direct()
        self._inbox = Inbox(self)
        self._candidate: Candidate | None = None
        self._why: Reason | None = None
        self._overflown = False
        self._deadline = engine.wheel.deadline(self._on_time)
        self._connect_deadline = engine.wheel.deadline(self._on_connect_deadline)

    def __repr__(self) -> str:
        """Transport and state; the id is a secret."""
        return f"<Connection {self.session.transport} {self.session.state.value} from {self.handshake.address}>"

    # -- what its parts ask of it -------------------------------------------------------------------------------------

    @property
    def options(self) -> ServerOptions:
        """The server's options."""
        return self.engine.options

    @property
    def log(self) -> FanoutLog[Connection]:
        """The server's fan-out log."""
        return self.engine.log

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """Where running handlers are kept."""
        return self.engine.tasks

    @property
    def transport_name(self) -> TransportName:
        """The transport that carries it now."""
        return self.session.transport

    def pause_reading(self) -> None:
        """The inbox is full."""
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """The inbox has room."""
        self.transport.resume_reading()

    @property
    def inbox_full(self) -> bool:
        """Whether handlers are behind with what this client sent."""
        return self._inbox.full

    def send(self, batch: Batch) -> None:
        """See `fanout.Outlet`."""
        self.transport.send(batch)

    # -- life ---------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Send the OPEN packet and start the clocks."""
        now = self.engine.now()
        self._send(self.session.open(now))
        self._arm(now)
        self._connect_deadline.arm(self.options.connect_timeout_s)

    def close(self, reason: Reason) -> None:
        """End the connection, behind everything that was emitted to it."""
        self._why = reason
        self._end_sockets(reason)
        self.apply(self.session.close(self.engine.now()))
        self._arm(self.engine.now())

    def cut(self, reason: Reason) -> None:
        """End the connection at once; what waits for it is lost."""
        self._why = reason
        self.write = None
        self._end_sockets(reason)
        self.transport.abort()
        self.apply(self.session.transport_failed())

    def overflow(self, waiting_bytes: int) -> None:
        """The client does not read: cut it, once nobody is in the middle of something."""
        if not self._overflown:
            self._overflown = True
            self.engine.loop.call_soon(self._cut_slow, waiting_bytes)

    @property
    def overflown(self) -> bool:
        """Whether it is to be cut: nothing more needs to be queued."""
        return self._overflown

    def _cut_slow(self, waiting_bytes: int) -> None:
        if self.engine.holds(self):
            self.engine.observer.peer_slow(self, waiting_bytes)
            self.cut(Reason.SLOW_CONSUMER)

    def fail(self, error: RemoteError) -> None:
        """The client broke the protocol: tell, and end the connection."""
        self.engine.observer.peer_malformed(self, error.code, error.detail)
        self.close(Reason.PARSE_ERROR)

    # -- what arrives -------------------------------------------------------------------------------------------------

    def receive(self, data: str | bytes) -> None:
        """Take one message of the websocket that carries it."""
        self.apply(self.session.receive(data, self.engine.now()))

    def transport_closed(self) -> None:
        """The websocket was closed by the client."""
        self.write = None
        self.apply(self.session.transport_closed())

    def transport_failed(self, error: RemoteError | None = None) -> None:
        """The websocket broke."""
        self.write = None
        self.apply(self.session.transport_failed(error))

    def attach(self, candidate: Candidate) -> None:
        """A websocket wants to take the session over.

        Raises:
            UpgradeRefused: it may not.
        """
        now = self.engine.now()
        self.session.candidate_attached(now)
        self._candidate = candidate
        self._arm(now)

    def receive_candidate(self, data: str | bytes) -> None:
        """Take one message of the candidate."""
        self.apply(self.session.receive_candidate(data, self.engine.now()))

    def candidate_lost(self) -> None:
        """The candidate closed or broke."""
        self._candidate = None
        self.session.candidate_lost()

    def apply(self, effects: Sequence[Effect] | Sequence[object]) -> None:
        """Carry out what the session decided, in order."""
        for effect in effects:
            if isinstance(effect, MessageReceived):
                self._on_message(effect.data)
            else:
                self._apply_rare(effect)

    def _apply_rare(self, effect: object) -> None:
        match effect:
            case Send(packet):
                self._send(packet)
            case SendOnCandidate(packet):
                if self._candidate is not None:
                    self._candidate.send_packet(packet)
            case ReleasePoll():
                self.engine.log.flush()
                self.transport.release(None)
            case ClosePoll():
                self.engine.log.flush()
                self.transport.release(CLOSE)
            case Upgraded():
                self._upgraded()
            case CloseCandidate():
                if self._candidate is not None:
                    self._candidate.dismiss()
                    self._candidate = None
            case Closed(reason, error):
                self._closed(_REASONS[reason] if self._why is None else self._why, error)
            case _:
                raise TypeError(f"unknown effect {effect!r}")

    def _upgraded(self) -> None:
        if self._candidate is None:
            raise RuntimeError("upgraded without a candidate")
        # What was emitted in this tick still goes to the old queue, then all of it in order to the new transport.
        self.engine.log.flush()
        waiting = self.transport.waiting()
        # A POST that waits for handlers to catch up belongs to the old transport; the new one is paused below.
        self.transport.resume_reading()
        self.transport = self._candidate.take_over()
        self._candidate = None
        if waiting:
            self.transport.send(Batch(waiting, [False] * len(waiting)))
        self.write = self.transport.direct()
        if self._inbox.full:
            self.transport.pause_reading()
        self.engine.observer.connection_upgraded(self)

    def _closed(self, reason: Reason, error: RemoteError | None) -> None:
        if error is not None:
            self.engine.observer.peer_malformed(self, error.code, error.detail)
        self._deadline.cancel()
        self._connect_deadline.cancel()
        self._end_sockets(reason)
        self.engine.log.flush()
        self.write = None
        self.transport.close(reason)
        self.engine.forget(self, reason)

    # -- Socket.IO ----------------------------------------------------------------------------------------------------

    def _on_message(self, data: str | bytes) -> None:
        try:
            event = self.packets.receive(data)
        except RemoteError as error:
            self.fail(error)
            return
        dispatcher = self.engine.dispatcher
        match event:
            case EventReceived(namespace, name, args, ack_id):
                socket = self.sockets[namespace]
                self._inbox.put(lambda: self._dispatch(socket, name, args, ack_id), len(data))
            case AckReceived(namespace, callback, args):
                # Not behind the events: a handler that awaits this one holds them up.
                coroutine = dispatcher.acknowledged(self.sockets[namespace], callback, args)
                if coroutine is not None:
                    self._inbox.put(lambda: coroutine, len(data))
            case ConnectRequested(namespace, auth):
                self._on_connect(namespace, auth, len(data))
            case Disconnected(namespace):
                self._end_socket(self.sockets.pop(namespace), event, Reason.CLIENT_DISCONNECT)
                self._watch_idle()

    def _dispatch(self, socket: Socket, name: str, args: list[Any], ack_id: int | None) -> Unfinished:
        # Events that came before the client left still count; once we have put it out, or are ending, none does.
        if socket.expelled or self._why is Reason.SHUTDOWN:
            return None
        return self.engine.dispatcher.event(socket, name, args, ack_id)

    def _on_connect(self, namespace: str, auth: dict[str, Any], size_bytes: int) -> None:
        if not self.engine.knows(namespace):
            self._send(self.packets.refuse(namespace, "Invalid namespace"))
            self.engine.observer.socket_refused(self, namespace)
            return
        hub = self.engine.hub(namespace)
        socket = Socket(self, hub, new_sid(), auth)
        self.sockets[namespace] = socket
        hub.sockets[socket.sid] = socket
        self._inbox.put(lambda: self.engine.dispatcher.connect(socket), size_bytes)

    def let_in(self, socket: Socket) -> None:
        """The ``connect`` handler agreed."""
        if socket.phase is not Phase.CONNECTING:
            # The connection ended while the handler ran: it may have begun what ``disconnect`` has to end.
            self._inbox.put(lambda: self.engine.dispatcher.disconnect(socket, self._why or Reason.TRANSPORT_CLOSE), 0)
            return
        self._send(self.packets.accept(socket.namespace, socket.sid))
        self._connect_deadline.cancel()
        socket.enter()
        self.engine.observer.socket_connected(socket)

    def keep_out(self, socket: Socket, message: str, data: Any = None) -> None:
        """The ``connect`` handler refused."""
        if socket.phase is Phase.CONNECTING:
            try:
                packet = self.packets.refuse(socket.namespace, message, data)
            except EncodeError:
                packet = self.packets.refuse(socket.namespace, message)
            self._send(packet)
            self.sockets.pop(socket.namespace, None)
            socket.exit()
            self._watch_idle()
        socket.forget_in_hub()
        self.engine.observer.socket_refused(self, socket.namespace)

    def put_out(self, socket: Socket) -> None:
        """The application ends a socket."""
        if socket.phase is Phase.CONNECTED:
            socket.expelled = True
            packet, ended = self.packets.disconnect(socket.namespace)
            self._send(packet)
            self.sockets.pop(socket.namespace, None)
            self._end_socket(socket, ended, Reason.SERVER_DISCONNECT)
            self._watch_idle()

    def _end_sockets(self, reason: Reason) -> None:
        """Every socket ends, without a packet: the connection does."""
        for ended in self.packets.close():
            self._end_socket(self.sockets.pop(ended.namespace), ended, reason)
        for socket in self.sockets.values():  # connect handlers that still run
            socket.exit()
        self.sockets.clear()

    def _end_socket(self, socket: Socket, ended: Disconnected, reason: Reason) -> None:
        socket.exit()
        for callback in ended.unanswered:
            if isinstance(callback, asyncio.Future):
                callback.cancel()
        self.engine.observer.socket_disconnected(socket, reason)
        self._inbox.put(lambda: self.engine.dispatcher.disconnect(socket, reason), 0)

    def _watch_idle(self) -> None:
        if not self.sockets:
            self._connect_deadline.arm(self.options.connect_timeout_s)

    # -- clocks -------------------------------------------------------------------------------------------------------

    def _send(self, packet: str) -> None:
        self.engine.log.unicast(self, self.engine.control(packet))

    def _arm(self, now: float) -> None:
        due = self.session.next_deadline()
        if due == math.inf:
            self._deadline.cancel()
        else:
            self._deadline.arm(due - now)

    def _on_time(self) -> None:
        now = self.engine.now()
        self.apply(self.session.on_time(now))
        self._arm(now)

    def _on_connect_deadline(self) -> None:
        states = (self.packets.state_of(namespace) for namespace in self.sockets)
        if any(state in {NamespaceState.CONNECTED, NamespaceState.CONNECTING} for state in states):
            return
        self.close(Reason.CONNECT_TIMEOUT)
