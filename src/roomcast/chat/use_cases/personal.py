"""The use cases for the data of one user: its export, and its erasure.

An erasure reads all tables in steps, each a short transaction; after a crash the next process goes on. It does not
cover what is written for the user after its request.

Layer: chat. Source: docs/personal-data.md.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any, Final

from roomcast.backoff import repeat_forever
from roomcast.chat.commands import MAX_FORGOTTEN, ForgetUser
from roomcast.chat.errors import AnswerActive, ChatError, ErasureNotFound, ExportBusy, NotAllowed
from roomcast.chat.model import ANYONE, Caller
from roomcast.chat.ports import Clock, Erasure, InChat, PersonalStore, SystemClock, Writes
from roomcast.chat.use_cases.publishing import Publishing
from roomcast.chat.use_cases.sessions import Sessions
from roomcast.chat.use_cases.turns import Turns
from roomcast.contract.tenants import qualify, tenant_of

logger = logging.getLogger(__name__)

#: How long one process may work on an erasure without a sign of life.
LEASE: Final = timedelta(seconds=60)
#: Time between two looks for an erasure, in seconds.
LOOK_EVERY_S: Final = 5.0
#: Time between two steps, in seconds, in which other writes have the database.
PAUSE_S: Final = 0.01
#: Pages without a row of the user after which the position is stored anyway.
_STORE_EVERY: Final = 50
#: How often an answer that is being written is asked to stop, and the time between, in seconds.
_STOP_ATTEMPTS: Final = 60
_STOP_EVERY_S: Final = 0.25
#: Exports at the same time in one process: each reads the whole database.
MAX_EXPORTS: Final = 2


class PersonalData:
    """The use cases.

    Args:
        store: Finds the data of users.
        writes: Writes the changes in chats.
        publishing: Passes on what was committed.
        turns: Stops answers to the user.
        sessions: Ends the sessions of the user.
        clock: Provides the times.
    """

    def __init__(
        self,
        store: PersonalStore,
        writes: Writes,
        publishing: Publishing,
        turns: Turns,
        sessions: Sessions,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._writes = writes
        self._publishing = publishing
        self._turns = turns
        self._sessions = sessions
        self._clock = clock or SystemClock()
        self._exports = asyncio.Semaphore(MAX_EXPORTS)

    def export(self, caller: Caller, user_id: str) -> AsyncIterator[Mapping[str, Any]]:
        """The rows that name a user, in no useful order: an iterator to read at once.

        Raises:
            NotAllowed: the caller is another user.
            ExportBusy: `MAX_EXPORTS` exports are running; repeat it.
            StoreUnavailable: while it is read.
        """
        if not caller.unrestricted and caller.user_id != user_id:
            raise NotAllowed("you may export your own data only; a service token may export that of any user")
        if self._exports.locked():
            raise ExportBusy
        return self._export(user_id)

    async def _export(self, user_id: str) -> AsyncIterator[Mapping[str, Any]]:
        # Those that began at the same moment wait here.
        async with self._exports:
            position: str | None = None
            while True:
                page = await self._store.page(user_id, None, position)
                for row in page.exported:
                    yield row
                if page.next is None:
                    return
                position = page.next

    async def request(self, caller: Caller, user_id: str) -> Erasure:
        """End the sessions of a user, and begin the erasure of its data. A repeat returns the unfinished one.

        Raises:
            StoreUnavailable: repeat the request.
        """
        await self._sessions.end_all(caller, user_id)
        alias = qualify(tenant_of(user_id), f"erased-{secrets.token_hex(8)}")
        return await self._store.request_erasure(Erasure(alias, user_id, self._clock.now()))

    async def erasure(self, erasure_id: str) -> Erasure:
        """The progress of an erasure.

        Raises:
            ErasureNotFound: there is none with this id.
        """
        found = await self._store.erasure(erasure_id)
        if found is None:
            raise ErasureNotFound
        return found

    async def run(self, *, pause_s: float = LOOK_EVERY_S) -> None:
        """Work on erasures, also those of an earlier run, until cancelled."""
        await repeat_forever(self.erase_one, pause_s, "the erasure of the data of a user", ChatError)

    async def erase_one(self) -> bool:
        """Work on one erasure until it is done; false: there is none that no process works on.

        Raises:
            AnswerActive: an answer to the user does not stop.
            StoreUnavailable: the next call goes on.
        """
        now = self._clock.now()
        erasure = await self._store.claim_erasure(now, now + LEASE)
        if erasure is None or erasure.user_id is None:
            return False
        position, unstored = erasure.position, 0
        while True:
            page = await self._store.page(erasure.user_id, erasure.id, position)
            for chat_id, found in page.chats.items():
                await self._forget(erasure, erasure.user_id, chat_id, found)
            erased = len(page.rows) + len(page.chats)
            unstored += 1
            if page.next is None or erased or unstored >= _STORE_EVERY:
                await self._store.erase(erasure, page, erased, self._clock.now() + LEASE)
                await asyncio.sleep(PAUSE_S)
                unstored = 0
            if page.next is None:
                break
            position = page.next
        await self._store.finish_erasure(erasure, self._clock.now())
        logger.info("the data of a user was erased", extra={"erasure": erasure.id})
        return True

    async def _forget(self, erasure: Erasure, user_id: str, chat_id: str, found: InChat) -> None:
        messages, reactions = found.messages, list(found.reactions.items())
        # At least one, for the membership.
        for first in range(0, max(len(messages), len(reactions), 1), MAX_FORGOTTEN):
            command = ForgetUser(
                chat_id,
                user_id,
                erasure.id,
                self._clock.now(),
                tuple(messages[first : first + MAX_FORGOTTEN]),
                dict(reactions[first : first + MAX_FORGOTTEN]),
                found.member,
            )
            events = await self._commit(command)
            if events:
                self._publishing.publish(events, None)
            await asyncio.sleep(PAUSE_S)

    async def _commit(self, command: ForgetUser) -> Any:
        """Write a command; an answer that is being written is stopped first."""
        for attempt in range(_STOP_ATTEMPTS):
            try:
                return await self._publishing.commit(self._writes.commit(command))
            except AnswerActive as error:
                if attempt == _STOP_ATTEMPTS - 1:
                    raise
                await self._turns.stop(ANYONE, command.chat_id, error.turn_id)
                await asyncio.sleep(_STOP_EVERY_S)
        raise AssertionError("unreachable")
