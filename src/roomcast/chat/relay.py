"""Brings what was committed to the log, and with it to every gateway: nothing lost, nothing reordered.

Committed events are offered here right after their commit and appended at once. Whatever goes wrong then (a log that is
absent, behind, or out of reach, a process that died in between) is found by the outbox marks, and mended from the
events table. Work on one chat is single-flight; different chats do not wait for each other.

Layer: chat.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from roomcast.backoff import Backoff
from roomcast.chat.encoding import log_entry
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import ChatPosition, StoredEvent
from roomcast.chat.ports import Appended, ChatStore, EventLog, Gap, Head, LogUnavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RelayOptions:
    """Bounds of the relay.

    Attributes:
        seed_entries: How much of the recent past an absent log is filled with, besides what was never published.
        max_seed_entries: How much at most; as many as a log keeps.
        batch_entries: Events read from the table at once to mend a log that is behind.
        fresh_entries: Committed events of one chat that may wait in memory; beyond it they are read from the table.
        sweep_chats: Chats that one round of a sweep takes.
        max_gaps: Gaps in a row without progress after which a chat is left to the next sweep.
        mark_delay_s: How long marks are collected, so that many chats share one transaction.
        retry_min_s: First pause while the log or the database is out of reach; doubled up to ``retry_max_s``.
        retry_max_s: Longest such pause.
        stop_limit_s: How long a stop waits for what is under way.
        sweep_every_s: How often the outbox is looked at unasked: with several relays on one database, for what another
            one committed and did not live to publish. None: only at the start and when something was put off.
        restore_chats: Chats that a `Relay.restore` looks at, the most recently active ones.
    """

    seed_entries: int = 200
    max_seed_entries: int = 1_000
    batch_entries: int = 200
    fresh_entries: int = 256
    sweep_chats: int = 64
    max_gaps: int = 10
    mark_delay_s: float = 0.05
    retry_min_s: float = 0.2
    retry_max_s: float = 5.0
    stop_limit_s: float = 2.0
    sweep_every_s: float | None = None
    restore_chats: int = 1_000


@dataclass(slots=True)
class RelayCounters:
    """Totals since the start.

    Attributes:
        fast: Events that were appended right behind their commit.
        mended: Times that a log was compared with the events table, and mended if need be.
        put_off: Times that publishing failed and is tried again.
    """

    fast: int = 0
    mended: int = 0
    put_off: int = 0


@dataclass(slots=True)
class _Lane:
    """The work on one chat. ``task`` runs until neither ``fresh`` nor ``check`` is left."""

    task: asyncio.Task[None] | None = None
    fresh: list[StoredEvent] = field(default_factory=list)
    check: bool = False
    # Resolved with the success of a run that began after they asked.
    waiters: list[asyncio.Future[bool]] = field(default_factory=list)

    def resolve(self, *, done: bool) -> None:
        """Tell everybody who waits, and forget them."""
        waiters, self.waiters = self.waiters, []
        _resolve(waiters, done=done)


def _resolve(waiters: Sequence[asyncio.Future[bool]], *, done: bool) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(done)


class Relay:
    """Publishes committed events; also on request of a gateway.

    Args:
        store: The truth, with the outbox.
        log: Where events go.
        options: Bounds.
    """

    def __init__(self, store: ChatStore, log: EventLog, options: RelayOptions | None = None) -> None:
        self._store = store
        self._log = log
        self._options = options or RelayOptions()
        self.counters = RelayCounters()
        self._lanes: dict[str, _Lane] = {}
        self._marks: dict[str, int] = {}
        self._marks_waiting = asyncio.Event()
        self._sweep_wanted = asyncio.Event()
        self._restore_wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to sweep what an earlier process left, in the background."""
        self.wake()
        self._tasks = [
            asyncio.create_task(self._sweep_forever(), name="relay-sweep"),
            asyncio.create_task(self._mark_forever(), name="relay-marks"),
            asyncio.create_task(self._restore_forever(), name="relay-restore"),
        ]

    async def supervise(self) -> None:
        """Wait until a background task ends by itself, which only a bug can bring about, and raise what it raised."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Finish what is under way, within ``stop_limit_s``; what is left is found by the next start."""
        lanes = [lane.task for lane in self._lanes.values() if lane.task is not None]
        if lanes:
            await asyncio.wait(lanes, timeout=self._options.stop_limit_s)
        for task in (*self._tasks, *lanes):
            task.cancel()
        await asyncio.gather(*self._tasks, *lanes, return_exceptions=True)
        self._tasks = []
        # A task that was cancelled before its first step could not clear up after itself.
        for lane in self._lanes.values():
            lane.resolve(done=False)
        self._lanes.clear()
        try:
            async with asyncio.timeout(self._options.stop_limit_s):
                await self._flush_marks()
        except (StoreUnavailable, TimeoutError):
            logger.warning("outbox marks are left to the next start")

    def wake(self) -> None:
        """Sweep the outbox: at start, when the log may have lost something, and when a write's outcome is unknown."""
        self._sweep_wanted.set()

    def restore(self) -> None:
        """Append the recent past again, in the background: the log's engine came back, and may have lost its end."""
        self._restore_wanted.set()

    def offer(self, events: tuple[StoredEvent, ...]) -> None:
        """Take events of one chat, just committed, ascending. Returns at once and never fails."""
        lane = self._lane(events[0].chat_id)
        lane.fresh.extend(events)
        if len(lane.fresh) > self._options.fresh_entries:
            lane.fresh.clear()
            lane.check = True

    async def publish_now(self, chat_id: str) -> bool:
        """Bring the chat's log up to date with the events table. Returns when it has tried: whether it did."""
        lane = self._lane(chat_id)
        lane.check = True
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        lane.waiters.append(waiter)
        return await waiter

    async def ensure_log(self, chat_id: str, seq: int) -> None:
        """Start to bring the chat's log to ``seq``, unless it is there. Returns without waiting for it."""
        try:
            head = await self._log.head(chat_id)
        except LogUnavailable:
            self.wake()
            return
        if head is None or head.epoch != self._store.epoch or head.seq < seq:
            self._lane(chat_id).check = True

    def _lane(self, chat_id: str) -> _Lane:
        lane = self._lanes.get(chat_id)
        if lane is None:
            lane = self._lanes[chat_id] = _Lane()
            lane.task = asyncio.create_task(self._run_lane(chat_id, lane), name=f"relay-{chat_id}")
        return lane

    async def _run_lane(self, chat_id: str, lane: _Lane) -> None:
        try:
            while lane.fresh or lane.check:
                fresh, lane.fresh = lane.fresh, []
                check, lane.check = lane.check, False
                waiters, lane.waiters = lane.waiters, []
                done = False
                try:
                    done = await self._publish(chat_id, [] if check else fresh)
                finally:
                    _resolve(waiters, done=done)
        finally:
            # No await since the last look: whoever comes now opens a new lane.
            del self._lanes[chat_id]
            lane.resolve(done=False)

    async def _publish(self, chat_id: str, fresh: Sequence[StoredEvent]) -> bool:
        """Append ``fresh``, or whatever the log lacks; True if the log is up to date now."""
        try:
            head = await self._append(chat_id, fresh) if fresh else None
            if head is not None:
                self.counters.fast += len(fresh)
            else:
                head = await self._catch_up(chat_id)
                self.counters.mended += 1
        except (LogUnavailable, StoreUnavailable) as error:
            self.counters.put_off += 1
            logger.warning("publishing is put off: %s", error, extra={"chat_id": chat_id})
            self.wake()
            return False
        except Exception:
            # A bug here must not end the delivery of this chat for good: the marks stay, a sweep comes back.
            logger.exception("publishing failed", extra={"chat_id": chat_id})
            self.wake()
            return False
        if head is None:
            logger.warning("the log kept answering with gaps", extra={"chat_id": chat_id})
            self.wake()
            return False
        self._marks[chat_id] = max(head.seq, self._marks.get(chat_id, 0))
        self._marks_waiting.set()
        return True

    async def _append(self, chat_id: str, events: Sequence[StoredEvent]) -> Head | None:
        """The fast path; None if it takes a look at the table."""
        if any(after.seq != before.seq + 1 for before, after in pairwise(events)):
            return None
        outcome = await self._log.append(chat_id, self._store.epoch, [log_entry(event) for event in events])
        return outcome.head if isinstance(outcome, Appended) else None

    async def _catch_up(self, chat_id: str) -> Head | None:
        """Mend the log from the table; its head, or None after too many gaps.

        Which of two epochs is the newer one only the database knows. So a log of another one than was known here is
        replaced behind a look at the table, which tells; and a log that was filled is looked at again, since an epoch
        may have begun, and another relay may have seen that first.
        """
        head = await self._log.head(chat_id)
        gaps = 0
        while gaps <= self._options.max_gaps:
            if head is None:
                head = await self._seed(chat_id)
            events, _ = await self._store.events_after(chat_id, head.seq, self._options.batch_entries)
            if head.epoch != self._store.epoch:
                head, gaps = await self._seed(chat_id), gaps + 1
                continue
            if not events:
                return head
            match await self._log.append(chat_id, head.epoch, [log_entry(event) for event in events]):
                case Appended(head=appended):
                    head, gaps = appended, 0
                case Gap(head=found):
                    head, gaps = found, gaps + 1
        return None

    async def _seed(self, chat_id: str) -> Head:
        """Fill a log that is absent or of an older epoch; its head."""
        recent = await self._recent(chat_id)
        # Behind that look: none of what it found is newer.
        end = Head(self._store.epoch, recent[-1].seq if recent else 0)
        return await self._log.seed(chat_id, end, [log_entry(event) for event in recent])

    async def _recent(self, chat_id: str) -> Sequence[StoredEvent]:
        """The end of the table that an absent log is filled with: gateways then bridge what they missed from there.

        After an outage they have what was published before it, so that it goes back to that, and some way further.
        """
        options = self._options
        first = await self._store.first_unpublished(chat_id)
        if first is None:
            return await self._store.recent_events(chat_id, options.seed_entries)
        recent = await self._store.recent_events(chat_id, options.max_seed_entries)
        return [event for event in recent if event.seq >= first - options.seed_entries]

    async def _mark_forever(self) -> None:
        while True:
            await self._marks_waiting.wait()
            await asyncio.sleep(self._options.mark_delay_s)
            try:
                await self._flush_marks()
            except StoreUnavailable as error:
                logger.warning("outbox marks are put off: %s", error)
                self.wake()

    async def _flush_marks(self) -> None:
        self._marks_waiting.clear()
        marks, self._marks = self._marks, {}
        if marks:
            await self._store.mark_published(marks)

    async def _sweep_forever(self) -> None:
        backoff = Backoff(self._options.retry_min_s, self._options.retry_max_s)
        while True:
            try:
                async with asyncio.timeout(self._options.sweep_every_s):
                    await self._sweep_wanted.wait()
            except TimeoutError:
                pass  # it is time to look unasked
            self._sweep_wanted.clear()
            try:
                done = await self._sweep()
            except StoreUnavailable as error:
                logger.warning("the sweep is put off: %s", error)
                done = False
            if done:
                backoff.reset()
            else:
                await asyncio.sleep(backoff.next_s())
                self.wake()

    async def _sweep(self) -> bool:
        """Publish everything that has a mark; False if some of it could not be.

        Once through all chats and no further: under load there are always some that are just being published.
        """
        last = ""
        while chat_ids := await self._store.unpublished(self._options.sweep_chats, last):
            outcomes = await asyncio.gather(*(self.publish_now(chat_id) for chat_id in chat_ids))
            await self._flush_marks()
            if not all(outcomes):
                return False
            last = chat_ids[-1]
        return True

    async def _restore_forever(self) -> None:
        while True:
            await self._restore_wanted.wait()
            self._restore_wanted.clear()
            self.wake()
            try:
                for chat_id, last_seq in await self._recently_active():
                    await self.ensure_log(chat_id, last_seq)
            except StoreUnavailable as error:
                logger.warning("the recent past is appended later: %s", error)
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
