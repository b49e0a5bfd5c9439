"""The event log of one process, for `roomcast up`; also the reference implementation of the port.

An append stores the entries, trims the log and calls the sinks within one loop turn: entries reach every sink in the
order of the appends, and a confirmed subscription misses no entry.

Layer: eventlog.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from roomcast.chat.ports import (
    MAX_SIGNAL_BYTES,
    Appended,
    CannotReplay,
    FeedSink,
    Gap,
    Head,
    LogEntry,
    Replay,
    SignalSink,
)

logger = logging.getLogger(__name__)

#: How many chats with subscriptions one search for an unused log skips: limits the work of one call.
_MAX_SKIPPED: Final = 16


@dataclass(frozen=True, slots=True)
class MemoryLogOptions:
    """How much the log keeps. Older events are read from the database.

    Attributes:
        max_entries: Maximum number of entries of one chat; a client that missed more is served from the database.
        max_bytes: Maximum size of one chat's entries, counting their arguments.
        max_chats: Maximum number of chats with a log; the least recently used log is dropped first. Logs of chats with
            subscriptions are kept, even above the limit.
        idle_ttl_s: Seconds without use after which a chat's log is dropped.
    """

    max_entries: int = 1_000
    max_bytes: int = 1_048_576
    max_chats: int = 10_000
    idle_ttl_s: float = 3_600.0


class _ChatLog:
    """The contiguous newest entries of one chat, up to the seq ``last``."""

    __slots__ = ("entries", "epoch", "last", "size_bytes", "used_at")

    def __init__(self, epoch: str, last: int) -> None:
        self.epoch = epoch
        self.last = last
        self.entries: deque[LogEntry] = deque()
        self.size_bytes = 0
        self.used_at = 0.0

    @property
    def head(self) -> Head:
        return Head(self.epoch, self.last)

    def extend(self, entries: Sequence[LogEntry], options: MemoryLogOptions) -> None:
        for entry in entries:
            self.entries.append(entry)
            self.size_bytes += len(entry.args)
        self.last = entries[-1].seq
        while len(self.entries) > options.max_entries or self.size_bytes > options.max_bytes:
            self.size_bytes -= len(self.entries.popleft().args)


class _Subscription:
    """One sink of one chat."""

    __slots__ = ("_chat_id", "_log", "signals", "sink")

    def __init__(self, log: MemoryEventLog, chat_id: str, sink: FeedSink, signals: SignalSink | None) -> None:
        self._log = log
        self._chat_id = chat_id
        self.sink: FeedSink | None = sink
        self.signals = signals

    async def close(self) -> None:
        if self.sink is not None:
            self.sink = None
            self._log.unsubscribe(self._chat_id, self)


class MemoryEventLog:
    """`chat.ports.EventLog` and `chat.ports.ImmediateLog` in memory, limited in entries, bytes, chats and time.

    Args:
        options: The limits.
        clock: Returns monotonic seconds.
    """

    def __init__(self, options: MemoryLogOptions | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options or MemoryLogOptions()
        self._clock = clock
        # Least recently used first.
        self._chats: OrderedDict[str, _ChatLog] = OrderedDict()
        self._sinks: dict[str, list[_Subscription]] = {}

    async def append(self, chat_id: str, epoch: str, entries: Sequence[LogEntry]) -> Appended | Gap:
        """See the port."""
        return self.append_now(chat_id, epoch, entries)

    def append_now(self, chat_id: str, epoch: str, entries: Sequence[LogEntry]) -> Appended | Gap:
        """See `chat.ports.ImmediateLog`."""
        log = self._find(chat_id)
        if log is not None and log.epoch != epoch:
            return Gap(None)
        if log is None:
            if entries[0].seq != 1:
                return Gap(None)
            log = self._create(chat_id, Head(epoch, 0))
        if entries[0].seq > log.last + 1:
            return Gap(log.head)
        self._publish(chat_id, log, [entry for entry in entries if entry.seq > log.last])
        return Appended(log.head)

    async def seed(self, chat_id: str, head: Head, entries: Sequence[LogEntry]) -> Head:
        """See the port."""
        log = self._find(chat_id)
        if log is None or log.epoch != head.epoch:
            log = self._create(chat_id, Head(head.epoch, head.seq - len(entries)))
        elif entries and entries[0].seq > log.last + 1:
            # Appending would leave a gap: replace the log with the given entries.
            log = self._create(chat_id, Head(head.epoch, entries[0].seq - 1))
        elif not entries and head.seq > log.last:
            log = self._create(chat_id, head)
        self._publish(chat_id, log, [entry for entry in entries if entry.seq > log.last])
        return log.head

    async def head(self, chat_id: str) -> Head | None:
        """See the port."""
        log = self._find(chat_id)
        return None if log is None else log.head

    async def read(self, chat_id: str, epoch: str, after: int, limit: int) -> Replay | CannotReplay:
        """See the port."""
        log = self._find(chat_id)
        if log is None:
            return CannotReplay(None)
        kept_after = log.last - len(log.entries)
        if log.epoch != epoch or not kept_after <= after <= log.last:
            return CannotReplay(log.head)
        start = after - kept_after
        entries = tuple(islice(log.entries, start, start + limit))
        return Replay(entries, log.head, more=start + len(entries) < len(log.entries))

    async def signal(self, chat_id: str, payload: bytes) -> None:
        """See the port."""
        if len(payload) > MAX_SIGNAL_BYTES:
            raise ValueError(f"the signal has {len(payload)} bytes; the limit is {MAX_SIGNAL_BYTES}")
        for subscription in tuple(self._sinks.get(chat_id, ())):
            if subscription.sink is None or subscription.signals is None:
                continue
            try:
                subscription.signals(payload)
            except Exception:
                logger.exception("event log sink raised", extra={"chat_id": chat_id})

    async def subscribe(self, chat_id: str, sink: FeedSink, signals: SignalSink | None = None) -> _Subscription:
        """See the port."""
        subscription = _Subscription(self, chat_id, sink, signals)
        self._sinks.setdefault(chat_id, []).append(subscription)
        return subscription

    def unsubscribe(self, chat_id: str, subscription: _Subscription) -> None:
        """Remove a subscription; its ``close`` calls this once."""
        left = [other for other in self._sinks[chat_id] if other is not subscription]
        if left:
            self._sinks[chat_id] = left
        else:
            del self._sinks[chat_id]

    def _find(self, chat_id: str) -> _ChatLog | None:
        self._drop_idle()
        log = self._chats.get(chat_id)
        if log is not None:
            log.used_at = self._clock()
            self._chats.move_to_end(chat_id)
        return log

    def _create(self, chat_id: str, end: Head) -> _ChatLog:
        log = _ChatLog(end.epoch, end.seq)
        log.used_at = self._clock()
        self._chats[chat_id] = log
        self._chats.move_to_end(chat_id)
        if len(self._chats) > self._options.max_chats:
            self._drop_oldest(math.inf, keep=chat_id)
        return log

    def _drop_idle(self) -> None:
        oldest_allowed = self._clock() - self._options.idle_ttl_s
        while self._drop_oldest(oldest_allowed):
            pass

    def _drop_oldest(self, used_before: float, *, keep: str | None = None) -> bool:
        """Drop the least recently used log without subscriptions, unless it was used after ``used_before``.

        Returns:
            Whether a log was dropped.
        """
        for _ in range(_MAX_SKIPPED):
            chat_id, log = next(iter(self._chats.items()), (None, None))
            if chat_id is None or log is None or chat_id == keep or log.used_at > used_before:
                return False
            if chat_id not in self._sinks:
                del self._chats[chat_id]
                return True
            # A subscription counts as use.
            log.used_at = self._clock()
            self._chats.move_to_end(chat_id)
        return False

    def _publish(self, chat_id: str, log: _ChatLog, entries: list[LogEntry]) -> None:
        if not entries:
            return
        log.extend(entries, self._options)
        for subscription in tuple(self._sinks.get(chat_id, ())):
            if subscription.sink is None:
                continue
            try:
                subscription.sink(log.epoch, entries)
            except Exception:
                # A sink must not raise; if it does, the other sinks still get the entries.
                logger.exception("event log sink raised", extra={"chat_id": chat_id})
