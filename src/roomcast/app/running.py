"""Runs what was planned: builds the parts bottom-up, serves, and ends them in the reverse order, each within a limit.

What only some processes have is imported there: a gateway alone loads no database and no web framework.

Layer: app.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from roomcast.app.errors import AppFailed
from roomcast.app.gateway import build_admission, build_gateway
from roomcast.app.plan import Plan
from roomcast.app.process import OnReady, running_process, shared_parts
from roomcast.gateway.announcing import RoomAnnouncer
from roomcast.observability.http import PlainApp
from roomcast.realtime import ServeError, loop_factory
from roomcast.store.errors import StoreError

logger = logging.getLogger(__name__)

#: What workers may take beyond their own limits before they are killed.
_SPARE_S: Final = 5.0


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a process's main coroutine to its end.

    Raises:
        AppFailed: it could not start, or a part died; the text is for a person.
    """
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(main)
    except (StoreError, ServeError) as error:
        raise AppFailed(str(error)) from error


async def run_up(plan: Plan, on_ready: OnReady) -> None:
    """Everything in one process, until a signal.

    Args:
        plan: What to start.
        on_ready: Called once every address answers.

    Raises:
        StoreError: the data cannot be used.
        ServeError: an address cannot be used.
        PartDied: a part ended by itself.
    """
    from roomcast.app.admission import LocalAdmission
    from roomcast.app.core import running_core

    async with running_process(plan, on_ready) as process:
        shared = await shared_parts(plan, process)
        core = await process.stack.enter_async_context(running_core(plan, shared, process))
        gateway = build_gateway(plan, shared, LocalAdmission(core.admissions), process)
        core.activity.announce_through(RoomAnnouncer(gateway.server))
        api = PlainApp(process.routes, core.api)
        application = gateway.asgi(api if plan.one_port else None, process.routes)
        process.admit_nodes(application, shared)
        if plan.one_port:
            await process.serve([(application, plan.api_port)])
        else:
            await process.serve([(api, plan.api_port), (application, plan.gateway_port)])


async def run_api(plan: Plan, on_ready: OnReady) -> None:
    """The API, the page and the worker; see `run_up`."""
    from roomcast.app.core import running_core

    async with running_process(plan, on_ready) as process:
        shared = await shared_parts(plan, process)
        core = await process.stack.enter_async_context(running_core(plan, shared, process))
        if shared.cluster is not None:
            emitter = await process.stack.enter_async_context(shared.cluster.emitter())
            core.activity.announce_through(RoomAnnouncer(emitter))
        await process.serve([(PlainApp(process.routes, core.api), plan.api_port)])


def run_workers(plan: Plan, on_ready: OnReady) -> None:
    """Several gateways in processes of their own, on one port, until a signal.

    Raises:
        AppFailed: the port cannot be had, or the workers cannot be kept running.
    """
    from roomcast.app.workers import Workers, WorkersOptions

    stop_limit_s = plan.serve.unready_s + plan.serve.drain_limit_s + plan.serve.shutdown_limit_s + _SPARE_S
    Workers(
        WorkersOptions(count=plan.workers, stop_limit_s=stop_limit_s),
        plan.where.bind,
        plan.gateway_port or 0,
        lambda number, ready: run_gateway(plan.worker(number), ready),
        run,
        on_ready,
    ).run()


async def run_gateway(plan: Plan, on_ready: OnReady) -> None:
    """The gateway alone; see `run_up`."""
    async with running_process(plan, on_ready) as process:
        shared = await shared_parts(plan, process)
        if shared.cluster is None:
            # The first words are the guide's.
            logger.warning("Redis not configured - single instance mode: chat events need REDIS_HOST or REDIS_URL")
        gateway = build_gateway(plan, shared, build_admission(plan, shared, process), process)
        application = gateway.asgi(routes=process.routes)
        process.admit_nodes(application, shared)
        await process.serve([(application, plan.gateway_port)])
