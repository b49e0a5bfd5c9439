"""Request and response bodies of the public REST API. Each is part of the published schema.

The module is long because it is a list: each class is read on its own.

Layer: contract.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, field_validator

from roomcast.contract.events import LastMessage, MemberRole, Message, Role
from roomcast.contract.model import Input, Output
from roomcast.contract.text import (
    MAX_RETENTION_DAYS,
    WHOLE,
    ChatId,
    ClientMsgId,
    CustomEventId,
    CustomEventName,
    Epoch,
    FileId,
    InviteId,
    InviteToken,
    MessageId,
    ModelName,
    NewCaption,
    NewTitle,
    NewUserId,
    PushEndpoint,
    ResponderName,
    Seq,
    SystemPrompt,
    Timestamp,
    UserId,
    url_pattern,
)

MAX_MEMBERS_AT_CREATION = 256
MAX_CUSTOM_EVENTS = 100
MAX_EVENT_DATA_BYTES = 32_768
MAX_EVENT_DATA_DEPTH = 32
#: Ten years.
MAX_SECONDS = 315_360_000
#: What notifies a user: every message of others, those that mention the user and those of direct chats, or nothing.
NotifyLevel = Literal["all", "mentions", "none"]
MAX_FILES_OF_MESSAGE = 10
#: Files whose links one request returns.
MAX_LINKS = 50


class SendMessage(Input):
    """The body of ``POST /api/chat/messages``.

    Attributes:
        role: ``AI`` needs a service token while authentication is on.
        client_msg_id: Idempotency key chosen by the sender. A repeat in the same chat returns the first result.
        user_id: The author, while authentication is off or with a service token. Otherwise, the author is the token's
            user.
        reply_to: Id of a message of the chat, in any version, that this one replies to.
        files: Files that the author has uploaded to the chat and not sent yet.
        content: May be empty if there are files.
    """

    chat_id: ChatId
    role: Role
    # Before the content, whose check depends on them.
    # Clients leave them out if there are none: earlier servers refuse fields that they do not know.
    files: list[FileId] = Field(
        default_factory=list, max_length=MAX_FILES_OF_MESSAGE, exclude_if=lambda value: not value
    )
    content: NewCaption
    client_msg_id: ClientMsgId | None = None
    user_id: NewUserId | None = None
    reply_to: MessageId | None = None

    @field_validator("content")
    @classmethod
    def _says_something(cls, value: str, info: ValidationInfo) -> str:
        if not value and not info.data.get("files"):
            raise ValueError("must contain a visible character, or the message must have files")
        return value


class AiSettings(Input):
    """How a chat answers: the body of ``PUT /api/chats/{id}/ai``. Fields that are left out have their defaults.

    Attributes:
        answers: Which USER messages are answered: all, those that mention ``@ai`` or the responder's name, or none.
        when_active: What happens to a USER message that asks for an answer while a turn of the chat is active: its turn
            waits; its turn replaces the waiting ones; or the message is refused with 409 ``answer-active``.
        responder: Name of the responder; null: the server's default.
        model: Name of the model, for responders that have several; null: the responder's default.
        system_prompt: Instructions for the model, before the messages.
        token_budget: Approximate maximum number of tokens of the system prompt and the messages that the model
            receives; null: the server's default.
    """

    answers: Literal["always", "mention", "never"] = "always"
    when_active: Literal["queue", "latest", "reject"] = "queue"
    responder: ResponderName | None = None
    model: ModelName | None = None
    system_prompt: SystemPrompt | None = None
    token_budget: Annotated[int, Field(ge=256, le=10_000_000), WHOLE] | None = None


class EditMessage(Input):
    """The body of ``PUT /api/chats/{id}/messages/{messageId}``: a new version of a USER message, with a new answer.

    Attributes:
        content: May be empty if the message has files that stay.
        client_msg_id: As in `SendMessage`.
        remove_files: Files of the message to remove.
    """

    content: NewCaption
    remove_files: list[FileId] = Field(
        default_factory=list, max_length=MAX_FILES_OF_MESSAGE, exclude_if=lambda value: not value
    )
    client_msg_id: ClientMsgId | None = None


def _event_data(value: dict[str, Any]) -> dict[str, Any]:
    """Check that a JSON object can be sent to every client, and its limits."""
    try:
        encoded = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError):  # NaN, a lone surrogate, a number with thousands of digits
        raise ValueError("must be JSON as RFC 8259 defines it, in UTF-8") from None
    if len(encoded) > MAX_EVENT_DATA_BYTES:
        raise ValueError(f"must have at most {MAX_EVENT_DATA_BYTES} bytes as JSON")
    level: list[object] = [value]
    for _ in range(MAX_EVENT_DATA_DEPTH):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
        ]
    if level:
        raise ValueError(f"must be nested at most {MAX_EVENT_DATA_DEPTH} levels deep")
    return value


class NewCustomEvent(Input):
    """One event of an application.

    Attributes:
        id: Chosen by the application. A repeat in the same chat stores nothing and returns the first result.
        name: Chosen by the application, such as ``order.shipped``.
        data: At most 32,768 bytes as JSON, nested at most 32 levels deep.
    """

    chat_id: ChatId
    id: CustomEventId
    name: CustomEventName
    data: Annotated[dict[str, Any], AfterValidator(_event_data)] = Field(default_factory=dict)


class PublishEvents(Input):
    """The body of ``POST /api/events``. Either all events are stored or none; those of one chat keep their order."""

    events: Annotated[list[NewCustomEvent], Field(min_length=1, max_length=MAX_CUSTOM_EVENTS)]


class PublishedEvent(Output):
    """What became of one event of `PublishEvents`.

    Attributes:
        created: False if an earlier request stored it.
    """

    chat_id: ChatId
    id: CustomEventId
    seq: Seq
    created: bool


class PublishedEvents(Output):
    """The response of ``POST /api/events``, in the order of the request."""

    events: list[PublishedEvent]


class CreateChat(Input):
    """The body of ``POST /api/chats``.

    Attributes:
        id: The chat's id, which needs a service token while authentication is on; generated by the server if left out.
        members: The first members, in addition to the caller.
        ai: How the chat answers; left out: the defaults.
    """

    id: ChatId | None = None
    title: NewTitle | None = None
    members: Annotated[list[NewUserId], Field(default_factory=list, max_length=MAX_MEMBERS_AT_CREATION)]
    ai: AiSettings | None = None


class OpenDirectChat(Input):
    """The body of ``POST /api/chats/direct``.

    Attributes:
        user_id: The other user.
        acting_user_id: The user that opens the chat, while authentication is off or with a service token; else left out
            or the token's user.
    """

    user_id: NewUserId
    acting_user_id: NewUserId | None = None


class RenameChat(Input):
    """The body of ``PUT /api/chats/{id}/title``. Null removes the title."""

    title: NewTitle | None


class ChangeRetention(Input):
    """The body of ``PUT /api/chats/{id}/retention``.

    Attributes:
        days: Messages are deleted so many days after they were sent; 0: never; null: as the deployment says.
    """

    days: Annotated[int, Field(ge=0, le=MAX_RETENTION_DAYS), WHOLE] | None


class ChatAi(Output):
    """How a chat answers: the settings in effect; see `AiSettings`.

    Attributes:
        responder: Name of the responder, which may be the server's default; null: the chat is not answered.
    """

    answers: Literal["always", "mention", "never"]
    when_active: Literal["queue", "latest", "reject"]
    responder: str | None
    model: str | None
    system_prompt: str | None
    token_budget: int | None


class Chat(Output):
    """One chat.

    Attributes:
        last_activity_at: Time of its last event, or of its creation if it has no events.
        last_seq: Seq of its last event; 0 if it has no events.
        last_message: Its newest message; null if it has no messages.
        epoch: The current epoch.
        ai: How it answers.
        archived: Whether the chat is read-only and out of the default list. Left out if not.
        direct: The two users of a direct chat. Left out if it is none.
        retention_days: After how many days messages are deleted; 0: never. Left out if the deployment says it.
        preview: The first 120 characters of the newest message; null if it has no messages.
        preview_file: The name of its first file. Left out unless it has files and no text.
        unread: The user's unread messages, at most 999; null if the request names no user.
        mentions: Those that mention the user, counted alike.
        notify: What notifies the user now, with its default and a mute. Left out if ``all``.
    """

    id: ChatId
    title: str | None
    created_at: Timestamp
    last_activity_at: Timestamp
    last_seq: Seq
    last_message: LastMessage | None
    epoch: Epoch
    ai: ChatAi
    archived: bool = Field(default=False, exclude_if=lambda value: not value)
    direct: tuple[UserId, ...] | None = Field(default=None, exclude_if=lambda value: value is None)
    preview: str | None = None
    preview_file: str | None = Field(default=None, exclude_if=lambda value: value is None)
    unread: int | None = None
    mentions: int | None = None
    notify: NotifyLevel = Field(default="all", exclude_if=lambda value: value == "all")
    retention_days: int | None = Field(default=None, exclude_if=lambda value: value is None)


class ChatPage(Output):
    """The response of ``GET /api/chats``: latest activity first. ``nextCursor`` is null on the last page."""

    chats: list[Chat]
    next_cursor: str | None


class AuditAct(Output):
    """One administrative act.

    Attributes:
        id: Grows with each act.
        action: What was done, such as ``member.added``; all are in docs/moderation.md.
        chat_id: The chat; null: the act concerns a user only.
        actor_id: The user that did it; null: a service, or a client while authentication is off.
        object_id: The user, message, link or erasure that it was done to; null: the chat.
        trace: W3C ``traceparent`` of the request; null: it had none.
    """

    id: int
    action: str
    time: Timestamp
    chat_id: ChatId | None
    actor_id: UserId | None
    object_id: str | None
    trace: str | None


class AuditPage(Output):
    """The response of ``GET /api/audit``: the newest act first. The next page has ``before`` of the last one."""

    acts: list[AuditAct]


class ChatEvent(Output):
    """One event, as the gateway emits it.

    Attributes:
        type: The type in the events table.
        event: The name of the Socket.IO event.
        data: The only argument of the Socket.IO event.
    """

    seq: Seq
    type: str
    event: str
    data: dict[str, Any]


class EventPage(Output):
    """The response of ``GET /api/chats/{id}/events``: ascending by seq.

    Attributes:
        epoch: The current epoch.
        seq: The chat's head.
        more: Whether there are more events. To get them, request the page after the last event of this one.
        reset: Whether the given cursor does not belong to the chat's current history. If true, discard everything and
            refetch.
    """

    epoch: Epoch
    events: list[ChatEvent]
    seq: Seq
    more: bool
    reset: bool


class FeedPage(Output):
    """The response of ``GET /api/events``: events of all chats. Those of an existing chat ascend by seq, without gaps.

    Attributes:
        cursor: Where the next request continues; keep it when the events are processed.
        more: Whether to request the next page at once.
        reset: The given cursor is of a history that a backup has replaced: there are no events, and ``cursor`` is at
            the beginning.
    """

    events: list[ChatEvent]
    cursor: str
    more: bool
    reset: bool


class MessagePage(Output):
    """The response of ``GET /api/chats/{id}/messages``: ascending by seq.

    Attributes:
        epoch: The current epoch.
        seq: The chat's head when the page was read. Join the chat with the cursor ``{epoch, seq}``.
        has_more: Whether there are more messages: newer ones if the request had ``after``, otherwise older ones.
    """

    epoch: Epoch
    seq: Seq
    messages: list[Message]
    has_more: bool


class UpdateMember(Input):
    """The body of ``PATCH /api/chats/{id}/members/{userId}``: a new role, a mute, or both.

    Attributes:
        muted_for: Seconds from now in which the member cannot write; 0 ends a mute. An owner cannot be muted.
    """

    role: Annotated[MemberRole, Field(strict=False)] | None = None
    muted_for: Annotated[int, Field(ge=0, le=MAX_SECONDS), WHOLE] | None = None


class CreateInvite(Input):
    """The body of ``POST /api/chats/{id}/invites``.

    Attributes:
        role: The role of those that join through the link.
        expires_in: Seconds until the link is invalid; null: no limit.
        max_uses: How many users can join through it; null: no limit.
    """

    role: Annotated[MemberRole, Field(strict=False)] = MemberRole.MEMBER
    expires_in: Annotated[int, Field(ge=1, le=MAX_SECONDS), WHOLE] | None = None
    max_uses: Annotated[int, Field(ge=1, le=100_000), WHOLE] | None = None


class Member(Output):
    """One member of a chat.

    Attributes:
        muted_until: Until when the member cannot write, which may be past; null: the member can.
    """

    user_id: UserId
    added_at: Timestamp
    role: MemberRole
    muted_until: Timestamp | None


class Ban(Output):
    """A user that may not become a member.

    Attributes:
        actor_id: The user that banned it; null for a service.
        until: When the ban ends; null: when it is ended.
    """

    user_id: UserId
    actor_id: UserId | None
    banned_at: Timestamp
    until: Timestamp | None


class BanList(Output):
    """The response of ``GET /api/chats/{id}/bans``: ascending by user id."""

    bans: list[Ban]


class Invite(Output):
    """An invite link.

    Attributes:
        actor_id: The user that created it; null for a service.
        expires_at: Until when users can join; null: no limit.
        max_uses: How many users can join; null: no limit.
        uses: How many users have joined.
    """

    id: InviteId
    actor_id: UserId | None
    role: MemberRole
    created_at: Timestamp
    expires_at: Timestamp | None
    max_uses: int | None
    uses: int


class NewInvite(Invite):
    """The response of ``POST /api/chats/{id}/invites``. The token is not stored: it cannot be read later."""

    token: InviteToken


class InviteList(Output):
    """The response of ``GET /api/chats/{id}/invites``."""

    invites: list[Invite]


class InvitePreview(Output):
    """The response of ``GET /api/invites/{token}``.

    Attributes:
        title: The title of the chat; null: it has none.
        member_count: The number of its members.
        role: The role of those that join.
        chat_id: The chat, if the caller is a member; else null.
    """

    title: str | None
    member_count: int
    role: MemberRole
    chat_id: ChatId | None


class MessageVersions(Output):
    """The response of ``GET …/messages/{messageId}/versions``: all messages at its place, oldest version first."""

    versions: list[Message]


class MessageList(Output):
    """Messages as they are now, ascending by place: the response of ``GET …/pins`` and ``GET …/replies``."""

    messages: list[Message]


class MarkRead(Input):
    """The body of ``PUT /api/chats/{id}/read``.

    Attributes:
        seq: The seq of the last event that the user has seen. A smaller one than before changes nothing; a larger one
            than the chat's head counts as the head.
        epoch: The epoch of that event. If a backup has replaced it since, nothing changes: the user has not seen the
            event that has its seq now. Null: not checked.
    """

    seq: Annotated[Seq, WHOLE]
    epoch: Epoch | None = None


class ReadCursor(Output):
    """Up to where one user has read a chat."""

    user_id: UserId
    seq: Seq


class ReadCursors(Output):
    """The response of ``GET /api/chats/{id}/reads``: ascending by user id, the first 1,000."""

    reads: list[ReadCursor]


class ChangeNotifications(Input):
    """The body of ``PATCH /api/chats/{id}/notifications``. What is null or left out stays as it is.

    Attributes:
        level: What notifies the user of this chat; ``default``: as in chats without a setting.
        muted_for: For how many seconds nothing notifies the user; 0 ends the mute.
    """

    level: Literal["default"] | NotifyLevel | None = None
    muted_for: Annotated[int, Field(ge=0, le=MAX_SECONDS), WHOLE] | None = None


class ChatNotifications(Output):
    """The response of ``GET`` and ``PATCH /api/chats/{id}/notifications``.

    Attributes:
        level: What notifies the user of this chat.
        muted_until: Nothing notifies the user before this time; null: there is no mute.
    """

    level: Literal["default"] | NotifyLevel
    muted_until: Timestamp | None


class SetNotificationDefault(Input):
    """The body of ``PUT /api/notifications``: what notifies the user of chats without a setting."""

    level: NotifyLevel


class NotificationDefault(Output):
    """The response of ``GET /api/notifications``; ``all`` if the user has set nothing."""

    level: NotifyLevel


class PushKeys(Input):
    """The keys of a device, in base64url: ``PushSubscription.toJSON().keys``."""

    # The camel case of the alias would be ``p256Dh``.
    p256dh: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{87}=?$"), Field(alias="p256dh")]
    auth: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{22}(==)?$")]


class PushSubscription(Input):
    """The body of ``PUT /api/push/devices``: ``PushSubscription.toJSON()`` of a browser.

    Attributes:
        endpoint: The URL at the push service of the browser.
        expiration_time: Ignored: the push service says when a subscription has ended.
    """

    # http:// is accepted only on networks that the operator permits.
    endpoint: Annotated[PushEndpoint, Field(json_schema_extra={"pattern": url_pattern("https")})]
    keys: PushKeys
    expiration_time: Annotated[float, Field(allow_inf_nan=False)] | None = None


class SearchHit(Output):
    """One message that matches a search, in its last version.

    Attributes:
        chat_title: The title of its chat.
        place: Its place in the chat, as in its message.
        time: When it was sent.
        snippet: A part of its text, at the first match.
        matches: The matches in the snippet, ascending: pairs of start and end, in UTF-16 code units as in JavaScript.
    """

    chat_id: ChatId
    chat_title: str | None
    message_id: MessageId
    place: Seq
    role: Role
    user_id: UserId | None
    time: Timestamp
    snippet: str
    matches: list[tuple[int, int]]


class SearchPage(Output):
    """The response of ``GET /api/search``: the newest messages first.

    Attributes:
        hits: The messages; fewer than ``limit``, or none, do not mean that this is the last page.
        next_cursor: The ``cursor`` of the next page; null on the last page.
        complete: Whether all messages are indexed. After an upgrade from a version without search, older messages are
            found only once they are indexed.
    """

    hits: list[SearchHit]
    next_cursor: str | None
    complete: bool


class MemberPage(Output):
    """The response of ``GET /api/chats/{id}/members``: at most 1,000, ascending by user id.

    Attributes:
        has_more: Whether there are more. The query ``after`` with the id of the last member gives the next page.
    """

    members: list[Member]
    # Servers before it send no such field.
    has_more: bool = False


class GatewayAddress(Output):
    """Address of the gateway: ``url`` or, if null, the API's URL with ``port``. If both are null: the API's URL."""

    url: str | None
    port: int | None


class FileLink(Output):
    """Where a file is downloaded, until the links expire.

    Attributes:
        url: Path below the URL of the API.
    """

    id: FileId
    url: str


class FileLinks(Output):
    """The response of ``GET /api/chats/{id}/files``. Files that do not exist any more are left out.

    Attributes:
        expires_in: Seconds until the links expire.
    """

    links: list[FileLink]
    expires_in: int


class FileRules(Output):
    """Which files may be uploaded.

    Attributes:
        max_bytes: Maximum size of a file.
        types: Accepted media types, such as ``image/*``; null: any.
    """

    max_bytes: int
    types: list[str] | None = None


class Config(Output):
    """The response of ``GET /api/config``.

    Attributes:
        auth: Whether requests and connections need a token.
        sign_in: Whether users sign in at an identity provider: `GET /api/auth/login`, then `POST /api/auth/token`.
        epoch: The current epoch.
        version: The server's version.
        push_key: The public key for subscriptions of Web Push, in base64url. Left out if the server sends no pushes.
        files: Which files may be uploaded; null: none.
    """

    auth: bool
    sign_in: bool = False
    files: FileRules | None = None
    gateway: GatewayAddress
    epoch: Epoch
    version: str
    push_key: str | None = Field(default=None, exclude_if=lambda value: value is None)


class Me(Output):
    """The response of ``GET /api/me``.

    Attributes:
        user_id: The user, or the name of the service; null while authentication is off.
        name: The name to show for the user; null: the token has none.
        service: Whether the caller is a back end.
    """

    user_id: UserId | None = None
    name: str | None = None
    service: bool = False


class QuotaUse(Output):
    """One quota of the caller in the present window.

    Attributes:
        name: ``user-turns``, ``user-tokens``, ``tenant-turns`` or ``tenant-tokens``: AI answers, or their tokens, of
            the user, or of all users of its tenant.
        used: How much was used; tokens may exceed the limit, since they are known at the end of an answer.
    """

    name: str
    used: int
    limit: int


class QuotaUses(Output):
    """The response of ``GET /api/me/quota``.

    Attributes:
        resets_at: When the quotas are full again; null: the caller has none.
    """

    resets_at: Timestamp | None
    quotas: list[QuotaUse]


class SessionToken(Output):
    """The response of ``POST /api/auth/token``.

    Attributes:
        token: An access token.
        expires_in: Its lifetime in seconds.
    """

    token: str
    expires_in: float


class LogOut(Input):
    """The body of ``POST /api/logout``.

    Attributes:
        everywhere: End all access tokens of the user, on every device.
    """

    everywhere: bool = False


ReportReason = Literal["spam", "abuse", "illegal", "other"]


class ReportMessage(Input):
    """The body of ``PUT /api/chats/{id}/messages/{messageId}/report``.

    Attributes:
        note: What the reporter says about it.
    """

    reason: ReportReason
    note: Annotated[str, StringConstraints(strict=True, max_length=1_000, pattern=r"^[^\u0000]*$")] = ""


class Report(Output):
    """An open report of a message."""

    message_id: MessageId
    user_id: UserId
    reason: str
    note: str
    time: Timestamp


class ReportList(Output):
    """The response of ``GET /api/chats/{id}/reports``: the oldest first."""

    reports: list[Report]


class Erasure(Output):
    """The erasure of the data of a user.

    Attributes:
        id: Also replaces the id of the user where rows are kept.
        requested_at: When it began.
        done_at: When all data was erased; null: not yet.
        erased: Rows that were deleted or changed so far.
    """

    id: str
    requested_at: Timestamp
    done_at: Timestamp | None
    erased: int


class Health(Output):
    """The response of ``GET /health``."""

    status: Literal["healthy"] = "healthy"
    service: str
