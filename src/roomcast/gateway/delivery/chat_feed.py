"""The feed of one chat: subscribes to its log and emits each event once, in seq order, to the chat's room.

`ChatFeed.position` is the last seq that the room has received. The rules:

- Entries at or below the position are dropped: subscription, reads and retries may deliver an entry twice.
- Entries beyond position + 1 reveal a gap. The feed does not buffer them: it reads the log from its position and asks
  the relay to publish. After ``gap_limit_s`` it emits ``resync`` and continues after the gap; the client fetches the
  missing events from the API, which has them, since events are committed before they are published.
- An entry of another epoch may belong to another history: the feed emits ``resync`` with ``reset``.
- A resync may skip a removal: the feed emits nothing until the API has confirmed each authenticated user in the room.
- The loss of the last entry reveals no gap, so `Feeds.sweep` compares the position with the log's head.

Layer: gateway. Source: docs/design.md, "Feeds".
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from roomcast.chat.ports import (
    LOG_ENTRY_VERSION,
    Attributes,
    CannotReplay,
    EventLog,
    Head,
    LogEntry,
    LogUnavailable,
    Replay,
    Subscription,
    Tracer,
)
from roomcast.contract.events import RESYNC, Resync
from roomcast.gateway.delivery.answers import short_end
from roomcast.gateway.delivery.counters import GatewayCounters
from roomcast.gateway.delivery.membership import Memberships, is_deletion, is_update, removed_user
from roomcast.gateway.delivery.replay import Recording, ReplayLimits, Tail, complete_replay
from roomcast.gateway.ports import ApiUnavailable, ChatAdmission, Rooms
from roomcast.gateway.rooms import chat_room, stream_room
from roomcast.realtime.fanout.message import EncodedEvent

logger = logging.getLogger(__name__)

#: Before the time in the JSON of an event. Texts cannot contain it, since JSON escapes quotes.
_TIME: Final = b'"time":"'
#: Above the length of any time.
_TIME_BYTES: Final = 40
# Joins share larger reads for less time: reads of 0.5 MB in many chats, kept for 2 s, took half a gigabyte.
_TAIL_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedOptions:
    """Time limits and batch size of the feeds.

    Attributes:
        gap_limit_s: How long a feed tries to fill a gap before it emits ``resync``.
        catch_up_limit_s: How long a join waits for the feed to reach the head in the admission.
        retry_s: First pause before the log is read again for entries that it lacks; doubled each time.
        linger_s: How long a feed stays subscribed without holders, so that a page reload costs no new subscription.
        sweep_s: Longest time between two comparisons of a feed with its log's head.
        batch_entries: Maximum number of entries in one read that fills a gap.
        tail_s: How long joins share the entries of one read for a replay, up to 64 KiB; larger ones for less time.
    """

    gap_limit_s: float = 0.25
    catch_up_limit_s: float = 3.0
    retry_s: float = 0.05
    linger_s: float = 5.0
    sweep_s: float = 30.0
    batch_entries: int = 200
    tail_s: float = 2.0


class FeedBehind(Exception):
    """The log did not reach the database's head in time."""


class EpochDiffers(Exception):
    """The log has another epoch than the admission, even after the relay has published: request a new admission."""


