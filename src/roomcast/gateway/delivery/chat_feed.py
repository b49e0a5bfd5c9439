"""One chat's way from the log to its room.

A feed subscribes to its chat's log, remembers in its ``position`` up to where the room was served, and broadcasts what
follows, undecoded. The rules:

- What lies at or below the position is dropped: the log, a bridge and a subscription may bring an entry twice.
- What lies beyond position + 1 is a gap. Nothing of it is kept: the feed notes how far the log has been seen to go and
  reads on from its position, nudging the relay. After ``gap_limit_s`` it says ``resync`` and moves on; everything up to
  the ``seq`` of a resync can be had from the API, since it was committed before it was published.
- Another epoch may mean another history: ``resync`` with ``reset``.
- A lost last message leaves no gap to see: the sweeper (`Feeds`) compares the position with the log's head.

Layer: gateway. Source: DESIGN §4.3.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from roomcast.chat.ports import (
    LOG_ENTRY_VERSION,
    CannotReplay,
    EventLog,
    Head,
    LogEntry,
    LogUnavailable,
    Replay,
    Subscription,
)
from roomcast.contract.events import RESYNC, Resync
from roomcast.gateway.delivery.counters import GatewayCounters
from roomcast.gateway.delivery.membership import Memberships, removed_user
from roomcast.gateway.ports import ApiUnavailable, ChatAdmission, Rooms
from roomcast.realtime.fanout.message import EncodedEvent

logger = logging.getLogger(__name__)


def chat_room(chat_id: str) -> str:
    """The room of a chat's local members."""
    return f"chat:{chat_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedOptions:
    """Bounds of the feeds.

    Attributes:
        gap_limit_s: How long a gap holds up a room before it is told to resync.
        reach_limit_s: How long a join waits for the log to reach what the database has.
        retry_s: First pause between two looks at a log that is behind; doubled each time.
        linger_s: How long a feed outlives its last member, so that a reload costs no new subscription.
        sweep_s: Longest time between two comparisons of a position with its log's head.
        batch_entries: Entries read from the log at once to bridge a gap.
    """

    gap_limit_s: float = 0.25
    reach_limit_s: float = 3.0
    retry_s: float = 0.05
    linger_s: float = 5.0
    sweep_s: float = 30.0
    batch_entries: int = 200


class FeedBehind(Exception):
    """The log did not reach in time what the database has: answer ``unavailable``."""


class EpochDiffers(Exception):
    """The log is of another epoch than the one that was asked for, also after a nudge: ask the API again."""


class Tap:
    """Notes what a feed emits while a join is under way, up to a bound.

    Attributes:
        entries: What was emitted, in order.
        overflown: More was emitted than the bound; ``entries`` is not all of it.
    """

    __slots__ = ("_bytes_left", "_entries_left", "entries", "overflown")

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self.entries: list[LogEntry] = []
        self.overflown = False
        self._entries_left = max_entries
        self._bytes_left = max_bytes

    def add(self, entry: LogEntry) -> None:
        """Note one entry."""
        self._entries_left -= 1
        self._bytes_left -= len(entry.args)
        if self.overflown or self._entries_left < 0 or self._bytes_left < 0:
            self.overflown = True
            self.entries.clear()
        else:
            self.entries.append(entry)


