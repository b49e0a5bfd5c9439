"""Connection state recovery over an adapter that gives the events of all servers one order.

A client may return to any server. Each of them reads the same events in the same order, its own ones included, and
delivers them to its sockets in that order; the place in it is the event's offset. So the log of each server is that of
all, and sessions are kept by the adapter.

The price: an emit reaches the clients of its own server only when the adapter has reported it back, after the
acknowledgement of the event whose handler has emitted it, and not while the adapter is disconnected. Volatile events
and those of ``local`` operators are sent at once; they are not repeated.

Layer: realtime.core.recovery. Source: socket.io-adapter 2.5, ``ClusterAdapter``; there a server delivers its own events
before those of others that have lower offsets, so that a client can lose events or receive them twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from roomcast.realtime.cluster.commands import (
    Broadcast,
    Command,
    Disconnect,
    Join,
    Leave,
    Offset,
    OrderedAdapter,
    Selection,
    ServerEvent,
)
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.core.recovery.event_log import Entry, RecordedMessage, RoomHistory
from roomcast.realtime.core.recovery.sessions import RecoverableSocket, Recovery, RecoveryHost, SavedSession
from roomcast.realtime.core.socket import Phase
from roomcast.realtime.fanout.message import EncodedEvent, OutgoingMessage
from roomcast.realtime.options import RecoveryOptions
from roomcast.wire.errors import EncodeError

logger = logging.getLogger(__name__)

# What Node's servers do not write, and ignore.
_EXTRA: Final = "roomcast"
_NOWHERE: Final[Offset] = (0, 0)
# How long a returning client waits until this server has read what the server of its former connection had read.
_BEHIND_LIMIT_S: Final = 2.0


class OrderedRecovery(Recovery):
    """`Recovery` over a `cluster.OrderedAdapter`; implements `cluster.OrderedNode`."""

    def __init__(
        self, options: RecoveryOptions, host: RecoveryHost, new_id: Callable[[], str], adapter: OrderedAdapter
    ) -> None:
        super().__init__(options, host, new_id)
        self._adapter = adapter
        self._moved = asyncio.Event()
        adapter.order(self, self.retention_s)

    def _start(self) -> Offset:
        return _NOWHERE

    # -- out ----------------------------------------------------------------------------------------------------------

    def apply_everywhere(self, command: Command) -> None:
        """See `Recovery`."""
        if isinstance(command, Broadcast) and not command.volatile:
            self._publish(command)
            return
        self._host.apply_command(command)
        if isinstance(command, Broadcast):
            self._host.membership.publish(command)
        else:
            self._publish(command)

    def _publish(self, command: Command) -> None:
        self._host.membership.publish_by(self._adapter.publish_in_order, command)

    def emit_to(self, socket: RecoverableSocket, event: EncodedEvent) -> None:
        """See `Recovery`."""
        self._publish(Broadcast(Selection(socket.namespace, (socket.sid,)), event))

    def stamp(self, to: Selection, message: OutgoingMessage) -> OutgoingMessage:
        """See `Recovery`. Events for this server only have no place in the order."""
        del to
        return self.pass_by(message)

    def record_command(self, command: Join | Leave | Disconnect) -> None:
        """See `Recovery`. It is recorded at its place in the order."""

    # -- in: `cluster.OrderedNode` ------------------------------------------------------------------------------------

    def begin(self, offset: Offset, last: Offset, *, gap: bool) -> None:
        """See `cluster.OrderedNode`. Clients that may have missed events are disconnected: they get new sessions."""
        # Before the log moves: a server without the gap replays the commands since the end of a session.
        for socket in list(self._live.values()) if gap else ():
            if socket.phase is not Phase.GONE:
                socket.connection.abort(Reason.TRANSPORT_CLOSE)
        self.log.begin(offset, last)

    def remember(self, command: Command, offset: Offset, age_s: float) -> None:
        """See `cluster.OrderedNode`."""
        entry = self._entry(command, offset, self._host.wheel.now() - age_s)
        if entry is not None:
            last = self.log.position
            self._append(entry)
            # A new socket is younger than all of these commands.
            self.log.position = max(last, offset)

    def apply_in_order(self, command: Command, offset: Offset, *, own: bool) -> None:
        """See `cluster.OrderedNode`."""
        entry = self._entry(command, offset, self._host.wheel.now())
        if entry is not None:
            self._append(entry)
            self._moved.set()
        if entry is not None and entry.message is not None:
            hub = self._host.used_hub(entry.to.namespace)
            if hub is not None:
                hub.broadcast(entry.to.rooms, entry.message, entry.to.skip)
        elif not own:
            self._host.apply_command(command)

    def _entry(self, command: Command, offset: Offset, time: float) -> Entry | None:
        """The entry for the log; None for a volatile event, and for one that is not for clients."""
        if isinstance(command, ServerEvent):
            return None
        if not isinstance(command, Broadcast):
            return Entry(offset, time, command.sockets, None, command)
        if command.volatile:
            return None
        message = RecordedMessage(command.message.message(command.to.namespace), offset)
        return Entry(offset, time, command.to, message)

    def release_session(self, namespace: str, pid: str) -> bool:
        """See `cluster.OrderedNode`."""
        owner = self._live.get((namespace, pid))
        if owner is None:
            return False
        if owner.phase is not Phase.GONE:
            owner.connection.abort(Reason.TRANSPORT_CLOSE)
        return True

    # -- sessions -----------------------------------------------------------------------------------------------------

    def _keep(self, saved: SavedSession) -> None:
        try:
            self._adapter.save_session(saved.pid, encode_session(saved), self._options.window_s)
        except EncodeError as error:
            logger.warning("session of %r is not kept: its data cannot be encoded: %s", saved.sid, error)

    async def _take(self, socket: RecoverableSocket, pid: str, received: Offset | None) -> SavedSession | None:
        here = await super()._take(socket, pid, received)
        if here is not None:
            return here
        fields = await self._adapter.take_session(socket.namespace, pid)
        saved = None if fields is None else decode_session(fields, socket.namespace, pid)
        if saved is None:
            return None
        since = max(saved.history.start, received or _NOWHERE)
        complete = self.log.evicted <= since and await self._reach(max(saved.ended, since))
        return saved if complete else None

    async def _reach(self, offset: Offset) -> bool:
        """Wait until this server has read the command at this offset; False: it is too far behind."""
        try:
            async with asyncio.timeout(_BEHIND_LIMIT_S):
                while self.log.position < offset:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True


def encode_session(saved: SavedSession) -> dict[str, Any]:
    """A session as Node's servers read it, with what they lack in one more field."""
    history = saved.history
    return {
        "sid": saved.sid,
        "pid": saved.pid,
        "rooms": [saved.sid, *history.joined],
        "data": saved.data,
        _EXTRA: {
            "nsp": saved.namespace,
            "session": saved.session,
            "start": history.start,
            "unknown": history.unknown,
            "ended": saved.ended,
            "joined": [[room, *since] for room, since in history.joined.items()],
            "left": [[room, *since, *until] for room, since, until in history.left],
        },
    }


