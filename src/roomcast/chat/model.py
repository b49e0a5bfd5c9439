"""What the domain talks about: chats, messages, events, members, turns, and who asks.

Layer: chat.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from roomcast.contract.events import EventType, Role


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        user_id: The authenticated user; None for a service that acts for nobody, and while authentication is off.
        service: A backend that is trusted with every chat and may speak as AI.
        trusted: Authentication is off: whoever asks may do anything, and chats come into being by being written to.
    """

    user_id: str | None = None
    service: bool = False
    trusted: bool = False

    @property
    def unrestricted(self) -> bool:
        """Whether membership does not matter for this caller."""
        return self.service or self.trusted


#: The caller while authentication is off.
ANYONE = Caller(trusted=True)


@dataclass(frozen=True, slots=True)
class StoredChat:
    """One chat as it stands.

    Attributes:
        responder: Name of what answers its USER messages; None: nobody does.
        last_seq: Seq of its last event; 0 while it has none.
        last_activity_at: When that event was written, or the chat was created.
    """

    id: str
    title: str | None
    responder: str | None
    created_at: datetime
    last_activity_at: datetime
    last_seq: int

    @property
    def position(self) -> ChatPosition:
        """Its place in the order of activity."""
        return ChatPosition(round(self.last_activity_at.timestamp() * 1000), self.id)


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message as it stands.

    Attributes:
        epoch: The epoch in which it was written.
        seq: Seq of the event that created it.
    """

    id: str
    chat_id: str
    epoch: str
    seq: int
    role: Role
    content: str
    user_id: str | None
    client_msg_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredMember:
    """One member of a chat."""

    user_id: str
    added_at: datetime


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One row of the events table.

    Attributes:
        type: An `EventType` of ours or of a newer version.
        epoch: The epoch in which it was written.
        payload: The emitted event's only argument, a JSON object as UTF-8.
        trace: W3C ``traceparent`` of the request that caused it.
    """

    chat_id: str
    seq: int
    epoch: str
    type: EventType | str
    payload: bytes
    created_at: datetime
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class NewChat:
    """A chat to be created, with its first members."""

    id: str
    title: str | None
    responder: str | None
    created_at: datetime
    creator_id: str | None = None
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnClaim:
    """The right to end one turn: void as soon as somebody claims it again."""

    turn_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be written.

    Attributes:
        client_msg_id: A repeat in the same chat answers the first result and writes nothing.
        member: Who has to be a member of the chat at the commit; None: nobody has to.
        creates: The chat to create if it does not exist; None: an unknown chat is an error.
        ends: The turn that this message ends, in the same transaction.
    """

    id: str
    chat_id: str
    role: Role
    content: str
    user_id: str | None
    client_msg_id: str | None
    created_at: datetime
    member: str | None = None
    creates: NewChat | None = None
    ends: TurnClaim | None = None
    trace: str | None = None


class MemberAction(StrEnum):
    """What happens to a membership."""

    ADD = "add"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class NewMemberChange:
    """A membership to be changed.

    Attributes:
        actor_id: Who does it; None for a service.
        member: Who has to be a member of the chat at the commit; None: nobody has to.
    """

    chat_id: str
    user_id: str
    action: MemberAction
    actor_id: str | None
    created_at: datetime
    member: str | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """The outcome of a write that may have been done before.

    Attributes:
        event: What stands in the events table.
        created: This call wrote it; False: an earlier one did.
        turn_queued: This call asked an AI for an answer.
    """

    event: StoredEvent
    created: bool
    turn_queued: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that a join or a read needs to know about one chat, read at once.

    Attributes:
        exists: There is such a chat.
        last_seq: Its head; 0 if it does not exist.
        is_member: The asked user belongs to it (False if none was asked for).
        cursor_holds: The asked cursor belongs to this history (True if none was asked for).
    """

    exists: bool
    last_seq: int
    is_member: bool
    cursor_holds: bool


@dataclass(frozen=True, slots=True)
class ChatPosition:
    """Where a page of chats ended: in the order of activity, ties by id."""

    last_activity_ms: int
    id: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer that an AI owes, as claimed.

    Attributes:
        message: The USER message to answer.
        responder: Name of what shall answer.
    """

    claim: TurnClaim
    chat_id: str
    message: StoredMessage
    responder: str

    @property
    def attempt(self) -> int:
        """How many times it was claimed, this one included."""
        return self.claim.generation
