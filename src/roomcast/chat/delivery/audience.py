"""The users that are notified of a chat's activity: its members; while authentication is off, recent authors too.

Layer: chat.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from roomcast.chat.model import StoredEvent, StoredMember
from roomcast.contract.events import EventType

_MEMBERSHIP_EVENTS: Final = frozenset({EventType.MEMBER_ADDED, EventType.MEMBER_REMOVED})


class MemberLookup(Protocol):
    """Queries the members of a chat; `roomcast.chat.ports.ChatStore` implements it."""

    async def members(self, chat_id: str, limit: int) -> Sequence[StoredMember]:
        """A chat's members, ascending by user id.

        Raises:
            StoreUnavailable: the database did not answer.
        """


@dataclass(slots=True)
class _CachedMembers:
    """The members of a chat as of the event ``seq``.

    Attributes:
        truncated: The chat has more members than ``user_ids``.
    """

    epoch: str
    seq: int
    user_ids: tuple[str, ...]
    truncated: bool

    def includes(self, epoch: str, seq: int) -> bool:
        """Whether these members reflect the given event."""
        return self.epoch == epoch and self.seq >= seq


class MemberCache:
    """Caches the members of each chat until a membership change may have been missed.

    An entry stays valid while this process commits every later event of the chat and none of them changes the members.
    A gap in seq means that another process committed an event, so the entry is dropped. A removed member is therefore
    not notified of events after the removal.

    Args:
        store: Queried for chats without a valid entry.
        max_members: Maximum number of members returned per chat.
        max_chats: Maximum number of cached chats; above it, the least recently used entry is dropped.
    """

    def __init__(self, store: MemberLookup, *, max_members: int, max_chats: int) -> None:
        self._store = store
        self._max_members = max_members
        self._max_chats = max_chats
        self._entries: OrderedDict[str, _CachedMembers] = OrderedDict()

    def apply(self, event: StoredEvent) -> None:
        """Advance or drop the chat's entry. Call it for every event that this process commits."""
        entry = self._entries.get(event.chat_id)
        if entry is None:
            return
        is_next = entry.epoch == event.epoch and entry.seq + 1 == event.seq
        if event.type in _MEMBERSHIP_EVENTS or not (is_next or entry.includes(event.epoch, event.seq)):
            del self._entries[event.chat_id]
        elif is_next:
            entry.seq = event.seq

    async def members(self, chat_id: str, epoch: str, seq: int) -> tuple[tuple[str, ...], bool]:
        """Members as of the given event or later, and whether the chat has more.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        entry = self._entries.get(chat_id)
        # A cached entry may be older than the event: events committed while its query ran do not advance it.
        if entry is not None and entry.includes(epoch, seq):
            self._entries.move_to_end(chat_id)
        else:
            found = await self._store.members(chat_id, self._max_members + 1)
            user_ids = tuple(member.user_id for member in found[: self._max_members])
            entry = self._entries[chat_id] = _CachedMembers(epoch, seq, user_ids, len(found) > self._max_members)
            if len(self._entries) > self._max_chats:
                self._entries.popitem(last=False)
        return entry.user_ids, entry.truncated


class RecentAuthors:
    """The users that recently wrote to each chat through this process.

    Args:
        max_chats: Maximum number of chats; above it, the chat with the oldest last write is dropped.
        max_authors: Maximum number of authors per chat; above it, the least recent author is dropped.
    """

    def __init__(self, *, max_chats: int, max_authors: int) -> None:
        self._max_chats = max_chats
        self._max_authors = max_authors
        self._chats: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()

    def add(self, chat_id: str, user_id: str) -> None:
        """Record that the user wrote to the chat."""
        authors = self._chats.setdefault(chat_id, OrderedDict())
        self._chats.move_to_end(chat_id)
        authors[user_id] = None
        authors.move_to_end(user_id)
        if len(authors) > self._max_authors:
            authors.popitem(last=False)
        if len(self._chats) > self._max_chats:
            self._chats.popitem(last=False)

    def of(self, chat_id: str) -> Sequence[str]:
        """The chat's recent authors; the most recent is last."""
        return tuple(self._chats.get(chat_id, ()))
