"""Connection state recovery: a client that returns soon gets its socket id, rooms and data back, and what it missed.

The contract is that of Node, with the official clients. CONNECT has ``sid`` and ``pid``, a second id that is secret.
Events that are not volatile and request no acknowledgement have an offset as additional last argument. The client
returns with ``{"pid", "offset"}``; the missed events are sent before the CONNECT packet. If the session cannot be
recovered, the client gets a new ``sid`` and ``pid``.

Unlike in Node,

- the ``connect`` handler runs for each return, with the old id, rooms and data, and may refuse the client or leave
  rooms: nothing is sent to the client before it has decided;
- a client that has not received an event yet is recovered, and one whose last event was long ago;
- a session is recovered once: the client that returns takes it, also from a connection whose end is not noticed yet;
- events are for the rooms in which the socket was when they were emitted;
- sessions and events are limited in number and size, and a replay to half of a write backlog: what follows must fit;
- volatile events have an offset, too, if the client would take their last argument for one.

Layer: realtime.core.recovery. Source: socket.io 4.8 ``lib/namespace.ts``, ``lib/socket.ts``; socket.io-client 4.8.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Protocol

from roomcast.realtime.cluster.commands import Broadcast, Command, Disconnect, Join, Leave, Offset, Selection
from roomcast.realtime.cluster.membership import Membership
from roomcast.realtime.core.handlers.dispatch import Dispatcher, Unfinished
from roomcast.realtime.core.hub import Hub
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.core.recovery.event_log import (
    Entry,
    EventLog,
    RecordedMessage,
    RoomHistory,
    parse_offset,
    with_offset,
)
from roomcast.realtime.core.socket import AckCallback, Phase, Socket, SocketConnection, SocketHub
from roomcast.realtime.fanout.log import FanoutLog
from roomcast.realtime.fanout.message import EncodedEvent, OutgoingMessage
from roomcast.realtime.limits.timers import Deadline, TimerWheel
from roomcast.realtime.options import RecoveryOptions, ServerOptions

# Ends of a connection that the client did not want, and that are no violation of the protocol.
_RECOVERABLE: Final = frozenset(
    {
        Reason.PING_TIMEOUT,
        Reason.SHUTDOWN,
        Reason.SLOW_CONSUMER,
        Reason.TRANSPORT_CLOSE,
        Reason.TRANSPORT_ERROR,
    }
)

# How long a returning client waits for the ``disconnect`` handler of its former connection.
_ENDING_LIMIT_S: Final = 5.0


@dataclass(slots=True)
class SavedSession:
    """What is kept of a socket whose connection was lost.

    Attributes:
        namespace: Its namespace.
        pid: The secret id with which the client returns.
        sid: Its id.
        history: Its rooms.
        data: Its `Socket.data`.
        session: The dictionary of `Server.save_session`.
        ended: Offset of the last event before its end: later commands have not been applied to it.
        expires: Until when it can be recovered, in monotonic seconds.
    """

    namespace: str
    pid: str
    sid: str
    history: RoomHistory
    data: dict[str, Any]
    session: dict[str, Any]
    ended: Offset
    expires: float = 0.0


class RecoveryHost(Protocol):
    """What recovery needs from its server; `engine.Engine` implements it."""

    options: ServerOptions
    dispatcher: Dispatcher
    membership: Membership

    @property
    def wheel(self) -> TimerWheel:
        """The timer of all deadlines."""

    def apply_command(self, command: Command) -> None:
        """Apply a command to the sockets of this server."""

    def used_hub(self, namespace: str) -> Hub | None:
        """The hub of a namespace; None if the namespace has no socket."""

    def release_hub(self, namespace: str) -> None:
        """Drop the hub of a namespace if it has no socket."""


class Recovery:
    """The lost sessions and the latest events of one server.

    Args:
        options: The limits.
        host: The server.
        new_id: Makes ids that cannot be guessed.

    Attributes:
        new_id: As given.
        retention_s: How long events are kept.
    """

    def __init__(self, options: RecoveryOptions, host: RecoveryHost, new_id: Callable[[], str]) -> None:
        self._options = options
        self._host = host
        self.new_id = new_id
        server = host.options
        # A pong proves that a client has received what was emitted before its ping. Twice that time, since a server
        # under load reads pongs late.
        self.retention_s = options.window_s + 2 * (server.ping_interval_s + server.ping_timeout_s)
        self._log = EventLog(
            self._start(),
            max_events=options.max_events,
            max_bytes=options.max_bytes,
            retention_s=self.retention_s,
        )
        self._live: dict[tuple[str, str], RecoverableSocket] = {}  # until they are saved or forgotten
        self._saved: dict[tuple[str, str], SavedSession] = {}  # the first was saved first
        self._saved_in: dict[str, int] = {}
        self._awaited: dict[tuple[str, str], asyncio.Future[SavedSession | None]] = {}
        self._leavers: set[RoomHistory] = set()  # of sockets that have left rooms
        self._deadline: Deadline | None = None

    def __len__(self) -> int:
        """The number of sessions that wait for their clients."""
        return len(self._saved)

    @property
    def log(self) -> EventLog:
        """The latest events."""
        return self._log

    def _start(self) -> Offset:
        """A place before all events, and after those of an earlier process."""
        return int(time.time() * 1_000), 0

    def holds(self, namespace: str) -> bool:
        """Whether a session of this namespace waits for its client."""
        return namespace in self._saved_in

    # -- events -------------------------------------------------------------------------------------------------------

    def apply_everywhere(self, command: Command) -> None:
        """Apply a command on all servers."""
        self._host.apply_command(command)
        self._host.membership.publish(command)

    def stamp(self, to: Selection, message: OutgoingMessage) -> OutgoingMessage:
        """An event that is emitted by this server to its own sockets, as it is sent: recorded, and with its offset."""
        return self.record(to, message)

    def emit_to(self, socket: RecoverableSocket, event: EncodedEvent) -> None:
        """Emit an event to one socket; `socket` may be away, and another one may have its id by now."""
        to = Selection(socket.namespace, (socket.sid,))
        if socket.phase is Phase.GONE:
            self._host.apply_command(Broadcast(to, event))
        else:
            socket.write(self.record(to, event.message(socket.namespace)))

    def record(self, to: Selection, message: OutgoingMessage) -> RecordedMessage:
        """Record an event; return it with its offset."""
        offset = self._log.next
        recorded = RecordedMessage(message, offset)
        self._append(Entry(offset, self._host.wheel.now(), to, recorded))
        return recorded

    def record_command(self, command: Join | Leave | Disconnect) -> None:
        """Record a command, which is for sockets that are away, too."""
        self._append(Entry(self._log.next, self._host.wheel.now(), command.sockets, None, command))

    def pass_by(self, message: OutgoingMessage) -> OutgoingMessage:
        """An event that is not recorded, as it is sent."""
        return with_offset(message, self._log.position)

    def _append(self, entry: Entry) -> None:
        self._log.append(entry)
        self._arm()

    # -- sockets ------------------------------------------------------------------------------------------------------

    def socket(self, connection: SocketConnection, hub: Hub, auth: dict[str, Any]) -> RecoverableSocket:
        """A new socket. What its client claims is removed from ``auth``: it is a secret."""
        socket = RecoverableSocket(connection, hub, self.new_id(), auth, self)
        pid, offset = auth.pop("pid", None), auth.pop("offset", None)
        received = parse_offset(offset)
        if isinstance(pid, str) and (offset is None or received is not None):
            socket.claim = pid, received
        return socket

    def connect(self, socket: Socket) -> Unfinished:
        """Recover the session that the client claims, if any, and call the ``connect`` handler."""
        if not isinstance(socket, RecoverableSocket) or socket.claim is None:
            return self._host.dispatcher.connect(socket)
        pid, received = socket.claim
        return self._recover(socket, pid, received)

    async def _recover(self, socket: RecoverableSocket, pid: str, received: Offset | None) -> None:
        saved = await self._take(socket, pid, received)
        if socket.phase is not Phase.CONNECTING:
            # The connection closed meanwhile. No handler has run.
            if saved is not None:
                self._keep(saved)
            socket.exit()
            socket.unregister()
            return
        if saved is not None and socket.adopt(saved, received):
            self.track(socket)
        unfinished = self._host.dispatcher.connect(socket)
        if unfinished is not None:
            await unfinished

    async def _take(self, socket: RecoverableSocket, pid: str, received: Offset | None) -> SavedSession | None:
        """Remove and return a session; ends the connection that has it, if there is one.

        Args:
            socket: The socket of the client that returns.
            pid: The session.
            received: Offset of the last event that the client received; None: it received none.
        """
        del received
        key = socket.namespace, pid
        owner = self._live.get(key)
        if owner is not None:
            if key in self._awaited or owner.connection is socket.connection:
                return None
            ended: asyncio.Future[SavedSession | None] = asyncio.get_running_loop().create_future()
            self._awaited[key] = ended
            try:
                if owner.phase is not Phase.GONE:
                    owner.connection.abort(Reason.TRANSPORT_CLOSE)
                async with asyncio.timeout(_ENDING_LIMIT_S):
                    return await ended
            except TimeoutError:
                return None
            finally:
                del self._awaited[key]
        saved = self._remove(key)
        return None if saved is None or self._expired(saved) else saved

    def track(self, socket: RecoverableSocket) -> None:
        """The socket owns its session from now on."""
        self._live[socket.key] = socket

    def prune(self, history: RoomHistory) -> None:
        """Drop the rooms that a socket has left as soon as the log has none of their events."""
        history.prune(self._log)
        if history.left:
            self._leavers.add(history)
        else:
            self._leavers.discard(history)

    def save(self, socket: RecoverableSocket) -> None:
        """Keep the session of a socket whose ``disconnect`` handler has run."""
        saved = socket.saved()
        saved.expires = self._host.wheel.now() + self._options.window_s
        if self._live.get(socket.key) is socket:
            del self._live[socket.key]
        if not self._hand_over(socket.key, saved):
            self._keep(saved)

    def forget(self, socket: RecoverableSocket) -> None:
        """The session ends, or has been saved. Harmless if repeated."""
        key = socket.key
        if self._live.get(key) is socket:
            del self._live[key]
            self._hand_over(key, None)

    def _hand_over(self, key: tuple[str, str], saved: SavedSession | None) -> bool:
        """Give the session to the client that waits for it; False: none does."""
        awaited = self._awaited.get(key)
        if awaited is None or awaited.done():
            return False
        awaited.set_result(saved)
        return True

    # -- sessions -----------------------------------------------------------------------------------------------------

    def _keep(self, saved: SavedSession) -> None:
        self._saved[saved.namespace, saved.pid] = saved
        self._saved_in[saved.namespace] = self._saved_in.get(saved.namespace, 0) + 1
        while len(self._saved) > self._options.max_sessions:
            self._remove(next(iter(self._saved)))
        self._arm()

    def _remove(self, key: tuple[str, str]) -> SavedSession | None:
        saved = self._saved.pop(key, None)
        if saved is not None:
            namespace = saved.namespace
            self._saved_in[namespace] -= 1
            if not self._saved_in[namespace]:
                del self._saved_in[namespace]
                self._host.release_hub(namespace)
        return saved

    def _expired(self, saved: SavedSession) -> bool:
        return saved.expires < self._host.wheel.now()

    def clear(self) -> None:
        """Forget all sessions and events: the server has stopped."""
        for key in list(self._saved):
            self._remove(key)
        self._live.clear()
        self._leavers.clear()
        self._log.expire(float("inf"))
        self._deadline = None

    def _arm(self) -> None:
        if self._deadline is None:
            self._deadline = self._host.wheel.deadline(self._expire)
        if not self._deadline.armed:
            self._deadline.arm(self._options.window_s)

    def _expire(self) -> None:
        while self._saved:
            key, saved = next(iter(self._saved.items()))
            if not self._expired(saved):
                break
            self._remove(key)
        self._log.expire(self._host.wheel.now())
        for history in list(self._leavers):
            self.prune(history)
        if self._saved or len(self._log):
            self._arm()


class RecoverableSocket(Socket):
    """A socket whose session can be recovered.

    Attributes:
        history: Its rooms, and since when.
        claim: The pid that its client has named, and the offset of the last event that it received.
    """

    __slots__ = ("_begins", "_ended", "_keeps", "_pid", "_received", "_recovery", "claim", "history")

    def __init__(self, connection: SocketConnection, hub: SocketHub, sid: str, auth: Any, recovery: Recovery) -> None:
        super().__init__(connection, hub, sid, auth)
        self.history = RoomHistory(sid, recovery.log.position)
        self.claim: tuple[str, Offset | None] | None = None
        self._recovery = recovery
        self._pid = recovery.new_id()
        self._received: Offset | None = None  # by the client, if this is a recovered session
        self._begins = recovery.log.begins
        self._keeps = False  # whether the session is kept when the socket has ended
        self._ended = recovery.log.position

    @property
    def pid(self) -> str:
        """See `Socket`."""
        return self._pid

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and pid."""
        return self.namespace, self._pid

    @property
    def recovered(self) -> bool:
        """See `Socket`."""
        return self._received is not None

    def join(self, room: str) -> None:
        """See `Socket`."""
        super().join(room)
        if room != self.sid:
            self.history.join(room, self._recovery.log.position)

    def leave(self, room: str) -> None:
        """See `Socket`. In the ``connect`` handler of a recovered socket, the room's missed events are withheld too."""
        super().leave(room)
        if self.phase is Phase.CONNECTING and self.recovered:
            self.history.forget(room)
        elif self.phase is not Phase.GONE:
            self.history.leave(room, self._recovery.log.position)
            self._recovery.prune(self.history)

    def send(self, message: EncodedEvent, *, volatile: bool = False) -> None:
        """See `Socket`. Sent to a client that is away, it is among the missed events."""
        if volatile:
            self.write(self._recovery.pass_by(message.message(self.namespace)), volatile=True)
        elif self._keeps or self.phase is not Phase.GONE:
            self._recovery.emit_to(self, message)

    def emit(
        self, event: str, *args: Any, callback: AckCallback | asyncio.Future[list[Any]] | None = None
    ) -> int | None:
        """See `Socket`. Sent without callback to a client that is away, it is among the missed events."""
        if callback is not None:
            return super().emit(event, *args, callback=callback)
        self.send(EncodedEvent.from_args(event, *args))
        return None

    # -- for the connection and `Recovery` ----------------------------------------------------------------------------

    def adopt(self, saved: SavedSession, received: Offset | None) -> bool:
        """Become the socket of a session, before the ``connect`` handler runs.

        Args:
            saved: The session.
            received: Offset of the last event that the client received; None: it received none.

        Returns:
            Whether the socket has the session now. False: it cannot be recovered, and the socket is unchanged.
        """
        # An older offset belongs to an earlier session of the client.
        since = saved.history.start if received is None else max(received, saved.history.start)
        if not self._apply_commands(saved.history, max(saved.ended, since)):
            return False
        if self._missed(saved.history, since) is None:
            return False
        former = self.sid
        self.sid = saved.sid
        self._hub.add(self)
        self._hub.remove(former)
        self._pid = saved.pid
        self._data = saved.data
        self._session = saved.session
        self._rooms = set(saved.history.joined)
        for room in self._rooms:
            self._hub.join_later(self, room)
        self.history = saved.history
        self._recovery.prune(self.history)
        self._received = since
        self._ended = self._recovery.log.position
        return True

    def _apply_commands(self, history: RoomHistory, since: Offset) -> bool:
        """Apply the commands of the time when the socket could not receive them. False: one disconnected it."""
        for entry in self._recovery.log.since(since):
            command = entry.command
            if (
                command is not None
                and entry.to.namespace == self.namespace
                and history.selected(entry.to, entry.offset)
            ):
                if isinstance(command, Disconnect):
                    return False
                for room in command.rooms:
                    if isinstance(command, Leave):
                        history.leave(room, entry.offset)
                    elif len(history.joined) < self.connection.options.max_rooms_per_socket and room != history.sid:
                        history.join(room, entry.offset)
        return True

    def _missed(self, history: RoomHistory, since: Offset) -> list[OutgoingMessage] | None:
        """The events that a client missed; None if they are not known, or more than half of a write backlog may be."""
        log = self._recovery.log
        if not log.covers(since) or since < history.unknown:
            return None
        missed = [
            entry.message
            for entry in log.since(since)
            if entry.message is not None
            and entry.to.namespace == self.namespace
            and history.selected(entry.to, entry.offset)
        ]
        size_bytes = sum(message.size_bytes for message in missed)
        return missed if size_bytes <= self.connection.options.outbox_limit_bytes // 2 else None

    def send_missed(self) -> bool:
        """See `Socket`."""
        if self._received is None:
            # What was emitted while the ``connect`` handler ran may be incomplete.
            return self._begins == self._recovery.log.begins
        missed = self._missed(self.history, self._received)
        if missed is None:
            self._received = None  # the session has ended
            return False
        for message in missed:
            self.connection.log.unicast(self.connection, message)
        # What the connect handler has emitted is recorded, and among the missed events.
        self._held = [message for message in self._held or () if not isinstance(message, RecordedMessage)]
        return True

    def enter(self) -> None:
        """See `Socket`."""
        self._recovery.track(self)
        super().enter()

    def exit(self, reason: Reason | None = None) -> None:
        """See `Socket`."""
        known = self.phase is Phase.CONNECTED or self.recovered  # the client has the pid
        if self.phase is Phase.CONNECTED:
            self._ended = self._recovery.log.position
        super().exit(reason)
        self._keeps = known and reason in _RECOVERABLE
        if not self._keeps:
            self._recovery.forget(self)

    def unregister(self) -> None:
        """See `Socket`."""
        if self._keeps:
            self._recovery.save(self)  # first: the hub remains
        super().unregister()

    def saved(self) -> SavedSession:
        """The session, to be kept until the client returns."""
        history, data, session = self.history, self.data, self.session
        return SavedSession(self.namespace, self._pid, self.sid, history, data, session, self._ended)


class RecoverableHub(Hub):
    """A namespace whose events are recorded."""

    __slots__ = ("_recovery",)

    def __init__(
        self,
        namespace: str,
        log: FanoutLog[SocketConnection],
        on_empty: Callable[[Hub], None],
        on_room: Callable[[str, str, bool], None] | None,
        recovery: Recovery,
    ) -> None:
        super().__init__(namespace, log, on_empty, on_room)
        self._recovery = recovery

    def broadcast(
        self,
        rooms: Collection[str] | None,
        message: OutgoingMessage,
        skip: Collection[str] = (),
        *,
        volatile: bool = False,
    ) -> None:
        """See `Hub`."""
        if volatile:
            message = self._recovery.pass_by(message)
        elif not isinstance(message, RecordedMessage):
            to = Selection(self.namespace, None if rooms is None else tuple(rooms), tuple(skip))
            message = self._recovery.stamp(to, message)
        super().broadcast(rooms, message, skip, volatile=volatile)
