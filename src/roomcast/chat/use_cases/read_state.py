"""The use cases for what users have read: move a cursor, list the cursors of a chat, announce moves: ``chat-read``.

An announcement is ephemeral and delivered at most once; the cursors in the database are the truth. It goes to the
user's own devices and, as a receipt, to the followers of a chat with at most `MAX_RECEIPT_MEMBERS` members: a message
to n members causes n receipts for n followers.

Layer: chat. Source: docs/decisions/0017.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol

from roomcast.chat.commands import MarkRead
from roomcast.chat.delivery.activity import AnnouncementLost
from roomcast.chat.errors import ChatNotFound, NotAllowed, NotAMember
from roomcast.chat.model import Caller, StoredCursor
from roomcast.chat.ports import ChatStore
from roomcast.contract.events import ChatRead

logger = logging.getLogger(__name__)

#: Largest chat in which every follower receives the receipts.
MAX_RECEIPT_MEMBERS: Final = 100
#: Maximum number of cursors returned per chat.
MAX_CURSORS: Final = 1_000
#: Maximum number of announcements that wait; further ones are dropped.
MAX_WAITING: Final = 5_000


class ReadAnnouncer(Protocol):
    """Emits to users and chats on every node."""

    async def announce_read(self, read: ChatRead, *, to_chat: bool) -> None:
        """Emit once to each connection of the user and, with ``to_chat``, of the chat's followers.

        Raises:
            AnnouncementLost: the announcement could not be published.
        """


def reader_of(caller: Caller, user_id: str | None) -> str | None:
    """The user whose cursor a request concerns; None if an unrestricted caller names none.

    Raises:
        NotAllowed: ``user_id`` is another user than the caller.
    """
    member = caller.restricted_user_id
    if member is not None and user_id not in {None, member}:
        raise NotAllowed("userId is not the token's user; leave userId out")
    return member or user_id


class ReadState:
    """The use cases.

    Args:
        store: The database.

    Attributes:
        counters: Announcements: ``announced``; ``lost``; ``dropped`` because of `MAX_WAITING`.
    """

    def __init__(self, store: ChatStore) -> None:
        self._store = store
        self._announcer: ReadAnnouncer | None = None
        # By chat and user: a later move replaces one that waits.
        self._waiting: dict[tuple[str, str], tuple[ChatRead, bool]] = {}
        self._task: asyncio.Task[None] | None = None
        self.counters: Counter[str] = Counter()

    def announce_through(self, announcer: ReadAnnouncer) -> None:
        """Start announcing through ``announcer``."""
        self._announcer = announcer

    async def mark(
        self, caller: Caller, chat_id: str, seq: int, user_id: str | None = None, epoch: str | None = None
    ) -> bool:
        """Move a user's cursor to ``seq``, never back. Returns whether it moved.

        Args:
            caller: The origin of the request.
            chat_id: The chat.
            seq: The seq of the last event that the user has seen.
            user_id: The user, if the caller may act for any; else the caller's own or None.
            epoch: The epoch of that event, which is not seen if a backup has replaced it; None: not checked.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
            NotAllowed: ``user_id`` is another user, or is missing.
            StoreUnavailable: the cursor may or may not have moved; repeat it.
        """
        reader = reader_of(caller, user_id)
        if reader is None:
            raise NotAllowed("give the user that has read in userId")
        try:
            moved = await self._store.commit(MarkRead(chat_id, reader, seq, caller.restricted_user_id, epoch))
        except NotAMember:
            raise ChatNotFound(chat_id) from None
        if moved is None:
            return False
        self._announce(
            ChatRead(chat_id=chat_id, user_id=reader, seq=moved.seq), to_chat=moved.members <= MAX_RECEIPT_MEMBERS
        )
        return True

    async def cursors(self, caller: Caller, chat_id: str) -> Sequence[StoredCursor]:
        """Up to where users have read a chat, ascending by user id, at most `MAX_CURSORS`.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
        """
        access = await self._store.access(chat_id, caller.restricted_user_id, None)
        if not (caller.trusted or (access.exists and (caller.service or access.is_member))):
            raise ChatNotFound(chat_id)
        return await self._store.cursors(chat_id, MAX_CURSORS)

    async def close(self) -> None:
        """Stop announcing and drop what waits."""
        self._announcer = None
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _announce(self, read: ChatRead, *, to_chat: bool) -> None:
        key = (read.chat_id, read.user_id)
        if self._announcer is None:
            return
        if key not in self._waiting and len(self._waiting) >= MAX_WAITING:
            self.counters["dropped"] += 1
            return
        self._waiting[key] = (read, to_chat)
        if self._task is None:
            self._task = asyncio.create_task(self._drain(), name="read-announcements")

    async def _drain(self) -> None:
        try:
            while self._waiting and self._announcer is not None:
                read, to_chat = self._waiting.pop(next(iter(self._waiting)))
                try:
                    await self._announcer.announce_read(read, to_chat=to_chat)
                except AnnouncementLost as error:
                    self.counters["lost"] += 1
                    logger.info("a read is not announced: %s", error, extra={"chat_id": read.chat_id})
                except Exception:
                    self.counters["lost"] += 1
                    logger.exception("announcing a read failed", extra={"chat_id": read.chat_id})
                else:
                    self.counters["announced"] += 1
        finally:
            self._task = None
