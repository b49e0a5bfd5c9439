"""One namespace: its sockets and rooms on this server.

Layer: realtime. Source: socket.io-adapter's in-memory adapter; a socket's own room exists by name only here, since a
set of one for each socket is what an idle connection would mostly consist of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from roomcast.realtime.fanout.log import FanoutLog, Room

if TYPE_CHECKING:
    from roomcast.realtime.core.connection import Connection
    from roomcast.realtime.core.socket import Socket
    from roomcast.realtime.fanout.message import OutgoingMessage


class Hub:
    """The sockets and rooms of a namespace.

    Attributes:
        namespace: Its name.
        sockets: By id: the connected ones, those whose ``connect`` handler runs, and those whose ``disconnect`` handler
            runs.
    """

    __slots__ = ("_everyone", "_log", "_rooms", "namespace", "sockets")

    def __init__(self, namespace: str, log: FanoutLog[Connection]) -> None:
        self.namespace = namespace
        self.sockets: dict[str, Socket] = {}
        self._log = log
        self._rooms: dict[str, Room[Connection]] = {}
        self._everyone: Room[Connection] = Room("", log)

    def __len__(self) -> int:
        """Connected sockets."""
        return len(self._everyone.members)

    @property
    def rooms(self) -> Collection[str]:
        """Names of the rooms that have members."""
        return self._rooms.keys()

    def members(self, room: str | None) -> list[Socket]:
        """The connected sockets in ``room`` (None: all), in no order."""
        if room is None:
            return [connection.sockets[self.namespace] for connection in self._everyone.members]
        entry = self._rooms.get(room)
        found = [] if entry is None else [connection.sockets[self.namespace] for connection in entry.members]
        socket = self.sockets.get(room)
        if socket is not None and socket.connected and room not in socket.rooms:
            found.append(socket)
        return found

    def selected(self, rooms: Collection[str] | None, skip: Collection[str] = ()) -> list[Socket]:
        """The connected sockets that are in one of ``rooms`` (None: all) and in none of ``skip``, each once."""
        left_out = self._connections(skip)
        found: dict[str, Socket] = {}
        for room in [None] if rooms is None else rooms:
            found.update((socket.sid, socket) for socket in self.members(room) if socket.connection not in left_out)
        return list(found.values())

    def enter(self, connection: Connection) -> None:
        """Let the connection take part in what is emitted to the namespace."""
        self._everyone.add(connection)

    def join(self, connection: Connection, room: str) -> None:
        """Put the connection into a room."""
        entry = self._rooms.get(room)
        if entry is None:
            entry = self._rooms[room] = Room(room, self._log)
        entry.add(connection)

    def leave(self, connection: Connection, room: str) -> None:
        """Take the connection out of a room."""
        entry = self._rooms.get(room)
        if entry is not None:
            entry.discard(connection)
            if not entry.members:
                del self._rooms[room]

    def exit(self, connection: Connection, rooms: Iterable[str]) -> None:
        """Take the connection out of the namespace and of these rooms."""
        self._everyone.discard(connection)
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
        """Emit to everybody who is in one of the rooms now, once each.

        Args:
            rooms: Room names and socket ids; None: the whole namespace.
            message: What they get.
            skip: Rooms and socket ids whose members do not get it.
            volatile: A connection that is behind may miss it.
        """
        targets: list[Room[Connection]] = []
        singles: list[Connection] = []
        if rooms is None:
            targets.append(self._everyone)
        else:
            for room in rooms:
                entry = self._rooms.get(room)
                if entry is not None:
                    targets.append(entry)
                socket = self.sockets.get(room)
                if socket is not None and socket.connected:
                    singles.append(socket.connection)
                elif socket is not None:
                    socket.write(message, volatile=volatile)  # waits for the verdict of its connect handler
        except_ = self._connections(skip) if skip else frozenset()
        if singles:
            if len(singles) == 1 and not targets:
                if singles[0] not in except_:
                    self._log.unicast(singles[0], message, volatile=volatile)
                return
            crowd: Room[Connection] = Room("", self._log)
            crowd.members.update(singles)
            targets.append(crowd)
        self._log.broadcast(targets, message, except_=except_, volatile=volatile)

    def _connections(self, names: Collection[str]) -> frozenset[Connection]:
        found: set[Connection] = set()
        for name in names:
            entry = self._rooms.get(name)
            if entry is not None:
                found |= entry.members
            socket = self.sockets.get(name)
            if socket is not None:
                found.add(socket.connection)
        return frozenset(found)
