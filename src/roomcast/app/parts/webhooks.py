"""Builds what sends to webhooks, from the settings.

Layer: app.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from roomcast.app.metrics import webhook_families
from roomcast.app.process import Process
from roomcast.chat.ports import FeedStore, SystemClock, WebhookSender, WebhookStore
from roomcast.webhooks.http import HttpWebhookSender
from roomcast.worker.options import WebhookOptions
from roomcast.worker.webhook_run import WebhookServices
from roomcast.worker.webhooks import WebhookWorker


@asynccontextmanager
async def running_webhooks(
    process: Process, store: WebhookStore, feed: FeedStore, *, sends: bool
) -> AsyncIterator[WebhookSender]:
    """Send to webhooks; on exit they are handed over to other workers.

    Args:
        process: The process.
        store: The webhooks.
        feed: The events.
        sends: Whether the process is a worker. Otherwise its API sends tests only.
    """
    settings = process.config.settings
    sender = HttpWebhookSender(settings.webhook_networks)
    options = WebhookOptions(give_up_s=settings.webhook_give_up_s)
    worker = WebhookWorker(WebhookServices(store, sender, SystemClock()), feed, options)
    if sends:
        process.metrics.add(lambda: webhook_families(worker))
        process.tasks.start("webhooks", worker.run())
    try:
        yield sender
    finally:
        await worker.stop()
        await sender.close()
