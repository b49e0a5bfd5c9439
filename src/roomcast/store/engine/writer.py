"""Group commit: the commands that arrive during one commit share the next commit.

A commit costs one sync to the disk, whatever its size. So throughput grows with the number of senders, while a single
sender waits no longer than without batches. Every write to the database passes through this module.

Layer: store.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from roomcast.chat.commands import Command
from roomcast.chat.errors import StoreBusy, StoreUnavailable
from roomcast.chat.ports import Tracer
from roomcast.histogram import Histogram
from roomcast.store.engine.batch import run_batch
from roomcast.store.engine.database import Database

logger = logging.getLogger(__name__)

_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """Limits of the writer.

    Attributes:
        max_batch: Commands in one transaction. Must keep a statement's parameters below SQLite's limit of 32,766.
        max_waiting: Commands that may wait, each with at most one message. Further commands raise `StoreBusy`.
    """

    max_batch: int = 256
    max_waiting: int = 2_000


@dataclass(slots=True)
class _Submitted:
    command: Command[Any]
    outcome: asyncio.Future[Any]
    submitted_at: float


class Writer:
    """Commits commands in the order of their arrival.

    Args:
        database: An open database; this must be its only writer.
        options: Limits of the writer.
        tracer: Records the commits that have a parent; None: tracing is off.

    Attributes:
        commit_s: Durations from the arrival of a command to its commit, without commands that need not be durable.
    """

    def __init__(self, database: Database, options: WriterOptions | None = None, tracer: Tracer | None = None) -> None:
        self.commit_s = Histogram()
        self._database = database
        self._options = options or WriterOptions()
        self._tracer = tracer
        self._waiting: deque[_Submitted] = deque()
        self._task: asyncio.Task[None] | None = None
        # Resolved by the next command, while none waits.
        self._idle: asyncio.Future[None] | None = None
        self._closed = False

    async def commit(self, command: Command[_R]) -> _R:
        """See `chat.ports.Writes`. A command that need not be durable may be undone by a power failure.

        Raises:
            ChatError: the command was rejected.
            StoreBusy: too many commands are waiting, or the writer is closed; the command was not run.
            StoreUnavailable: the command failed, or its outcome is unknown (see `Database.write`).
        """
        if self._closed:
            raise StoreBusy("the database is closed")
        if len(self._waiting) >= self._options.max_waiting:
            raise StoreBusy(f"{len(self._waiting)} writes are waiting already")
        outcome: asyncio.Future[_R] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Submitted(command, outcome, time.perf_counter()))
        if self._task is None:
            # The task serves many requests: log lines of one of them have its ids.
            self._task = asyncio.create_task(self._drain(), name="store-writer", context=Context())
        self._wake()
        if self._tracer is None or (parent := self._tracer.current) is None:
            return await outcome
        began_ns = time.time_ns()
        try:
            return await outcome
        finally:
            facts = {
                "db.system.name": "postgresql" if self._database.shared else "sqlite",
                "db.operation.name": "commit",
                "roomcast.command": type(command).__name__,
            }
            self._tracer.record("commit", "client", facts, parent=parent, began_ns=began_ns)

    async def close(self) -> None:
        """Commit the waiting commands and accept no more."""
        self._closed = True
        self._wake()
        if self._task is not None:
            await self._task

    def _wake(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _drain(self) -> None:
        try:
            while self._waiting or not self._closed:
                if not self._waiting:
                    self._idle = asyncio.get_running_loop().create_future()
                    await self._idle
                    continue
                await self._commit(self._next_batch())
        finally:
            self._task = None

    def _next_batch(self) -> list[_Submitted]:
        """The waiting commands that share a transaction: at least one."""
        batch = [self._waiting.popleft()]
        while self._waiting and len(batch) < self._options.max_batch:
            if batch[-1].command.alone or self._waiting[0].command.alone:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _commit(self, batch: Sequence[_Submitted]) -> None:
        try:
            outcomes = await self._run([submitted.command for submitted in batch])
        except StoreUnavailable as error:
            outcomes = [error] * len(batch)
        except Exception as error:
            if len(batch) > 1:
                # The database rejects one of the commands (a constraint). Committed singly, only that command fails.
                logger.exception("batch failed, committing its writes one by one", extra={"writes": len(batch)})
                for submitted in batch:
                    await self._commit([submitted])
                return
            outcomes = [error]
        now = time.perf_counter()
        for submitted, outcome in zip(batch, outcomes, strict=True):
            if submitted.command.durable:
                self.commit_s.observe(now - submitted.submitted_at)
            if submitted.outcome.done():  # its caller was cancelled
                continue
            if isinstance(outcome, Exception):
                submitted.outcome.set_exception(outcome)
            else:
                submitted.outcome.set_result(outcome)

    async def _run(self, commands: Sequence[Command[Any]]) -> list[Any]:
        def run(connection: Connection) -> list[Any]:
            return run_batch(connection, commands, self._database.statements, self._database.lineage)

        return await self._database.write(run, durable=any(command.durable for command in commands))
