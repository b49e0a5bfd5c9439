"""Questions about memberships, heads and cursors, answered in batches: one statement for all that wait.

A question does not wait for others: it is asked after a few iterations of the event loop, unless a read is in progress.
Those that arrive meanwhile share the next read, so each answer is from a snapshot that began after its question. An
idle loop passes these iterations in a fraction of the time of a read; in a busy one, each brings more questions.

Layer: store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import Context
from itertools import islice
from typing import Final

from roomcast.chat.errors import StoreUnavailable
from roomcast.store.engine.database import Database
from roomcast.store.engine.statements import AccessKey, AccessRow

#: Iterations of the event loop before each read.
_ITERATIONS: Final = 3
#: Questions of one statement.
_MAX_KEYS: Final = 1_000


class AccessReads:
    """Reads the rows for `ChatStore.access`.

    Args:
        database: An open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[AccessKey, list[asyncio.Future[AccessRow]]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def read(self, key: AccessKey) -> AccessRow:
        """Read one row.

        Raises:
            StoreUnavailable: the database did not answer this read, or the one before, within ``read_timeout_s``.
        """
        row: asyncio.Future[AccessRow] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(row)
        if self._reading is None:
            # The task serves several requests: log lines of one of them have its ids.
            self._reading = asyncio.create_task(self._read_waiting(), name="access", context=Context())
        return await row

    async def _read_waiting(self) -> None:
        try:
            while self._waiting:
                for _ in range(_ITERATIONS):
                    await asyncio.sleep(0)
                keys = list(islice(self._waiting, _MAX_KEYS))
                callers = [self._waiting.pop(key) for key in keys]
                try:
                    rows = await self._read(keys)
                except Exception as error:  # noqa: BLE001 - the callers get it
                    if isinstance(error, StoreUnavailable):
                        # Those that wait would wait for the time limit of one more read.
                        callers += self._waiting.values()
                        self._waiting.clear()
                    for row in (row for waiting in callers for row in waiting if not row.done()):
                        row.set_exception(error)
                else:
                    for waiting, found in zip(callers, rows, strict=True):
                        for row in waiting:
                            if not row.done():
                                row.set_result(found)
        finally:
            # There was no await since the loop's condition, unless the task was cancelled at the end of the process.
            self._reading = None

    async def _read(self, keys: Sequence[AccessKey]) -> Sequence[AccessRow]:
        statements = self._database.statements
        rows = await self._database.read(lambda connection: statements.access(connection, keys))
        await self._database.load_missing_epochs(newest=rows[0].newest_epoch)
        return rows
