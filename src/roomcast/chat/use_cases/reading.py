"""The use cases that read: chats, events after a cursor, messages, members.

Layer: chat. Source: docs/design.md, "Authorization".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from roomcast.chat.delivery.event_blocks import EventBlocks
from roomcast.chat.errors import ChatNotFound, MessageNotFound, NotAllowed
from roomcast.chat.model import (
    NO_FILTER,
    Act,
    Caller,
    ChatAccess,
    ChatPosition,
    MessageFilter,
    StoredChat,
    StoredMember,
    StoredMessage,
)
from roomcast.chat.ports import ChatStore
from roomcast.chat.use_cases.read_state import reader_of
from roomcast.contract.cursor import Cursor
from roomcast.contract.tenants import tenant_of

#: A page of events or messages ends at about this many bytes of content.
MAX_PAGE_BYTES: Final = 1_048_576
#: Maximum number of members returned per chat.
MAX_MEMBERS: Final = 1_000
#: Maximum number of versions returned per message.
MAX_VERSIONS: Final = 100


@dataclass(frozen=True, slots=True)
class EventsRead:
    """Events after a cursor, as in the contract's ``EventPage``, whose ``seq`` is called ``head`` here.

    Attributes:
        items: The events as JSON, separated by commas.
    """

    epoch: str
    items: bytes
    head: int
    more: bool
    reset: bool


@dataclass(frozen=True, slots=True)
class MessagesRead:
    """Messages ascending by place, as in the contract's ``MessagePage``, whose ``seq`` is called ``head`` here."""

    epoch: str
    messages: Sequence[StoredMessage]
    head: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class ChatsRead:
    """Chats by latest activity. The next page starts after the position ``next``, which is None on the last page."""

    epoch: str
    chats: Sequence[StoredChat]
    next: ChatPosition | None


def _cut_to_page(messages: Sequence[StoredMessage]) -> Sequence[StoredMessage]:
    """The first messages that fit in `MAX_PAGE_BYTES`, at least one."""
    size = 0
    for index, message in enumerate(messages):
        size += len(message.content.encode()) + (len(json.dumps(message.parts)) if message.parts else 0)
        if size > MAX_PAGE_BYTES and index:
            return messages[:index]
    return messages