def decode_session(fields: dict[str, Any], namespace: str, pid: str) -> SavedSession | None:
    """A session from this package's servers, or from Node's; None if it is for another namespace, or malformed."""
    try:
        sid, data = fields["sid"], fields["data"]
        extra = fields.get(_EXTRA)
        history = RoomHistory(sid, _NOWHERE)
        if not isinstance(sid, str) or not isinstance(data, dict) or fields["pid"] != pid:
            return None
        if extra is None:  # of Node: since when the socket was in its rooms is not known
            for room in fields["rooms"]:
                if isinstance(room, str) and room != sid:
                    history.join(room, _NOWHERE)
            return SavedSession(namespace, pid, sid, history, data, {}, _NOWHERE)
        if extra["nsp"] != namespace:
            return None
        history.start, history.unknown = _offset(*extra["start"]), _offset(*extra["unknown"])
        for room, *since in extra["joined"]:
            history.join(room, _offset(*since))
        for room, *times in extra["left"]:
            history.left.append((room, _offset(*times[:2]), _offset(*times[2:])))
        return SavedSession(namespace, pid, sid, history, data, dict(extra["session"]), _offset(*extra["ended"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        logger.warning("a malformed session was read")
        return None


def _offset(milliseconds: int, count: int) -> Offset:
    return int(milliseconds), int(count)
