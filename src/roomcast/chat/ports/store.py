"""The database: chats and their events, AI turns, ended sessions, the feed, the search, the rows of files.

Layer: chat. Contract suites: tests/contract/test_store.py, test_turns.py, test_sessions.py, test_feed.py,
test_search.py, test_files.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, TypeVar

from roomcast.chat.commands import Command
from roomcast.chat.model import (
    NO_FILTER,
    Act,
    AgingChat,
    ChatAccess,
    ChatPosition,
    Checkpoint,
    MessageFilter,
    Notifications,
    Renewal,
    SearchHit,
    StoredBan,
    StoredChat,
    StoredCursor,
    StoredEvent,
    StoredFile,
    StoredInvite,
    StoredMember,
    StoredMessage,
    StoredReport,
    StoredTurn,
    Turn,
    TurnClaim,
)
from roomcast.chat.policies.search_terms import Query
from roomcast.contract.cursor import Cursor
from roomcast.contract.internal import EndedSession
from roomcast.contract.rest import NotifyLevel
from roomcast.contract.tenants import DEFAULT_TENANT

_R = TypeVar("_R")


class Writes(Protocol):
    """Every change of the database."""

    async def commit(self, command: Command[_R]) -> _R:
        """Check and write a command in one transaction, and return its result once the commit has reached the disk.

        A command that stores an event takes the chat's next seq, and writes the event, its projection and its outbox
        mark. The seqs of a chat have no gaps and grow in commit order. Cancelling the caller does not cancel the
        command.

        Raises:
            ChatError: as the command says; nothing was written.
            StoreBusy: nothing was written.
            StoreUnavailable: the command may or may not have been written.
        """


class ChatStore(Writes, Protocol):
    """Chats, their events, and the projections of the events. Every method may raise `StoreUnavailable`."""

    @property
    def epoch(self) -> str:
        """The current epoch, at least as new as the last write and the last read of events or chats.

        After `access`, `events_after`, `recent_events`, `messages` and `chats` it is the epoch of their snapshot.
        """

    async def chat(self, chat_id: str, reader: str | None = None) -> StoredChat | None:
        """The chat, with the counts of the user ``reader``; None if it does not exist."""

    async def chats(
        self,
        limit: int,
        before: ChatPosition | None,
        member: str | None,
        tenant: str = DEFAULT_TENANT,
        *,
        archived: bool = False,
        reader: str | None = None,
    ) -> Sequence[StoredChat]:
        """Chats by latest activity, newest first, at most ``limit``.

        Args:
            limit: Maximum number of chats.
            before: Return the chats after this position of the list; None: start with the newest.
            member: Return the chats of this member only; None: return all chats of ``tenant``.
            tenant: Without effect if there is a ``member``, whose id says its tenant.
            archived: Return the archived chats instead of the others.
            reader: Count the unread messages of this user; None: count none.
        """

    async def erase_deleted(self, limit: int) -> bool:
        """Erase up to ``limit`` messages and events of a deleted chat whose events are published.

        Returns whether there was one.
        """

    async def aging(self, after: str, limit: int, *, every: bool) -> Sequence[AgingChat]:
        """Chats with an id > ``after``, ascending, at most ``limit``, and how old their first messages are.

        Args:
            after: The last id of the page before; empty for the first page.
            limit: Size of a page.
            every: Whether chats without a retention of their own are included.
        """

    async def oldest(self, chat_id: str, before: datetime, limit: int) -> Sequence[str]:
        """The first messages of a chat, at most ``limit``, up to the first one that was not sent before a time.

        Each by the id of its first version.
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
        self, chat_id: str, *, before: int | None, after: int | None, limit: int, only: MessageFilter = NO_FILTER
    ) -> tuple[Sequence[StoredMessage], int]:
        """Messages, each in its last version, ascending by place, at most ``limit``, and the chat's head.

        All are from one snapshot.

        With ``after``, these are the first messages with a greater place; with ``before``, the last ones with a smaller
        place; without either, the last ones. ``after`` and ``before`` exclude each other. Each message has its turn as
        it is now. ``only`` leaves messages out.
        """

    async def message(self, chat_id: str, message_id: str) -> StoredMessage | None:
        """One message as it is now, in any version; None if the chat has no such message."""

    async def is_sent(self, chat_id: str, client_msg_id: str) -> bool:
        """Whether the chat has a message with this key."""

    async def versions(self, chat_id: str, message_id: str, limit: int) -> Sequence[StoredMessage]:
        """The newest versions of a message, ascending, at most ``limit``; empty if the chat has no such message."""

    async def pinned(self, chat_id: str) -> Sequence[StoredMessage]:
        """The pinned messages of a chat in their last versions, ascending by place."""

    async def replies(self, chat_id: str, message_id: str, limit: int) -> Sequence[StoredMessage]:
        """The last versions of the newest replies to a message, in any version, ascending by place."""

    async def members(self, chat_id: str, limit: int, after: str = "") -> Sequence[StoredMember]:
        """A chat's members with an id above ``after``, ascending by user id, at most ``limit``."""

    async def acts(
        self, before: int, limit: int, chat_id: str | None, actor_id: str | None, tenant: str = DEFAULT_TENANT
    ) -> Sequence[Act]:
        """Administrative acts with an id < ``before``, the newest first; of one chat, or of one actor, if given."""

    async def cursors(self, chat_id: str, limit: int) -> Sequence[StoredCursor]:
        """Up to where users have read a chat, ascending by user id, at most ``limit``."""

    async def notifications(self, chat_id: str, user_id: str) -> Notifications:
        """What notifies a user of a chat."""

    async def notification_default(self, user_id: str) -> NotifyLevel:
        """What notifies a user of chats without a setting."""

    async def member(self, chat_id: str, user_id: str) -> StoredMember | None:
        """One member; None if the user is not one."""

    async def member_count(self, chat_id: str) -> int:
        """The number of members of a chat."""

    async def bans(self, chat_id: str) -> Sequence[StoredBan]:
        """The bans of a chat, ascending by user id."""

    async def reports(self, chat_id: str) -> Sequence[StoredReport]:
        """The open reports of messages that were not deleted, the oldest first."""

    async def invites(self, chat_id: str) -> Sequence[StoredInvite]:
        """The invite links of a chat, ascending by id."""

    async def invite(self, invite_id: str) -> StoredInvite | None:
        """One invite link of any chat; None if there is none."""

    async def delete_ended(self, chat_id: str, now: datetime) -> None:
        """Delete the bans of a chat that have ended, and its links that have expired or are used up."""

    async def unpublished(self, limit: int, after: str = "") -> Sequence[str]:
        """Ids of chats with outbox marks, ascending, greater than ``after``, at most ``limit``."""

    async def first_unpublished(self, chat_id: str) -> int | None:
        """The smallest seq with an outbox mark; None if the chat has no mark."""


