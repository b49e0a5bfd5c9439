"""Builds Web Push from the settings.

Layer: app.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from roomcast.app.errors import AppError
from roomcast.app.metrics import push_families
from roomcast.app.process import STOP_LIMIT_S, Process
from roomcast.worker.push_deliveries import Deliveries
from roomcast.worker.pushes import Pushes

if TYPE_CHECKING:
    from roomcast.push.vapid import Vapid
    from roomcast.store.opening import Store

#: The private key of an embedded deployment, beside its database.
KEY_NAME: Final = "vapid.key"


def build_vapid(process: Process) -> Vapid | None:
    """The key of the server; None: no pushes are sent.

    An embedded deployment creates one at its first start: with another key, the subscriptions of all devices end.

    Raises:
        AppError: the file of the key cannot be used.
    """
    from roomcast.push.vapid import Vapid, new_key

    options, database = process.config.settings.push, process.config.database
    if options.key is not None:
        return Vapid(options.key, options.subject)
    if not isinstance(database, Path):
        return None
    file = database.parent / KEY_NAME
    try:
        if not file.exists():
            _create(file, new_key())
        return Vapid(file.read_text("ascii").strip(), options.subject)
    except (OSError, ValueError) as error:
        raise AppError(f"the key for pushes in {file} cannot be used: {error}") from error


def _create(file: Path, key: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # Complete or absent, also after a power failure: an incomplete key would end every later start.
    unfinished = file.with_name(f"{KEY_NAME}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(f"{key}\n")
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(file)


@asynccontextmanager
async def running_pushes(process: Process, store: Store, vapid: Vapid | None) -> AsyncIterator[None]:
    """Push messages in the background. On exit, what waits is sent within the time limit of a stop."""
    if vapid is None:
        yield
        return
    from roomcast.push.client import WebPushClient

    settings = process.config.settings
    client = WebPushClient(vapid, settings.push.rules)
    deliveries = Deliveries(client, store.pushes)
    pushes = Pushes(
        store.feed, store.pushes, deliveries, open_to_all=settings.auth is None, delay_s=settings.push.delay_s
    )
    process.metrics.add(lambda: push_families(deliveries.counters, pushes.counters))
    process.tasks.start("pushes", pushes.run())
    try:
        yield
    finally:
        # The task that reads the events has been stopped with all others.
        await deliveries.close(STOP_LIMIT_S)
        await client.close()
