"""One namespace: its sockets and rooms on this server.

Layer: realtime.core. Source: socket.io-adapter's in-memory adapter. Unlike there, a socket's own room exists by name
only: a set for each socket would be most of the memory of an idle connection.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from roomcast.realtime.core.handlers.listeners import event_of
from roomcast.realtime.core.socket import Socket, SocketConnection
from roomcast.realtime.fanout.log import FanoutLog, Room
from roomcast.realtime.fanout.message import OutgoingMessage


class Hub:
    """The sockets and rooms of a namespace.

    Args:
        namespace: Its name.
        log: The fan-out log of the server.
        on_empty: Called when the last socket has been removed.
        on_room: Called with the namespace and a room that has its first member (True) or has lost its last one (False),
            connecting sockets included.

    A socket whose ``connect`` handler runs is connecting: what is emitted to it, to its rooms or to all is held until
    its CONNECT packet, and dropped if the client is refused.

    Attributes:
        namespace: Its name.
        sockets: By id: connected sockets, and those whose ``connect`` or ``disconnect`` handler runs.
    """

    __slots__ = (
        "_all",
        "_connecting",
        "_joining",
        "_listening",
        "_log",
        "_on_empty",
        "_on_room",
        "_rooms",
        "namespace",
        "sockets",
    )

    def __init__(
        self,
        namespace: str,
        log: FanoutLog[SocketConnection],
        on_empty: Callable[[Hub], None],
        on_room: Callable[[str, str, bool], None] | None = None,
    ) -> None:
        self.namespace = namespace
        self._on_room = on_room
        self.sockets: dict[str, Socket] = {}
        self._log = log
        self._on_empty = on_empty
        self._rooms: dict[str, Room[SocketConnection]] = {}
        self._all: Room[SocketConnection] = Room("", log)
        self._connecting: set[Socket] = set()
        self._joining: dict[str, set[Socket]] = {}  # the rooms of the connecting sockets
        self._listening: set[Socket] | None = None

    @property
    def rooms(self) -> Collection[str]:
        """Names of the rooms that have members."""
        return self._rooms.keys()

    def members(self, room: str | None) -> list[Socket]:
        """The connected sockets in ``room`` (None: all), in no order."""
        if room is None:
            return [connection.sockets[self.namespace] for connection in self._all.members]
        entry = self._rooms.get(room)
        found = [] if entry is None else [connection.sockets[self.namespace] for connection in entry.members]
        socket = self.sockets.get(room)
        if socket is not None and socket.connected and room not in socket.rooms:
            found.append(socket)
        return found

    def occupied(self, room: str) -> bool:
        """Whether a room or socket id has a member, connected or connecting."""
        return room in self._rooms or room in self.sockets or room in self._joining

    def select(
        self, rooms: Collection[str] | None, skip: Collection[str] = (), *, connecting: bool = False
    ) -> list[Socket]:
        """The connected sockets in one of ``rooms`` (None: all) and in none of ``skip``, each once.

        Args:
            rooms: Room names and socket ids; None: the whole namespace.
            skip: Room names and socket ids whose members are left out.
            connecting: Include the connecting sockets.
        """
        skipped = self._connections(skip)
        found: dict[str, Socket] = {}
        for room in [None] if rooms is None else rooms:
            found.update((socket.sid, socket) for socket in self.members(room) if socket.connection not in skipped)
        if connecting:
            found.update((socket.sid, socket) for socket in self._select_connecting(rooms, skip))
        return list(found.values())

    def _select_connecting(self, rooms: Collection[str] | None, skip: Collection[str]) -> Collection[Socket]:
        if not self._connecting:
            return ()
        found = self._connecting if rooms is None else self._connecting_in(rooms)
        return found - self._connecting_in(skip) if skip else found

    def _connecting_in(self, names: Collection[str]) -> set[Socket]:
        found: set[Socket] = set()
        for name in names:
            found |= self._joining.get(name, set())
            socket = self.sockets.get(name)
            if socket is not None and socket in self._connecting:
                found.add(socket)
        return found

    def add(self, socket: Socket) -> None:
        """Register a socket whose ``connect`` handler is about to run."""
        self.sockets[socket.sid] = socket
        self._connecting.add(socket)

    def join_later(self, socket: Socket, room: str) -> None:
        """A connecting socket enters a room."""
        joining = self._joining.get(room)
        if joining is None:
            joining = self._joining[room] = set()
            if self._on_room is not None and room not in self._rooms:
                self._on_room(self.namespace, room, True)
        joining.add(socket)

    def leave_early(self, socket: Socket, room: str) -> None:
        """A connecting socket leaves a room."""
        joining = self._joining[room]
        joining.discard(socket)
        if not joining:
            del self._joining[room]
            if self._on_room is not None and room not in self._rooms:
                self._on_room(self.namespace, room, False)

    def decided(self, socket: Socket, rooms: Iterable[str]) -> None:
        """The socket with these rooms is no longer connecting."""
        self._connecting.discard(socket)
        for room in rooms:
            self.leave_early(socket, room)

    def remove(self, sid: str) -> None:
        """Remove a socket id."""
        socket = self.sockets.pop(sid, None)
        if self._listening is not None and socket is not None:
            self._listening.discard(socket)
        if not self.sockets:
            self._on_empty(self)

    def listen(self, socket: Socket) -> None:
        """Call `Socket.notify_outgoing` for broadcasts that reach this socket."""
        if self._listening is None:
            self._listening = set()
        self._listening.add(socket)

    def _notify(self, rooms: Collection[str] | None, message: OutgoingMessage, skip: Collection[str]) -> None:
        event = event_of(message)
        listening = self._listening
        if event is not None and listening:
            for socket in self.select(rooms, skip):
                if socket in listening:
                    socket.notify_outgoing(event)

    def enter(self, connection: SocketConnection) -> None:
        """Add the connection to the namespace: it receives what is emitted to it from now on."""
        self._all.add(connection)

    def join(self, connection: SocketConnection, room: str) -> None:
        """Add the connection to a room."""
        entry = self._rooms.get(room)
        if entry is None:
            entry = self._rooms[room] = Room(room, self._log)
            if self._on_room is not None and room not in self._joining:
                self._on_room(self.namespace, room, True)
        entry.add(connection)

    def leave(self, connection: SocketConnection, room: str) -> None:
        """Remove the connection from a room."""
        entry = self._rooms.get(room)
        if entry is not None:
            entry.discard(connection)
            if not entry.members:
                del self._rooms[room]
                if self._on_room is not None and room not in self._joining:
                    self._on_room(self.namespace, room, False)

    def exit(self, connection: SocketConnection, rooms: Iterable[str]) -> None:
        """Remove the connection from the namespace and from these rooms."""
        self._all.discard(connection)
        for room in rooms:
            self.leave(connection, room)

    def broadcast(
        self,
        rooms: Collection[str] | None,
        message: OutgoingMessage,
        skip: Collection[str] = (),
        *,
        volatile: bool = False,
    ) -> None:
        """Emit once to every connection that is in one of the rooms now, and hold the message for connecting sockets.

        Args:
            rooms: Room names and socket ids; None: the whole namespace.
            message: The message.
            skip: Room names and socket ids whose members are left out.
            volatile: The message may be dropped for a connection with a write backlog.
        """
        if self._connecting:
            for connecting in self._select_connecting(rooms, skip):
                connecting.write(message, volatile=volatile)
        if self._listening:
            self._notify(rooms, message, skip)
        if rooms is not None and len(rooms) == 1 and not skip:
            (room,) = rooms
            entry = self._rooms.get(room)
            if entry is not None and room not in self.sockets:  # every event of a chat
                self._log.broadcast((entry,), message, volatile=volatile)
                return
        self._broadcast(rooms, message, skip, volatile=volatile)

    def _broadcast(
        self, rooms: Collection[str] | None, message: OutgoingMessage, skip: Collection[str], *, volatile: bool
    ) -> None:
        targets: list[Room[SocketConnection]] = []
        singles: list[SocketConnection] = []
        if rooms is None:
            targets.append(self._all)
        else:
            for room in rooms:
                entry = self._rooms.get(room)
                if entry is not None:
                    targets.append(entry)
                socket = self.sockets.get(room)
                if socket is not None and socket.connected:
                    singles.append(socket.connection)
        except_ = self._connections(skip) if skip else frozenset()
        if singles:
            if len(singles) == 1 and not targets:
                if singles[0] not in except_:
                    self._log.unicast(singles[0], message, volatile=volatile)
                return
            union: Room[SocketConnection] = Room("", self._log)
            union.members.update(singles)
            targets.append(union)
        self._log.broadcast(targets, message, except_=except_, volatile=volatile)

    def concerns(self, connection: SocketConnection, rooms: Collection[str] | None, skip: Collection[str]) -> bool:
        """Whether a broadcast with these arguments reaches a connection now."""
        socket = connection.sockets.get(self.namespace)
        if socket is None or not socket.connected:
            return False
        own = {socket.sid, *socket.rooms}
        return own.isdisjoint(skip) and (rooms is None or not own.isdisjoint(rooms))

    def _connections(self, names: Collection[str]) -> frozenset[SocketConnection]:
        found: set[SocketConnection] = set()
        for name in names:
            entry = self._rooms.get(name)
            if entry is not None:
                found |= entry.members
            socket = self.sockets.get(name)
            if socket is not None:
                found.add(socket.connection)
        return frozenset(found)