#: Payloads of one page of the feed, unless it is one event.
MAX_PAGE_BYTES: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class FeedRead:
    """Events of all chats.

    Attributes:
        events: In the order of their positions.
        cursor: After the last one; its ``seq`` is a position.
        reset: The given cursor is of a history that was replaced by a backup. There are no events, and ``cursor`` is at
            the beginning.
        cut: Whether there are more, since these have `MAX_PAGE_BYTES`.
    """

    events: tuple[StoredEvent, ...]
    cursor: Cursor
    reset: bool
    cut: bool = False


class FeedStore(Protocol):
    """The events of all chats in one order, which agrees with that of each chat.

    An event gets its position after its commit. Every method may raise `StoreUnavailable`.
    """

    async def place(self) -> bool:
        """Assign positions to committed events that have none, and return whether there may be more.

        An event that is read has a higher position than all that were read before. If another process is assigning
        positions, nothing happens.
        """

    async def read(self, cursor: Cursor | None, limit: int) -> FeedRead:
        """The first events after a position, at most ``limit``; None: from the beginning."""


class SessionStore(Protocol):
    """The access tokens that were ended before their expiry. Every method may raise `StoreUnavailable`."""

    async def end_session(self, session: EndedSession, now_ms: int, *, by_service: bool = False) -> None:
        """Store an entry; a later one of the same user or token replaces it. Entries that have expired are deleted.

        A user whose tokens have ended receives no more pushes: its devices are deleted. ``by_service`` also writes an
        act to the audit log: a service has ended all sessions of a user.
        """

    async def ended_sessions(self, after_ms: int, now_ms: int, limit: int) -> Sequence[EndedSession]:
        """The entries that ended at ``after_ms`` or later and have not expired, the earliest first, at most ``limit``.

        Of the last millisecond all entries are returned, even beyond the limit.
        """


