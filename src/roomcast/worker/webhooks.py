"""Claims webhooks, and keeps their leases: each webhook is sent for by one worker of the cluster.

The webhooks are rows; a claim raises the generation of its row, and every write checks it. A worker claims one webhook
at a time with pauses, so that the webhooks spread over the workers.

Layer: worker. Source: docs/decisions/0021.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from typing import Final

from roomcast.backoff import jittered, repeat_forever
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.ports import FeedStore
from roomcast.chat.webhook_values import StoredWebhook
from roomcast.worker.counters import WebhookCounters
from roomcast.worker.options import WebhookOptions
from roomcast.worker.webhook_run import WebhookRun, WebhookServices

logger = logging.getLogger(__name__)

#: Pause between two claims, in seconds.
_CLAIM_PAUSE_S: Final = 0.05
#: Pause between two queries for webhooks without a lease.
_SWEEP_S: Final = 1.0


class WebhookWorker:
    """Sends for webhooks until it is stopped.

    Args:
        services: What the runs use.
        feed: Orders the events of all chats.
        options: Limits and times.

    Attributes:
        counters: What metrics count.
    """

    def __init__(self, services: WebhookServices, feed: FeedStore, options: WebhookOptions | None = None) -> None:
        self.counters = WebhookCounters()
        self._services = services
        self._store = services.store
        self._feed = feed
        self._clock = services.clock
        self._options = options or WebhookOptions()
        self._runs: dict[WebhookRun, asyncio.Task[None]] = {}
        self._stopped = False
        # The last position of the feed that the runs were woken for.
        self._head = -1

    @property
    def states(self) -> dict[str, int]:
        """The webhooks that this worker sends for, and those of them whose receivers are away."""
        away = sum(run.away for run in self._runs)
        return {"receiving": len(self._runs) - away, "away": away}

    @property
    def waiting(self) -> int:
        """Undelivered events of these webhooks that will be tried again."""
        return sum(run.waiting for run in self._runs)

    async def run(self) -> None:
        """Claim webhooks and send for them until cancelled. Call `stop` before, or their leases have to end first."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_leases())
            for step, every_s, what in (
                (self._claim_one, _SWEEP_S, "claiming webhooks"),
                (self._look_for_news, self._options.poll_s, "reading the feed for webhooks"),
            ):
                outage_s = self._options.max_pause_s
                group.create_task(repeat_forever(step, every_s, what, StoreUnavailable, longest_s=outage_s))

    async def stop(self) -> None:
        """End all runs, and hand their webhooks over."""
        self._stopped = True
        tasks = dict(self._runs)
        for task in tasks.values():
            task.cancel()
        if tasks:
            await asyncio.wait(tasks.values())
            with suppress(StoreUnavailable):  # the leases end by themselves
                await self._store.release([run.claim for run in tasks])

    async def _claim_one(self) -> bool:
        if self._stopped:
            return False
        now, lease = self._clock.now(), timedelta(seconds=self._options.lease_s)
        claimed_at = asyncio.get_running_loop().time()
        webhook = await self._store.claim(now, now + lease)
        if webhook is None:
            return False
        self._start(webhook, claimed_at + self._options.lease_s)
        await asyncio.sleep(jittered(_CLAIM_PAUSE_S))
        return True

    def _start(self, webhook: StoredWebhook, lease_until: float) -> None:
        for earlier, task in self._runs.items():
            if earlier.claim.webhook_id == webhook.id:
                task.cancel()  # its claim is void
        run = WebhookRun(webhook, self._services, self._options, self.counters, lease_until=lease_until)
        self._runs[run] = task = asyncio.create_task(self._guard(run), name=f"webhook {webhook.id}")
        task.add_done_callback(lambda _: self._runs.pop(run))

    async def _guard(self, run: WebhookRun) -> None:
        """Run one claim. After a failure the webhook is claimed again when its lease has ended."""
        facts = {"webhook": run.claim.webhook_id}
        try:
            await run.run()
        except* StoreUnavailable as errors:
            logger.warning("webhook interrupted: %s", errors.exceptions[0], extra=facts)
        except* Exception:  # a fault of one webhook must not end the others
            logger.exception("webhook failed", extra=facts)

    async def _keep_leases(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._options.heartbeat_s)
            runs = {run.claim: run for run in self._runs}
            if not runs:
                continue
            renewed_at, lease = loop.time(), timedelta(seconds=self._options.lease_s)
            try:
                lost = await self._store.renew(list(runs), self._clock.now() + lease)
            except StoreUnavailable as error:
                logger.warning("cannot renew the leases of %d webhooks: %s", len(runs), error)
                continue
            for claim, run in runs.items():
                if claim not in lost:
                    run.lease_until = renewed_at + self._options.lease_s
                elif run in self._runs:
                    self._runs[run].cancel()

    async def _look_for_news(self) -> None:
        """Place new events, and wake the runs. Without a webhook, nothing is read."""
        if not self._runs:
            return
        while await self._feed.place():
            pass
        head = await self._store.head()
        if head != self._head:
            self._head = head
            for run in self._runs:
                run.wake()
