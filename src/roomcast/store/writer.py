"""The only way to the writing connection: writes that come while one commits share the next commit.

A commit costs one wait for the disk however much is in it, so throughput grows with the number of senders while a
single one waits no longer.

Layer: store.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from roomcast.chat.errors import StoreBusy, StoreUnavailable
from roomcast.chat.model import Committed, NewChat, NewMemberChange, NewMessage, StoredChat, StoredEvent
from roomcast.store.batch import Command, MarkPublished, is_durable, run_batch
from roomcast.store.database import Database

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """Bounds of the writer.

    Attributes:
        max_batch: Commands of one transaction. Its parameters have to stay below SQLite's limit of 32,766.
        max_waiting: Commands that may wait, each with a message at most; further ones are refused as unavailable.
    """

    max_batch: int = 256
    max_waiting: int = 2_000


@dataclass(slots=True)
class _Waiting:
    command: Command
    outcome: asyncio.Future[Any]


class Writer:
    """Takes commands and commits them in the order in which they came.

    Args:
        database: Open; this is its only writer.
        options: Bounds.
    """

    def __init__(self, database: Database, options: WriterOptions | None = None) -> None:
        self._database = database
        self._options = options or WriterOptions()
        self._waiting: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def submit(self, command: Command) -> Any:
        """Do one command; returns its answer after the commit has reached the disk.

        A caller that is cancelled stops waiting; the command is done all the same.

        Raises:
            ChatError: it was refused.
            StoreBusy: it was not tried, since too much is waiting.
            StoreUnavailable: it was not written, as far as anybody can know.
        """
        if self._closed:
            raise StoreBusy("the database is closed")
        if len(self._waiting) >= self._options.max_waiting:
            raise StoreBusy(f"{len(self._waiting)} writes are waiting already")
        outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(command, outcome))
        if self._task is None:
            self._task = asyncio.create_task(self._drain(), name="store-writer")
        return await outcome

    async def create_chat(self, new: NewChat) -> tuple[StoredChat, tuple[StoredEvent, ...]]:
        """See `chat.ports.ChatStore`."""
        created: tuple[StoredChat, tuple[StoredEvent, ...]] = await self.submit(new)
        return created

    async def append_message(self, new: NewMessage) -> Committed:
        """See `chat.ports.ChatStore`."""
        committed: Committed = await self.submit(new)
        return committed

    async def change_member(self, change: NewMemberChange) -> Committed | None:
        """See `chat.ports.ChatStore`."""
        committed: Committed | None = await self.submit(change)
        return committed

    async def mark_published(self, up_to: Mapping[str, int]) -> None:
        """See `chat.ports.ChatStore`."""
        await self.submit(MarkPublished(up_to))

    async def close(self) -> None:
        """Commit what is waiting, then take nothing more."""
        self._closed = True
        if self._task is not None:
            await self._task

    async def _drain(self) -> None:
        try:
            while self._waiting:
                size = min(len(self._waiting), self._options.max_batch)
                await self._commit([self._waiting.popleft() for _ in range(size)])
        finally:
            self._task = None

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        try:
            outcomes = await self._run([waiting.command for waiting in batch])
        except StoreUnavailable as error:
            outcomes = [error] * len(batch)
        except Exception as error:
            if len(batch) > 1:
                # One of them cannot be written at all. Alone, it fails alone.
                logger.exception("a batch of %d writes failed, trying one by one", len(batch))
                for waiting in batch:
                    await self._commit([waiting])
                return
            outcomes = [error]
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if waiting.outcome.done():
                continue
            if isinstance(outcome, Exception):
                waiting.outcome.set_exception(outcome)
            else:
                waiting.outcome.set_result(outcome)

    async def _run(self, commands: Sequence[Command]) -> list[Any]:
        def run(connection: Connection) -> list[Any]:
            return run_batch(connection, commands, self._database.statements, self._database.lineage)

        return await self._database.write(run, durable=any(is_durable(command) for command in commands))