class ChatFeed:
    """One chat's way from the log to its room. Made and owned by `Feeds`.

    Attributes:
        chat_id: Which chat.
        holders: Members and joins under way; at 0 the feed lingers, then ends.
        position: Up to where the room was served; None until the log, or an empty chat, is known.
        resyncs: How many times the room was told to resync.
        covered_after: Since the last time, the room got everything behind this seq.
    """

    def __init__(
        self,
        chat_id: str,
        log: EventLog,
        admission: ChatAdmission,
        rooms: Rooms,
        memberships: Memberships,
        options: FeedOptions,
        signals: Callable[[str, bytes], None] | None = None,
        counters: GatewayCounters | None = None,
    ) -> None:
        self._counters = counters or GatewayCounters()
        self.chat_id = chat_id
        self.holders = 0
        self.position: Head | None = None
        self.resyncs = 0
        self.covered_after = 0
        self._log = log
        self._admission = admission
        self._rooms = rooms
        self._memberships = memberships
        self._options = options
        self._signals = signals
        self._room = chat_room(chat_id)
        self._opening: asyncio.Task[None] | None = None
        self._opened = False
        self._closed = False
        self._subscription: Subscription | None = None
        # Where the log went while its head was still being asked for.
        self._early: Head | None = None
        # How far the log has been seen to go, in the position's epoch.
        self._seen = 0
        self._bridge: asyncio.Task[None] | None = None
        self._taps: list[Tap] = []
        self._moved: asyncio.Future[None] | None = None

    # --- life

    async def open(self) -> None:
        """Subscribe, then find the log's end. Callers at the same time share one attempt.

        Raises:
            LogUnavailable: the log's engine is out of reach.
        """
        if self._opened:
            return
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name=f"feed-open-{self.chat_id}")
        # A join that is cancelled must not take the attempt from the others.
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        self._subscription = await self._log.subscribe(self.chat_id, self._take, self._take_signal)
        head = await self._log.head(self.chat_id)
        self._opened = True
        if head is not None:
            self._start_at(head)
        if self._early is not None:
            # What the subscription brought meanwhile may be newer than the answer.
            self._see(self._early)

    async def close(self) -> None:
        """Unsubscribe. Nothing is emitted after this was called."""
        self._closed = True
        tasks = [task for task in (self._opening, self._bridge) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._subscription is not None:
            await self._subscription.close()
            self._subscription = None
        self._wake()

    # --- what joins need

    def tap(self, max_entries: int, max_bytes: int) -> Tap:
        """Begin to note what is emitted; end it with `untap`."""
        tap = Tap(max_entries, max_bytes)
        self._taps.append(tap)
        return tap

    def untap(self, tap: Tap) -> None:
        """Stop noting."""
        self._taps.remove(tap)

    async def reach(self, wanted: Head) -> None:
        """Wait until the position is at ``wanted`` or beyond it in the same epoch, nudging the relay.

        Raises:
            EpochDiffers: the log is of another epoch, whatever the relay did.
            FeedBehind: ``reach_limit_s`` is over, or the feed was closed.
            LogUnavailable: the log's engine is out of reach.
        """
        if self.position is None and wanted.seq == 0:
            # An empty chat needs no log: the first append will begin one at 1.
            self._start_at(wanted)
        pause_s = self._options.retry_s
        nudged = False
        try:
            async with asyncio.timeout(self._options.reach_limit_s):
                while not self._reaches(wanted):
                    moved = self._next_move()
                    if await self._look() is None or nudged:
                        await self._nudge()
                        await self._look()
                        if not self._reaches(wanted) and self._differs(wanted):
                            raise EpochDiffers
                    nudged = True  # the admission woke the relay; from the second round on this does
                    if not self._reaches(wanted):
                        await asyncio.wait({moved}, timeout=pause_s)
                        pause_s *= 2
        except TimeoutError:
            raise FeedBehind from None

    def _differs(self, wanted: Head) -> bool:
        return self.position is not None and self.position.epoch != wanted.epoch

    def _reaches(self, wanted: Head) -> bool:
        if self._closed:
            raise FeedBehind
        here = self.position
        return here is not None and here.epoch == wanted.epoch and here.seq >= wanted.seq

    # --- what the sweeper does

    async def compare(self) -> None:
        """Compare the position with the log's head, and mend what differs. A log out of reach is logged, no more."""
        if not self._opened or self._closed:
            return
        try:
            head = await self._look()
            here = self.position
            lost = here is not None and here.seq > 0 and (head is None or head.seq < here.seq)
            if lost:
                await self._nudge()
                await self._look()
        except LogUnavailable as error:
            logger.warning("cannot compare a feed with the log: %s", error, extra={"chat_id": self.chat_id})

    # --- the core

    def _take(self, epoch: str, entries: Sequence[LogEntry]) -> None:
        """The sink of the subscription."""
        if self._closed:
            return
        last = entries[-1].seq
        if not self._opened:
            self._early = Head(epoch, last)
        elif self.position is None:
            self._start_at(Head(epoch, entries[0].seq - 1))
            self._serve(entries)
        elif epoch != self.position.epoch:
            self._change_epoch(Head(epoch, last))
        else:
            self._serve(entries)

    def _take_signal(self, payload: bytes) -> None:
        """The sink of the chat's signals."""
        if self._signals is not None and not self._closed:
            self._signals(self.chat_id, payload)

    def _serve(self, entries: Sequence[LogEntry]) -> None:
        """Emit what follows the position, which is of the entries' epoch; note what does not."""
        for entry in entries:
            here = self.position
            if here is None or entry.seq > here.seq + 1:
                break
            if entry.seq <= here.seq:
                continue
            self.position = Head(here.epoch, entry.seq)
            self._counters.delivered += 1
            if entry.version == LOG_ENTRY_VERSION:
                self._rooms.broadcast(self._room, EncodedEvent.from_json(entry.args))
                for tap in self._taps:
                    tap.add(entry)
                gone = removed_user(entry.args)
                if gone is not None:
                    self._memberships.removed(self.chat_id, gone)
            else:
                # Written by a newer release: it cannot be framed here, but it can be said.
                facts = {"chat_id": self.chat_id, "version": entry.version}
                logger.warning("a log entry's version is unknown here", extra=facts)
                self._resync(self.position, reset=False)
        if self.position is not None:
            self._wake()
            self._see(Head(self.position.epoch, entries[-1].seq))

    def _see(self, head: Head) -> None:
        """The log has been seen to reach ``head``: if that is ahead of the position, bridge the gap."""
        if self.position is None:
            self._start_at(head)
        elif head.epoch != self.position.epoch:
            self._change_epoch(head)
        else:
            self._seen = max(self._seen, head.seq)
            if self._seen > self.position.seq and self._bridge is None and not self._closed:
                self._bridge = asyncio.create_task(self._cross(), name=f"feed-bridge-{self.chat_id}")

    def _start_at(self, head: Head) -> None:
        self.position = head
        self._seen = head.seq
        self._wake()

    def _change_epoch(self, head: Head) -> None:
        logger.info("the log of a chat is of a new epoch", extra={"chat_id": self.chat_id, "epoch": head.epoch})
        self._resync(head, reset=True)

    def _resync(self, head: Head, *, reset: bool) -> None:
        """Tell the room that it has to fetch everything up to ``head`` itself; live events go on behind it."""
        if self.position is None or head.epoch != self.position.epoch:
            self._seen = head.seq
        self.position = head
        self.resyncs += 1
        self._counters.resyncs += 1
        self.covered_after = head.seq
        notice = Resync(chat_id=self.chat_id, epoch=head.epoch, seq=head.seq, reset=reset)
        self._rooms.broadcast(self._room, EncodedEvent.from_args(RESYNC, notice.model_dump()))
        for tap in self._taps:
            # A join under way finds a hole where it would have to replay, and says so.
            tap.overflown = True
        self._memberships.doubt(self.chat_id)
        self._wake()

    async def _cross(self) -> None:
        """Read on from the position until the seen end; after ``gap_limit_s`` without progress give up and say so."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as limit:
                pause_s = self._options.retry_s / 2
                reached = None
                while self._behind():
                    if self.position != reached:
                        reached = self.position
                        limit.reschedule(loop.time() + self._options.gap_limit_s)
                    moved = self._next_move()
                    if not await self._mend():
                        await asyncio.wait({moved}, timeout=pause_s)
                        pause_s *= 2
        except TimeoutError:
            logger.info("a gap could not be bridged in time", extra={"chat_id": self.chat_id})
        except Exception:
            # A bug here must not stop the chat: the room is told, and the next entry goes on.
            logger.exception("bridging a gap failed", extra={"chat_id": self.chat_id})
        finally:
            self._bridge = None
        # No await since the last look at what was seen.
        self._counters.gaps["open" if self._behind() else "bridged"] += 1
        if self._behind() and self.position is not None:
            self._resync(Head(self.position.epoch, self._seen), reset=False)

    async def _mend(self) -> bool:
        """Read on, if need be after a nudge; whether the position moved."""
        try:
            if await self._read_on():
                return True
            await self._nudge()
            return await self._read_on()
        except LogUnavailable:
            return False  # it may be back before the limit

    def _behind(self) -> bool:
        return not self._closed and self.position is not None and self._seen > self.position.seq

    async def _read_on(self) -> bool:
        """Emit what the log has behind the position; whether that was anything."""
        asked = self.position
        if asked is None:
            return False
        found = await self._log.read(self.chat_id, asked.epoch, asked.seq, self._options.batch_entries)
        if self._closed or self.position is None or self.position.epoch != asked.epoch:
            return False
        match found:
            case Replay(entries=entries) if entries:
                self._serve(entries)
            case CannotReplay(head=Head() as head) if head.epoch != asked.epoch:
                self._change_epoch(head)
            case _:
                pass
        return self.position != asked

    async def _look(self) -> Head | None:
        """Ask for the log's head and act on it."""
        asked = self.position
        head = await self._log.head(self.chat_id)
        if self._closed:
            return head
        epoch = None if self.position is None else self.position.epoch
        # An answer that was overtaken by a change of epoch says nothing.
        if head is not None and epoch == (None if asked is None else asked.epoch):
            self._see(head)
        return head

    async def _nudge(self) -> None:
        try:
            await self._admission.request_publish(self.chat_id)
        except ApiUnavailable as error:
            logger.info("cannot nudge the relay: %s", error, extra={"chat_id": self.chat_id})

    def _next_move(self) -> asyncio.Future[None]:
        """Done as soon as the position moves."""
        if self._moved is None:
            self._moved = asyncio.get_running_loop().create_future()
        return self._moved

    def _wake(self) -> None:
        if self._moved is not None:
            self._moved.set_result(None)
            self._moved = None
