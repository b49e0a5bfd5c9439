"""Reads a stream of Redis without a gap, or reports that there is one.

Layer: realtime. Source: Redis documentation, "XREAD", "Streams".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.options import RedisStreamOptions
from roomcast.realtime.adapters.redis.stream_entries import format_id, parse_id
from roomcast.realtime.cluster.commands import Offset
from roomcast.redis_client import RedisAddress, RedisConnection, RedisOptions, RedisUnavailable, wait_for

_CLIENT_NAME: Final = "roomcast-stream"
_PAGE: Final = 500
_FIRST: Final[Offset] = (0, 0)


class EntryTaker(Protocol):
    """Receives the entries of a stream in order. No method raises."""

    def begin(self, offset: Offset) -> None:
        """Every entry after this offset will be passed to `take`; some before it may be lost."""

    def take(self, offset: Offset, fields: Sequence[bytes], age_s: float | None) -> None:
        """An entry; ``age_s``: how old it was when the reader started, None if it is younger."""


class StreamReader:
    """The place in the stream, for the life of the adapter.

    Args:
        redis: Credentials and time limits.
        options: The stream.
        taker: Receives the entries.
        counters: Counts lost entries.
        history_s: Age of the entries that are read at the start; 0: none.
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
        self._cursor: Offset | None = None
        self._count = options.read_count
        self.began = asyncio.Event()

    async def follow(self, address: RedisAddress, current: Callable[[], bool]) -> None:
        """Read until the connection ends, or ``current`` is False: the adapter uses another server now.

        Raises:
            RedisUnavailable: the connection failed.
        """
        connection = RedisConnection(address, max_message_bytes=self._options.read_limit_bytes)
        try:
            await connection.open(self._redis, _CLIENT_NAME)
            await self._find_place(connection)
            self.began.set()
            while current():
                await self._read(connection)
        except RedisUnavailable:
            if connection.lost.done() and connection.lost.result() == "oversize":
                self._skip_oversize()
            raise
        finally:
            connection.abort()

    async def _find_place(self, connection: RedisConnection) -> None:
        first, last = await self._edges(connection)
        cursor = self._cursor
        if cursor is None:
            await self._read_history(connection, first, last)
        elif last < cursor or first > cursor:
            # The stream is another one, or has been trimmed beyond the place.
            self._counters.drop("gap", f"{format_id(cursor)} to {format_id(first)}")
            self._begin(last if last < cursor else _before(first))

    async def _edges(self, connection: RedisConnection) -> tuple[Offset, Offset]:
        """Offsets of the first and the last entry; both are the lowest if the stream is empty."""
        first = await self._ask(connection, "XRANGE", self._options.stream, "-", "+", "COUNT", "1")
        last = await self._ask(connection, "XREVRANGE", self._options.stream, "+", "-", "COUNT", "1")
        return parse_id(first[0][0]) if first else _FIRST, parse_id(last[0][0]) if last else _FIRST

    async def _read_history(self, connection: RedisConnection, first: Offset, last: Offset) -> None:
        history_s = self._history_s()
        now_ms = int(time.time() * 1_000)
        oldest_ms = now_ms - int(history_s * 1_000)
        if not history_s or last[0] < oldest_ms:
            self._begin(last)
            return
        if first[0] < oldest_ms:
            self._begin((oldest_ms, 0))
        elif await self._is_complete(connection):
            self._begin(_FIRST)
        else:
            self._begin(_before(first))  # removed entries may have been younger than that
        while self._cursor is not None and self._cursor < last:
            start = f"({format_id(self._cursor)}"
            command = ("XRANGE", self._options.stream, start, format_id(last), "COUNT", str(_PAGE))
            entries = await self._ask(connection, *command)
            for entry_id, fields in entries:
                self._take(parse_id(entry_id), fields, max(0.0, (now_ms - parse_id(entry_id)[0]) / 1_000))
            if not entries:
                break

    async def _is_complete(self, connection: RedisConnection) -> bool:
        """Whether no entry was ever removed; False before Redis 7, which does not know."""
        reply = await self._ask(connection, "XINFO", "STREAM", self._options.stream)
        info = dict(zip(reply[::2], reply[1::2], strict=False))
        return bool(info.get(b"entries-added", -1) == info.get(b"length"))

    async def _read(self, connection: RedisConnection) -> None:
        options = self._options
        block = ("BLOCK", str(int(options.block_s * 1_000)), "COUNT", str(self._count))
        place = format_id(self._cursor or _FIRST)
        reply = await self._ask(connection, "XREAD", *block, "STREAMS", options.stream, place)
        if reply is None:
            return
        entries = reply[0][1]
        for entry_id, fields in entries:
            self._take(parse_id(entry_id), fields, None)
        if len(entries) >= self._count:
            # Behind: entries may be removed before they are read.
            first, _ = await self._edges(connection)
            if self._cursor is not None and first > self._cursor:
                self._counters.drop("gap", format_id(first))
                self._begin(_before(first))
        else:
            self._count = options.read_count

    async def _ask(self, connection: RedisConnection, *command: str) -> Any:
        limit_s = self._options.block_s + self._redis.command_timeout_s
        try:
            return await wait_for(connection.ask(*command), limit_s)
        except TimeoutError as error:
            raise RedisUnavailable("no answer to a read of the stream") from error

    def _take(self, offset: Offset, fields: Sequence[bytes], age_s: float | None) -> None:
        self._cursor = offset
        self._taker.take(offset, fields, age_s)

    def _begin(self, offset: Offset) -> None:
        self._cursor = offset
        self._taker.begin(offset)

    def _skip_oversize(self) -> None:
        if self._count > 1:
            self._count = 1
        else:
            # One entry is too large: what is in the stream now is lost.
            self._counters.drop("gap", "an entry is too large")
            self._cursor = None
            self._count = self._options.read_count


def _before(offset: Offset) -> Offset:
    """An offset before this one, and after the entries before it, which are gone."""
    milliseconds, count = offset
    return (milliseconds, count - 1) if count else (max(milliseconds - 1, 0), 10**9)
