"""The ordered log of every chat and its live feed.

Layer: chat. Contract suite: tests/contract/test_eventlog.py, run over every implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

# Version of what travels in a log entry; a reader drops what it does not know and counts it.
LOG_ENTRY_VERSION = 1


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One event of one chat, as it travels.

    Attributes:
        seq: Position in the chat, from 1, without gaps.
        args: The Socket.IO argument array as UTF-8 JSON, ``["new-msg",{…}]``: ready to be framed, never decoded on
            the way.
        trace: W3C ``traceparent`` of the request that caused it, or None.
        version: Layout of this entry.
    """

    seq: int
    args: bytes
    trace: str | None = None
    version: int = LOG_ENTRY_VERSION


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chat's log ends: the epoch that it was written in and its last seq (0 for an empty chat)."""

    epoch: str
    seq: int


@dataclass(frozen=True, slots=True)
class Appended:
    """The log now ends at ``head`` (which may lie beyond what was given: another publisher was faster)."""

    head: Head


@dataclass(frozen=True, slots=True)
class Gap:
    """Nothing was written: the entries do not follow the log's end. ``head`` is None for an absent log.

    The caller re-reads the events table from there (or re-seeds an absent log) and retries.
    """

    head: Head | None


@dataclass(frozen=True, slots=True)
class Replay:
    """Every entry after the asked seq, in order, up to ``head``; or up to the limit, if ``more``."""

    entries: tuple[LogEntry, ...]
    head: Head
    more: bool = False


@dataclass(frozen=True, slots=True)
class CannotReplay:
    """The log cannot answer in full: absent (``head`` None), trimmed past the asked seq, or shorter than it."""

    head: Head | None


#: Takes a chat's live entries in log order, inside one loop turn; must not block, await or raise.
FeedSink = Callable[[str, Sequence[LogEntry]], None]  # (epoch, entries)
#: Takes a chat's signals, inside one loop turn; must not block, await or raise. The bytes are not to be trusted.
SignalSink = Callable[[bytes], None]

#: The largest signal: it is for a few names, not for messages.
MAX_SIGNAL_BYTES = 16_384


class Subscription(Protocol):
    """A live feed of one chat."""

    async def close(self) -> None:
        """Stop the feed. After this returns the sink is not called again. Closing twice is harmless."""


class EventLog(Protocol):
    """The ordered log of every chat and its live feed: a bounded, rebuildable cache of the events table.

    Order: entries of a chat reach every sink in seq order, each at most once per subscription. A sink may miss
    entries (an engine that lost its connection); it sees that as a jump in seq and reads the log.
    Bounded: the engine may trim a log's oldest entries or drop a whole log; it then says so, never answers in part.
    """

    async def append(self, chat_id: str, epoch: str, entries: Sequence[LogEntry]) -> Appended | Gap:
        """Append what is contiguous and publish just that.

        Entries at or below the log's end are skipped. ``entries`` are contiguous and not empty. An absent log accepts
        only entries that start at seq 1; use ``seed`` otherwise. A log of another epoch counts as absent and accepts
        none: it may be of a newer one than the caller has heard of.
        """

    async def seed(self, chat_id: str, head: Head, entries: Sequence[LogEntry]) -> Head:
        """Create an absent log, or one of another epoch, from the events table, and publish the entries.

        ``entries`` are the newest ones, contiguous, ending at ``head.seq`` (empty: replay from ``head.seq`` only).
        A log of the same epoch that reaches ``head.seq`` already is left as it is; one that ends before it is
        extended. Returns the head after the call.
        """

    async def head(self, chat_id: str) -> Head | None:
        """Where the chat's log ends; None if it is absent."""

    async def read(self, chat_id: str, epoch: str, after: int, limit: int) -> Replay | CannotReplay:
        """Entries with seq > ``after``, at most ``limit``. Never a silent partial replay."""

    async def signal(self, chat_id: str, payload: bytes) -> None:
        """Hand a word of the moment to every subscription of the chat, on every process.

        Live only and at most once: it has no seq, is not stored, and has no place in the order of the entries. Those of
        one process arrive in order, if each is given when the one before has returned.

        Raises:
            ValueError: more than ``MAX_SIGNAL_BYTES``.
            LogUnavailable: the engine is out of reach.
        """

    async def subscribe(self, chat_id: str, sink: FeedSink, signals: SignalSink | None = None) -> Subscription:
        """Feed ``sink`` with what is appended from now on; returns once the subscription is confirmed.

        Args:
            chat_id: Which chat.
            sink: Takes its entries.
            signals: Takes its signals; None: they are passed over.

        Raises:
            LogUnavailable: the engine is out of reach; nothing was subscribed.
        """


class LogUnavailable(Exception):
    """The log's engine is out of reach. Sends go on (the database is the truth); joins answer ``unavailable``."""