class ChatReader:
    """The use cases that read.

    Args:
        store: The database.
    """

    def __init__(self, store: ChatStore) -> None:
        self._store = store
        self._blocks = EventBlocks(store)

    @property
    def epoch(self) -> str:
        """The current epoch."""
        return self._store.epoch

    async def chat(self, caller: Caller, chat_id: str, user_id: str | None = None) -> StoredChat:
        """One chat, with the counts of a user; ``user_id`` as for `reader_of`.

        Raises:
            NotAllowed: ``user_id`` is another user.
            ChatNotFound: the chat does not exist or is hidden from the caller.
        """
        reader = reader_of(caller, user_id)
        await self._check_access(caller, chat_id)
        chat = await self._store.chat(chat_id, reader)
        if chat is None:
            raise ChatNotFound(chat_id)
        return chat

    async def chats(
        self,
        caller: Caller,
        limit: int,
        before: ChatPosition | None,
        user_id: str | None = None,
        *,
        archived: bool = False,
    ) -> ChatsRead:
        """The caller's chats by latest activity, newest first; all chats of its tenant for an unrestricted caller.

        They have the counts of a user; ``user_id`` as for `reader_of`.

        Raises:
            NotAllowed: ``user_id`` is another user.
        """
        reader, member = reader_of(caller, user_id), caller.restricted_user_id
        found = await self._store.chats(limit + 1, before, member, caller.tenant, archived=archived, reader=reader)
        page = found[:limit]
        return ChatsRead(self._store.epoch, page, page[-1].position if len(found) > limit else None)

    async def events(self, caller: Caller, chat_id: str, after: int, limit: int, epoch: str | None) -> EventsRead:
        """Events with seq > ``after``. While authentication is off, an unknown chat has no events.

        Args:
            caller: The origin of the request.
            chat_id: The chat to read.
            after: The seq of the client's cursor.
            limit: Maximum number of events; a page also ends at `MAX_PAGE_BYTES`.
            epoch: The epoch of the client's cursor; None skips the check of the cursor.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
        """
        cursor = None if epoch is None else Cursor(epoch=epoch, seq=after)
        access = await self._check_access(caller, chat_id, cursor)
        head = access.last_seq
        if not access.cursor_valid:
            return EventsRead(self._store.epoch, b"", head, more=False, reset=True)
        end = min(head, after + limit)
        items: list[bytes] = []
        bytes_left = MAX_PAGE_BYTES
        while after < end and bytes_left > 0:
            block = await self._blocks.block(chat_id, after, head)
            if block.last <= after:
                break  # another history began during the request, with a smaller head
            cut, after = block.cut(after, end, bytes_left)
            items.append(cut)
            bytes_left -= len(cut)
        return EventsRead(self._store.epoch, b",".join(items), head, more=after < head, reset=False)

    async def messages(
        self,
        caller: Caller,
        chat_id: str,
        *,
        before: int | None,
        after: int | None,
        limit: int,
        only: MessageFilter = NO_FILTER,
    ) -> MessagesRead:
        """A page of messages, each in its last version. While authentication is off, an unknown chat has no messages.

        Args:
            caller: The origin of the request.
            chat_id: The chat to read.
            before: Return the last messages with a smaller place. Excludes ``after``.
            after: Return the first messages with a greater place. Without ``before`` and ``after``, the last messages
                are returned.
            limit: Maximum number of messages; a page also ends at `MAX_PAGE_BYTES`.
            only: Which messages.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
        """
        if not caller.trusted:
            await self._check_access(caller, chat_id)
        found, head = await self._store.messages(chat_id, before=before, after=after, limit=limit + 1, only=only)
        backwards = after is None
        # The page is cut at the end that is farther from the requested position.
        page = _cut_to_page((found[::-1] if backwards else found)[:limit])
        has_more = len(page) < len(found)
        return MessagesRead(self._store.epoch, page[::-1] if backwards else page, head, has_more)

    async def pinned(self, caller: Caller, chat_id: str) -> Sequence[StoredMessage]:
        """The pinned messages of a chat, ascending by place.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
        """
        await self._check_access(caller, chat_id)
        return _cut_to_page(await self._store.pinned(chat_id))

    async def replies(self, caller: Caller, chat_id: str, message_id: str, limit: int) -> Sequence[StoredMessage]:
        """The newest replies to a message, ascending by place, at most ``limit``.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
        """
        await self._check_access(caller, chat_id)
        return _cut_to_page(await self._store.replies(chat_id, message_id, limit))

    async def versions(self, caller: Caller, chat_id: str, message_id: str) -> Sequence[StoredMessage]:
        """The versions of a message, oldest first: the newest `MAX_VERSIONS`.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
            MessageNotFound: the chat has no such message.
        """
        await self._check_access(caller, chat_id)
        found = await self._store.versions(chat_id, message_id, MAX_VERSIONS)
        if not found:
            raise MessageNotFound(chat_id, message_id)
        return found

    async def members(self, caller: Caller, chat_id: str, after: str = "") -> tuple[Sequence[StoredMember], bool]:
        """At most `MAX_MEMBERS` members of a chat with an id above ``after``, and whether there are more.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
        """
        await self._check_access(caller, chat_id)
        found = await self._store.members(chat_id, MAX_MEMBERS + 1, after)
        return found[:MAX_MEMBERS], len(found) > MAX_MEMBERS

    async def acts(
        self, caller: Caller, before: int, limit: int, *, chat_id: str | None, actor_id: str | None
    ) -> Sequence[Act]:
        """Administrative acts with an id < ``before``, the newest first.

        Raises:
            NotAllowed: the caller is a user.
        """
        if not caller.unrestricted:
            raise NotAllowed("the audit log needs a service token")
        return await self._store.acts(before, limit, chat_id, actor_id, caller.tenant)

    async def _check_access(self, caller: Caller, chat_id: str, cursor: Cursor | None = None) -> ChatAccess:
        """Check that the caller may read the chat.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
        """
        # Only for services: no member of a chat is of another tenant.
        if tenant_of(chat_id) != caller.tenant:
            raise ChatNotFound(chat_id)
        access = await self._store.access(chat_id, caller.restricted_user_id, cursor)
        if caller.trusted or (access.exists and (caller.service or access.is_member)):
            return access
        raise ChatNotFound(chat_id)
