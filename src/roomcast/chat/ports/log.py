"""The ordered log of every chat and its live feed.

Layer: chat. Contract suite: tests/contract/test_eventlog.py, run over every implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

# Version of the entry layout. Readers drop and count entries of unknown versions.
LOG_ENTRY_VERSION = 1


class LogEntry(NamedTuple):
    """One event of one chat.

    Attributes:
        seq: Position in the chat, from 1, without gaps.
        args: The Socket.IO argument array as UTF-8 JSON, ``["new-msg",{…}]``. Gateways frame it without decoding it.
        trace: W3C ``traceparent`` of the request that caused the event, or None.
        version: Layout version of this entry.
    """

    seq: int
    args: bytes
    trace: str | None = None
    version: int = LOG_ENTRY_VERSION


class Head(NamedTuple):
    """The end of a chat's log: its epoch and its last seq (0 for an empty log)."""

    epoch: str
    seq: int


@dataclass(frozen=True, slots=True)
class Appended:
    """The log now ends at ``head``, which is after the given entries if another publisher appended more."""

    head: Head


@dataclass(frozen=True, slots=True)
class Gap:
    """Nothing was written, because the entries do not directly follow the log's end.

    ``head`` is None if the log is absent or of another epoch. The caller reads the events table from ``head``, or seeds
    the log, and retries.
    """

    head: Head | None


@dataclass(frozen=True, slots=True)
class Replay:
    """Every entry after the given seq, in order, up to ``head``; if ``more``, only the first ones, up to the limit."""

    entries: tuple[LogEntry, ...]
    head: Head
    more: bool = False


@dataclass(frozen=True, slots=True)
class CannotReplay:
    """The log lacks entries.

    It is absent (``head`` is None), is of another epoch, was trimmed beyond the given seq, or ends before that seq.
    """

    head: Head | None


#: Called synchronously with a chat's live entries, in log order. Must not block or raise.
FeedSink = Callable[[str, Sequence[LogEntry]], None]  # (epoch, entries)
#: Called synchronously with each signal of a chat. Must not block or raise, and must validate the bytes.
SignalSink = Callable[[bytes], None]

#: The largest payload of a signal: one frame of an answer's chunks, or many user ids.
MAX_SIGNAL_BYTES = 65_536


class Subscription(Protocol):
    """A live feed of one chat."""

    async def close(self) -> None:
        """Stop the feed. The sinks are not called after this returns. A second call has no effect."""


class EventLog(Protocol):
    """The ordered log of every chat and its live feed: a bounded, rebuildable cache of the events table.

    Order: a sink receives a chat's entries in seq order, and may receive an entry again when a log is rebuilt. It may
    miss entries when the engine loses its connection. The seqs then have a gap, and the subscriber reads the missed
    entries from the log. While the engine does not store entries (`LogNotStored`), the entries of several publishers
    may arrive in another order.
    Size: the engine may trim a log's oldest entries or drop a whole log. A read then returns `CannotReplay`, never a
    partial replay.
    """

    async def append(self, chat_id: str, epoch: str, entries: Sequence[LogEntry]) -> Appended | Gap:
        """Append the entries that follow the log's end, and publish the appended entries.

        ``entries`` must be contiguous and not empty. Entries at or below the log's end are skipped. An absent log
        accepts only entries that start at seq 1; use ``seed`` otherwise. A log of another epoch accepts no entries,
        since its epoch may be newer than the caller's.

        Raises:
            LogUnavailable: the engine is unreachable.
            LogNotStored: the entries were only published.
        """

    async def seed(self, chat_id: str, head: Head, entries: Sequence[LogEntry]) -> Head:
        """Create an absent log, or replace one of another epoch, from the events table, and publish the entries.

        ``entries`` are the newest events, contiguous, ending at ``head.seq``. If they are empty, the log can only
        replay events after ``head.seq``. A log of the same epoch is extended if it ends before ``head.seq``, and left
        unchanged otherwise. Returns the head after the call.

        Raises:
            LogUnavailable: the engine is unreachable.
            LogNotStored: the entries were only published.
        """

    async def head(self, chat_id: str) -> Head | None:
        """The end of the chat's log; None if it is absent."""

    async def read(self, chat_id: str, epoch: str, after: int, limit: int) -> Replay | CannotReplay:
        """Entries with seq > ``after``, at most ``limit``; `CannotReplay` if the log lacks any of them."""

    async def signal(self, chat_id: str, payload: bytes) -> None:
        """Send an ephemeral signal to every subscription of the chat, in every process.

        At most once: a signal has no seq, is not stored, and is not ordered relative to entries. The signals of one
        process arrive in order if each call starts after the previous one has returned.

        Raises:
            ValueError: the payload is larger than ``MAX_SIGNAL_BYTES``.
            LogUnavailable: the engine is unreachable.
        """

    async def subscribe(self, chat_id: str, sink: FeedSink, signals: SignalSink | None = None) -> Subscription:
        """Subscribe to the entries appended from now on. Returns once the engine has confirmed the subscription.

        Args:
            chat_id: The chat to follow.
            sink: Receives the chat's entries.
            signals: Receives the chat's signals; None ignores them.

        Raises:
            LogUnavailable: the engine is unreachable; nothing was subscribed.
        """


@runtime_checkable
class ImmediateLog(Protocol):
    """What a log of this process can do in addition."""

    def append_now(self, chat_id: str, epoch: str, entries: Sequence[LogEntry]) -> Appended | Gap:
        """`EventLog.append` without a wait.

        Raises:
            LogUnavailable: nothing was appended; call `EventLog.append`.
        """


class LogUnavailable(Exception):
    """The log's engine is unreachable. Messages are still accepted, since the database suffices; joins are rejected."""


class LogNotStored(LogUnavailable):
    """The engine has published the entries and refused to store them, for example because its memory is full.

    Subscribers received the entries unless they miss earlier ones. Append them again later.
    """
