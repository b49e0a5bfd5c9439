"""Reads a stream of Redis without a gap, or reports that there is one.

Layer: realtime. Source: Redis documentation, "XREAD", "Streams".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.messages.stream_entries import format_id, parse_id
from roomcast.realtime.adapters.redis.options import RedisStreamOptions
from roomcast.realtime.cluster.commands import Offset
from roomcast.redis_client import RedisAddress, RedisConnection, RedisOptions, RedisUnavailable, wait_for

_CLIENT_NAME: Final = "roomcast-stream"
_FIRST: Final[Offset] = (0, 0)
# Causes of a gap.
_OTHER_STREAM: Final = "the stream is another one"
_OVERSIZE: Final = "an entry is too large"
_TRIMMED: Final = "the stream was trimmed"


class EntryTaker(Protocol):
    """Receives the entries of a stream in order. No method raises."""

    def begin(self, offset: Offset, last: Offset, *, gap: bool) -> None:
        """Every entry after an offset will be passed to `take`; some before it may be lost.

        Called at the start, and again after a gap.

        Args:
            offset: The offset.
            last: Offset of the last entry that is passed with its age.
            gap: Entries after the last one that was passed may be lost.
        """

    def take(self, offset: Offset, fields: Sequence[bytes], age_s: float | None) -> None:
        """An entry; ``age_s``: how old it was when the reader started, None if it is younger."""


class StreamReader:
    """The place in the stream, for the life of the adapter.

    Entries that were in the stream at the start are history, whenever they are read.

    Args:
        redis: Credentials and time limits.
        options: The stream.
        taker: Receives the entries.
        counters: Counts gaps.
        history_s: Age of the entries that are read at the start; 0: none.

    Attributes:
        began: Set when the history has been read.
    """

    def __init__(
        self,
        redis: RedisOptions,
        options: RedisStreamOptions,
        taker: EntryTaker,
        counters: RedisAdapterCounters,
        history_s: Callable[[], float],
    ) -> None:
        self._redis = redis
        self._options = options
        self._taker = taker
        self._counters = counters
        self._history_s = history_s
        #: Of the last entry that was read; None before the start.
        self._cursor: Offset | None = None
        #: No entry after the cursor has been removed as long as the stream begins here, or before.
        self._base = _FIRST
        # Of the last entry of the history, and when it ended.
        self._history_end = _FIRST
        self._started_ms = 0
        self._count = options.read_count
        self._oversize = False
        self.began = asyncio.Event()

    @property
    def position(self) -> Offset:
        """Of the last entry that was read."""
        return self._cursor or _FIRST

    async def follow(self, address: RedisAddress, current: Callable[[], bool]) -> None:
        """Read until the connection ends, or ``current`` is False: the adapter uses another server now.

        Raises:
            RedisUnavailable: the connection failed.
        """
        connection = RedisConnection(address, max_message_bytes=self._options.read_limit_bytes)
        try:
            await connection.open(self._redis, _CLIENT_NAME)
            await self._find_place(connection)
            while current():
                await self._read(connection)
        except RedisUnavailable:
            if connection.lost.done() and connection.lost.result() == "oversize":
                self._oversize = self._count == 1
                self._count = max(1, self._count // 8)
            raise
        finally:
            connection.abort()

    async def _find_place(self, connection: RedisConnection) -> None:
        first, last = await self._edges(connection)
        cursor = self._cursor
        if cursor is None:
            self._started_ms, self._history_end = _now_ms(), last
            start = self._history_start(first, last)
            self._begin(start, first, start, gap=False)
        elif self._oversize:
            # The id of the entry is not known, so what is in the stream now is lost.
            self._skip(_OVERSIZE, max(cursor, last), first, max(cursor, last))
        elif last < cursor:
            self._history_end = min(self._history_end, last)
            self._skip(_OTHER_STREAM, last, first, max((_now_ms(), 0), (cursor[0] + 1, 0)))
        elif (cause := await self._gap_before(connection, first)) is not None:
            self._skip(cause, _before(first), first, _before(first))
        self._oversize = False

    def _history_start(self, first: Offset, last: Offset) -> Offset:
        history_s = self._history_s()
        oldest = self._started_ms - int(history_s * 1_000), 0
        if not history_s or last < oldest:
            return last
        # Removed entries may have been younger.
        return max(oldest, _before(first))

    async def _edges(self, connection: RedisConnection) -> tuple[Offset, Offset]:
        """Offsets of the first and the last entry; both are the lowest if the stream is empty."""
        first = await self._ask(connection, "XRANGE", self._options.stream, "-", "+", "COUNT", "1")
        last = await self._ask(connection, "XREVRANGE", self._options.stream, "+", "-", "COUNT", "1")
        if not first or not last:
            return _FIRST, _FIRST
        return parse_id(first[0][0]), parse_id(last[0][0])

    async def _exists(self, connection: RedisConnection, offset: Offset) -> bool:
        place = format_id(offset)
        return bool(await self._ask(connection, "XRANGE", self._options.stream, place, place))

    async def _gap_before(self, connection: RedisConnection, first: Offset) -> str | None:
        """The cause if entries after the cursor may have been removed.

        Args:
            connection: The connection.
            first: Offset of the first entry, now or since the entries after the cursor were read.
        """
        if first <= self._base:
            return None
        reply = await self._ask(connection, "XINFO", "STREAM", self._options.stream)
        info = dict(zip(reply[::2], reply[1::2], strict=False))
        # Whether no entry was ever removed; Redis knows since 7.0.
        complete = info.get(b"entries-added", -1) == info.get(b"length")
        if complete and self._base == _FIRST:
            return None  # the stream was empty
        return _OTHER_STREAM if complete else _TRIMMED

    async def _read(self, connection: RedisConnection) -> None:
        options = self._options
        cursor = self.position
        wait = ("BLOCK", str(int(options.block_s * 1_000))) if self.began.is_set() else ()
        count = self._count
        place = ("STREAMS", options.stream, format_id(cursor))
        reply = await self._ask(connection, "XREAD", *wait, "COUNT", str(count), *place)
        entries = [(parse_id(entry_id), fields) for entry_id, fields in reply[0][1]] if reply else []
        # Behind: entries may have been removed before they were read, but none if the last one that was read remains.
        if len(entries) >= min(count, 2) and not await self._exists(connection, cursor):
            first, _ = await self._edges(connection)
            cause = await self._gap_before(connection, first)
            if cause is not None:
                self._skip(cause, cursor, first, _before(entries[0][0]))
        for offset, fields in entries:
            self._cursor = self._base = offset
            self._taker.take(offset, fields, self._age_s(offset))
        if len(entries) < count or entries[-1][0] >= self._history_end:
            self.began.set()
        if count < options.read_count and 4 * _size_bytes(entries) <= options.read_limit_bytes:
            self._count = min(2 * count, options.read_count)

    def _age_s(self, offset: Offset) -> float | None:
        if offset > self._history_end:
            return None
        return max(0.0, (self._started_ms - offset[0]) / 1_000)

    async def _ask(self, connection: RedisConnection, *command: str) -> Any:
        limit_s = self._options.block_s + self._redis.command_timeout_s
        try:
            return await wait_for(connection.ask(*command), limit_s)
        except TimeoutError as error:
            raise RedisUnavailable("no answer to a read of the stream") from error

    def _skip(self, cause: str, cursor: Offset, first: Offset, complete: Offset) -> None:
        """Go on after the cursor. From ``complete`` on no entry is missing."""
        self._counters.drop("gap", f"{cause}: after {format_id(self.position)}")
        self._begin(cursor, first, complete, gap=True)

    def _begin(self, cursor: Offset, first: Offset, complete: Offset, *, gap: bool) -> None:
        self._cursor = cursor
        self._base = max(cursor, first)
        self._taker.begin(complete, max(complete, self._history_end), gap=gap)


def _now_ms() -> int:
    return int(time.time() * 1_000)


def _size_bytes(entries: Sequence[tuple[Offset, Sequence[bytes]]]) -> int:
    return sum(len(value) for _, fields in entries for value in fields)


def _before(offset: Offset) -> Offset:
    """An offset before this one, and after the entries before it, which are gone."""
    milliseconds, count = offset
    return (milliseconds, count - 1) if count else (max(milliseconds - 1, 0), 10**9)
