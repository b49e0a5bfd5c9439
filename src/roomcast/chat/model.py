"""The values of the domain: callers, chats, messages, events, members and turns. What changes them: `commands`.

Layer: chat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal

from roomcast.contract import events as contract
from roomcast.contract.events import Attachment, EventType, LastMessage, MemberRole, Role, TurnReason, TurnStatus
from roomcast.contract.rest import NotifyLevel
from roomcast.contract.tenants import DEFAULT_TENANT, tenant_of


@dataclass(frozen=True, slots=True)
class Caller:
    """The origin of a request.

    Attributes:
        user_id: The authenticated user; None for a service, and while authentication is off.
        service: Whether the caller is a back end, which may read and write every chat, and write as AI.
        trusted: Whether authentication is off. The caller may then do anything, and a message to an unknown chat
            creates the chat.
        service_tenant: The tenant of a service; the id of a user says its own.
    """

    user_id: str | None = None
    service: bool = False
    trusted: bool = False
    service_tenant: str = DEFAULT_TENANT

    @property
    def tenant(self) -> str:
        """The tenant whose chats and users the caller may name."""
        return self.service_tenant if self.user_id is None else tenant_of(self.user_id)

    @property
    def unrestricted(self) -> bool:
        """Whether the caller may use chats that it is not a member of."""
        return self.service or self.trusted

    @property
    def restricted_user_id(self) -> str | None:
        """The user whose memberships limit the caller's access; None for an unrestricted caller."""
        return None if self.unrestricted else self.user_id


#: The caller while authentication is off.
ANYONE = Caller(trusted=True)


@dataclass(frozen=True, slots=True)
class ChatAi:
    """How a chat answers; see `roomcast.contract.rest.AiSettings`. None: the server's default."""

    answers: Literal["always", "mention", "never"] = "always"
    when_active: Literal["queue", "latest", "reject"] = "queue"
    responder: str | None = None
    model: str | None = None
    system_prompt: str | None = None
    token_budget: int | None = None


#: Unread messages of a chat are counted up to this number.
MAX_UNREAD: Final = 999


class ChatState(StrEnum):
    """What became of a chat. Members read an archived one; of a deleted one, only its last event is kept."""

    ARCHIVED = "archived"
    #: Its events and messages are being erased.
    DELETED = "deleted"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class StoredChat:
    """The current state of a chat.

    Attributes:
        ai: How it answers.
        last_activity_at: Time of its last event, or of its creation if it has no events. Orders the list of chats.
        last_seq: Seq of its last event; 0 if it has no events.
        last_message: Its newest message; None if it has none. Set by the reads of a `ports.ChatStore` only.
        state: None while members write to it. A deleted chat keeps its row, so that its id is not used again.
        retention_days: After how many days messages are deleted; 0: never; None: as the deployment says.
        direct: The two users of a direct chat, which stay its only members; None: it is none.
        preview: The beginning of the newest message.
        preview_file: The name of its first file, if it has no text.
        unread: The unread messages of a user, at most `MAX_UNREAD`; None if no user was given.
        mentions: Those that mention the user.
        notifications: What notifies the user; None if no user was given.
    """

    id: str
    title: str | None
    ai: ChatAi
    created_at: datetime
    last_activity_at: datetime
    last_seq: int
    last_message: LastMessage | None = None
    state: ChatState | None = None
    direct: tuple[str, str] | None = None
    preview: str | None = None
    preview_file: str | None = None
    unread: int | None = None
    mentions: int | None = None
    notifications: Notifications | None = None
    retention_days: int | None = None

    @property
    def position(self) -> ChatPosition:
        """The chat's position in the list of chats by latest activity."""
        return ChatPosition(round(self.last_activity_at.timestamp() * 1000), self.id)


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """The current state of a turn; see `roomcast.contract.events.Turn`.

    Attributes:
        question_id: Id of the USER message to answer.
        place: Place of the answer; None before the start, unless the turn replaces an earlier answer.
        version: Version of the answer at its place.
    """

    id: str
    question_id: str
    status: TurnStatus = TurnStatus.QUEUED
    reason: TurnReason | None = None
    generation: int = 0
    last: int = -1
    place: int | None = None
    version: int = 1

    def to_contract(self) -> contract.Turn:
        """The turn as it is sent to clients."""
        return contract.Turn.model_construct(
            id=self.id,
            message_id=self.question_id,
            status=self.status,
            reason=self.reason,
            generation=self.generation,
            last=self.last,
        )


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """The current state of a message.

    Attributes:
        epoch: The epoch in which the message was written.
        seq: Seq of the event that wrote this state: of an answer, its start or its end.
        place: Position among the chat's messages; see `roomcast.contract.events.Message`. 0: the same as ``seq``.
        version: See `roomcast.contract.events.Message`.
        turn: The turn that answers the message, or whose answer it is; None if there is none.
        parts: The parts of an answer; None for a text alone.
        reply_to: Id of the message that this one replies to; None if there is none.
        deleted: Whether the text and the parts are erased.
        reactions: Users by emoji. Set by the reads of a `ports.ChatStore` only, also the next.
        pinned: Whether the message is pinned.
        attachments: Its files; all versions of a message have the same ones.
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
    place: int = 0
    version: int = 1
    turn: StoredTurn | None = None
    parts: tuple[Mapping[str, Any], ...] | None = None
    reply_to: str | None = None
    deleted: bool = False
    reactions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pinned: bool = False
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An uploaded file.

    Attributes:
        user_id: The user that uploaded it; None while authentication is off.
        attachment: Its description, as its message has it.
        attached: Whether it belongs to a message.
    """

    chat_id: str
    user_id: str | None
    attachment: Attachment
    attached: bool


