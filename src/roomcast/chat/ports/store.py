"""The database: chats, their events, and the queue of AI turns.

Layer: chat. Contract suite: tests/contract/test_store.py, test_turns.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from roomcast.chat.model import (
    ChangeAi,
    ChatAccess,
    ChatPosition,
    Checkpoint,
    Committed,
    Ending,
    NewChat,
    NewMemberChange,
    NewMessage,
    NewVersion,
    Renewal,
    StopTurn,
    StoredChat,
    StoredEvent,
    StoredMember,
    StoredMessage,
    StoredTurn,
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
            AnswerActive: the message asks for an answer, and the chat refuses this while it is being answered.
            MessageNotFound: the chat has no message ``replaces``.
            NotAllowed: ``replaces`` is not a USER message of ``member``.
        """

    async def change_ai(self, change: ChangeAi) -> None:
        """Change how a chat answers, from the next message on.

        Raises:
            ChatNotFound: the chat does not exist.
            NotAMember: ``member`` is not a member of the chat.
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
        """Messages, each in its last version, ascending by place, at most ``limit``, and the chat's head.

        All are from one snapshot.

        With ``after``, these are the first messages with a greater place; with ``before``, the last ones with a smaller
        place; without either, the last ones. ``after`` and ``before`` exclude each other. Each message has its turn as
        it is now.
        """

    async def message(self, chat_id: str, message_id: str) -> StoredMessage | None:
        """One message as it is now, in any version; None if the chat has no such message."""

    async def versions(self, chat_id: str, message_id: str, limit: int) -> Sequence[StoredMessage]:
        """The newest versions of a message, ascending, at most ``limit``; empty if the chat has no such message."""

    async def members(self, chat_id: str, limit: int) -> Sequence[StoredMember]:
        """A chat's members, ascending by user id, at most ``limit``."""

    async def unpublished(self, limit: int, after: str = "") -> Sequence[str]:
        """Ids of chats with outbox marks, ascending, greater than ``after``, at most ``limit``."""

    async def first_unpublished(self, chat_id: str) -> int | None:
        """The smallest seq with an outbox mark; None if the chat has no mark."""

    async def mark_published(self, up_to: Mapping[str, int]) -> None:
        """Remove the outbox marks of each chat up to the given seq, in one transaction."""


class TurnStore(Protocol):
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

    async def start_turn(self, claim: TurnClaim, at: datetime) -> Committed:
        """Start a turn: its answer is a message from now on, and its place is the seq of the event.

        The answer to a message that was answered before has the place of that answer, and the next version. If the turn
        has started before, under any claim, nothing is written and the earlier start is returned.

        Raises:
            TurnLost: the claim is void.
        """

    async def call_tool(self, claim: TurnClaim, tool_call_id: str, tool_name: str, at: datetime) -> Committed:
        """Record that the answer calls a tool. A repeat writes a second event.

        Raises:
            TurnLost: the claim is void, or the turn has not started.
        """

    async def save_checkpoint(self, claim: TurnClaim, checkpoint: Checkpoint, content: str) -> None:
        """Write the answer so far, without an event. A power failure may undo it.

        Raises:
            TurnLost: the claim is void.
        """

    async def end_turn(self, claim: TurnClaim, ending: Ending, at: datetime) -> Committed:
        """End a turn with one event: the whole message, or only the status if the answer has neither text nor parts.

        A repeat with the same claim returns the first result.

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

    async def stop_turn(self, stop: StopTurn) -> tuple[StoredTurn, Committed | None]:
        """Stop a turn, and return it as it is now, with the event of its end if this call ended it.

        A queued turn ends, also if it is claimed. A streaming one is marked: see `Renewal`. An ended one stays.

        Raises:
            ChatNotFound: the chat does not exist.
            NotAMember: ``member`` is not a member of the chat.
            TurnNotFound: the chat has no such turn.
        """

    async def add_version(self, new: NewVersion) -> tuple[StoredTurn, Committed]:
        """Queue a turn that answers the message of an earlier turn again.

        Raises:
            ChatNotFound: the chat does not exist.
            NotAMember: ``member`` is not a member of the chat.
            TurnNotFound: the chat has no such turn.
            AnswerActive: the message is being answered; or the chat is, and refuses questions meanwhile.
        """

    async def waiting(self, now: datetime) -> tuple[int, datetime | None]:
        """How many turns are queued, and since when the oldest one waits that a worker could claim now.

        Turns behind an active turn of their chat are queued, but wait for that turn and not for a worker.
        """

    async def next_lease_end(self) -> datetime | None:
        """The earliest end of a lease; None if no turn is claimed."""

    async def context(self, chat_id: str, up_to_place: int, limit: int) -> Sequence[StoredMessage]:
        """The last versions of the newest messages with place <= ``up_to_place``, ascending, at most ``limit``."""

    async def turn(self, chat_id: str, turn_id: str) -> StoredTurn | None:
        """A turn as it is now; None if the chat has no such turn."""

    async def active_turn(self, chat_id: str) -> StoredTurn | None:
        """The chat's streaming turn, else its next queued one; None if no turn is active."""
