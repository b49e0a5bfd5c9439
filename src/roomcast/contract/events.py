"""Events: the payloads that the gateway emits, and the event types in the events table.

Layer: contract.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field, StringConstraints

from roomcast.contract.model import Output
from roomcast.contract.text import (
    MAX_CONTENT_CHARS,
    ChatId,
    ClientMsgId,
    CustomEventId,
    CustomEventName,
    Epoch,
    MessageId,
    Seq,
    Timestamp,
    Title,
    UserId,
)

Role = Literal["USER", "AI"]
#: Stored messages are ``sent``; more values may be added later.
MessageStatus = Literal["sent"]


class EventType(StrEnum):
    """The type of an event in the events table. Clients ignore types that they do not know."""

    MESSAGE_CREATED = "message-created"
    MEMBER_ADDED = "member-added"
    MEMBER_REMOVED = "member-removed"
    TURN_CHANGED = "turn-changed"
    TOOL_CALLED = "tool-called"
    MESSAGE_DELETED = "message-deleted"
    REACTION_CHANGED = "reaction-changed"
    PIN_CHANGED = "pin-changed"
    CUSTOM = "custom"
    CHAT_CHANGED = "chat-changed"
    CHAT_DELETED = "chat-deleted"
    MEMBER_UPDATED = "member-updated"
    MESSAGES_ERASED = "messages-erased"
    MESSAGES_EXPIRED = "messages-expired"


class MemberRole(StrEnum):
    """The role of a member in a chat; what each may do is in `roomcast.chat.policies.rights`."""

    OWNER = "owner"
    MODERATOR = "moderator"
    MEMBER = "member"
    READER = "reader"


#: Replaces ``new-msg`` at the end of a turn for sockets that joined with ``stream: true``.
AI_END: Final = "ai-end"
#: Chunks of an answer: not stored in the events table, without a seq, numbered within the turn.
AI_CHUNK: Final = "ai-chunk"
#: Emitted when the log cannot fill a gap in the events; not stored in the events table.
RESYNC: Final = "resync"
#: Ephemeral events: not stored in the events table, without a seq, delivered at most once.
TYPING: Final = "typing"
PRESENCE: Final = "presence"
CHAT_ACTIVITY: Final = "chat-activity"
CHAT_READ: Final = "chat-read"


class TurnStatus(StrEnum):
    """The state of a turn. The last four are final."""

    QUEUED = "queued"
    STREAMING = "streaming"
    COMPLETE = "complete"
    STOPPED = "stopped"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


class TurnReason(StrEnum):
    """Why a turn was stopped, is incomplete or failed."""

    # stopped
    BY_USER = "by-user"
    REPLACED = "replaced"
    # incomplete: the answer has a text, and its end is missing
    WORKER_LOST = "worker-lost"
    SHUTDOWN = "shutdown"
    CUT_BY_PROVIDER = "cut-by-provider"
    TOO_LONG = "too-long"
    FILTERED = "filtered"
    # incomplete or failed
    TIMEOUT = "timeout"
    RESPONDER_ERROR = "responder-error"
    # failed: there is no answer
    PROVIDER_UNREACHABLE = "provider-unreachable"
    PROVIDER_REFUSED = "provider-refused"
    RATE_LIMITED = "rate-limited"
    NO_TEXT = "no-text"
    NO_RESPONDER = "no-responder"
    TOO_MANY_ATTEMPTS = "too-many-attempts"
    # failed: the answer was removed
    REFUSED = "refused"
    NOT_REVIEWED = "not-reviewed"


class Turn(Output):
    """The turn that answers a message, or whose answer a message is.

    Attributes:
        id: Also the id of the answer.
        message_id: The USER message that is answered.
        reason: Null while the turn is ``queued`` or ``streaming``, and if it is ``complete``.
        generation: How often a worker has claimed the turn. Chunks of an earlier generation are void.
        last: Number of the last chunk of the answer; -1 before the first. Only exact once the turn has ended.
    """

    id: str
    message_id: str
    status: TurnStatus
    reason: TurnReason | None = None
    generation: int = 0
    last: int = -1


class Reaction(Output):
    """One emoji on a message, and the users that reacted with it, in the order of their reactions."""

    emoji: str
    user_ids: tuple[UserId, ...]


class Attachment(Output):
    """A file of a message.

    Attributes:
        type: The media type, determined from the file's first bytes.
        size: In bytes.
        width: In pixels, of an image as it is shown; null for other files, also the next.
    """

    id: str
    name: str
    type: str
    size: int
    width: int | None = None
    height: int | None = None


class Message(Output):
    """``new-msg``: one message. The first four fields are those of the guide.

    Attributes:
        content: The text; for an answer, the text of all its text parts. Empty in an answer that has no text yet.
        seq: Seq of the event that wrote this state of the message.
        place: Position among the messages of the chat, which never changes: the seq at which the message was first
            written or, for an answer, at which its turn started.
        version: 1, or higher if the message replaces earlier versions at the same place.
        turn: The turn that answers this message, or whose answer it is; null if there is none.
        parts: The parts of an answer, as in a ``UIMessage`` of the AI SDK; null for a message of text alone.
        reply_to: Id of the message that this one replies to. Left out if there is none.
        deleted: Whether the message was deleted: its text and parts are erased. Left out if not.
        reactions: Only in REST, where they are current; events follow with each change. Left out if there are none.
        pinned: Only in REST, as `reactions`. Left out if not.
        attachments: Its files, whose links are in `GET …/files`. Left out if there are none.
    """

    id: str
    role: Role
    content: Annotated[str, StringConstraints(max_length=MAX_CONTENT_CHARS, pattern=r"^[^\u0000]*$")]
    time: Timestamp
    chat_id: ChatId
    epoch: Epoch
    seq: Seq
    place: Seq
    version: int = 1
    user_id: UserId | None
    client_msg_id: ClientMsgId | None
    status: MessageStatus = "sent"
    turn: Turn | None = None
    parts: list[dict[str, Any]] | None = None
    reply_to: MessageId | None = Field(default=None, exclude_if=lambda value: value is None)
    deleted: bool = Field(default=False, exclude_if=lambda value: not value)
    reactions: tuple[Reaction, ...] = Field(default=(), exclude_if=lambda value: not value)
    pinned: bool = Field(default=False, exclude_if=lambda value: not value)
    attachments: tuple[Attachment, ...] = Field(default=(), exclude_if=lambda value: not value)


class AiEnd(Output):
    """``ai-end``: the `Message` of a turn that has ended, without ``content`` and ``parts``, which the chunks carried.

    A client that lacks chunks up to ``turn.last`` fetches the message through REST, from its place.
    """

    id: str
    role: Role
    time: Timestamp
    chat_id: ChatId
    epoch: Epoch
    seq: Seq
    place: Seq
    version: int
    turn: Turn


class Stored(Output):
    """The first fields of the payload of each stored event but ``new-msg``.

    Attributes:
        epoch: The epoch in which the event was written.
    """

    chat_id: ChatId
    epoch: Epoch
    seq: Seq
    time: Timestamp


class AiStatus(Stored):
    """``ai-status``: a turn was queued as a new version, has started, or has ended without a text.

    Attributes:
        place: The place of the answer; null if the turn has not started and replaces no earlier answer.
        version: The version of the answer at its place.
    """

    place: Seq | None
    version: int
    turn: Turn


class AiTool(Stored):
    """``ai-tool``: the answer called a tool. Input and result are in the chunks and in the parts of the message."""

    turn_id: str
    tool_call_id: str
    tool_name: str


class AiChunk(Output):
    """``ai-chunk``: the next chunks of an answer, in the vocabulary of the AI SDK's UI message stream.

    Attributes:
        generation: As in `Turn`. A higher one than before voids the chunks received so far. Left out if 1, so that an
            event is at most 200 bytes larger than the text of its chunk.
        first: Number of the first chunk, from 0.
        last: Number of the last chunk; less than ``first`` if ``chunks`` is empty: earlier chunks must be fetched.
        chunks: One per number or, in a snapshot from 0, fewer: the deltas of each part are merged.
    """

    chat_id: ChatId
    turn_id: str
    generation: int = Field(default=1, exclude_if=lambda generation: generation == 1)
    first: int
    last: int
    chunks: list[dict[str, Any]]


class MemberChange(Stored):
    """``member-added`` and ``member-removed``: from this seq on, a user is, or is no longer, a member.

    Attributes:
        user_id: The member that was added or removed.
        actor_id: The user that made the change; null for a service, and while authentication is off.
    """

    user_id: UserId
    actor_id: UserId | None


class MemberAdded(MemberChange):
    """``member-added``. Events of earlier versions have no role; it is ``member`` then.

    Attributes:
        muted_until: Until when the member cannot write, since it left while it was muted. Left out if it can.
    """

    role: MemberRole = MemberRole.MEMBER
    muted_until: Timestamp | None = Field(default=None, exclude_if=lambda value: value is None)


class MemberRemoved(MemberChange):
    """``member-removed``. Events of earlier versions do not say whether the member was banned."""

    banned: bool = False


class MemberUpdate(Stored):
    """``member-updated``: the role or the mute of a member changed.

    Attributes:
        role: The role from now on.
        muted_until: Until when the member cannot write; null: the member is not muted.
        actor_id: As in `MemberChange`.
    """

    user_id: UserId
    role: MemberRole
    muted_until: Timestamp | None
    actor_id: UserId | None


class MessageDeleted(Stored):
    """``msg-deleted``: the message at a place, in all its versions, has no text any more.

    Attributes:
        user_id: The user that deleted it; null for a service, and while authentication is off.
    """

    place: Seq
    message_id: MessageId
    user_id: UserId | None


class MessagesErased(Stored):
    """``msgs-erased``: the messages at some places, in all their versions, have no text and no author any more.

    Attributes:
        places: Ascending, at most 500.
    """

    places: tuple[Seq, ...]


class MessagesExpired(Stored):
    """``msgs-expired``: the messages up to a place were deleted. The history has them no longer.

    Attributes:
        through: The place of the last one.
    """

    through: Seq


class ReactionChange(Stored):
    """``reaction``: a user added a reaction to the message at a place, or took it back.

    Attributes:
        added: False if it was taken back.
        user_id: The user.
    """

    place: Seq
    message_id: MessageId
    emoji: str
    added: bool
    user_id: UserId


class PinChange(Stored):
    """``pin``: the message at a place was pinned, or is no longer.

    Attributes:
        user_id: The user that changed it; null for a service, and while authentication is off.
    """

    place: Seq
    message_id: MessageId
    pinned: bool
    user_id: UserId | None


class CustomEvent(Stored):
    """``custom``: an event of another application, from ``POST /api/events``. Roomcast attaches no meaning to it.

    Attributes:
        id: Chosen by the application; unique in the chat.
        data: The application's JSON object.
    """

    id: CustomEventId
    name: CustomEventName
    data: dict[str, Any]


class ChatChange(Stored):
    """``chat-changed``: the chat was renamed, archived or taken back from the archive, or its retention changed.

    Attributes:
        title: The title from now on; null if it has none.
        archived: Whether the chat is archived from now on.
        user_id: The user that changed it; null for a service, and while authentication is off.
        retention_days: As in `roomcast.contract.rest.Chat`.
    """

    title: Title | None
    archived: bool
    user_id: UserId | None
    retention_days: int | None = None


class ChatDeleted(Stored):
    """``chat-deleted``: the last event of a chat. Its sockets leave the room after it.

    Attributes:
        user_id: The user that deleted it; null for a service, and while authentication is off.
    """

    user_id: UserId | None


class Resync(Output):
    """``resync``: the gateway could not emit some events of the chat.

    The client fetches them through REST, from its cursor; if ``reset``, it discards everything and refetches.
    """

    chat_id: ChatId
    epoch: Epoch
    seq: Seq
    reset: bool


class Typing(Output):
    """``typing``: a user of the chat started or stopped typing. Expires after 6 s unless it is repeated.

    Attributes:
        typing: Whether the user is typing.
    """

    chat_id: ChatId
    user_id: UserId
    typing: bool


class Presence(Output):
    """``presence``: changes of the users online in a chat. After a join, the client receives the full list.

    A user is online while at least one of its devices follows the chat, on any gateway.

    Attributes:
        online: Users that came online.
        offline: Users that went offline.
        reset: Whether ``online`` is the full list, which replaces the earlier state.
    """

    chat_id: ChatId
    online: tuple[UserId, ...]
    offline: tuple[UserId, ...]
    reset: bool


class LastMessage(Output):
    """The newest message of a chat; it determines whether the chat is unread for a user.

    Attributes:
        epoch: The epoch in which the message was written.
        user_id: The user that wrote the message; null for an AI, a service or an unknown user.
    """

    epoch: Epoch
    seq: Seq
    user_id: UserId | None
    time: Timestamp


class ChatActivity(Output):
    """``chat-activity``: a chat of the user has a new event, whether or not the client follows it.

    Of several events in quick succession, only the newest is announced.

    Attributes:
        seq: Seq of the event.
        user_id: The user that wrote the message or added the member; null for an AI, a service or an unknown user.
        last_message: The newest message since the previous announcement; null if only members were added.
    """

    chat_id: ChatId
    epoch: Epoch
    seq: Seq
    user_id: UserId | None
    time: Timestamp
    last_message: LastMessage | None


class ChatRead(Output):
    """``chat-read``: a user has read a chat up to ``seq``.

    Emitted to all sockets of the user and, in a chat of at most 100 members, to the sockets that follow the chat.
    """

    chat_id: ChatId
    user_id: UserId
    seq: Seq


class StoredEventKind(NamedTuple):
    """What the server knows of a type of stored event.

    Attributes:
        name: The Socket.IO event that carries it.
        payload: The argument of that event.
        announced: Whether `ChatActivity` announces it to the users of the chat.
    """

    name: str
    payload: type[Output]
    announced: bool = False


#: Every type of stored event. ``new-msg`` is the guide's name. Members that are added see a chat that is new to them.
STORED_EVENTS: Final[dict[EventType, StoredEventKind]] = {
    EventType.MESSAGE_CREATED: StoredEventKind("new-msg", Message, announced=True),
    EventType.MEMBER_ADDED: StoredEventKind("member-added", MemberAdded, announced=True),
    EventType.MEMBER_REMOVED: StoredEventKind("member-removed", MemberRemoved),
    EventType.TURN_CHANGED: StoredEventKind("ai-status", AiStatus),
    EventType.TOOL_CALLED: StoredEventKind("ai-tool", AiTool),
    EventType.MESSAGE_DELETED: StoredEventKind("msg-deleted", MessageDeleted),
    EventType.REACTION_CHANGED: StoredEventKind("reaction", ReactionChange),
    EventType.PIN_CHANGED: StoredEventKind("pin", PinChange),
    EventType.CUSTOM: StoredEventKind("custom", CustomEvent),
    EventType.CHAT_CHANGED: StoredEventKind("chat-changed", ChatChange),
    EventType.CHAT_DELETED: StoredEventKind("chat-deleted", ChatDeleted),
    EventType.MEMBER_UPDATED: StoredEventKind("member-updated", MemberUpdate),
    EventType.MESSAGES_ERASED: StoredEventKind("msgs-erased", MessagesErased),
    EventType.MESSAGES_EXPIRED: StoredEventKind("msgs-expired", MessagesExpired),
}
#: Every other event that the gateway emits: not stored, and without a seq of its own.
EPHEMERAL_EVENTS: Final[dict[str, type[Output]]] = {
    RESYNC: Resync,
    TYPING: Typing,
    PRESENCE: Presence,
    CHAT_ACTIVITY: ChatActivity,
    CHAT_READ: ChatRead,
    AI_CHUNK: AiChunk,
    AI_END: AiEnd,
}
