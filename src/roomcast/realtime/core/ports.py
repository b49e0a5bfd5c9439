"""The ports of a connection: the server that hosts it and the transport that carries it.

Layer: realtime.core.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from roomcast.realtime.cluster.operators import BroadcastOperator
from roomcast.realtime.core.backlogs import Backlogs
from roomcast.realtime.core.handlers.dispatch import Dispatcher
from roomcast.realtime.core.hub import Hub
from roomcast.realtime.core.observer import Observer
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.core.recovery.sessions import Recovery
from roomcast.realtime.core.socket import SocketConnection
from roomcast.realtime.fanout.log import FanoutLog
from roomcast.realtime.fanout.message import Batch, OutgoingMessage
from roomcast.realtime.limits.timers import TimerWheel
from roomcast.realtime.limits.unfinished import UnfinishedInput
from roomcast.realtime.options import ServerOptions
from roomcast.wire.engineio_http import TransportName
from roomcast.wire.limits import Limits, Timeouts
from roomcast.wire.socketio_session import SocketSession

NewPackets = Callable[[Limits, Callable[[str, str], bool]], SocketSession]


class ConnectionHost(Protocol):
    """What a connection needs from its server; `engine.Engine` implements it.

    Attributes:
        options: The server's options.
        limits: Limits of what clients send, derived from the options.
        timeouts: Time limits of a session, derived from the options.
        upgrades: Transports that a polling session may upgrade to.
        observer: Receives metrics and log events.
        dispatcher: Calls the handlers.
        log: The fan-out log that orders all output.
        new_packets: Creates the Socket.IO state of a connection.
        tasks: Running handlers.
        unconnected: Connections that have not been accepted by a namespace yet.
        silent: Those that have not sent a CONNECT packet for a namespace either, and since when; the oldest one first.
        recovery: The sessions that clients can return to; None: recovery is off.
        backlogs: The connections whose client has much left to read.
    """

    options: ServerOptions
    limits: Limits
    timeouts: Timeouts
    upgrades: Sequence[TransportName]
    observer: Observer
    dispatcher: Dispatcher
    log: FanoutLog[SocketConnection]
    new_packets: NewPackets
    tasks: set[asyncio.Task[None]]
    unconnected: set[SocketConnection]
    silent: dict[SocketConnection, float]
    recovery: Recovery | None
    backlogs: Backlogs

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the server."""

    @property
    def wheel(self) -> TimerWheel:
        """The timer of all deadlines."""

    @property
    def unfinished(self) -> UnfinishedInput:
        """The input that clients have begun and not finished."""

    def now(self) -> float:
        """The current time in monotonic seconds."""

    def new_session_id(self) -> str:
        """A new Engine.IO session id that cannot be guessed."""

    def has_session(self, sid: str) -> bool:
        """Whether the session has not been removed."""

    def remove_session(self, sid: str, reason: Reason) -> None:
        """Remove a closed session and notify the observer. Harmless if it was removed before."""

    def accepts_namespace(self, namespace: str, auth: Any) -> bool | Awaitable[bool]:
        """Whether a client with this ``auth`` may connect to a namespace. Then call `hub` or `release_namespace`."""

    def release_namespace(self, namespace: str) -> None:
        """A namespace was accepted, and gets no socket."""

    def enable_hooks(self) -> None:
        """A socket has middleware or listeners: make events pass them."""

    def hub(self, namespace: str) -> Hub:
        """The hub of a namespace, created on first use."""

    def everyone(self, namespace: str) -> BroadcastOperator:
        """All sockets of a namespace, on every server of the cluster."""


class Transport(Protocol):
    """Carries the messages of one connection. No method waits or raises."""

    @property
    def backlog_bytes(self) -> int:
        """Bytes that wait for the client to read; 0 while it keeps up."""

    def direct_write(self) -> Callable[[bytes], object] | None:
        """A function that writes websocket frames at once; None while batches must go through `send`."""

    def send(self, batch: Batch) -> None:
        """Queue or write a batch, and report a backlog to `Connection.watch_backlog`.

        Above the outbox limit, call `Connection.overflow` instead.
        """

    def take_queue(self) -> list[OutgoingMessage]:
        """Remove and return the queued messages (polling); a websocket has none."""

    def release_poll(self, last: OutgoingMessage | None) -> None:
        """Answer the pending poll with the queue and ``last``, or with NOOP if both are empty (polling only)."""

    def close(self, reason: Reason) -> None:
        """Write what is queued, then close."""

    def abort(self) -> None:
        """Close now and drop what is queued."""

    def pause_reading(self) -> None:
        """Stop reading from the client until `resume_reading`."""

    def resume_reading(self) -> None:
        """Continue reading."""


class Candidate(Protocol):
    """A websocket that asks to take over a polling session."""

    def send_packet(self, packet: str) -> None:
        """Write one Engine.IO packet."""

    def take_over(self) -> Transport:
        """Become the transport of the session."""

    def dismiss(self) -> None:
        """Close: the session goes on without this websocket."""