@dataclass(frozen=True, slots=True)
class AgingChat:
    """When a chat deletes messages.

    Attributes:
        retention_days: As in `StoredChat`.
        oldest: When its first message was sent; None if it has none.
    """

    id: str
    retention_days: int | None
    oldest: datetime | None


class AuditAction(StrEnum):
    """The administrative acts that the audit log records."""

    MEMBER_ADDED = "member.added"
    MEMBER_REMOVED = "member.removed"
    MESSAGE_DELETED = "message.deleted"
    ROLE_CHANGED = "member.role-changed"
    MUTE_CHANGED = "member.mute-changed"
    BANNED = "user.banned"
    BAN_ENDED = "user.ban-ended"
    INVITE_CREATED = "invite.created"
    INVITE_USED = "invite.used"
    INVITE_REVOKED = "invite.revoked"
    CHAT_RENAMED = "chat.renamed"
    CHAT_ARCHIVED = "chat.archived"
    CHAT_UNARCHIVED = "chat.unarchived"
    CHAT_DELETED = "chat.deleted"
    RETENTION_CHANGED = "chat.retention-changed"
    AI_CHANGED = "chat.ai-changed"
    REPORTED = "message.reported"
    REPORT_CLOSED = "message.report-closed"
    #: Of no chat, also the next.
    SESSIONS_ENDED = "user.sessions-ended"
    USER_ERASED = "user.erased"


@dataclass(frozen=True, slots=True)
class Act:
    """One row of the audit log.

    Attributes:
        id: Grows with each act.
        actor_id: The user that did it; None: a service, or a client while authentication is off.
        chat_id: Its local id is empty if the act is of no chat.
        object_id: The user, message, link or erasure that it was done to; None: the chat.
        trace: W3C ``traceparent`` of the request; None: it had none.
    """

    id: int
    action: str
    at: datetime
    chat_id: str
    actor_id: str | None
    object_id: str | None
    trace: str | None


@dataclass(frozen=True, slots=True)
class StoredMember:
    """One member of a chat.

    Attributes:
        muted_until: Until when the member cannot write, which may be past; None: the member can.
    """

    user_id: str
    added_at: datetime
    role: MemberRole = MemberRole.MEMBER
    muted_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredBan:
    """A user that may not become a member.

    Attributes:
        actor_id: The user that banned it; None for a service.
        until: When the ban ends, which may be past; None: when it is ended.
    """

    user_id: str
    actor_id: str | None
    banned_at: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class StoredReport:
    """An open report of a message; see `commands.Report`."""

    message_id: str
    reporter_id: str
    reason: str
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredInvite:
    """An invite link; see `commands.NewInvite`.

    Attributes:
        actor_id: The user that created it; None for a service.
        uses: How many users have joined through it.
    """

    chat_id: str
    id: str
    actor_id: str | None
    role: MemberRole
    created_at: datetime
    expires_at: datetime | None
    max_uses: int | None
    uses: int

    def is_valid(self, now: datetime) -> bool:
        """Whether a user can join through it now."""
        return (self.expires_at is None or self.expires_at > now) and (
            self.max_uses is None or self.uses < self.max_uses
        )


@dataclass(frozen=True, slots=True)
class StoredCursor:
    """Up to which seq a user has read a chat."""

    user_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Notifications:
    """What notifies a user of a chat.

    Attributes:
        level: The user's setting for the chat; None: there is none.
        muted_until: Nothing notifies the user before this time; None: there is no mute.
        default: The user's setting for chats without one.
    """

    level: NotifyLevel | None = None
    muted_until: datetime | None = None
    default: NotifyLevel = "all"

    def at(self, now: datetime) -> NotifyLevel:
        """What notifies the user at a time."""
        if self.muted_until is not None and now < self.muted_until:
            return "none"
        return self.level or self.default


