"""One Engine.IO connection: its session, its transport, and the client's sockets in each namespace.

All output goes through the server's fan-out log, which gives it one order. All input goes through the session machines
of `roomcast.wire`, whose effects are applied here.

Layer: realtime.core. Source: engine.io 6 ``lib/socket.ts``, socket.io 4.8 ``lib/client.ts``.
"""

from __future__ import annotations

import asyncio
import binascii
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

from roomcast.realtime.cluster.operators import BroadcastOperator
from roomcast.realtime.core.environ import Environ
from roomcast.realtime.core.handlers.dispatch import REJECTED, Unfinished
from roomcast.realtime.core.handlers.inbox import Inbox
from roomcast.realtime.core.ports import Candidate, ConnectionHost, Transport
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.core.socket import Phase, Socket, SocketConnection
from roomcast.realtime.fanout.log import FanoutLog
from roomcast.realtime.fanout.message import CLOSE, PING, Batch, OutgoingMessage
from roomcast.realtime.limits.reading import LARGE_BYTES
from roomcast.realtime.limits.timers import Deadline
from roomcast.realtime.options import ServerOptions
from roomcast.realtime.requests.handshake import Handshake
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
from roomcast.wire.engineio_http import TransportName
from roomcast.wire.engineio_session import PING_PACKET, EngineSession
from roomcast.wire.errors import EncodeError, RemoteError
from roomcast.wire.input_budget import InputBudget
from roomcast.wire.socketio_session import (
    AckReceived,
    ConnectRequested,
    Disconnected,
    EventReceived,
    NamespaceState,
    SocketEvent,
)
from roomcast.wire.websocket_frames import packet_frame

# 120 bits, as 20 characters like Node's: the id is all that authenticates a polling request.
_SID_BYTES = 15
SID_CHARS = 20
_URL_SAFE = bytes.maketrans(b"+/", b"-_")

_REASONS = {
    CloseReason.PING_TIMEOUT: Reason.PING_TIMEOUT,
    CloseReason.TRANSPORT_CLOSE: Reason.TRANSPORT_CLOSE,
    CloseReason.TRANSPORT_ERROR: Reason.TRANSPORT_ERROR,
    CloseReason.PARSE_ERROR: Reason.PARSE_ERROR,
    CloseReason.FORCED_CLOSE: Reason.SERVER_DISCONNECT,
}


def _cancel(callbacks: Iterable[object]) -> None:
    """End the waits for acknowledgements that cannot arrive any more."""
    for callback in callbacks:
        if isinstance(callback, asyncio.Future):
            callback.cancel()


def new_sid() -> str:
    """An id that cannot be guessed."""
    return binascii.b2a_base64(os.urandom(_SID_BYTES), newline=False).translate(_URL_SAFE).decode()


