"""The events that a joining client missed: read from the log, completed with entries that the feed emits meanwhile.

A replay has every entry from the client's cursor to the feed's position. If an entry is missing or a limit is exceeded,
there is no replay. Clients that lost their connections together missed the same entries: their joins share one read and
the encoded events.

Layer: gateway. Source: docs/design.md, "Joins".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from roomcast.chat.ports import LOG_ENTRY_VERSION, LogEntry
from roomcast.realtime.fanout.message import EncodedEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayLimits:
    """Limits of one replay. If a client has missed more, it fetches the events from the API in pages.

    Attributes:
        max_entries: Maximum number of entries.
        max_bytes: Maximum size of all entries; below the limit of the write buffer, so that a replay never disconnects
            its own client.
    """

    max_entries: int = 500
    max_bytes: int = 524_288


class Recording:
    """The entries that a feed emits while a replay is read.

    Entries beyond the limits are not recorded; `complete_replay` detects that they are missing.
    """

    __slots__ = ("_bytes_left", "_limits", "entries")

    def __init__(self, limits: ReplayLimits) -> None:
        self.entries: list[LogEntry] = []
        self._limits = limits
        self._bytes_left = limits.max_bytes

    def add(self, entry: LogEntry) -> bool:
        """Record one emitted entry. Returns whether it is within the limits."""
        self._bytes_left -= len(entry.args)
        if len(self.entries) < self._limits.max_entries and self._bytes_left >= 0:
            self.entries.append(entry)
            return True
        return False


class Tail:
    """The entries after seq ``after`` up to a feed's position, as a read found them and the feed then emitted them.

    Attributes:
        after: The seq before the first entry.
    """

    __slots__ = ("_events", "_kept", "after")

    def __init__(self, after: int, entries: Sequence[LogEntry], limits: ReplayLimits) -> None:
        self.after = after
        self._kept = Recording(limits)
        self._events: dict[int, EncodedEvent] = {}
        for entry in entries:
            self.add(entry)

    def add(self, entry: LogEntry) -> bool:
        """Add one emitted entry. Returns false if the limits are exceeded: there is no replay from this tail then."""
        return self._kept.add(entry)

    def replay(self, after: int, last: int, limits: ReplayLimits) -> list[LogEntry] | None:
        """The entries ``after + 1`` to ``last``; see `complete_replay`."""
        if after < self.after:
            return None
        return complete_replay(self._kept.entries[after - self.after :], (), after, last, limits)

    def event(self, entry: LogEntry) -> EncodedEvent:
        """The event of an entry of this tail, encoded once."""
        event = self._events.get(entry.seq)
        if event is None:
            event = self._events[entry.seq] = EncodedEvent.from_json(entry.args)
        return event


def complete_replay(
    read: Sequence[LogEntry], recorded: Sequence[LogEntry], after: int, last: int, limits: ReplayLimits
) -> list[LogEntry] | None:
    """Combine the read and the recorded entries: the result is exactly ``after + 1`` to ``last``.

    Args:
        read: Entries from the log, ascending.
        recorded: Entries that the feed emitted since the read began, ascending.
        after: The seq before the first entry of the replay.
        last: The seq of the feed's position.
        limits: Limits of the combined replay.

    Returns:
        The entries; None if an entry is missing or has an unknown version, or if a limit is exceeded.
    """
    entries = [entry for entry in read if after < entry.seq <= last]
    end = entries[-1].seq if entries else after
    entries += [entry for entry in recorded if entry.seq > end]
    if [entry.seq for entry in entries] != list(range(after + 1, last + 1)):
        return None
    if len(entries) > limits.max_entries or sum(len(entry.args) for entry in entries) > limits.max_bytes:
        return None
    if any(entry.version != LOG_ENTRY_VERSION for entry in entries):
        return None
    return entries
