"""Workers in the process of a test, on a complete back end with SQLite."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta

from roomcast.chat.model import ANYONE, StoredMessage
from roomcast.chat.ports import Responder, SystemClock, TurnStreams
from roomcast.chat.use_cases.moderation import Moderation
from roomcast.chat.use_cases.turns import Turns
from roomcast.contract.events import TurnStatus
from roomcast.contract.rest import SendMessage
from roomcast.worker.options import WorkerOptions
from roomcast.worker.service import Worker
from roomcast.worker.turn_run import TurnServices
from support.backend import Backend
from support.scripted import ScriptedStreams
from support.waiting import until

#: Short times for tests in real time. No test relies on a time limit that is not given in its own options.
FAST = WorkerOptions(
    heartbeat_s=0.05, retry_s=0.001, try_pause_s=0.001, coalesce_s=0.005, checkpoint_s=0.05, flush_s=0.2, stop_s=10
)
FINAL = {TurnStatus.COMPLETE, TurnStatus.STOPPED, TurnStatus.INCOMPLETE, TurnStatus.FAILED}


class LateClock:
    """The time ``ahead`` of now."""

    def __init__(self, ahead_s: float) -> None:
        self.ahead = timedelta(seconds=ahead_s)

    def now(self) -> datetime:
        """See the port."""
        return SystemClock().now() + self.ahead


@asynccontextmanager
async def running_worker(
    backend: Backend,
    responder: Responder,
    options: WorkerOptions = FAST,
    *,
    streams: TurnStreams | None = None,
    later_s: float = 0.0,
    clock: LateClock | None = None,
    dies: bool = False,
    moderation: Moderation | None = None,
) -> AsyncIterator[Worker]:
    """A running worker, woken by each send, as in the product.

    Args:
        backend: The back end.
        responder: The only responder.
        options: Limits and times.
        streams: The streams of the answers.
        later_s: How much its clock is ahead: beyond a lease, it takes over the turns of the workers before it.
        clock: Its clock, in place of ``later_s``.
        dies: Whether the worker is killed at the end of the block; else it stops as with SIGTERM.
        moderation: Reviews the answers.
    """
    turns = Turns(backend.store.turns, backend.relay, backend.log, wake_worker=lambda: worker.wake())  # noqa: PLW0108 - bound below
    services = TurnServices(
        store=backend.store.turns,
        turns=turns,
        streams=streams or ScriptedStreams(),
        log=backend.log,
        responders={responder.name: responder},
        moderation=moderation,
    )
    worker = Worker(services, clock or LateClock(later_s), options)
    backend.writer._publishing.wake_worker = worker.wake
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        if not dies:
            await worker.stop()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def ask(backend: Backend, content: str = "hello", chat_id: str = "c") -> str:
    """Send a USER message; the id of its turn."""
    committed = await backend.writer.send(ANYONE, SendMessage(chatId=chat_id, role="USER", content=content))
    return str(json.loads(committed.event.payload)["turn"]["id"])


async def answer(backend: Backend, turn_id: str, chat_id: str = "c") -> StoredMessage | None:
    """The answer of a turn; None before its start."""
    return await backend.store.chats.message(chat_id, turn_id)


async def ended(backend: Backend, turn_id: str, chat_id: str = "c", *, limit_s: float = 10.0) -> StoredMessage:
    """The answer of a turn, as soon as the turn has ended."""

    async def final() -> bool:
        turn = await backend.store.turns.turn(chat_id, turn_id)
        return turn is not None and turn.status in FINAL

    await until(final, limit_s=limit_s)
    message = await answer(backend, turn_id, chat_id)
    assert message is not None
    return message


def outcome(message: StoredMessage) -> tuple[str, str | None]:
    """Status and reason of the turn of an answer."""
    assert message.turn is not None
    return str(message.turn.status), None if message.turn.reason is None else str(message.turn.reason)
