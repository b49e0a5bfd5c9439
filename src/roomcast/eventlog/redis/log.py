"""The event log in Redis, shared by several processes.

Each chat has a list of records, and a hash with its epoch and last seq; a script reads or changes both atomically and
publishes the records that it appended. Redis may lose the list, the hash or both at any time, since the database has
every event: the scripts then report a gap, an absent log, or that they cannot replay.

Layer: eventlog. Source: docs/design.md, "The log".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
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
    LogNotStored,
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
from roomcast.eventlog.redis.keys import ChatKeys, canary_channel, chat_keys
from roomcast.eventlog.redis.listener import Listener
from roomcast.eventlog.redis.options import RedisLogOptions
from roomcast.redis_client import Commands, Outcome, RedisOptions, RedisUnavailable, Script

logger = logging.getLogger(__name__)

# The first element of the answers of ``lua/extend.lua``; otherwise the entries are stored.
_GAP: Final = 0
_REFUSED: Final = 2
#: No chat has this id.
_NO_CHAT: Final = "."


@contextmanager
def _as_log_unavailable() -> Iterator[None]:
    try:
        yield
    except RedisUnavailable as error:
        raise LogUnavailable(str(error)) from error


class _Subscription:
    """One sink of one chat."""

    __slots__ = ("_channel", "_log", "_signals", "_sink")

    def __init__(self, log: RedisEventLog, channel: _ChannelSinks, sink: FeedSink, signals: SignalSink | None) -> None:
        self._log = log
        self._channel = channel
        self._sink: FeedSink | None = sink
        self._signals = signals

    def take(self, epoch: str, entries: Sequence[LogEntry]) -> None:
        if self._sink is not None:
            self._sink(epoch, entries)

    def take_signal(self, payload: bytes) -> None:
        if self._signals is not None and self._sink is not None:
            self._signals(payload)

    async def close(self) -> None:
        if self._sink is not None:
            self._sink = None
            self._log.remove_sink(self._channel, self)


class _ChannelSinks:
    """The sinks of one chat's channel."""

    __slots__ = ("chat_id", "name", "subscriptions")

    def __init__(self, chat_id: str, name: str) -> None:
        self.chat_id = chat_id
        self.name = name
        # A tuple that each change replaces, so that a sink may subscribe or close during a delivery.
        self.subscriptions: tuple[_Subscription, ...] = ()