@dataclass(frozen=True, slots=True)
class PushDevice:
    """A device that receives pushes for a user.

    Attributes:
        id: Of the endpoint.
        endpoint: Its URL at the push service; a secret.
        p256dh: Its public key, in base64url.
        auth: The secret that authenticates messages to it, in base64url.
    """

    id: str
    user_id: str
    endpoint: str = field(repr=False)
    p256dh: str = field(repr=False)
    auth: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CursorMoved:
    """A cursor that has moved to ``seq``, and the number of the chat's members."""

    seq: int
    members: int


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages a page has; None: all.

    Attributes:
        role: Those with this role.
        author: Those of this user.
    """

    role: str | None = None
    author: str | None = None


NO_FILTER: Final = MessageFilter()


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A message that the index has found, in its last version.

    Attributes:
        position: Its position in the index: later messages have greater ones.
        content: Its text; empty if it was deleted by a version of roomcast that does not know the index.
    """

    position: int
    chat_id: str
    chat_title: str | None
    message_id: str
    place: int
    role: str
    user_id: str | None
    content: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One row of the events table.

    Attributes:
        epoch: The epoch in which the event was written.
        type: An `EventType`; a plain string if a newer version wrote the event.
        created_at: Not before any earlier activity in any chat, also after the clock was set back. The payload has the
            time by the clock.
        payload: The only argument of the emitted Socket.IO event: a JSON object in UTF-8.
        trace: W3C ``traceparent`` of the request that caused the event.
    """

    chat_id: str
    seq: int
    epoch: str
    type: EventType | str
    payload: bytes
    created_at: datetime
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class TurnClaim:
    """The right to write a turn. A later claim of the turn, with a higher generation, makes this one void."""

    turn_id: str
    generation: int
    chat_id: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The answer of a turn as last written to the database.

    Attributes:
        last: Number of the last chunk.
        parts: As in `StoredMessage`.
        ref: Position at the provider after that chunk; None if the responder cannot resume.
    """

    last: int
    parts: tuple[Mapping[str, Any], ...]
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a turn ends.

    Attributes:
        status: A final status.
        reason: None only if the status is ``complete``.
        content: The text of the answer; if it is empty and there are no parts, the end is an ``ai-status`` event.
        parts: As in `StoredMessage`.
        last: Number of the last chunk; -1 if there is none.
        input_tokens: As the provider counts; None if unknown.
        output_tokens: See ``input_tokens``.
    """

    status: TurnStatus
    reason: TurnReason | None = None
    content: str = ""
    parts: tuple[Mapping[str, Any], ...] = ()
    last: int = -1
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """The result of an idempotent write.

    Attributes:
        event: The stored event.
        created: Whether this call wrote the event; False if an earlier call did.
        turn_queued: Whether this call queued an AI turn.
        before: Events of the same transaction and chat, ascending, before ``event``.
    """

    event: StoredEvent
    created: bool
    turn_queued: bool = False
    before: tuple[StoredEvent, ...] = ()

    @property
    def events(self) -> tuple[StoredEvent, ...]:
        """All events of the transaction, ascending."""
        return (*self.before, self.event)


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a worker learns when it renews its leases.

    Attributes:
        lost: Ids of the turns of which the claim is void.
        stopping: Ids of the turns that have to stop.
    """

    lost: frozenset[str]
    stopping: frozenset[str]


@dataclass(frozen=True, slots=True)
class ChatAccess:
    """A chat's head, a user's membership and a cursor's validity, from one query, to check a join or a read.

    Attributes:
        exists: Whether the chat exists.
        last_seq: The chat's head; 0 if the chat does not exist.
        is_member: Whether the given user is a member; False if no user was given.
        cursor_valid: Whether the given cursor belongs to the chat's current history; True if no cursor was given.
        silent_until: Until when the member may not write; None: it may.
    """

    exists: bool
    last_seq: int
    is_member: bool
    cursor_valid: bool
    silent_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ChatPosition:
    """A position in the list of chats, which is ordered by latest activity, then by id."""

    last_activity_ms: int
    id: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A claimed AI turn: one answer to write.

    Attributes:
        message: The USER message to answer.
        responder: Name of the responder.
        ai: The chat's settings.
        place: Place of the answer; None if the turn has never started and replaces no earlier answer.
        version: Version of the answer at its place.
        started: Whether the start is stored: the answer has a message.
        attempt: Number of attempts so far, including this one; a claim that was handed back does not count.
        checkpoint: The answer so far; None if no chunk was published.
        stopping: Whether a stop is stored.
        trace: W3C ``traceparent`` of the request that asked for the answer.
    """

    claim: TurnClaim
    chat_id: str
    message: StoredMessage
    responder: str
    ai: ChatAi = field(default_factory=ChatAi)
    place: int | None = None
    version: int = 1
    started: bool = False
    attempt: int = 1
    checkpoint: Checkpoint | None = None
    stopping: bool = False
    trace: str | None = None
