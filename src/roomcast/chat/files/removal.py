"""Deletes the contents of files that nothing needs: never sent, of a deleted message or chat, or dropped by an edit.

Layer: chat.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from roomcast.backoff import jittered, repeat_forever
from roomcast.chat.commands import DropFile, ForgetFile, PostponeFile
from roomcast.chat.errors import FilesUnavailable, StoreUnavailable
from roomcast.chat.files.options import UNSENT_FOR, FileCounters, key_of, thumbnail_of
from roomcast.chat.ports import Clock, FileContents, FileStore, SystemClock

logger = logging.getLogger(__name__)

#: Longest time between two sweeps in seconds, and the files that one of them removes.
SWEEP_EVERY_S: Final = 60.0
SWEEP_SIZE: Final = 100
#: How long after a failure the removal of a file is tried again.
POSTPONED_FOR: Final = timedelta(minutes=10)
#: Time between two looks for files of erased chats, in seconds.
ORPHANS_EVERY_S: Final = 3600.0


class FileRemoval:
    """Removes files, until cancelled. Several processes may do so.

    Args:
        files: The database.
        contents: The contents.
        counters: Counts the removed files.
        clock: Provides the times.
    """

    def __init__(
        self, files: FileStore, contents: FileContents, counters: FileCounters, clock: Clock | None = None
    ) -> None:
        self._files = files
        self._contents = contents
        self._counters = counters
        self._clock = clock or SystemClock()
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Sweep, and look for files of erased chats, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for step, every_s, what in (
                (self._drop_orphans, ORPHANS_EVERY_S, "the search for files of erased chats"),
                (self._sweep_all, SWEEP_EVERY_S, "the removal of files"),
            ):
                group.create_task(repeat_forever(step, every_s, what, StoreUnavailable))

    async def _drop_orphans(self) -> bool:
        found = await self._files.drop_orphans(SWEEP_SIZE)
        if found:
            self.wake()
        return found == SWEEP_SIZE

    async def _sweep_all(self) -> bool:
        """Sweep, then wait until a file is due, or for `SWEEP_EVERY_S`."""
        self._woken.clear()
        while await self.sweep():
            pass
        with suppress(TimeoutError):
            async with asyncio.timeout(jittered(SWEEP_EVERY_S, 0.5)):
                await self._woken.wait()
        return True

    def wake(self) -> None:
        """Sweep soon: a file is due."""
        self._woken.set()

    async def sweep(self) -> int:
        """Remove files that are due, at most `SWEEP_SIZE`, and return how many were removed.

        One that cannot be removed is due again after `POSTPONED_FOR`, so that it keeps no others waiting.
        """
        now = self._clock.now()
        removed = 0
        for chat_id, file_id in await self._files.due_files(now, SWEEP_SIZE):
            try:
                await self.remove(chat_id, file_id, now)
                removed += 1
            except FilesUnavailable as error:
                # Perhaps this one only, such as an object under a lock.
                await self._files.commit(PostponeFile(chat_id, file_id, now + POSTPONED_FOR))
                logger.warning(
                    "a file cannot be removed now; this is tried again: %s", error, extra={"chat_id": chat_id}
                )
        return removed

    async def abandon(self, chat_id: str, file_id: str) -> None:
        """Remove what a failed upload has left; if that fails too, a sweep does it when the file is due."""
        try:
            await self.remove(chat_id, file_id, self._clock.now() + 2 * UNSENT_FOR)
        except (StoreUnavailable, FilesUnavailable) as error:
            logger.warning("the rest of an upload is removed later: %s", error, extra={"chat_id": chat_id})

    async def remove(self, chat_id: str, file_id: str, at: datetime) -> None:
        """Remove a file that is due at ``at``, and its row at the end."""
        if await self._files.commit(DropFile(chat_id, file_id, at)):
            await self._contents.delete(thumbnail_of(chat_id, file_id))
            await self._contents.delete(key_of(chat_id, file_id))
            await self._files.commit(ForgetFile(chat_id, file_id))
            self._counters.removed += 1
