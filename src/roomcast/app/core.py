"""Builds what has a database: store, relay, worker, use cases, API. Imported only where there is one.

Layer: app.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from roomcast.api.app import create_api
from roomcast.api.services import ApiServices
from roomcast.app.metrics import activity_families, relay_families
from roomcast.app.migrating import database_options
from roomcast.app.parts import Parts
from roomcast.app.plan import Plan
from roomcast.app.process import STOP_LIMIT_S, Process, Shared
from roomcast.auth.tokens import TokenVerifier
from roomcast.chat.activity import ActivityNotifier
from roomcast.chat.admission import Admissions
from roomcast.chat.ports import Responder, SystemClock
from roomcast.chat.reading import ChatReader
from roomcast.chat.relay import Relay, RelayOptions
from roomcast.chat.writing import ChatOptions, ChatWriter
from roomcast.realtime.transports.proxies import ASGIApp
from roomcast.responders.demo import DemoResponder
from roomcast.store.opening import Store, open_store
from roomcast.worker.service import Worker

#: How long a committed message waits for a relay's look, if the process that committed it does not know or has died.
SHARED_SWEEP_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Core:
    """What has a database: the use cases and what runs behind them."""

    api: ASGIApp
    admissions: Admissions
    activity: ActivityNotifier


@asynccontextmanager
async def running_core(plan: Plan, shared: Shared, process: Process) -> AsyncIterator[Core]:
    """Store, relay, worker and API, started; at the end stopped, what was accepted by then committed."""
    async with open_store(database_options(plan.database, plan.database_url)) as store:
        # A relay that shares its database looks for what another one left, which may have died between commit and
        # publish; and a server may carry out a commit after its client has lost the connection and looked for it.
        sweep_every_s = SHARED_SWEEP_S if store.shared else None
        relay = Relay(store.chats, shared.log, RelayOptions(stop_limit_s=STOP_LIMIT_S, sweep_every_s=sweep_every_s))
        await relay.start()
        parts = process.parts
        process.metrics.add(lambda: relay_families(relay.counters))
        parts.start("relay", relay.supervise())
        shared.on_reconnect(relay.restore)
        activity = ActivityNotifier(store.chats, open_to_all=plan.auth is None)
        process.metrics.add(lambda: activity_families(activity.counters))
        try:
            yield _build_core(plan, store, relay, activity, parts)
        finally:
            await parts.stop()
            await activity.close()
            await relay.stop()


def _build_core(plan: Plan, store: Store, relay: Relay, activity: ActivityNotifier, parts: Parts) -> Core:
    responders: dict[str, Responder] = {}
    if plan.responder == "demo":
        demo = DemoResponder()
        responders[demo.name] = demo

    # Writer and worker need each other: a message wakes the worker, an answer is written by the writer.
    def wake_worker() -> None:
        worker.wake()

    writer = ChatWriter(
        store.chats,
        relay,
        listener=activity,
        wake_worker=wake_worker,
        options=ChatOptions(default_responder=next(iter(responders), None)),
    )
    worker = Worker(store.turns, writer, responders, SystemClock())
    parts.start("worker", worker.run())
    admissions = Admissions(store.chats, relay)
    services = ApiServices(
        writer=writer,
        reader=ChatReader(store.chats),
        admissions=admissions,
        verifier=None if plan.auth is None else TokenVerifier(plan.auth),
    )
    return Core(create_api(services, plan.api), admissions, activity)