class Connection:
    """One client's connection.

    Args:
        host: The server.
        handshake: The request that opened the session.
        bind: Gives the transport its connection, and returns the transport.

    Attributes:
        sid: The Engine.IO session id, a secret between client and server.
        handshake: As given.
        session: The Engine.IO state.
        packets: The Socket.IO state.
        sockets: The client's sockets by namespace.
        write: See `fanout.log.Outlet`.
    """

    __slots__ = (
        "_candidate",
        "_close_reason",
        "_connect_deadline",
        "_deadline",
        "_environ",
        "_host",
        "_inbox",
        "_input",
        "_overflowed",
        "handshake",
        "packets",
        "session",
        "sid",
        "sockets",
        "transport",
        "write",
    )

    def __init__(self, host: ConnectionHost, handshake: Handshake, bind: Callable[[Connection], Transport]) -> None:
        self._host = host
        self.handshake = handshake
        self.sid = host.new_session_id()
        self.session = EngineSession(
            self.sid, handshake.transport, upgrades=host.upgrades, limits=host.limits, timeouts=host.timeouts
        )
        self.packets = host.new_packets(host.limits, host.dispatcher.handles)
        self.sockets: dict[str, Socket] = {}
        self.transport = bind(self)
        self.write: Callable[[bytes], object] | None = self.transport.direct_write()
        self._inbox = Inbox(self)
        self._input = InputBudget(host.limits)
        self._candidate: Candidate | None = None
        self._close_reason: Reason | None = None
        self._overflowed = False
        self._environ: Environ | None = None
        self._deadline = host.wheel.deadline(self._on_session_deadline)
        self._connect_deadline: Deadline | None = None  # while the client is in no namespace

    def __repr__(self) -> str:
        """Transport and state. The id is secret."""
        return f"<Connection {self.session.transport} {self.session.state.value} from {self.handshake.address}>"

    # -- for its sockets, its inbox and the fan-out log ---------------------------------------------------------------

    @property
    def options(self) -> ServerOptions:
        """The server's options."""
        return self._host.options

    @property
    def log(self) -> FanoutLog[SocketConnection]:
        """The server's fan-out log."""
        return self._host.log

    def everyone(self, namespace: str) -> BroadcastOperator:
        """See `SocketConnection`."""
        return self._host.everyone(namespace)

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """The running handlers of the server."""
        return self._host.tasks

    @property
    def environ(self) -> Environ:
        """The handshake as ``environ``, with what the application has stored in it."""
        if self._environ is None:
            self._environ = Environ(self.handshake)
        return self._environ

    @property
    def transport_name(self) -> TransportName:
        """The current transport."""
        return self.session.transport

    def enable_hooks(self) -> None:
        """See `SocketConnection`."""
        self._host.enable_hooks()

    @property
    def expects_input(self) -> bool:
        """See `inbox.InboxOwner`."""
        return self.packets.pending_acks > 0 or self.session.awaits_pong

    def expect_input(self) -> None:
        """An acknowledgement was requested from the client, or a pong."""
        self._inbox.read_on()

    def pause_reading(self) -> None:
        """The inbox is full."""
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """The inbox has room."""
        self.transport.resume_reading()

    def send(self, batch: Batch) -> None:
        """See `fanout.log.Outlet`."""
        self.transport.send(batch)

    # -- open and close -----------------------------------------------------------------------------------------------

    def open(self, head: bytes = b"") -> None:
        """Send the OPEN packet and start the timers.

        Args:
            head: Bytes that precede the packet on a transport with a `direct_write`.
        """
        now = self._host.now()
        packet = self.session.open(now)
        if self.write is None:
            self.send_packet(packet)
        else:
            self.write(head + packet_frame(packet))  # nothing was emitted to this client before
        self._arm(now)
        self._arm_connect_deadline()

    def close(self, reason: Reason) -> None:
        """Close the connection, after everything that was emitted to it."""
        self._close_reason = reason
        self._end_sockets(reason)
        self.apply(self.session.close(self._host.now()))
        self._arm(self._host.now())

    def abort(self, reason: Reason) -> None:
        """Close the connection at once; queued output is lost."""
        self._close_reason = reason
        self.write = None
        self._end_sockets(reason)
        self.transport.abort()
        self.apply(self.session.transport_failed())

    @property
    def backlog_bytes(self) -> int:
        """See `SocketConnection`."""
        return self.transport.backlog_bytes

    def watch_backlog(self, before_bytes: int, after_bytes: int) -> None:
        """A transport has sent something that the client has left to read, after ``before_bytes``."""
        backlogs = self._host.backlogs
        if after_bytes > backlogs.watch_bytes:
            backlogs.watch(self, before_bytes, after_bytes)

    def overflow(self, waiting_bytes: int) -> None:
        """The client does not read: close the connection at the end of this loop turn.

        Not at once: a flush that iterates over connections may be running.
        """
        if not self._overflowed:
            self._overflowed = True
            self._host.loop.call_soon(self._abort_slow, waiting_bytes)

    @property
    def overflowed(self) -> bool:
        """Whether it is about to be closed for a write backlog: further output may be dropped."""
        return self._overflowed

    def _abort_slow(self, waiting_bytes: int) -> None:
        if self._host.has_session(self.sid):
            self._host.observer.peer_slow(self, waiting_bytes)
            self.abort(Reason.SLOW_CONSUMER)

    def fail(self, error: RemoteError) -> None:
        """The client violated the protocol: notify the observer and close the connection."""
        self._host.observer.peer_malformed(self, error.fault.value, error.detail)
        self.close(Reason.PARSE_ERROR)

    # -- input --------------------------------------------------------------------------------------------------------

    def spend(self, packets: int) -> float:
        """Count what a transport has read from the client, websocket control frames included.

        Returns:
            For how many seconds the transport must not read; not positive: it may go on in its next turn.
        """
        try:
            return self._input.spend(packets, self._host.now())
        except RemoteError as error:
            self.fail(error)
            return 0.0

    def spend_time(self, took_s: float) -> None:
        """Count the time that a transport took to decode what it has read: others waited for it."""
        self._input.spend_time(took_s, self._host.now())

    def receive(self, data: str | bytes) -> None:
        """Process one websocket message."""
        message = self.session.message(data)
        if message is not None:
            self._on_message(message)
        else:
            self.apply(self.session.receive(data, self._host.now()))

    def transport_closed(self) -> None:
        """The client closed the websocket."""
        self.write = None
        self.apply(self.session.transport_closed())

    def transport_failed(self, error: RemoteError | None = None) -> None:
        """The websocket failed."""
        self.write = None
        self.apply(self.session.transport_failed(error))

    def attach(self, candidate: Candidate) -> None:
        """A websocket asks to take over the session.

        Raises:
            UpgradeRefused: the session cannot be upgraded now.
        """
        now = self._host.now()
        self.session.candidate_attached(now)
        self._candidate = candidate
        self._arm(now)

    def receive_candidate(self, data: str | bytes) -> None:
        """Process one message of the candidate."""
        self.apply(self.session.receive_candidate(data, self._host.now()))
        self.watch_deadline()

    def candidate_lost(self) -> None:
        """The candidate closed or failed."""
        self._candidate = None
        self.session.candidate_lost()

    def apply(self, effects: Sequence[Effect] | Sequence[object]) -> None:
        """Apply the effects of a session call, in order."""
        for effect in effects:
            if isinstance(effect, MessageReceived):
                self._on_message(effect.data)
            else:
                self._apply_rare(effect)

    def _apply_rare(self, effect: object) -> None:
        match effect:
            case Send(packet):
                self.send_packet(packet)
            case SendOnCandidate(packet):
                if self._candidate is not None:
                    self._candidate.send_packet(packet)
            case ReleasePoll():
                self._host.log.flush()
                self.transport.release_poll(None)
            case ClosePoll():
                self._host.log.flush()
                self.transport.release_poll(CLOSE)
            case Upgraded():
                self._upgraded()
            case CloseCandidate():
                if self._candidate is not None:
                    self._candidate.dismiss()
                    self._candidate = None
            case Closed(reason, error):
                self._closed(_REASONS[reason] if self._close_reason is None else self._close_reason, error)
            case _:
                raise TypeError(f"unknown effect {effect!r}")

    def _upgraded(self) -> None:
        if self._candidate is None:
            raise RuntimeError("upgraded without a candidate")
        # Output of this tick joins the old queue, and the queue then moves to the new transport in order.
        self._host.log.flush()
        waiting = self.transport.take_queue()
        # A poll that is left is refused (`EngineSession.poll_started`). A POST that waits for handlers goes on; the new
        # transport is paused below.
        self.transport.abort()
        self.transport = self._candidate.take_over()
        self._candidate = None
        if waiting:
            self.transport.send(Batch(waiting, [False] * len(waiting)))
        self.write = self.transport.direct_write()
        if self._inbox.full:
            self.transport.pause_reading()
        self._host.observer.connection_upgraded(self)

    def _closed(self, reason: Reason, error: RemoteError | None) -> None:
        if error is not None:
            self._host.observer.peer_malformed(self, error.fault.value, error.detail)
        self._deadline.cancel()
        self._cancel_connect_deadline()
        self._end_sockets(reason)
        self._host.log.flush()
        self.write = None
        self.transport.close(reason)
        self._host.remove_session(self.sid, reason)

    # -- Socket.IO ----------------------------------------------------------------------------------------------------

    def _parse(self, data: str | bytes) -> SocketEvent | None:
        self._input.check_size(len(data))
        if len(data) < LARGE_BYTES:
            return self.packets.receive(data)
        began = time.thread_time()  # not the time of other processes
        event = self.packets.receive(data)
        self._input.spend_time(time.thread_time() - began, self._host.now())
        return event

    def _on_message(self, data: str | bytes) -> None:
        try:
            event = self._parse(data)
        except RemoteError as error:
            self.fail(error)
            return
        except MemoryError:
            # The message is lost, so the session cannot go on. The transport logs the error.
            self.abort(Reason.TRANSPORT_ERROR)
            raise
        attached_bytes = 0
        if event is None or not isinstance(data, str):
            attached_bytes = self._hold_incomplete_packet()
        if isinstance(event, EventReceived):  # a class pattern of four attributes takes more time
            self._inbox.put(partial(self._dispatch, self.sockets[event.namespace], event), data, attached_bytes)
            return
        match event:
            case AckReceived(namespace, callback, args):
                coroutine = self._host.dispatcher.acknowledged(self.sockets[namespace], callback, args)
                if coroutine is not None:
                    self._inbox.run_at_once(coroutine)
            case ConnectRequested(namespace, auth):
                self._on_connect(namespace, auth, data)
            case Disconnected(namespace):
                self._end_socket(self.sockets.pop(namespace), event, Reason.CLIENT_DISCONNECT)
                self._arm_connect_deadline_if_idle()

    def _hold_incomplete_packet(self) -> int:
        """Count a packet whose attachments are missing; returns the size of the parts before the last one."""
        held_bytes = self.packets.held_bytes
        if held_bytes:
            self._host.unfinished.hold(self, held_bytes)
            return 0
        return self._host.unfinished.release(self)

    @property
    def input_waits(self) -> bool:
        """See `unfinished.Sender`."""
        return self._inbox.full

    def give_up_input(self, error: RemoteError) -> None:
        """See `unfinished.Sender`."""
        self.fail(error)

    def _dispatch(self, socket: Socket, event: EventReceived) -> Unfinished:
        # Events that a client sent before it disconnected are handled; after a kick or during a shutdown none is.
        if socket.kicked or self._close_reason is Reason.SHUTDOWN:
            return None
        return self._host.dispatcher.event(socket, event.name, event.args, event.ack_id)

    def _on_connect(self, namespace: str, auth: dict[str, Any], data: str | bytes) -> None:
        accepted = self._host.accepts_namespace(namespace, auth)
        if accepted is not False:
            self._host.silent.pop(self, None)
        if accepted is True:
            socket = self._add_socket(namespace, auth)
            self._inbox.put(lambda: self._connect(socket), data)
        elif accepted is False:
            self._refuse_namespace(namespace)
        else:
            waiting = accepted  # its type, for mypy
            self._inbox.put(lambda: self._connect_later(namespace, auth, waiting), data)

    async def _connect_later(self, namespace: str, auth: dict[str, Any], accepted: Awaitable[bool]) -> None:
        """Wait for the decision whether the namespace exists."""
        exists = await accepted
        if self.packets.state_of(namespace) is not NamespaceState.CONNECTING:  # the connection has closed
            self._host.release_namespace(namespace)
        elif exists:
            rest = self._connect(self._add_socket(namespace, auth))
            if rest is not None:
                await rest
        else:
            self._refuse_namespace(namespace)

    def _add_socket(self, namespace: str, auth: dict[str, Any]) -> Socket:
        hub = self._host.hub(namespace)
        recovery = self._host.recovery
        socket = Socket(self, hub, new_sid(), auth) if recovery is None else recovery.socket(self, hub, auth)
        self.sockets[namespace] = socket
        hub.add(socket)
        return socket

    def _connect(self, socket: Socket) -> Unfinished:
        recovery = self._host.recovery
        return self._host.dispatcher.connect(socket) if recovery is None else recovery.connect(socket)

    def _refuse_namespace(self, namespace: str) -> None:
        self.send_packet(self.packets.refuse(namespace, "Invalid namespace"))
        self._host.observer.socket_refused(self, namespace)

    def accept(self, socket: Socket) -> None:
        """The ``connect`` handler accepted the client: send the CONNECT packet."""
        if socket.phase is Phase.CONNECTING:
            if socket.kicked:
                self.reject(socket, REJECTED)
                return
            if not socket.send_missed():
                self.abort(Reason.TRANSPORT_ERROR)  # the client returns, and gets a new session
        if socket.phase is not Phase.CONNECTING:
            # The connection closed while the handler ran: ``disconnect`` cleans up what the handler has set up.
            reason = self._close_reason or Reason.TRANSPORT_CLOSE
            self._inbox.put(lambda: self._host.dispatcher.disconnect(socket, reason))
            return
        self.send_packet(self.packets.accept(socket.namespace, socket.sid, socket.pid))
        self._cancel_connect_deadline()
        self._host.unconnected.discard(self)
        self._input.connected()
        socket.enter()
        self._host.observer.socket_connected(socket)

    def reject(self, socket: Socket, message: str, data: Any = None) -> None:
        """The ``connect`` handler rejected the client: send a CONNECT_ERROR packet."""
        if socket.phase is Phase.CONNECTING:
            try:
                packet = self.packets.refuse(socket.namespace, message, data)
            except EncodeError:
                packet = self.packets.refuse(socket.namespace, message)
            self.send_packet(packet)
            self.sockets.pop(socket.namespace, None)
            _cancel(self.packets.drop_acks(socket.namespace))
            self._arm_connect_deadline_if_idle()
        socket.exit()
        socket.unregister()
        self._host.observer.socket_refused(self, socket.namespace)

    def kick(self, socket: Socket) -> None:
        """Disconnect a socket from its namespace, after everything that was emitted to it. Harmless if it is gone.

        A socket whose ``connect`` handler runs is refused when that ends.
        """
        socket.kicked = socket.kicked or socket.phase is not Phase.GONE
        if socket.phase is Phase.CONNECTED:
            packet, ended = self.packets.disconnect(socket.namespace)
            self.send_packet(packet)
            self.sockets.pop(socket.namespace, None)
            self._end_socket(socket, ended, Reason.SERVER_DISCONNECT)
            self._arm_connect_deadline_if_idle()

    def _end_sockets(self, reason: Reason) -> None:
        """Disconnect all sockets without packets: the connection closes."""
        for ended in self.packets.close():
            self._end_socket(self.sockets.pop(ended.namespace), ended, reason)
        for socket in self.sockets.values():  # their connect handlers still run
            socket.exit(reason)
            _cancel(self.packets.drop_acks(socket.namespace))
        self.sockets.clear()

    def _end_socket(self, socket: Socket, ended: Disconnected, reason: Reason) -> None:
        socket.exit(reason)
        _cancel(ended.unanswered)
        self._host.observer.socket_disconnected(socket, reason)
        self._inbox.put(lambda: self._host.dispatcher.disconnect(socket, reason))

    def _arm_connect_deadline_if_idle(self) -> None:
        if not self.sockets:
            self._input.disconnected()
            if self._connect_deadline is None:  # a refused CONNECT does not extend the time
                self._arm_connect_deadline()

    def _arm_connect_deadline(self) -> None:
        self._connect_deadline = self._host.wheel.deadline(self._on_connect_deadline)
        self._connect_deadline.arm(self.options.connect_timeout_s)

    def _cancel_connect_deadline(self) -> None:
        if self._connect_deadline is not None:
            self._connect_deadline.cancel()
            self._connect_deadline = None

    # -- output and timers --------------------------------------------------------------------------------------------

    def send_packet(self, packet: str | bytes) -> None:
        """Send one packet, after everything that was emitted to this client before."""
        write = self.write
        if write is not None and not len(self._host.log):
            write(packet_frame(packet))  # nothing waits, for any connection: the order does not need the log
        elif packet == PING_PACKET:
            self._host.log.unicast(self, PING)
        else:
            self._host.log.unicast(self, OutgoingMessage.of([packet]))

    def watch_deadline(self) -> None:
        """A poll or a packet of the candidate may have brought the session's next deadline forward."""
        self._arm(self._host.now())

    def _arm(self, now: float) -> None:
        due = self.session.next_deadline()
        if due == math.inf:
            self._deadline.cancel()
        else:
            self._deadline.arm(due - now)

    def _on_session_deadline(self) -> None:
        now = self._host.now()
        self.apply(self.session.check_deadlines(now, input_waits=self._input.used_up(now)))
        self.expect_input()  # it may have sent a ping
        self._arm(now)

    def _on_connect_deadline(self) -> None:
        self._connect_deadline = None
        states = (self.packets.state_of(namespace) for namespace in self.sockets)
        if any(state in {NamespaceState.CONNECTED, NamespaceState.CONNECTING} for state in states):
            return
        reason = self._close_reason or Reason.CONNECT_TIMEOUT
        self.close(reason)
        if self._host.has_session(self.sid):  # over polling it would wait for another poll, to send the CLOSE packet
            self.abort(reason)
