"""The use cases that keep a chat in order: rename, archive, delete, and open the direct chat of two users.

Layer: chat.
"""

from __future__ import annotations

import asyncio
import logging

from roomcast.chat.additions import AdditionLimits
from roomcast.chat.commands import ChangeChat, Command, DeleteChat, OpenDirect
from roomcast.chat.errors import ChatNotFound, NotAllowed, NotAMember, StoreUnavailable
from roomcast.chat.ids import new_id
from roomcast.chat.model import Caller, Committed
from roomcast.chat.ports import ChatStore, Clock, SystemClock, Writes
from roomcast.chat.publishing import Publishing
from roomcast.contract.tenants import qualify

logger = logging.getLogger(__name__)

#: Messages and events that one transaction erases, so that other writes do not wait for long.
ERASED_AT_ONCE = 500
#: Time between two looks for deleted chats, in seconds.
LOOK_EVERY_S = 5.0


class Keeping:
    """The use cases. Each returns whether it changed anything, and publishes its event after the commit.

    Args:
        store: The database.
        publishing: Passes on what was committed.
        clock: Provides the times.

    Raises:
        ChatNotFound: the chat does not exist or is hidden from the caller.
        StoreUnavailable: the change may or may not have been made; repeat it.
    """

    def __init__(self, store: Writes, publishing: Publishing, clock: Clock | None = None) -> None:
        self._store = store
        self._publishing = publishing
        self._clock = clock or SystemClock()

    async def open_direct(self, caller: Caller, user_id: str, acting: str | None, limits: AdditionLimits | None) -> str:
        """Open the direct chat of the caller and another user, and return its id. Any two users have one.

        Raises:
            NotAllowed: ``acting`` is another user, or is missing; or it is ``user_id``.
            AdditionLimitReached: the caller added users too often.
        """
        member = caller.restricted_user_id
        if member is not None and acting not in {None, member}:
            raise NotAllowed("actingUserId is not the token's user; leave it out")
        own = member or acting
        if own is None:
            raise NotAllowed("give the user that opens the chat in actingUserId")
        if own == user_id:
            raise NotAllowed("a direct chat has two users; give the other one in userId")
        first, second = sorted((own, user_id))
        command = OpenDirect(qualify(caller.tenant, new_id()), (first, second), self._clock.now(), member, limits)
        chat_id, events = await self._publishing.commit(self._store.commit(command))
        if events:
            self._publishing.publish(events, member)
        return chat_id

    async def rename(self, caller: Caller, chat_id: str, title: str | None, trace: str | None = None) -> bool:
        """Give a chat another title, or none.

        Raises:
            ChatArchived: the chat is read-only.
        """
        member = caller.restricted_user_id
        change = ChangeChat(chat_id, self._clock.now(), title=title, renames=True, member=member, trace=trace)
        return await self._commit(caller, change, chat_id)

    async def archive(self, caller: Caller, chat_id: str, *, archived: bool, trace: str | None = None) -> bool:
        """Make a chat read-only, or end that."""
        member = caller.restricted_user_id
        change = ChangeChat(chat_id, self._clock.now(), archived=archived, member=member, trace=trace)
        return await self._commit(caller, change, chat_id)

    async def delete(self, caller: Caller, chat_id: str, trace: str | None = None) -> None:
        """Delete a chat. Its messages are erased soon after; see `erase_deleted_chats`."""
        command = DeleteChat(chat_id, self._clock.now(), caller.restricted_user_id, trace)
        await self._commit(caller, command, chat_id)

    async def _commit(
        self, caller: Caller, command: Command[Committed] | Command[Committed | None], chat_id: str
    ) -> bool:
        try:
            committed = await self._publishing.commit(self._store.commit(command))
        except NotAMember:
            raise ChatNotFound(chat_id) from None
        if committed is None:
            return False
        self._publishing.publish(committed.events, caller.restricted_user_id)
        return True


async def erase_deleted_chats(store: ChatStore, *, pause_s: float = LOOK_EVERY_S) -> None:
    """Erase the messages and events of deleted chats, also those of an earlier run, until cancelled."""
    failed = False
    while True:
        try:
            while await store.erase_deleted(ERASED_AT_ONCE):
                pass
            failed = False
        except StoreUnavailable as error:
            # Once per outage.
            level = logging.DEBUG if failed else logging.WARNING
            failed = True
            logger.log(level, "deleted chats are not erased yet; trying again", extra={"error": repr(error)})
        await asyncio.sleep(pause_s)