class ChatFeed:
    """The feed of one chat, created and owned by `Feeds`.

    Attributes:
        chat_id: The chat.
        holders: Subscriptions and joins in progress that use the feed; at 0 it lingers, then closes.
        position: The last seq that the room has received; None until the log's head is known.
        resyncs: How many resyncs the room has received.
        complete_after: The seq of the last resync: the room has received every event after it.
    """

    def __init__(
        self,
        chat_id: str,
        log: EventLog,
        admission: ChatAdmission,
        rooms: Rooms,
        memberships: Memberships,
        options: FeedOptions,
        signals: Callable[[str, bytes], None] | None,
        counters: GatewayCounters,
        tracer: Tracer | None,
    ) -> None:
        self.chat_id = chat_id
        self.holders = 0
        self.position: Head | None = None
        self.resyncs = 0
        self.complete_after = 0
        self._log = log
        self._admission = admission
        self._rooms = rooms
        self._memberships = memberships
        self._options = options
        self._signals = signals
        self._counters = counters
        self._tracer = tracer
        self._room = chat_room(chat_id)
        self._stream_room = stream_room(chat_id)
        self._opening: asyncio.Task[None] | None = None
        self._opened = False
        self._closed = False
        self._subscription: Subscription | None = None
        # The last entry that was delivered while `_open` waits for the log's head.
        self._head_while_opening: Head | None = None
        # The highest known seq of the log, in the position's epoch.
        self._log_end = 0
        self._gap_task: asyncio.Task[None] | None = None
        # Confirms the memberships in the room; the feed emits nothing until this task is done.
        self._confirming: asyncio.Task[None] | None = None
        self._recordings: list[Recording] = []
        # Reads for replays in progress, by the seq after which they read, and the latest result.
        self._reads: dict[int, asyncio.Task[bool]] = {}
        self._tail: Tail | None = None
        self._moved: asyncio.Future[None] | None = None

    # --- lifecycle

    async def open(self) -> None:
        """Subscribe, then read the log's head. Concurrent callers share one attempt.

        Raises:
            LogUnavailable: the log does not answer.
        """
        if self._opened:
            return
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name=f"feed-open-{self.chat_id}")
        # The cancellation of one join must not cancel the attempt that other joins share.
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        self._subscription = await self._log.subscribe(self.chat_id, self._on_entries, self._on_signal)
        head = await self._log.head(self.chat_id)
        self._opened = True
        if head is not None:
            self._start_at(head)
        if self._head_while_opening is not None:
            # The delivered entry may be newer than the head that was read.
            self._note_log_head(self._head_while_opening)

    async def close(self) -> None:
        """Unsubscribe. The feed emits nothing from this call on."""
        self._closed = True
        tasks: list[asyncio.Task[bool] | asyncio.Task[None]] = [*self._reads.values()]
        tasks += [task for task in (self._opening, self._gap_task, self._confirming) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._subscription is not None:
            await self._subscription.close()
            self._subscription = None
        self._wake_waiters()

    # --- joins

    @property
    def confirming(self) -> bool:
        """Whether the memberships in the room are being confirmed; nothing is emitted meanwhile."""
        return self._confirming is not None

    async def wait_for(self, wanted: Head) -> None:
        """Wait until the position is at ``wanted`` or beyond it, in the same epoch.

        Raises:
            EpochDiffers: the log has another epoch.
            FeedBehind: ``catch_up_limit_s`` has passed, or the feed was closed.
            LogUnavailable: the log does not answer.
        """
        if self.position is None and wanted.seq == 0:
            # An empty chat has no log yet; the first append creates one at seq 1.
            self._start_at(wanted)
        if self._has_reached(wanted):
            return
        try:
            async with asyncio.timeout(self._options.catch_up_limit_s):
                await self._catch_up(wanted)
        except TimeoutError:
            raise FeedBehind from None

    async def _catch_up(self, wanted: Head) -> None:
        pause_s = self._options.retry_s
        # The admission has started the relay, so the first round requests a publish only if there is no log.
        relay_started = True
        while not self._has_reached(wanted):
            moved = self._next_move()
            if await self._check_log_head() is None or not relay_started:
                await self._request_publish()
                await self._check_log_head()
                if not self._has_reached(wanted) and self._is_of_other_epoch(wanted):
                    raise EpochDiffers
            relay_started = False
            if not self._has_reached(wanted):
                await asyncio.wait({moved}, timeout=pause_s)
                pause_s *= 2

    def _is_of_other_epoch(self, wanted: Head) -> bool:
        return self.position is not None and self.position.epoch != wanted.epoch

    def _has_reached(self, wanted: Head) -> bool:
        if self._closed:
            raise FeedBehind
        position = self.position
        return position is not None and position.epoch == wanted.epoch and position.seq >= wanted.seq

    async def replay(self, after: int, limits: ReplayLimits) -> list[LogEntry] | None:
        """Return every entry after seq ``after``, up to the position that the feed has in the loop turn of the return.

        Returns:
            The entries; None if the log or the limits do not allow a complete replay.

        Raises:
            LogUnavailable: the log does not answer.
        """
        while True:
            position = self.position
            if position is None or position.seq - after > limits.max_entries:
                return None
            if position.seq <= after:
                return []
            if self._tail is not None and after >= self._tail.after:
                return self._tail.replay(after, position.seq, limits)
            read = self._reads.get(after)
            if read is None:
                name = f"feed-replay-{self.chat_id}"
                read = self._reads[after] = asyncio.create_task(self._read_tail(position, after, limits), name=name)
                read.add_done_callback(_retrieve)
            # The cancellation of one join must not cancel the read that other joins share.
            if not await asyncio.shield(read):
                return None
            # The shared tail may have ended meanwhile, by its time or its limits: then the join reads again.

    async def _read_tail(self, asked: Head, after: int, limits: ReplayLimits) -> bool:
        """Read the entries for a replay. Returns whether they were complete."""
        recording = Recording(limits)
        self._recordings.append(recording)
        began = time.perf_counter()
        try:
            found = await self._log.read(self.chat_id, asked.epoch, after, limits.max_entries)
        finally:
            del self._reads[after]
            self._recordings.remove(recording)
            self._counters.replay_s.observe(time.perf_counter() - began)
        position = self.position
        if position is None or position.epoch != asked.epoch or not isinstance(found, Replay):
            return False
        entries = complete_replay(found.entries, recording.entries, after, position.seq, limits)
        if entries is None:
            return False
        # Another read may have found more meanwhile.
        if self._tail is None or after < self._tail.after:
            tail = self._tail = Tail(after, entries, limits)
            kept_s = self._options.tail_s * min(1.0, _TAIL_BYTES / sum(len(entry.args) for entry in entries))
            asyncio.get_running_loop().call_later(kept_s, self._drop_tail, tail)
        return True

    def _drop_tail(self, tail: Tail) -> None:
        if self._tail is tail:
            self._tail = None

    def encoded(self, entry: LogEntry) -> EncodedEvent:
        """The event of an entry of a replay. Joins that share a read share its encoding, too."""
        return EncodedEvent.from_json(entry.args) if self._tail is None else self._tail.event(entry)

    # --- the sweep

    async def compare_with_log(self) -> None:
        """Compare the position with the log's head: fill a gap, or have the relay restore a log that lost its end."""
        if not self._opened or self._closed:
            return
        try:
            head = await self._check_log_head()
            position = self.position
            if position is not None and position.seq > 0 and (head is None or head.seq < position.seq):
                await self._request_publish()
                await self._check_log_head()
        except LogUnavailable as error:
            # The log reports its failures, once for all feeds.
            facts = {"chat_id": self.chat_id, "error": str(error)}
            logger.debug("cannot compare a feed with the log", extra=facts)

    # --- deliveries

    def _on_entries(self, epoch: str, entries: Sequence[LogEntry]) -> None:
        """Receive entries from the subscription."""
        if self._closed:
            return
        position = self.position
        if not self._opened:
            self._head_while_opening = Head(epoch, entries[-1].seq)
        elif position is None:
            self._emit(self._start_at(Head(epoch, entries[0].seq - 1)), entries)
        elif epoch != position.epoch:
            self._change_epoch(Head(epoch, entries[-1].seq))
        else:
            self._emit(position, entries)

    def _on_signal(self, payload: bytes) -> None:
        """Receive a signal from the subscription."""
        # While memberships are being confirmed, signals are lost: the room may have a removed member.
        if self._signals is not None and not self._closed and self._confirming is None:
            self._signals(self.chat_id, payload)

    def _emit(self, position: Head, entries: Sequence[LogEntry]) -> None:
        """Emit those entries that continue at ``position``. All entries belong to its epoch."""
        for entry in entries:
            if self._confirming is not None:
                break
            if entry.seq == position.seq + 1:
                position = self.position = Head(position.epoch, entry.seq)
                self._counters.delivered += 1
                if logger.isEnabledFor(logging.DEBUG):
                    facts = {"chat_id": self.chat_id, "seq": entry.seq, "trace": entry.trace}
                    logger.debug("event delivered", extra=facts)
                if self._tracer is None or entry.trace is None:
                    self._emit_one(entry, position)
                else:
                    self._emit_traced(self._tracer, entry, entry.trace, position)
        self._wake_waiters()
        # A resync above keeps the epoch.
        self._log_end = max(self._log_end, entries[-1].seq)
        if self._log_end > position.seq:
            self._start_filling()

    def _emit_traced(self, tracer: Tracer, entry: LogEntry, trace: str, position: Head) -> None:
        began_ns = time.time_ns()
        self._emit_one(entry, position)
        facts: Attributes = {
            "messaging.system": "roomcast",
            "messaging.operation.type": "process",
            "roomcast.chat.id": self.chat_id,
            "roomcast.event.seq": entry.seq,
        }
        tracer.record("deliver event", "consumer", facts, parent=trace, began_ns=began_ns)

    def _emit_one(self, entry: LogEntry, position: Head) -> None:
        if entry.version != LOG_ENTRY_VERSION:
            # The format of a newer release, which this release cannot emit: clients fetch the event from the API.
            facts = {"chat_id": self.chat_id, "version": entry.version}
            logger.warning("unknown log entry version", extra=facts)
            self._resync(position, reset=False)
            return
        end = short_end(entry.args)
        skip = () if end is None else (self._stream_room,)
        self._rooms.broadcast(self._room, EncodedEvent.from_json(entry.args), skip=skip)
        if end is not None:
            self._rooms.broadcast(self._stream_room, EncodedEvent.from_json(end))
        elif (committed := _committed_at(entry.args)) is not None:
            self._counters.delivery_s.observe(time.time() - committed)
        for recording in self._recordings:
            recording.add(entry)
        if self._tail is not None and not self._tail.add(entry):
            self._tail = None
        user_id = removed_user(self.chat_id, entry.args)
        if user_id is not None:
            self._memberships.remove(self.chat_id, user_id)
        elif is_deletion(entry.args):
            self._memberships.remove_all(self.chat_id)
        elif is_update(entry.args):
            self._memberships.update(self.chat_id, entry.args)

    def _note_log_head(self, head: Head) -> None:
        """Note that the log has reached ``head``; fill the gap if ``head`` is beyond the position."""
        if self.position is None:
            self._start_at(head)
        elif head.epoch != self.position.epoch:
            self._change_epoch(head)
        else:
            self._log_end = max(self._log_end, head.seq)
            self._start_filling()

    def _start_filling(self) -> None:
        if self._is_behind() and self._gap_task is None:
            self._gap_task = asyncio.create_task(self._fill_gap(), name=f"feed-gap-{self.chat_id}")

    def _start_at(self, head: Head) -> Head:
        self.position = head
        self._tail = None
        self._log_end = head.seq
        self._wake_waiters()
        return head

    def _change_epoch(self, head: Head) -> None:
        logger.info("new epoch of a chat's log", extra={"chat_id": self.chat_id, "epoch": head.epoch})
        self._log_end = head.seq
        self._resync(head, reset=True)

    def _resync(self, head: Head, *, reset: bool) -> None:
        """Have the room's clients fetch everything up to ``head`` from the API; live events continue after it."""
        self.position = head
        self._tail = None
        self.resyncs += 1
        self._counters.resyncs += 1
        self.complete_after = head.seq
        notice = Resync(chat_id=self.chat_id, epoch=head.epoch, seq=head.seq, reset=reset)
        self._rooms.broadcast(self._room, EncodedEvent.from_args(RESYNC, notice.model_dump()))
        self._confirm_members()
        self._wake_waiters()

    def _confirm_members(self) -> None:
        """Emit nothing until every user in the room is confirmed: a removal may be among the skipped events."""
        if self._confirming is not None:
            self._confirming.cancel()
            self._confirming = None
        if self._memberships.has_users(self.chat_id):
            self._confirming = asyncio.create_task(self._confirm(), name=f"feed-confirm-{self.chat_id}")

    async def _confirm(self) -> None:
        await self._memberships.confirm(self.chat_id)
        self._confirming = None
        self._start_filling()

    # --- gaps

    async def _fill_gap(self) -> None:
        """Read from the position to the log's known end; resync after ``gap_limit_s`` without progress."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as limit:
                pause_s = self._options.retry_s / 2
                reached = None
                while self._is_behind():
                    if self.position != reached:
                        reached = self.position
                        limit.reschedule(loop.time() + self._options.gap_limit_s)
                    moved = self._next_move()
                    if not await self._read_or_request():
                        await asyncio.wait({moved}, timeout=pause_s)
                        pause_s *= 2
        except TimeoutError:
            logger.info("a gap was not filled in time", extra={"chat_id": self.chat_id})
        except Exception:
            # A bug here must not stop the chat: the room resyncs and live events continue.
            logger.exception("filling a gap failed", extra={"chat_id": self.chat_id})
        finally:
            self._gap_task = None
        # There was no await since the last check of the log's end.
        self._counters.gaps["open" if self._is_behind() else "bridged"] += 1
        if self._is_behind() and self.position is not None:
            self._resync(Head(self.position.epoch, self._log_end), reset=False)

    async def _read_or_request(self) -> bool:
        """Read from the log, if necessary again after the relay has published. Return whether the position moved."""
        try:
            if await self._read_next():
                return True
            await self._request_publish()
            return await self._read_next()
        except LogUnavailable:
            return False  # the log may come back within the limit

    def _is_behind(self) -> bool:
        """Whether the log has entries that may be emitted now."""
        if self._closed or self._confirming is not None or self.position is None:
            return False
        return self._log_end > self.position.seq

    async def _read_next(self) -> bool:
        """Read and emit the log's next entries. Return whether the position moved."""
        asked = self.position
        if asked is None:
            return False
        found = await self._log.read(self.chat_id, asked.epoch, asked.seq, self._options.batch_entries)
        if self._closed or self.position is None or self.position.epoch != asked.epoch:
            return False
        match found:
            case Replay(entries=entries) if entries:
                self._emit(self.position, entries)
            case CannotReplay(head=Head() as head) if head.epoch != asked.epoch:
                self._change_epoch(head)
            case _:
                pass
        return self.position != asked

    # --- the log and its relay

    async def _check_log_head(self) -> Head | None:
        """Read the log's head and start to fill a gap that it reveals."""
        epoch = self._epoch()
        head = await self._log.head(self.chat_id)
        # If the epoch changed during the read, the answer may be older than the position.
        if head is not None and not self._closed and epoch == self._epoch():
            self._note_log_head(head)
        return head

    def _epoch(self) -> str | None:
        return None if self.position is None else self.position.epoch

    async def _request_publish(self) -> None:
        try:
            await self._admission.request_publish(self.chat_id)
        except ApiUnavailable as error:
            logger.info("cannot reach the relay", extra={"chat_id": self.chat_id, "error": str(error)})

    def _next_move(self) -> asyncio.Future[None]:
        """Return a future that is done when the position moves or the feed is closed."""
        if self._moved is None:
            self._moved = asyncio.get_running_loop().create_future()
        return self._moved

    def _wake_waiters(self) -> None:
        if self._moved is not None:
            self._moved.set_result(None)
            self._moved = None


def _retrieve(read: asyncio.Task[bool]) -> None:
    if not read.cancelled():
        read.exception()  # the joins got it, unless all were cancelled


def _committed_at(args: bytes) -> float | None:
    """The time of an event in seconds since 1970; None: it has none, or another version wrote it."""
    start = args.find(_TIME)
    if start < 0:
        return None
    start += len(_TIME)
    return _seconds(args[start : start + _TIME_BYTES].partition(b'"')[0])


@lru_cache(maxsize=64)  # many events of a busy gateway are of the same millisecond
def _seconds(written: bytes) -> float | None:
    try:
        return datetime.fromisoformat(written.decode()).timestamp()
    except ValueError:
        return None
