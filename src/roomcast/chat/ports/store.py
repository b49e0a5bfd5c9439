"""What the domain needs of the database: the truth.

Layer: chat. Contract suite: tests/contract/test_store.py, test_turns.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from roomcast.chat.model import (
    ChatPosition,
    Committed,
    NewChat,
    NewMemberChange,
    NewMessage,
    Standing,
    StoredChat,
    StoredEvent,
    StoredMember,
    StoredMessage,
    Turn,
    TurnClaim,
)
from roomcast.contract.cursor import Cursor


class ChatStore(Protocol):
    """Chats, their events and the projections of these.

    Every write is one transaction: it takes the chat's next seq, writes the event, its projection and the outbox
    mark. It returns after the commit has reached the disk. Seqs of a chat have no gaps and grow in commit order.
    Every method may raise `StoreUnavailable`.
    """

    @property
    def epoch(self) -> str:
        """The current epoch: at least as new as what the last write and the last read of events or chats found.

        Behind `standing`, `events_after`, `recent_events`, `messages` and `chats` it is what was so in their snapshot.
        """

    async def create_chat(self, new: NewChat) -> tuple[StoredChat, tuple[StoredEvent, ...]]:
        """Create a chat; its creator and members are its first events.

        Raises:
            ChatExists: the id is taken.
        """

    async def append_message(self, new: NewMessage) -> Committed:
        """Write a message, or find the one that has its ``client_msg_id`` already.

        Raises:
            ChatNotFound: and ``creates`` is None.
            NotAMember: ``member`` does not belong to the chat.
            TurnLost: the claim in ``ends`` is void; nothing was written.
        """

    async def change_member(self, change: NewMemberChange) -> Committed | None:
        """Add or remove a member. None: it was so already, nothing was written.

        Raises:
            ChatNotFound: there is no such chat.
            NotAMember: ``member`` does not belong to the chat.
        """

    async def chat(self, chat_id: str) -> StoredChat | None:
        """One chat, or None."""

    async def chats(self, limit: int, before: ChatPosition | None, member: str | None) -> Sequence[StoredChat]:
        """Chats by latest activity, from behind ``before``; only those of ``member`` unless None."""

    async def standing(self, chat_id: str, user_id: str | None, cursor: Cursor | None) -> Standing:
        """Head, membership and whether the cursor belongs to this history, in one query.

        It does exactly if its epoch is known, and its seq is 0, or names an event that was written in that epoch or
        an earlier one.
        """

    async def events_after(self, chat_id: str, after: int, limit: int) -> tuple[Sequence[StoredEvent], int]:
        """Events with seq > ``after``, ascending, at most ``limit``, and the chat's head, of one snapshot."""

    async def recent_events(self, chat_id: str, limit: int) -> Sequence[StoredEvent]:
        """The newest events, ascending, at most ``limit``."""

    async def messages(
        self, chat_id: str, *, before: int | None, after: int | None, limit: int
    ) -> tuple[Sequence[StoredMessage], int]:
        """Messages ascending by seq and the chat's head, of one snapshot.

        With ``after`` the oldest ones behind it, else the newest ones (with ``before``: ahead of it). Not both.
        """

    async def members(self, chat_id: str, limit: int) -> Sequence[StoredMember]:
        """A chat's members by user id."""

    async def unpublished(self, limit: int, after: str = "") -> Sequence[str]:
        """Ids of chats that have outbox marks, ascending, behind the id ``after``, at most ``limit``."""

    async def first_unpublished(self, chat_id: str) -> int | None:
        """The least seq of the chat that has an outbox mark; None if none has."""

    async def mark_published(self, up_to: Mapping[str, int]) -> None:
        """Drop the outbox marks of each chat up to its seq, in one transaction."""


class TurnStore(Protocol):
    """The queue of AI turns: a row for each, written with the message that asks for it."""

    async def claim_turn(self, now: datetime, lease_until: datetime) -> Turn | None:
        """Claim the oldest turn that is pending, or whose lease ended before ``now``; raises its generation.

        Turns of one chat are claimed one after the other.
        """

    async def extend_lease(self, claim: TurnClaim, lease_until: datetime) -> None:
        """Keep a claimed turn.

        Raises:
            TurnLost: the claim is void.
        """

    async def fail_turn(self, claim: TurnClaim, reason: str) -> None:
        """End a turn without an answer.

        Raises:
            TurnLost: the claim is void.
        """

    async def next_lease_end(self) -> datetime | None:
        """When the first lease of a running turn ends; None if none is running."""

    async def recent_messages(self, chat_id: str, up_to: int, limit: int) -> Sequence[StoredMessage]:
        """The newest messages with seq <= ``up_to``, ascending: what an answer may look at."""
