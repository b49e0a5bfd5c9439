"""The latest events of a server in one order, for clients that missed some of them.

Each event has an offset, which its recipients get as an additional last argument. A client that returns names the
offset of the last event that it received, and gets the later ones that were for it.

An entry may be removed for two reasons. When it is older than ``retention_s``, every client whose session can still be
recovered has received it: recovery goes on. When the log is full, a client may have missed it: `covers` is False.

Layer: realtime.core.recovery. Source: socket.io-adapter 2.5, ``SessionAwareAdapter``, for the contract.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from roomcast.realtime.cluster.commands import Disconnect, Join, Leave, Offset, Selection
from roomcast.realtime.fanout.message import OutgoingMessage

_OFFSET: Final = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")
# What an entry takes besides its message: the entry, the message object, the selection.
_ENTRY_BYTES: Final = 500
#: Rooms that a socket has left and that still count, since it may have missed their events.
_MAX_LEFT: Final = 256


def parse_offset(text: object) -> Offset | None:
    """The offset in a CONNECT packet; None if it is not one."""
    found = _OFFSET.fullmatch(text) if isinstance(text, str) else None
    return None if found is None else (int(found[1]), int(found[2]))


def format_offset(offset: Offset) -> bytes:
    """The offset as clients receive it."""
    return b"%d-%d" % offset


class RecordedMessage(OutgoingMessage):
    """An event whose last argument is its offset.

    Attributes:
        offset: Its offset.
    """

    __slots__ = ("offset",)

    def __init__(self, message: OutgoingMessage, offset: Offset) -> None:
        super().__init__(_append(message.text, format_offset(offset)), message.attachments)
        self.offset = offset


def with_offset(message: OutgoingMessage, offset: Offset) -> OutgoingMessage:
    """An event that is not recorded: with the offset of the event before it, if its last argument is a string.

    The JavaScript client takes any string at this place for an offset. An event's name counts as an argument here.
    """
    if not message.text.rstrip()[:-1].rstrip().endswith(b'"'):
        return message
    return OutgoingMessage(_append(message.text, format_offset(offset)), message.attachments)


def _append(text: bytes, offset: bytes) -> bytes:
    """Append a string to the arguments of an event: a JSON array with at least one item."""
    return b'%b,"%b"]' % (text.rstrip()[:-1], offset)


class RoomHistory:
    """The rooms of a socket, and since when: which events were for it.

    Args:
        sid: The socket's id, which is a room, too.

    Attributes:
        joined: The rooms, each with the offset of the last event before the join.
        left: The rooms that the socket has left, with the offsets of the last events before the join and the leave.
        start: The socket is younger than the event at this offset.
        unknown: Which events up to this offset were for the socket is not known any more.
    """

    __slots__ = ("joined", "left", "sid", "start", "unknown")

    def __init__(self, sid: str, start: Offset) -> None:
        self.sid = sid
        self.start = self.unknown = start
        self.joined: dict[str, Offset] = {}
        self.left: deque[tuple[str, Offset, Offset]] = deque()

    def join(self, room: str, at: Offset) -> None:
        """The socket joins after the event at this offset."""
        self.joined.setdefault(room, at)

    def leave(self, room: str, at: Offset) -> None:
        """The socket leaves after the event at this offset."""
        since = self.joined.pop(room, None)
        if since is not None and since < at:
            self.left.append((room, since, at))
            if len(self.left) > _MAX_LEFT:
                self.unknown = max(self.unknown, self.left.popleft()[2])

    def prune(self, log: EventLog) -> None:
        """Drop the rooms that were left before the first event of the log."""
        left, first = self.left, log.first
        if left and left[0][2] < first:
            self.unknown = max(self.unknown, log.evicted)  # another server's log may still have those events
            while left and left[0][2] < first:
                left.popleft()

    def forget(self, room: str) -> None:
        """The socket is no member, and none of the room's events was for it."""
        self.joined.pop(room, None)
        self.left = deque(stay for stay in self.left if stay[0] != room)

    def selected(self, by: Selection, at: Offset) -> bool:
        """Whether what was emitted at this offset, or is to be applied there, was for the socket."""
        rooms = by.rooms
        return (rooms is None or self._in_any(rooms, at)) and not (by.skip and self._in_any(by.skip, at))

    def _in_any(self, rooms: Collection[str], at: Offset) -> bool:
        for room in rooms:
            since = self.joined.get(room)
            if (since is not None and since < at) or room == self.sid:
                return True
        return any(room in rooms and since < at <= until for room, since, until in self.left)


@dataclass(slots=True)
class Entry:
    """One event, or one command for sockets, in the log.

    Attributes:
        offset: Its place.
        time: When it was emitted, in monotonic seconds.
        to: The sockets that it was for.
        message: The event as it was sent; None if the entry is a command.
        command: The command; None if the entry is an event.
    """

    offset: Offset
    time: float
    to: Selection
    message: OutgoingMessage | None
    command: Join | Leave | Disconnect | None = None

    @property
    def size_bytes(self) -> int:
        """The memory that it takes, approximately."""
        return _ENTRY_BYTES + (0 if self.message is None else self.message.size_bytes)


class EventLog:
    """The latest entries, limited in number, bytes and age.

    Args:
        start: Offset before the first entry.
        max_events: Maximum number of entries.
        max_bytes: Maximum size of the entries together.
        retention_s: Age at which an entry is removed.

    Attributes:
        position: Offset of the latest entry, which may have been removed.
        evicted: Offset of the latest entry that was removed before its age.
        size_bytes: Size of the entries together.
        begins: How often it has started anew.
    """

    def __init__(self, start: Offset, *, max_events: int, max_bytes: int, retention_s: float) -> None:
        self.position = start
        self.size_bytes = 0
        self.begins = 0
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._retention_s = retention_s
        self._entries: deque[Entry] = deque()
        self.evicted = start

    def __len__(self) -> int:
        """The number of entries."""
        return len(self._entries)

    @property
    def first(self) -> Offset:
        """Offset of the first entry; that of the next one if there is none."""
        return self._entries[0].offset if self._entries else self.next

    @property
    def next(self) -> Offset:
        """Offset of the entry that follows the latest one, unless another server numbers them."""
        milliseconds, count = self.position
        return milliseconds, count + 1

    def begin(self, offset: Offset, position: Offset) -> None:
        """Start anew.

        Args:
            offset: What was before is not known to be complete.
            position: See `position`; at or after the offset.
        """
        self._entries.clear()
        self.size_bytes = 0
        self.evicted = offset
        self.position = position
        self.begins += 1

    def append(self, entry: Entry) -> None:
        """Add an entry, whose offset is higher than all before it."""
        self.position = entry.offset
        self._entries.append(entry)
        self.size_bytes += entry.size_bytes
        self.expire(entry.time)
        while len(self._entries) > self._max_events or self.size_bytes > self._max_bytes:
            self.evicted = self._remove().offset

    def expire(self, now: float) -> None:
        """Remove the entries that are too old."""
        while self._entries and self._entries[0].time + self._retention_s < now:
            self._remove()

    def _remove(self) -> Entry:
        entry = self._entries.popleft()
        self.size_bytes -= entry.size_bytes
        return entry

    def covers(self, offset: Offset) -> bool:
        """Whether the log has all that a client can have missed after this offset."""
        return self.evicted <= offset <= self.position

    def since(self, offset: Offset) -> list[Entry]:
        """The entries after an offset, in order."""
        found: list[Entry] = []
        for entry in reversed(self._entries):
            if entry.offset <= offset:
                break
            found.append(entry)
        found.reverse()
        return found