class SearchStore(Protocol):
    """The index of the last versions of all messages with a text. Every method may raise `StoreUnavailable`.

    A message is in the index once its transaction has committed: a new one, the end of an answer, a new version, which
    replaces the earlier one. A deletion removes it.
    """

    async def search(
        self, query: Query, *, chat_id: str | None, member: str | None, before: int, limit: int
    ) -> tuple[Sequence[SearchHit], int | None]:
        """Messages that have the terms of a query, the newest first, at most ``limit``, and where the rest begins.

        The time is limited: there may be fewer hits than ``limit``, even none, and more at positions below the second
        value. It is None if there are no others.

        Args:
            query: At least one term.
            chat_id: The only chat to search; None: all.
            member: Return only messages of chats of this member; None: of all chats.
            before: Return messages at smaller positions.
            limit: Maximum number of messages.
        """

    async def complete(self) -> bool:
        """Whether the messages that earlier versions of roomcast have written are indexed too."""

    async def index_more(self) -> bool:
        """Index some of those messages, the newest first, in a short transaction; false: there are none."""


class FileStore(Writes, Protocol):
    """The files of all chats, without their contents. Every method may raise `StoreUnavailable`."""

    async def file(self, file_id: str) -> StoredFile | None:
        """A file whose upload is complete and whose removal has not begun; None if there is no such file."""

    async def files(self, chat_id: str, file_ids: Sequence[str]) -> Sequence[StoredFile]:
        """Those of the given files that belong to the chat, as for `file`, in any order."""

    async def due_files(self, at: datetime, limit: int) -> Sequence[tuple[str, str]]:
        """Chat and id of files to remove, the first due first, at most ``limit``."""

    async def drop_orphans(self, limit: int) -> int:
        """Begin the removal of files of erased chats, at most ``limit``; earlier versions have left them.

        Returns how many were found.
        """

    async def secret(self, name: str) -> bytes:
        """A random key of 32 bytes, the same for every process and after every start."""


class TurnStore(Writes, Protocol):
    """The AI turns of all chats: one row per turn, which is its state and its place in the queue.

    A message queues its turn in its own transaction. A turn that is claimed has a lease and a generation; every write
    with a claim of an earlier generation raises `TurnLost` and writes nothing. At most one turn of a chat is claimed,
    and at most one is streaming, whatever the number of workers. Every method may raise `StoreUnavailable`.
    """

    async def claim_turn(self, now: datetime, lease_until: datetime) -> Turn | None:
        """Claim the oldest turn that is not finished and has no lease at ``now``, and raise its generation.

        A turn with an earlier unfinished one in its chat is not claimed. A lease that ends more than two leases after
        ``now`` is from before a clock was set back, and has ended too. Returns None if no turn can be claimed.
        """

    async def save_checkpoint(self, claim: TurnClaim, checkpoint: Checkpoint, content: str) -> None:
        """Write the answer so far, without an event. A power failure may undo it.

        Raises:
            TurnLost: the claim is void.
        """

    async def release_turn(self, claim: TurnClaim) -> None:
        """End the lease of a turn, so that it can be claimed at once. The claim does not count as an attempt.

        Raises:
            TurnLost: the claim is void.
        """

    async def renew(self, claims: Collection[TurnClaim], lease_until: datetime) -> Renewal:
        """Set the end of the leases of claimed turns, in one statement."""

    async def waiting(self, now: datetime) -> tuple[int, datetime | None]:
        """How many turns are queued, and since when the oldest one waits that a worker could claim now.

        Turns behind an active turn of their chat are queued, but wait for that turn and not for a worker.
        """

    async def next_lease_end(self) -> datetime | None:
        """The earliest end of a lease; None if no turn is claimed."""

    async def used(self, subject: str, window: datetime) -> tuple[int, int]:
        """The AI answers and the tokens of a user or a tenant in the window that began then; see `policies.quotas`."""

    async def context(self, chat_id: str, up_to_place: int, limit: int) -> Sequence[StoredMessage]:
        """The last versions of the newest messages with place <= ``up_to_place``, ascending, at most ``limit``."""

    async def turn(self, chat_id: str, turn_id: str) -> StoredTurn | None:
        """A turn as it is now; None if the chat has no such turn."""

    async def active_turn(self, chat_id: str) -> StoredTurn | None:
        """The chat's streaming turn, else its next queued one; None if no turn is active."""
