"""What callers may read: chats, events to catch up with, messages to show.

Layer: chat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from roomcast.chat.errors import ChatNotFound
from roomcast.chat.model import (
    Caller,
    ChatPosition,
    Standing,
    StoredChat,
    StoredEvent,
    StoredMember,
    StoredMessage,
)
from roomcast.chat.ports import ChatStore
from roomcast.contract.cursor import Cursor

#: Events read at once: with the largest contents still a few megabytes.
_CHUNK: Final = 50
#: A page ends early at this size, so that a long absence costs many small answers instead of a huge one.
MAX_PAGE_BYTES: Final = 1_048_576
#: Members of one chat that are listed.
MAX_MEMBERS: Final = 1_000


@dataclass(frozen=True, slots=True)
class EventsRead:
    """Events after a cursor; see the contract's ``EventPage``."""

    epoch: str
    events: Sequence[StoredEvent]
    head: int
    more: bool
    reset: bool


@dataclass(frozen=True, slots=True)
class MessagesRead:
    """Messages ascending by seq; see the contract's ``MessagePage``."""

    epoch: str
    messages: Sequence[StoredMessage]
    head: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class ChatsRead:
    """Chats by latest activity; ``next`` is None on the last page."""

    epoch: str
    chats: Sequence[StoredChat]
    next: ChatPosition | None


def _within_bytes(messages: Sequence[StoredMessage]) -> Sequence[StoredMessage]:
    """As many of the first ones as make a page; one at least."""
    size = 0
    for index, message in enumerate(messages):
        size += len(message.content.encode())
        if size > MAX_PAGE_BYTES and index:
            return messages[:index]
    return messages


class ChatReader:
    """The use cases that read.

    Args:
        store: The truth.
    """

    def __init__(self, store: ChatStore) -> None:
        self._store = store

    @property
    def epoch(self) -> str:
        """The current epoch."""
        return self._store.epoch

    async def chat(self, caller: Caller, chat_id: str) -> StoredChat:
        """One chat.

        Raises:
            ChatNotFound: no such chat, or none that the caller may know of.
        """
        await self._standing(caller, chat_id, None)
        chat = await self._store.chat(chat_id)
        if chat is None:
            raise ChatNotFound(chat_id)
        return chat

    async def chats(self, caller: Caller, limit: int, before: ChatPosition | None) -> ChatsRead:
        """The caller's chats by latest activity."""
        member = None if caller.unrestricted else caller.user_id
        chats = await self._store.chats(limit + 1, before, member)
        page = chats[:limit]
        following = None
        if len(chats) > limit:
            following = page[-1].position
        return ChatsRead(self._store.epoch, page, following)

    async def events(self, caller: Caller, chat_id: str, after: int, limit: int, epoch: str | None) -> EventsRead:
        """Events with seq > ``after``; an unknown chat reads as empty while authentication is off.

        Args:
            caller: Who asks.
            chat_id: Of which chat.
            after: The last seq that the client has.
            limit: At most so many; a page also ends at `MAX_PAGE_BYTES`.
            epoch: The epoch of the client's cursor; None: it does not say, so nothing is checked.

        Raises:
            ChatNotFound: no such chat, or none that the caller may know of.
        """
        cursor = None if epoch is None else Cursor(epoch=epoch, seq=after)
        if cursor is not None or not caller.trusted:
            standing = await self._standing(caller, chat_id, cursor)
            if not standing.cursor_holds:
                return EventsRead(self._store.epoch, (), standing.last_seq, more=False, reset=True)
        events: list[StoredEvent] = []
        size = 0
        while True:
            wanted = min(limit - len(events), _CHUNK)
            chunk, head = await self._store.events_after(chat_id, after, wanted)
            events.extend(chunk)
            size += sum(len(event.payload) for event in chunk)
            after = events[-1].seq if events else after
            if len(chunk) < wanted or len(events) >= limit or size >= MAX_PAGE_BYTES:
                return EventsRead(self._store.epoch, events, head, more=after < head, reset=False)

    async def messages(
        self, caller: Caller, chat_id: str, *, before: int | None, after: int | None, limit: int
    ) -> MessagesRead:
        """Messages to show; an unknown chat reads as empty while authentication is off.

        Args:
            caller: Who asks.
            chat_id: Of which chat.
            before: The newest ones ahead of this seq. Not together with ``after``.
            after: The oldest ones behind this seq. With neither: the newest of all.
            limit: At most so many.

        Raises:
            ChatNotFound: no such chat, or none that the caller may know of.
        """
        if not caller.trusted:
            await self._standing(caller, chat_id, None)
        messages, head = await self._store.messages(chat_id, before=before, after=after, limit=limit + 1)
        has_more = len(messages) > limit
        page = messages[:limit] if after is not None else messages[-limit:]
        kept = _within_bytes(page if after is not None else page[::-1])
        return MessagesRead(
            self._store.epoch, kept if after is not None else kept[::-1], head, has_more or len(kept) < len(page)
        )

    async def members(self, caller: Caller, chat_id: str) -> Sequence[StoredMember]:
        """A chat's members by user id, at most `MAX_MEMBERS`.

        Raises:
            ChatNotFound: no such chat, or none that the caller may know of.
        """
        await self._standing(caller, chat_id, None)
        return await self._store.members(chat_id, MAX_MEMBERS)

    async def _standing(self, caller: Caller, chat_id: str, cursor: Cursor | None) -> Standing:
        user_id = None if caller.unrestricted else caller.user_id
        standing = await self._store.standing(chat_id, user_id, cursor)
        may_know = caller.trusted or (standing.exists and (caller.service or standing.is_member))
        if not may_know:
            raise ChatNotFound(chat_id)
        return standing
