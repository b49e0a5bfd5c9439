"""Sends the events of one claimed webhook.

Two loops: `_follow` sends new events, those of different chats at the same time; an event that fails is stored as
undelivered, and so are all later events of its chat, without an attempt. `_retry` sends these again, for each chat in
order. So a receiver that fails for one chat gets the events of the others.

While a receiver fails altogether, it is *away*: one event at a time is tried, of the chat with the fewest attempts.

Each sender, also one whose claim is void already, sends an event only after the one before it in its chat was received
or is dead. So however senders overlap, the first copies of the events of a chat arrive in their order.

Layer: worker. Source: docs/decisions/0021.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

from roomcast.backoff import Backoff, should_log
from roomcast.chat.delivery.encoding import event_item
from roomcast.chat.errors import WebhookLost
from roomcast.chat.model import StoredEvent
from roomcast.chat.ports import Clock, WebhookSender, WebhookStore
from roomcast.chat.webhook_values import (
    Attempt,
    PlacedEvent,
    StoredWebhook,
    Undelivered,
    WebhookClaim,
    event_id,
)
from roomcast.worker.counters import WebhookCounters
from roomcast.worker.options import WebhookOptions

logger = logging.getLogger(__name__)

#: Events of one read of the feed.
PAGE: Final = 100
#: Failures in a row after which a receiver counts as away.
AWAY_AFTER: Final = 5


@dataclass(frozen=True, slots=True)
class WebhookServices:
    """What a run uses."""

    store: WebhookStore
    sender: WebhookSender
    clock: Clock


class WebhookRun:
    """One claim of a webhook.

    Args:
        webhook: As it was claimed.
        services: What the run uses.
        options: Limits and times.
        counters: What metrics count.
        lease_until: Loop time.

    Attributes:
        lease_until: Loop time after which nothing is sent.
    """

    def __init__(
        self,
        webhook: StoredWebhook,
        services: WebhookServices,
        options: WebhookOptions,
        counters: WebhookCounters,
        *,
        lease_until: float,
    ) -> None:
        self.claim = WebhookClaim(webhook.id, webhook.generation)
        self.lease_until = lease_until
        self._webhook = webhook
        self._store = services.store
        self._sender = services.sender
        self._clock = services.clock
        self._options = options
        self._counters = counters
        self._position = webhook.position
        # By chat: its undelivered events, the next one first.
        self._waiting: defaultdict[str, deque[Undelivered]] = defaultdict(deque)
        # The position of the last one that was loaded, and whether there are no others.
        self._loaded = 0
        self._complete = False
        self._places = asyncio.Semaphore(options.concurrent)
        # Counts the failures in a row.
        self._probes = Backoff(options.retry_s, options.probe_s)
        self._next_probe_at = 0
        self._news = asyncio.Event()
        self._retries = asyncio.Event()

    @property
    def away(self) -> bool:
        """Whether the receiver fails altogether."""
        return self._probes.failures >= AWAY_AFTER

    @property
    def waiting(self) -> int:
        """The number of events that wait."""
        return sum(map(len, self._waiting.values()))

    def wake(self) -> None:
        """Read the feed now: it has new events."""
        self._news.set()

    async def run(self) -> None:
        """Send until cancelled, or the claim is void.

        Raises:
            StoreUnavailable: in a group of exceptions.
        """
        await self._load()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow())
                group.create_task(self._retry())
        except* WebhookLost:
            logger.debug("webhook changed or claimed by another worker", extra={"webhook": self._webhook.id})

    async def _load(self) -> None:
        """Load the next events that wait. Until all are loaded, no new event is sent: it would overtake them."""
        limit = self._options.max_waiting
        found = await self._store.waiting(self._webhook.id, limit, after=self._loaded)
        for item in found:
            self._waiting[item.chat_id].append(item)
            self._loaded = item.position
        self._complete = len(found) < limit
        self._news.set()

    # --- New events ---

    async def _follow(self) -> None:
        while True:
            self._news.clear()
            placed: Sequence[PlacedEvent] = ()
            if self._complete and self.waiting < self._options.max_waiting:
                placed = await self._store.after(self._position, PAGE)
            if not placed:
                await self._news.wait()
                continue
            chats: defaultdict[str, list[PlacedEvent]] = defaultdict(list)
            for item in placed:
                if self._webhook.wants(item.event):
                    chats[item.event.chat_id].append(item)
            left = await asyncio.gather(*map(self._send_new, chats.values()))
            undelivered = [item for items in left for item in items]
            position = placed[-1].position
            await self._store.save(self.claim, position, changed=undelivered)
            self._position = position
            for waiting in undelivered:
                self._waiting[waiting.chat_id].append(waiting)
            if undelivered:
                self._retries.set()

    async def _send_new(self, placed: Sequence[PlacedEvent]) -> list[Undelivered]:
        """Send new events of one chat, and return what must wait."""
        left = [
            Undelivered(position=item.position, chat_id=item.event.chat_id, seq=item.event.seq, next_at=self._now())
            for item in placed
        ]
        for index, item in enumerate(placed):
            if self.away or self._waiting.get(item.event.chat_id):
                return left[index:]
            attempt = await self._attempt(item.event)
            if attempt.error is not None:
                return [self._failed(left[index], attempt), *left[index + 1 :]]
        return []

    # --- Undelivered events ---

    async def _retry(self) -> None:
        while True:
            self._retries.clear()
            if not self._complete and self.waiting <= self._options.max_waiting // 2:
                await self._load()
            now = self._now()
            heads = sorted((items[0].next_at or 0, chat_id) for chat_id, items in self._waiting.items())
            if heads and self.away:
                _, chat_id = min((items[0].attempts, chat_id) for chat_id, items in self._waiting.items())
                heads = [(self._next_probe_at, chat_id)]
            due = [chat_id for at, chat_id in heads[: self._options.concurrent] if at <= now]
            if due:
                await asyncio.gather(*map(self._send_waiting, due))
                self._news.set()  # there may be room again, or the receiver is back
                continue
            try:
                async with asyncio.timeout((heads[0][0] - now) / 1_000 if heads else None):
                    await self._retries.wait()
            except TimeoutError:
                continue

    async def _send_waiting(self, chat_id: str) -> None:
        """Send the undelivered events of one chat, until one fails."""
        items = self._waiting[chat_id]
        while items:
            item = items[0]
            event = await self._store.event(chat_id, item.seq)
            attempt = Attempt() if event is None else await self._attempt(event)
            if attempt.error is None:
                await self._store.save(self.claim, done=[item.position])
                items.popleft()
                continue
            failed = self._failed(item, attempt)
            await self._store.save(self.claim, changed=[failed])
            if failed.dead_at is None:
                items[0] = failed
                return
            items.popleft()
            if self.away:
                break
        if not items:
            del self._waiting[chat_id]

    # --- One event ---

    async def _attempt(self, event: StoredEvent) -> Attempt:
        async with self._places:
            loop = asyncio.get_running_loop()
            if loop.time() >= self.lease_until:
                raise WebhookLost(self._webhook.id)
            began = loop.time()
            message_id = event_id(event.epoch, event.chat_id, event.seq)
            attempt = await self._sender.send(self._webhook, message_id, event_item(event))
            self._counters.durations.observe(loop.time() - began)
        if attempt.error is None:
            self._counters.attempts["delivered"] += 1
            if self.away:
                logger.info("webhook receives again", extra={"webhook": self._webhook.id})
                self._send_all_now()
            self._probes.reset()
            return attempt
        self._counters.attempts["failed"] += 1
        pause_s = max(self._probes.next_s(), attempt.retry_after_s or 0.0)
        self._next_probe_at = self._now() + int(pause_s * 1_000)
        facts = {
            "webhook": self._webhook.id,
            "chat_id": event.chat_id,
            "seq": event.seq,
            "error": attempt.error,
            "failures": self._probes.failures,
        }
        if should_log(self._probes.failures):
            logger.warning("webhook does not receive", extra=facts)
        if attempt.status == HTTPStatus.GONE:
            await self._store.disable(self.claim, "gone")
            logger.warning("webhook disabled: its receiver answered 410", extra=facts)
            raise WebhookLost(self._webhook.id)
        return attempt

    def _failed(self, item: Undelivered, attempt: Attempt) -> Undelivered:
        """An event after a failed attempt: it waits, or is dead."""
        now = self._now()
        tried_at = now if item.tried_at is None else item.tried_at
        failed = replace(
            item, attempts=item.attempts + 1, tried_at=tried_at, status=attempt.status, error=attempt.error
        )
        ends_at = tried_at + self._options.give_up_s * 1_000
        if now >= ends_at:
            self._counters.attempts["dead"] += 1
            facts = {"webhook": self._webhook.id, "chat_id": item.chat_id, "seq": item.seq, "error": attempt.error}
            logger.error("webhook: an event is not sent any more", extra={**facts, "attempts": failed.attempts})
            return replace(failed, next_at=None, dead_at=now)
        pauses = Backoff(self._options.retry_s, self._options.max_retry_s)
        pauses.failures = item.attempts
        next_at = now + int(max(pauses.next_s(), attempt.retry_after_s or 0.0) * 1_000)
        # The last attempt is at the end of the time.
        return replace(failed, next_at=min(next_at, ends_at))

    def _send_all_now(self) -> None:
        """The receiver is back: the pauses of its chats were because of its absence."""
        now = self._now()
        for items in self._waiting.values():
            items[0] = replace(items[0], next_at=min(items[0].next_at or now, now))

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1_000)
