"""The use cases that keep a chat in order: rename, archive, delete, delete old messages, open a direct chat.

Layer: chat.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from roomcast.backoff import repeat_forever
from roomcast.chat.commands import MAX_FORGOTTEN, ChangeChat, DeleteChat, ExpireMessages, OpenDirect
from roomcast.chat.errors import AnswerActive, ChatNotFound, NotAllowed, StoreUnavailable
from roomcast.chat.ids import new_id
from roomcast.chat.model import Caller
from roomcast.chat.policies.additions import AdditionLimits
from roomcast.chat.ports import ChatStore, Clock, SystemClock
from roomcast.chat.use_cases.moderation import Moderation
from roomcast.chat.use_cases.publishing import Publishing
from roomcast.contract.tenants import qualify

#: Messages and events that one transaction erases, so that other writes do not wait for long.
ERASED_AT_ONCE = 500
#: Time between two looks for deleted chats, in seconds.
LOOK_EVERY_S = 5.0
#: Time between two looks for messages to delete, in seconds: a message is kept for at most so much longer.
EXPIRE_EVERY_S = 300.0
#: Time between two steps of it, in seconds, in which other writes have the database.
EXPIRY_PAUSE_S = 0.01
#: Chats that one query looks at.
CHATS_AT_ONCE = 500


class Keeping:
    """The use cases. Each returns whether it changed anything, and publishes its event after the commit.

    Args:
        store: The database.
        publishing: Passes on what was committed.
        clock: Provides the times.
        moderation: Reviews each title; None: titles are not reviewed.

    Raises:
        ChatNotFound: the chat does not exist or is hidden from the caller.
        StoreUnavailable: the change may or may not have been made; repeat it.
    """

    def __init__(
        self, store: ChatStore, publishing: Publishing, clock: Clock | None = None, moderation: Moderation | None = None
    ) -> None:
        self._store = store
        self._moderation = moderation
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
            MessageRefused, ModerationUnavailable: the moderation refuses the title, or is away.
        """
        member = caller.restricted_user_id
        if title is not None and self._moderation is not None:
            if member is not None and not (await self._store.access(chat_id, member, None)).is_member:
                raise ChatNotFound(chat_id)
            title = await self._moderation.review_title(chat_id, caller.user_id, title)
        change = ChangeChat(chat_id, self._clock.now(), title=title, renames=True, member=member, trace=trace)
        return await self._publishing.carry_out(caller, chat_id, self._store.commit(change))

    async def archive(self, caller: Caller, chat_id: str, *, archived: bool, trace: str | None = None) -> bool:
        """Make a chat read-only, or end that."""
        member = caller.restricted_user_id
        change = ChangeChat(chat_id, self._clock.now(), archived=archived, member=member, trace=trace)
        return await self._publishing.carry_out(caller, chat_id, self._store.commit(change))

    async def retain(self, caller: Caller, chat_id: str, days: int | None, trace: str | None = None) -> bool:
        """Change after how many days a chat deletes its messages; 0: never; None: as the deployment says.

        Raises:
            RightMissing: the caller is no owner.
        """
        member, at = caller.restricted_user_id, self._clock.now()
        change = ChangeChat(chat_id, at, retention_days=days, retains=True, member=member, trace=trace)
        return await self._publishing.carry_out(caller, chat_id, self._store.commit(change))

    async def expire_messages(self, default_days: int) -> None:
        """Delete all messages that are older than their chats keep them.

        Args:
            default_days: For chats without a setting of their own; 0: they keep messages.

        Raises:
            StoreUnavailable: the next call goes on.
        """
        now, after = self._clock.now(), ""
        while chats := await self._store.aging(after, CHATS_AT_ONCE, every=default_days > 0):
            for chat in chats:
                days = default_days if chat.retention_days is None else chat.retention_days
                before = now - timedelta(days=days)
                if days and chat.oldest is not None and chat.oldest < before:
                    await self._expire(chat.id, before)
            after = chats[-1].id
            await asyncio.sleep(EXPIRY_PAUSE_S)

    async def _expire(self, chat_id: str, before: datetime) -> None:
        while messages := await self._store.oldest(chat_id, before, MAX_FORGOTTEN):
            command = ExpireMessages(chat_id, tuple(messages), self._clock.now())
            try:
                events = await self._publishing.commit(self._store.commit(command))
            except AnswerActive:
                return  # the next round
            if not events:
                return
            self._publishing.publish(events, None)
            await asyncio.sleep(EXPIRY_PAUSE_S)

    async def delete(self, caller: Caller, chat_id: str, trace: str | None = None) -> None:
        """Delete a chat. Its messages are erased soon after; see `erase_deleted_chats`."""
        command = DeleteChat(chat_id, self._clock.now(), caller.restricted_user_id, trace)
        await self._publishing.carry_out(caller, chat_id, self._store.commit(command))


async def expire_messages(keeping: Keeping, default_days: int, *, pause_s: float = EXPIRE_EVERY_S) -> None:
    """Delete the messages that chats no longer keep, until cancelled."""
    await repeat_forever(
        lambda: keeping.expire_messages(default_days), pause_s, "the deletion of old messages", StoreUnavailable
    )


async def erase_deleted_chats(store: ChatStore, *, pause_s: float = LOOK_EVERY_S) -> None:
    """Erase the messages and events of deleted chats, also those of an earlier run, until cancelled."""
    await repeat_forever(
        lambda: store.erase_deleted(ERASED_AT_ONCE), pause_s, "the erasure of deleted chats", StoreUnavailable
    )
