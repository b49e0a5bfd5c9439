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

from roomcast.backoff import Backoff, jittered, should_log
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
            group.create_task(self._claim_webhooks())
            group.create_task(self._keep_leases())
            group.create_task(self._watch_feed())

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

    async def _claim_webhooks(self) -> None:
        backoff = Backoff(self._options.poll_s, self._options.max_pause_s)
        while not self._stopped:
            now, lease = self._clock.now(), timedelta(seconds=self._options.lease_s)
            claimed_at = asyncio.get_running_loop().time()
            try:
                webhook = await self._store.claim(now, now + lease)
            except StoreUnavailable as error:
                pause_s = backoff.next_s()
                if should_log(backoff.failures):
                    logger.warning("cannot claim webhooks, retrying in %.1f s: %s", pause_s, error)
                await asyncio.sleep(pause_s)
                continue
            backoff.reset()
            if webhook is not None:
                self._start(webhook, claimed_at + self._options.lease_s)
            await asyncio.sleep(jittered(_SWEEP_S if webhook is None else _CLAIM_PAUSE_S))

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

    async def _watch_feed(self) -> None:
        """Place new events, and wake the runs. Without a webhook, nothing is read."""
        known = -1
        while True:
            await asyncio.sleep(self._options.poll_s)
            if not self._runs:
                known = -1
                continue
            with suppress(StoreUnavailable):  # the claims say so
                while await self._feed.place():
                    pass
                head = await self._store.head()
                if head == known:
                    continue
                known = head
                for run in self._runs:
                    run.wake()
