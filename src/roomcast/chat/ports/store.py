"""The database: chats, their events, and the queue of AI turns.

Layer: chat. Contract suite: tests/contract/test_store.py, test_turns.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from roomcast.chat.model import (
    ChatAccess,
    ChatPosition,
    Committed,
    NewChat,
    NewMemberChange,
    NewMessage,
    StoredChat,
    StoredEvent,
    StoredMember,
    StoredMessage,
    Turn,
    TurnClaim,
)
from roomcast.contract.cursor import Cursor


class ChatStore(Protocol):
    """Chats, their events, and the projections of the events.

    Every write is one transaction: it takes the chat's next seq and writes the event, its projection and its outbox
    mark. It returns after the commit has reached the disk. The seqs of a chat have no gaps and grow in commit order.
    Every method may raise `StoreUnavailable`.
    """

    @property
    def epoch(self) -> str:
        """The current epoch, at least as new as the last write and the last read of events or chats.

        After `access`, `events_after`, `recent_events`, `messages` and `chats` it is the epoch of their snapshot.
        """

    async def create_chat(self, new: NewChat) -> tuple[StoredChat, tuple[StoredEvent, ...]]:
        """Create a chat. Its first events add the creator and the members.

        Raises:
            ChatExists: the id is taken.
            AdditionLimitReached: the creator added users too often.
        """

    async def append_message(self, new: NewMessage) -> Committed:
        """Write a message, or return the existing one with its ``client_msg_id``.

        Raises:
            ChatNotFound: the chat does not exist and ``creates`` is None.
            NotAMember: ``member`` is not a member of the chat.
            TurnLost: the claim in ``ends`` is void; nothing was written.
        """

    async def change_member(self, change: NewMemberChange) -> Committed | None:
        """Add or remove a member. None: the change has no effect, and nothing was written.

        Raises:
            ChatNotFound: the chat does not exist.
            NotAMember: ``member`` is not a member of the chat.
            AdditionLimitReached: the actor added users too often.
        """

    async def chat(self, chat_id: str) -> StoredChat | None:
        """The chat; None if it does not exist."""

    async def chats(self, limit: int, before: ChatPosition | None, member: str | None) -> Sequence[StoredChat]:
        """Chats by latest activity, newest first, at most ``limit``.

        Args:
            limit: Maximum number of chats.
            before: Return the chats after this position of the list; None: start with the newest.
            member: Return the chats of this member only; None: return all chats.
        """

    async def access(self, chat_id: str, user_id: str | None, cursor: Cursor | None) -> ChatAccess:
        """The chat's head, the user's membership, and whether the cursor belongs to its current history, in one query.

        A cursor belongs to the history if its epoch is known and its seq is 0, or the seq of an event that was written
        in that epoch or an earlier one.
        """

    async def events_after(self, chat_id: str, after: int, limit: int) -> tuple[Sequence[StoredEvent], int]:
        """Events with seq > ``after``, ascending, at most ``limit``, and the chat's head, from one snapshot."""

    async def recent_events(self, chat_id: str, limit: int) -> Sequence[StoredEvent]:
        """The newest events, ascending, at most ``limit``."""

    async def messages(
        self, chat_id: str, *, before: int | None, after: int | None, limit: int
    ) -> tuple[Sequence[StoredMessage], int]:
        """Messages ascending by seq, at most ``limit``, and the chat's head, from one snapshot.

        With ``after``, these are the oldest messages with a greater seq; with ``before``, the newest messages with a
        smaller seq; without either, the newest messages. ``after`` and ``before`` exclude each other.
        """

    async def members(self, chat_id: str, limit: int) -> Sequence[StoredMember]:
        """A chat's members, ascending by user id, at most ``limit``."""

    async def unpublished(self, limit: int, after: str = "") -> Sequence[str]:
        """Ids of chats with outbox marks, ascending, greater than ``after``, at most ``limit``."""

    async def first_unpublished(self, chat_id: str) -> int | None:
        """The smallest seq with an outbox mark; None if the chat has no mark."""

    async def mark_published(self, up_to: Mapping[str, int]) -> None:
        """Remove the outbox marks of each chat up to the given seq, in one transaction."""


class TurnStore(Protocol):
    """The queue of AI turns: one row per turn, written in the transaction of the USER message."""

    async def claim_turn(self, now: datetime, lease_until: datetime) -> Turn | None:
        """Claim the oldest turn that is pending or whose lease ended before ``now``, and raise its generation.

        A lease that ends more than two leases after ``now`` is from before a clock was set back, and has ended too.
        A chat never has two claimed turns at once. Returns None if no turn can be claimed.
        """

    async def extend_lease(self, claim: TurnClaim, lease_until: datetime) -> None:
        """Set the end of a claimed turn's lease.

        Raises:
            TurnLost: the claim is void.
        """

    async def fail_turn(self, claim: TurnClaim, reason: str) -> None:
        """End a turn without an answer.

        Raises:
            TurnLost: the claim is void.
        """

    async def next_lease_end(self) -> datetime | None:
        """The earliest end of a lease; None if no turn is claimed."""

    async def recent_messages(self, chat_id: str, up_to: int, limit: int) -> Sequence[StoredMessage]:
        """The newest messages with seq <= ``up_to``, ascending, at most ``limit``: the history for an answer."""