class RedisEventLog:
    """`chat.ports.EventLog` in Redis. Use it as an async context manager, or call `start` and `close`.

    Args:
        options: How to connect to Redis.
        log_options: Limits of the log.
        commands: Connections for commands, which the caller closes; None: the log opens its own.
        on_reconnect: Called on the loop when every channel is subscribed again after a connection was lost or the
            masters changed. Messages that were published in between were missed, and Redis may have lost its newest
            entries: the relay must append recent events again, and gateways must compare heads.

    Attributes:
        counters: Totals for the metrics.
        appends: Whether Redis stores and publishes entries.
        reads: Whether Redis answers reads.
    """

    def __init__(
        self,
        options: RedisOptions | None = None,
        log_options: RedisLogOptions | None = None,
        *,
        commands: Commands | None = None,
        on_reconnect: Callable[[], None] | None = None,
    ) -> None:
        options = options or RedisOptions()
        self._options = log_options or RedisLogOptions()
        self.counters = RedisLogCounters()
        self.appends = Outcome("append", "the relay appends the events later")
        self.reads = Outcome("read", "joins are unavailable")
        self._on_reconnect = [] if on_reconnect is None else [on_reconnect]
        self._ttl_ms = max(1, round(self._options.idle_ttl_s * 1_000))
        self._closes_commands = commands is None
        self._commands = commands or Commands(options)
        self._listener = Listener(
            self._commands,
            options,
            self._options,
            self.counters,
            deliver=self._deliver,
            on_reconnect=self._notify_reconnect,
        )
        self._channels: dict[bytes, _ChannelSinks] = {}

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
        """Begin to connect, in the background; Redis may still be down."""
        self._listener.start()

    async def close(self) -> None:
        """Close every connection."""
        await self._listener.stop()
        if self._closes_commands:
            await self._commands.close()

    @property
    def live_feed(self) -> Outcome:
        """Whether every master is connected, and a message that this process publishes arrives at its subscriptions."""
        return self._listener.live_feed

    @property
    def healthy(self) -> bool:
        """Whether the connection to every master passed a probe recently, and no subscription is refused."""
        return self._listener.healthy

    @property
    def receives(self) -> bool:
        """Whether the feed is `healthy`, and Redis did not refuse to publish the latest canary."""
        refused = self.live_feed.error
        return self.healthy and (refused is None or not refused.code)

    async def check(self) -> RedisUnavailable | None:
        """Check on every master that an append would be stored. Returns the error if one refuses it.

        A server that is full, read-only or has too few replicas answers PING and reads, and delivers no event.
        """
        try:
            for name in self._listener.canaries or [canary_channel(self._options.prefix, _NO_CHAT)]:
                await self._run(self.appends, scripts.CHECK, [name], [])
        except LogUnavailable:
            return self.appends.error
        self.appends.succeed()
        return None

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Add a callback that is called after each reconnect."""
        self._on_reconnect.append(callback)

    # --- chat.ports.EventLog

    async def append(self, chat_id: str, epoch: str, entries: Sequence[LogEntry]) -> Appended | Gap:
        """See the port."""
        outcome, *last = await self._write(scripts.APPEND, chat_id, epoch, self._batches(entries))
        if outcome == _GAP:
            self.counters.gaps += 1
            return Gap(Head(epoch, last[0]) if last else None)
        return Appended(Head(epoch, last[0]))

    async def seed(self, chat_id: str, head: Head, entries: Sequence[LogEntry]) -> Head:
        """See the port."""
        batches = self._batches(entries) if entries else [(head.seq + 1, [])]
        _, last = await self._write(scripts.SEED, chat_id, head.epoch, batches)
        return Head(head.epoch, last)

    async def head(self, chat_id: str) -> Head | None:
        """See the port."""
        return self._read_head(await self._read(scripts.HEAD, chat_id))

    async def read(self, chat_id: str, epoch: str, after: int, limit: int) -> Replay | CannotReplay:
        """See the port."""
        answer = await self._read(scripts.READ, chat_id, encode_epoch(epoch), after, limit)
        head = self._read_head(answer)
        entries: tuple[LogEntry, ...] | None = None
        if head is not None and len(answer) > 2:  # noqa: PLR2004 - epoch, last, then records
            entries = self._decode(answer[2], after + 1)
            if entries is None:
                # Another client wrote to the log: without it, the relay writes a new one.
                await self._run(self.reads, scripts.DISCARD, self._keys(chat_id)[:2], [])
                head = None
        if head is None or entries is None:
            self.counters.refused_replays += 1
            return CannotReplay(head)
        self.counters.replays += 1
        return Replay(entries, head, more=bool(answer[3]))

    async def signal(self, chat_id: str, payload: bytes) -> None:
        """See the port."""
        if len(payload) > MAX_SIGNAL_BYTES:
            raise ValueError(f"the signal has {len(payload)} bytes; the limit is {MAX_SIGNAL_BYTES}")
        with _as_log_unavailable():
            await self._commands.run(scripts.SIGNAL, [self._keys(chat_id).channel], [encode_signal(payload)])

    async def subscribe(self, chat_id: str, sink: FeedSink, signals: SignalSink | None = None) -> _Subscription:
        """See the port."""
        name = self._keys(chat_id).channel
        channel = self._channels.get(name.encode())
        if channel is None:
            channel = self._channels[name.encode()] = _ChannelSinks(chat_id, name)
        subscription = _Subscription(self, channel, sink, signals)
        channel.subscriptions = (*channel.subscriptions, subscription)
        try:
            with _as_log_unavailable():
                await self._listener.subscribe(name)
        except BaseException:
            await subscription.close()
            raise
        return subscription

    def remove_sink(self, channel: _ChannelSinks, subscription: _Subscription) -> None:
        """Remove a subscription; its ``close`` calls this once."""
        channel.subscriptions = tuple(other for other in channel.subscriptions if other is not subscription)
        if not channel.subscriptions and self._channels.get(channel.name.encode()) is channel:
            del self._channels[channel.name.encode()]
            self._listener.unsubscribe(channel.name)

    # --- parts

    def _keys(self, chat_id: str) -> ChatKeys:
        return chat_keys(self._options.prefix, chat_id)

    def _batches(self, entries: Sequence[LogEntry]) -> Iterator[tuple[int, list[bytes]]]:
        """Encode entries as records; yield ``(first seq, records)`` for each script call."""
        first_seq, records, size = entries[0].seq, list[bytes](), 0
        for entry in entries:
            record = encode_record(entry, self._options.max_entry_bytes)
            if entry.version != CUT_ENTRY_VERSION and record.startswith(b"%d " % CUT_ENTRY_VERSION):
                self.counters.cut += 1
                logger.warning(
                    "entry too large for the log, arguments dropped", extra={"seq": entry.seq, "bytes": len(entry.args)}
                )
            full = len(records) == self._options.batch_entries or size + len(record) > self._options.batch_bytes
            if records and full:
                yield first_seq, records
                first_seq, records, size = entry.seq, [], 0
            records.append(record)
            size += len(record)
        yield first_seq, records

    async def _write(
        self, script: Script, chat_id: str, epoch: str, batches: Iterable[tuple[int, list[bytes]]]
    ) -> Sequence[Any]:
        """Run a script of ``lua/extend.lua`` for each batch, until one finds a gap. Return its last answer."""
        options = self._options
        bounds = (encode_epoch(epoch), options.max_entries, options.max_bytes, self._ttl_ms)
        answer: Sequence[Any] = ()
        refusal: RedisUnavailable | None = None
        for first_seq, records in batches:
            answer = await self._run(self.appends, script, self._keys(chat_id), (*bounds, first_seq, *records))
            if answer[0] == _GAP:
                break
            if answer[0] == _REFUSED:
                refusal = RedisUnavailable.of_reply(answer[1].decode(errors="replace"))
                self.counters.unstored += len(records)
            else:
                self.counters.appended += len(records)
        if refusal is not None:
            self.appends.fail(refusal)
            raise LogNotStored(str(refusal)) from refusal
        self.appends.succeed()
        return answer

    async def _read(self, script: Script, chat_id: str, *args: str | bytes | float) -> Any:
        answer = await self._run(self.reads, script, self._keys(chat_id)[:2], [self._ttl_ms, *args])
        self.reads.succeed()
        return answer

    async def _run(
        self, outcome: Outcome, script: Script, keys: Sequence[str], args: Sequence[str | bytes | float]
    ) -> Any:
        try:
            return await self._commands.run(script, keys, args)
        except RedisUnavailable as error:
            outcome.fail(error)
            raise LogUnavailable(str(error)) from error

    def _read_head(self, answer: Sequence[Any]) -> Head | None:
        if not answer:
            return None
        try:
            return Head(decode_epoch(answer[0]), int(answer[1]))
        except (Malformed, ValueError):
            # No relay wrote this head: the log counts as absent, and a seed replaces it.
            self.counters.drop("head")
            return None

    def _decode(self, records: Sequence[bytes], first_seq: int) -> tuple[LogEntry, ...] | None:
        """Decode records; return None if a record is malformed or has the wrong seq: a replay is never partial."""
        try:
            entries = tuple(map(decode_record, records))
        except Malformed as error:
            self.counters.drop(error.reason)
            return None
        if any(entry.seq != seq for seq, entry in enumerate(entries, first_seq)):
            self.counters.drop("seq")
            return None
        return entries

    def _deliver(self, name: bytes, data: bytes) -> None:
        channel = self._channels.get(name)
        if channel is None:
            return  # just unsubscribed
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
        for subscription in channel.subscriptions:
            try:
                if signal is None:
                    subscription.take(epoch, entries)
                else:
                    subscription.take_signal(signal)
            except Exception:
                # A sink must not raise; if it does, the other sinks still get the message.
                logger.exception("event log sink raised", extra={"chat_id": channel.chat_id})

    def _notify_reconnect(self) -> None:
        for callback in self._on_reconnect:
            callback()
