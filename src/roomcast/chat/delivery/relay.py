"""Publishes committed events to the log, in order and without loss.

A write offers its events right after the commit, and the relay appends them at once. This fails if the log is absent,
lacks earlier events, is unreachable or refuses to store them, or if the process dies after the commit. The outbox marks
then show which chats have unpublished events, and the relay reads these events from the events table. Each chat has at
most one task, and chats do not wait for each other.

Layer: chat. Source: docs/design.md, "The log".
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from itertools import pairwise

from roomcast.backoff import Backoff, should_log
from roomcast.chat.commands import MarkPublished
from roomcast.chat.delivery.encoding import log_entry
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import ChatPosition, StoredEvent
from roomcast.chat.ports import (
    Appended,
    Attributes,
    ChatStore,
    EventLog,
    Gap,
    Head,
    ImmediateLog,
    LogNotStored,
    LogUnavailable,
    Tracer,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RelayOptions:
    """Limits and times of the relay.

    Attributes:
        seed_entries: Published events with which a log is seeded, in addition to the unpublished events.
        max_seed_entries: Maximum number of events with which a log is seeded; a log keeps as many.
        batch_entries: Events per query when a log is brought up to date.
        fresh_entries: Maximum number of committed events of one chat that wait in memory; if there are more, the relay
            reads the table instead.
        sweep_chats: Chats per query of a sweep.
        max_gaps: Consecutive gaps after which a chat is left to the next sweep.
        mark_delay_s: Seconds between a publication and the removal of its outbox mark, so that many chats share one
            transaction.
        retry_min_s: Pause after the first failed sweep; doubled after each further failure, up to ``retry_max_s``.
        retry_max_s: Longest pause after a failed sweep.
        stop_limit_s: Seconds for which `Relay.stop` waits for work in progress, and then for the outbox marks.
        sweep_every_s: Longest time between sweeps. Required where several processes share a database: one of them may
            commit events and die before it publishes them. None: sweep only at the start, after failures and on
            request.
        head_age_s: How long the head of a log that was read for one join counts for others.
        max_heads: Maximum number of chats for which such a read is remembered.
        restore_chats: Number of most recently active chats that `Relay.restore` checks.
    """

    seed_entries: int = 200
    max_seed_entries: int = 1_000
    batch_entries: int = 200
    fresh_entries: int = 256
    sweep_chats: int = 64
    max_gaps: int = 10
    mark_delay_s: float = 0.2
    retry_min_s: float = 0.2
    retry_max_s: float = 5.0
    stop_limit_s: float = 2.0
    sweep_every_s: float | None = None
    head_age_s: float = 1.0
    max_heads: int = 10_000
    restore_chats: int = 1_000


@dataclass(slots=True)
class RelayCounters:
    """Totals since the start.

    Attributes:
        appended: Events appended right after their commit.
        caught_up: Times that a log was brought up to date from the events table.
        deferred: Times that publishing failed and was left to a sweep.
    """

    appended: int = 0
    caught_up: int = 0
    deferred: int = 0


@dataclass(slots=True)
class _ChatQueue:
    """The pending work of one chat; ``task`` runs until no work is left.

    Attributes:
        events: Committed events to append.
        catch_up: Whether the log must be compared with the events table.
        waiters: Resolved after the next attempt, with whether it succeeded.
    """

    task: asyncio.Task[None] | None = None
    events: list[StoredEvent] = field(default_factory=list)
    catch_up: bool = False
    waiters: list[asyncio.Future[bool]] = field(default_factory=list)


def _resolve(waiters: Iterable[asyncio.Future[bool]], *, done: bool) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(done)


class Relay:
    """Publishes committed events, and keeps each chat's log up to date with the events table.

    Args:
        store: The events table and its outbox marks.
        log: The log that events are appended to.
        options: Limits and times.
        tracer: Records the publishing of events with a trace; None: tracing is off.

    Attributes:
        counters: Totals since the start.
    """

    def __init__(
        self,
        store: ChatStore,
        log: EventLog,
        options: RelayOptions | None = None,
        *,
        tracer: Tracer | None = None,
    ) -> None:
        self._store = store
        self._log = log
        self._options = options or RelayOptions()
        self._immediate = log if isinstance(log, ImmediateLog) else None
        self._tracer = tracer
        self.counters = RelayCounters()
        self._queues: dict[str, _ChatQueue] = {}
        # For each chat without a task, the events that `_append_fresh` appends in the next turn of the loop.
        self._fresh: dict[str, list[StoredEvent]] = {}
        # For each chat, the head that `ensure_log` wanted last, and the time of that call.
        self._ensured: dict[str, tuple[Head, float]] = {}
        # For each chat, the seq up to which outbox marks can be removed.
        self._published: dict[str, int] = {}
        self._marks_waiting = asyncio.Event()
        self._sweep_wanted = asyncio.Event()
        self._restore_wanted = asyncio.Event()
        # The last chat of the latest page of a sweep.
        self._swept = ""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the background tasks; the first sweep publishes events that an earlier process did not publish."""
        self.request_sweep()
        self._tasks = [
            asyncio.create_task(self._sweep_forever(), name="relay-sweep"),
            asyncio.create_task(self._flush_marks_forever(), name="relay-marks"),
            asyncio.create_task(self._restore_forever(), name="relay-restore"),
        ]

    async def supervise(self) -> None:
        """Wait until a background task ends, which only a bug can cause, and raise its exception."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Finish the work in progress, within ``stop_limit_s``; the next start publishes the rest."""
        self._append_fresh()
        running = [queue.task for queue in self._queues.values() if queue.task is not None]
        if running:
            await asyncio.wait(running, timeout=self._options.stop_limit_s)
        for task in (*self._tasks, *running):
            task.cancel()
        await asyncio.gather(*self._tasks, *running, return_exceptions=True)
        self._tasks = []
        # A task that is cancelled before its first step does not resolve its waiters.
        for queue in self._queues.values():
            _resolve(queue.waiters, done=False)
        self._queues.clear()
        try:
            async with asyncio.timeout(self._options.stop_limit_s):
                await self._flush_marks()
        except (StoreUnavailable, TimeoutError):
            logger.warning("removing outbox marks is left to the next start")

    def request_sweep(self) -> None:
        """Start a sweep, which publishes every chat that has outbox marks. Returns at once.

        Call it after the log has lost entries, or when the outcome of a write is unknown.
        """
        self._sweep_wanted.set()

    def restore(self) -> None:
        """Start to compare the logs of the most recently active chats with the events table. Returns at once.

        Call it when the engine may have lost the newest entries.
        """
        self._ensured.clear()
        self._restore_wanted.set()

    def offer(self, events: tuple[StoredEvent, ...]) -> None:
        """Queue just committed events of one chat, ascending by seq. Returns at once and never fails."""
        chat_id = events[0].chat_id
        if self._immediate is None or (chat_id in self._queues and chat_id not in self._fresh):
            self._enqueue(chat_id, events)
            return
        if not self._fresh:
            # After the responses to the senders. Log lines have the ids of no request, as in `_queue`.
            asyncio.get_running_loop().call_soon(self._append_fresh, context=Context())
        self._fresh.setdefault(chat_id, []).extend(events)

    async def publish_now(self, chat_id: str) -> bool:
        """Try to bring the chat's log up to date with the events table. Returns whether the attempt succeeded."""
        queue = self._queue(chat_id)
        queue.catch_up = True
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        queue.waiters.append(waiter)
        return await waiter

    async def ensure_log(self, chat_id: str, seq: int) -> None:
        """Start bringing the chat's log up to ``seq`` if it ends earlier. Returns without waiting for the result.

        Returns at once if another call did this less than ``head_age_s`` ago: clients reconnect by the thousand.
        """
        wanted, now = Head(self._store.epoch, seq), asyncio.get_running_loop().time()
        ensured, at = self._ensured.get(chat_id, (None, 0.0))
        if ensured is not None and now - at < self._options.head_age_s:
            if ensured.epoch == wanted.epoch and ensured.seq >= seq:
                return
        elif len(self._ensured) >= self._options.max_heads:
            self._ensured.clear()
        self._ensured[chat_id] = (wanted, now)
        try:
            head = await self._log.head(chat_id)
        except LogUnavailable:
            self._ensured.pop(chat_id, None)
            self.request_sweep()
            return
        if head is None or head.epoch != self._store.epoch or head.seq < seq:
            self._queue(chat_id).catch_up = True

    def _queue(self, chat_id: str) -> _ChatQueue:
        queue = self._queues.get(chat_id)
        if queue is None:
            queue = self._queues[chat_id] = _ChatQueue()
            # The task may serve several requests: log lines of one of them have its ids.
            work = self._run_queue(chat_id, queue)
            queue.task = asyncio.create_task(work, name=f"relay-{chat_id}", context=Context())
        return queue

    def _enqueue(self, chat_id: str, events: Sequence[StoredEvent]) -> None:
        queue = self._queue(chat_id)
        queue.events.extend(events)
        if len(queue.events) > self._options.fresh_entries:
            queue.events.clear()
            queue.catch_up = True

    def _append_fresh(self) -> None:
        fresh, self._fresh = self._fresh, {}
        for chat_id, events in fresh.items():
            if chat_id in self._queues or not self._append_now(chat_id, events):
                self._enqueue(chat_id, events)

    async def _run_queue(self, chat_id: str, queue: _ChatQueue) -> None:
        try:
            while queue.events or queue.catch_up:
                events, queue.events = queue.events, []
                catch_up, queue.catch_up = queue.catch_up, False
                waiters, queue.waiters = queue.waiters, []
                done = False
                began_ns = 0 if self._tracer is None else time.time_ns()
                try:
                    done = await self._publish(chat_id, [] if catch_up else events)
                finally:
                    _resolve(waiters, done=done)
                if done and self._tracer is not None:
                    self._record(self._tracer, events, began_ns)
        finally:
            # There was no await since the loop's condition, so the queue is empty; later work gets a new queue.
            del self._queues[chat_id]
            _resolve(queue.waiters, done=False)

    async def _publish(self, chat_id: str, events: Sequence[StoredEvent]) -> bool:
        """Append ``events``, or all missing events if there are none or the log has a gap.

        Returns whether the log is up to date; if not, a sweep is requested.
        """
        try:
            head = await self._append(chat_id, events)
            if head is None:
                head = await self._catch_up(chat_id)
                self.counters.caught_up += 1
        except (LogUnavailable, StoreUnavailable) as error:
            self.counters.deferred += 1
            if should_log(self.counters.deferred):
                facts = {"chat_id": chat_id, "count": self.counters.deferred}
                logger.warning("publishing is deferred: %s", error, extra=facts)
        except Exception:
            # The outbox marks remain, so a sweep retries the chat.
            logger.exception("publishing failed", extra={"chat_id": chat_id})
        else:
            if head is not None:
                self._has(chat_id, events, head)
                return True
            logger.warning("publishing is deferred: too many gaps in a row", extra={"chat_id": chat_id})
        self.request_sweep()
        return False

    def _append_now(self, chat_id: str, events: Sequence[StoredEvent]) -> bool:
        """Append to a log that needs no wait. Returns whether it has the events now."""
        if self._immediate is None or any(after.seq != before.seq + 1 for before, after in pairwise(events)):
            return False
        began_ns = 0 if self._tracer is None else time.time_ns()
        try:
            outcome = self._immediate.append_now(chat_id, self._store.epoch, [log_entry(event) for event in events])
        except Exception:  # noqa: BLE001 - the task of the chat tries again, and logs the error
            return False
        if not isinstance(outcome, Appended):
            return False
        self.counters.appended += len(events)
        self._has(chat_id, events, outcome.head)
        if self._tracer is not None:
            self._record(self._tracer, events, began_ns)
        return True

    def _has(self, chat_id: str, events: Sequence[StoredEvent], head: Head) -> None:
        """The log has the events: their marks can be removed."""
        self._published[chat_id] = max(head.seq, self._published.get(chat_id, 0))
        self._marks_waiting.set()
        if logger.isEnabledFor(logging.DEBUG):
            for event in events:
                facts = {"chat_id": chat_id, "seq": event.seq, "trace": event.trace}
                logger.debug("event published", extra=facts)
            logger.debug("chat log is up to date", extra={"chat_id": chat_id, "seq": head.seq})

    async def _append(self, chat_id: str, events: Sequence[StoredEvent]) -> Head | None:
        """Append without reading the table (the fast path). Returns None if the log must catch up."""
        if not events or any(after.seq != before.seq + 1 for before, after in pairwise(events)):
            return None
        outcome = await self._log.append(chat_id, self._store.epoch, [log_entry(event) for event in events])
        if not isinstance(outcome, Appended):
            return None
        self.counters.appended += len(events)
        return outcome.head

    def _record(self, tracer: Tracer, events: Sequence[StoredEvent], began_ns: int) -> None:
        for event in events:
            if event.trace is not None:
                facts: Attributes = {
                    "messaging.system": "roomcast",
                    "messaging.operation.type": "send",
                    "messaging.operation.name": "publish",
                    "messaging.batch.message_count": len(events),
                    "roomcast.chat.id": event.chat_id,
                    "roomcast.event.seq": event.seq,
                }
                tracer.record("publish event", "producer", facts, parent=event.trace, began_ns=began_ns)

    async def _catch_up(self, chat_id: str) -> Head | None:
        """Bring the log up to date from the table. Returns its head, or None after too many gaps.

        Only the database knows which of two epochs is newer. Therefore a log whose epoch differs from the store's is
        replaced only after a query, which updates the store's epoch. A log that was just seeded is checked again, since
        a new epoch may have begun and another relay may already have used it.
        """
        head = await self._log.head(chat_id)
        gaps = 0
        while gaps <= self._options.max_gaps:
            if head is None:
                head = await self._seed(chat_id)
            events, newest = await self._store.events_after(chat_id, head.seq, self._options.batch_entries)
            erased = bool(events) and events[0].seq > head.seq + 1  # with their chat, while the log has lost them
            if erased or head.epoch != self._store.epoch:
                head, gaps = await self._seed(chat_id), gaps + 1
                continue
            if not events:
                return head
            try:
                outcome = await self._log.append(chat_id, head.epoch, [log_entry(event) for event in events])
            except LogNotStored:
                if events[-1].seq < newest:
                    # The log does not advance, and feeds wait for the newest events.
                    recent = await self._store.recent_events(chat_id, self._options.batch_entries)
                    await self._log.append(chat_id, head.epoch, [log_entry(event) for event in recent])
                raise
            match outcome:
                case Appended(head=appended):
                    head, gaps = appended, 0
                case Gap(head=found):
                    head, gaps = found, gaps + 1
        return None

    async def _seed(self, chat_id: str) -> Head:
        """Create an absent log, or replace one of an older epoch. Returns the log's head."""
        recent = await self._recent_events(chat_id)
        # Read the epoch after the query, so that no event is of a newer epoch.
        head = Head(self._store.epoch, recent[-1].seq if recent else 0)
        return await self._log.seed(chat_id, head, [log_entry(event) for event in recent])

    async def _recent_events(self, chat_id: str) -> Sequence[StoredEvent]:
        """The newest events: all unpublished ones and ``seed_entries`` before them, at most ``max_seed_entries``.

        Gateways have already received the published events, and read the unpublished ones from the seeded log.
        """
        options = self._options
        first_unpublished = await self._store.first_unpublished(chat_id)
        if first_unpublished is None:
            return await self._store.recent_events(chat_id, options.seed_entries)
        recent = await self._store.recent_events(chat_id, options.max_seed_entries)
        return [event for event in recent if event.seq >= first_unpublished - options.seed_entries]

    async def _flush_marks_forever(self) -> None:
        while True:
            await self._marks_waiting.wait()
            await asyncio.sleep(self._options.mark_delay_s)
            try:
                await self._flush_marks()
            except StoreUnavailable as error:
                logger.warning("removing outbox marks is deferred: %s", error)
                self.request_sweep()

    async def _flush_marks(self) -> None:
        self._marks_waiting.clear()
        published, self._published = self._published, {}
        if published:
            await self._store.commit(MarkPublished(published))

    async def _sweep_forever(self) -> None:
        backoff = Backoff(self._options.retry_min_s, self._options.retry_max_s)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._options.sweep_every_s):
                    await self._sweep_wanted.wait()
            # A sweep may be requested in the moment of the timeout.
            periodic = not self._sweep_wanted.is_set()
            self._sweep_wanted.clear()
            try:
                done = await self._sweep(periodic=periodic)
            except StoreUnavailable as error:
                if should_log(backoff.failures + 1):
                    logger.warning("the sweep is deferred: %s", error)
                done = False
            if done:
                backoff.reset()
            else:
                await asyncio.sleep(backoff.next_s())
                self.request_sweep()

    async def _sweep(self, *, periodic: bool = False) -> bool:
        """Publish every chat that has an outbox mark. Returns False as soon as a page of chats has a failure.

        A periodic sweep finds the events of processes that died. It leaves out chats in which this process publishes at
        the moment, so that their events are not read again: its next append finds a gap, or a later sweep the marks.

        Chats are visited in the order of their ids, since under load some chats always have marks. The next sweep goes
        on after the page that failed: chats that always fail do not keep the others waiting.
        """
        while True:
            first = self._swept
            while chat_ids := await self._store.unpublished(self._options.sweep_chats, self._swept):
                busy = self._queues.keys() | self._fresh.keys() | self._published.keys() if periodic else set[str]()
                swept = [chat_id for chat_id in chat_ids if chat_id not in busy]
                outcomes = await asyncio.gather(*map(self.publish_now, swept))
                await self._flush_marks()
                self._swept = chat_ids[-1]
                if not all(outcomes):
                    return False
            self._swept = ""
            if not first:
                return True

    async def _restore_forever(self) -> None:
        while True:
            await self._restore_wanted.wait()
            self._restore_wanted.clear()
            self.request_sweep()
            try:
                for chat_id, last_seq in await self._recently_active():
                    await self.ensure_log(chat_id, last_seq)
            except StoreUnavailable as error:
                logger.warning("restoring the log is deferred: %s", error)
                await asyncio.sleep(self._options.retry_max_s)
                self._restore_wanted.set()

    async def _recently_active(self) -> list[tuple[str, int]]:
        """Ids and heads of the most recently active chats."""
        found: list[tuple[str, int]] = []
        before: ChatPosition | None = None
        while len(found) < self._options.restore_chats:
            page = await self._store.chats(self._options.sweep_chats, before, None)
            found += [(chat.id, chat.last_seq) for chat in page]
            if len(page) < self._options.sweep_chats:
                break
            before = page[-1].position
        return found
