"""The event log that several processes share, in Redis.

Each chat is a list of records and a hash that tells the epoch and seq at which it ends; one script reads or changes
both at once and publishes what it added. Redis may lose any of it at any time: the database is the truth, and the
scripts answer so that a loss is seen (a gap, an absent log, a replay that cannot be had), never papered over.

Layer: eventlog. Source: DESIGN 4.2 to 4.4.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self

from roomcast.chat.ports import (
    MAX_SIGNAL_BYTES,
    Appended,
    CannotReplay,
    FeedSink,
    Gap,
    Head,
    LogEntry,
    LogUnavailable,
    Replay,
    SignalSink,
)
from roomcast.eventlog.redis import scripts
from roomcast.eventlog.redis.codec import (
    CUT_ENTRY_VERSION,
    Malformed,
    decode_epoch,
    decode_frame,
    decode_record,
    decode_signal,
    encode_epoch,
    encode_record,
    encode_signal,
)
from roomcast.eventlog.redis.counters import RedisLogCounters
from roomcast.eventlog.redis.engine import Engine
from roomcast.eventlog.redis.keys import ChatKeys, chat_keys
from roomcast.eventlog.redis.listener import Listener
from roomcast.eventlog.redis.options import RedisLogOptions
from roomcast.redis_client import RedisOptions, Script

logger = logging.getLogger(__name__)

#: No chat has this id: a question that any Redis can answer.
_NO_CHAT: Final = "."


class _Subscription:
    """One sink of one chat. Drops what it was given before: a log that is rebuilt is published again."""

    __slots__ = ("_epoch", "_feed", "_last", "_log", "_signals", "_sink")

    def __init__(self, log: RedisEventLog, feed: _Feed, sink: FeedSink, signals: SignalSink | None) -> None:
        self._log = log
        self._feed = feed
        self._sink: FeedSink | None = sink
        self._signals = signals
        self._epoch = ""
        self._last = 0

    def take(self, epoch: str, entries: Sequence[LogEntry]) -> None:
        if epoch == self._epoch:
            if entries[0].seq <= self._last:
                entries = [entry for entry in entries if entry.seq > self._last]
        else:
            self._epoch = epoch
        if entries and self._sink is not None:
            self._last = entries[-1].seq
            self._sink(epoch, entries)

    def take_signal(self, payload: bytes) -> None:
        if self._signals is not None and self._sink is not None:
            self._signals(payload)

    async def close(self) -> None:
        if self._sink is not None:
            self._sink = None
            self._log.forget(self._feed, self)


class _Feed:
    """The sinks of one chat."""

    __slots__ = ("channel", "chat_id", "subscriptions")

    def __init__(self, chat_id: str, channel: str) -> None:
        self.chat_id = chat_id
        self.channel = channel
        # Replaced, never changed, so that it can be walked while sinks come and go.
        self.subscriptions: tuple[_Subscription, ...] = ()


class RedisEventLog:
    """`chat.ports.EventLog` in Redis. Enter it as a context, or call `start` and `close`.

    Args:
        options: How Redis is reached.
        log_options: How much of it is used.
        on_reconnect: Called on the loop whenever the live feed is whole again after a loss or a change of masters.
            What was published meanwhile was missed, and Redis itself may have lost its newest entries: the relay has
            to append the recent past again, gateways have to compare heads.
    """

    def __init__(
        self,
        options: RedisOptions | None = None,
        log_options: RedisLogOptions | None = None,
        *,
        on_reconnect: Callable[[], None] | None = None,
    ) -> None:
        options = options or RedisOptions()
        self._options = log_options or RedisLogOptions()
        self.counters = RedisLogCounters()
        self._on_reconnect = [] if on_reconnect is None else [on_reconnect]
        self._ttl_ms = max(1, round(self._options.idle_ttl_s * 1_000))
        self._engine = Engine(options)
        self._listener = Listener(
            self._engine,
            options,
            self._options,
            self.counters,
            deliver=self._heard,
            on_reconnect=self._reconnected,
        )
        self._feeds: dict[bytes, _Feed] = {}

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    async def start(self) -> None:
        """Begin to connect, in the background; Redis need not be there yet."""
        self._listener.start()

    async def close(self) -> None:
        """Close every connection."""
        await self._listener.stop()
        await self._engine.close()

    @property
    def healthy(self) -> bool:
        """Whether the live feed is connected and was proven to hear, within the last seconds."""
        return self._listener.healthy

    async def reachable(self) -> bool:
        """Whether Redis takes commands now, whatever the live feed hears."""
        try:
            await self._engine.run(scripts.HEAD, self._keys(_NO_CHAT)[:2], [self._ttl_ms])
        except LogUnavailable:
            return False
        return True

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` too after each reconnect."""
        self._on_reconnect.append(callback)

    # --- chat.ports.EventLog

    async def append(self, chat_id: str, epoch: str, entries: Sequence[LogEntry]) -> Appended | Gap:
        """See the port."""
        keys = self._keys(chat_id)
        last = 0
        for first_seq, records in self._batches(entries):
            answer = await self._write(scripts.APPEND, keys, epoch, first_seq, records)
            if answer[0] != 1:
                self.counters.gaps += 1
                return Gap(Head(epoch, answer[1]) if len(answer) > 1 else None)
            last = answer[1]
            self.counters.appended += len(records)
        return Appended(Head(epoch, last))

    async def seed(self, chat_id: str, head: Head, entries: Sequence[LogEntry]) -> Head:
        """See the port."""
        keys = self._keys(chat_id)
        if not entries:
            (last,) = await self._write(scripts.SEED, keys, head.epoch, head.seq + 1, [])
            return Head(head.epoch, last)
        last = 0
        for first_seq, records in self._batches(entries):
            (last,) = await self._write(scripts.SEED, keys, head.epoch, first_seq, records)
            self.counters.appended += len(records)
        return Head(head.epoch, last)

    async def head(self, chat_id: str) -> Head | None:
        """See the port."""
        keys = self._keys(chat_id)
        return self._read_head(await self._engine.run(scripts.HEAD, keys[:2], [self._ttl_ms]))

    async def read(self, chat_id: str, epoch: str, after: int, limit: int) -> Replay | CannotReplay:
        """See the port."""
        keys = self._keys(chat_id)
        answer = await self._engine.run(scripts.READ, keys[:2], [self._ttl_ms, encode_epoch(epoch), after, limit])
        head = self._read_head(answer)
        entries: tuple[LogEntry, ...] | None = None
        if head is not None and len(answer) > 2:  # noqa: PLR2004 - epoch, last, then records
            entries = self._decode(answer[2], after + 1)
        if head is None or entries is None:
            self.counters.refused_replays += 1
            return CannotReplay(head)
        self.counters.replays += 1
        return Replay(entries, head, more=bool(answer[3]))

    async def signal(self, chat_id: str, payload: bytes) -> None:
        """See the port."""
        if len(payload) > MAX_SIGNAL_BYTES:
            raise ValueError(f"a signal of {len(payload)} bytes; at most {MAX_SIGNAL_BYTES}")
        await self._engine.run(scripts.SIGNAL, [self._keys(chat_id).channel], [encode_signal(payload)])

    async def subscribe(self, chat_id: str, sink: FeedSink, signals: SignalSink | None = None) -> _Subscription:
        """See the port."""
        channel = self._keys(chat_id).channel
        feed = self._feeds.get(channel.encode())
        if feed is None:
            feed = self._feeds[channel.encode()] = _Feed(chat_id, channel)
        subscription = _Subscription(self, feed, sink, signals)
        feed.subscriptions = (*feed.subscriptions, subscription)
        try:
            await self._listener.subscribe(channel)
        except BaseException:
            await subscription.close()
            raise
        return subscription

    def forget(self, feed: _Feed, subscription: _Subscription) -> None:
        """Drop one subscription; called once by its ``close``."""
        feed.subscriptions = tuple(other for other in feed.subscriptions if other is not subscription)
        if not feed.subscriptions and self._feeds.get(feed.channel.encode()) is feed:
            del self._feeds[feed.channel.encode()]
            self._listener.unsubscribe(feed.channel)

    # --- parts

    def _keys(self, chat_id: str) -> ChatKeys:
        return chat_keys(self._options.prefix, chat_id)

    def _batches(self, entries: Sequence[LogEntry]) -> Iterator[tuple[int, list[bytes]]]:
        """Records in portions that one script call may carry, each with its first seq."""
        first_seq, records, size = entries[0].seq, list[bytes](), 0
        for entry in entries:
            record = encode_record(entry, self._options.max_entry_bytes)
            if entry.version != CUT_ENTRY_VERSION and record.startswith(b"%d " % CUT_ENTRY_VERSION):
                self.counters.cut += 1
                logger.warning("an entry is too large for the log", extra={"seq": entry.seq, "bytes": len(entry.args)})
            full = len(records) == self._options.batch_entries or size + len(record) > self._options.batch_bytes
            if records and full:
                yield first_seq, records
                first_seq, records, size = entry.seq, [], 0
            records.append(record)
            size += len(record)
        yield first_seq, records

    async def _write(self, script: Script, keys: ChatKeys, epoch: str, first_seq: int, records: Sequence[bytes]) -> Any:
        options = self._options
        bounds = (options.max_entries, options.max_bytes, self._ttl_ms)
        args: list[str | bytes | float] = [keys.channel, encode_epoch(epoch), *bounds, first_seq, *records]
        return await self._engine.run(script, keys[:2], args)

    def _read_head(self, answer: Sequence[Any]) -> Head | None:
        if not answer:
            return None
        try:
            return Head(decode_epoch(answer[0]), int(answer[1]))
        except (Malformed, ValueError):
            # Not written by us: as good as absent, since a seed will replace it.
            self.counters.drop("head")
            return None

    def _decode(self, records: Sequence[bytes], first_seq: int) -> tuple[LogEntry, ...] | None:
        """The entries, if every record is what it should be: a replay is whole or none."""
        try:
            entries = tuple(map(decode_record, records))
        except Malformed as error:
            self.counters.drop(error.reason)
            return None
        if any(entry.seq != seq for seq, entry in enumerate(entries, first_seq)):
            self.counters.drop("seq")
            return None
        return entries

    def _heard(self, channel: bytes, data: bytes) -> None:
        feed = self._feeds.get(channel)
        if feed is None:
            return  # left a moment ago
        try:
            signal = decode_signal(data)
            epoch, entries = ("", []) if signal is not None else decode_frame(data)
        except Malformed as error:
            self.counters.drop(error.reason)
            return
        if signal is None:
            self.counters.frames += 1
        else:
            self.counters.signals += 1
        for subscription in feed.subscriptions:
            try:
                if signal is None:
                    subscription.take(epoch, entries)
                else:
                    subscription.take_signal(signal)
            except Exception:
                # A sink that raises breaks its port; the other sinks must not pay for it.
                logger.exception("a sink of the event log raised", extra={"chat_id": feed.chat_id})

    def _reconnected(self) -> None:
        for callback in self._on_reconnect:
            callback()
