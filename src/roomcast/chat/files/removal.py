"""Deletes the contents of files that nothing needs: never sent, of a deleted message or chat, or dropped by an edit.

Layer: chat.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Final

from roomcast.backoff import jittered
from roomcast.chat.commands import DropFile, ForgetFile, PostponeFile
from roomcast.chat.errors import FilesUnavailable, StoreUnavailable
from roomcast.chat.files.options import UNSENT_FOR, FileCounters, key_of, thumbnail_of
from roomcast.chat.ports import Clock, FileContents, FileStore, SystemClock

logger = logging.getLogger(__name__)

#: Longest time between two sweeps in seconds, and the files that one of them removes.
SWEEP_EVERY_S: Final = 60.0
SWEEP_SIZE: Final = 100
#: After which time the removal of a file is tried again.
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
        """Sweep again and again."""
        loop, orphans_at = asyncio.get_running_loop(), 0.0
        while True:
            try:
                if loop.time() >= orphans_at:
                    while await self._files.drop_orphans(SWEEP_SIZE) == SWEEP_SIZE:
                        pass
                    orphans_at = loop.time() + ORPHANS_EVERY_S
                while await self.sweep():
                    pass
            except StoreUnavailable as error:
                logger.warning("files cannot be removed now; this is tried again: %s", error)
            self._woken.clear()
            try:
                async with asyncio.timeout(jittered(SWEEP_EVERY_S, 0.5)):
                    await self._woken.wait()
            except TimeoutError:
                continue

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
