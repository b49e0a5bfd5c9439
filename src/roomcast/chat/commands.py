"""The commands that a store commits: each is one change, checked and written in one transaction.

`ports.Writes.commit` takes a command and returns its result, whose type the command names. The rule of each command is
in `roomcast.store.rules`. The module is long because it is a list: each class is read on its own.

Layer: chat. Contract suite: tests/contract/test_store.py, test_turns.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from roomcast.chat.model import (
    ChatAi,
    Committed,
    CursorMoved,
    Ending,
    Notifications,
    StoredChat,
    StoredEvent,
    StoredTurn,
    TurnClaim,
)
from roomcast.chat.policies.additions import AdditionLimits
from roomcast.chat.policies.quotas import Quotas
from roomcast.contract.events import Attachment, MemberRole, Role
from roomcast.contract.rest import NotifyLevel

R_co = TypeVar("R_co", covariant=True)


class Command(Generic[R_co]):
    """A change of the database with a result of type ``R_co``.

    Attributes:
        durable: Whether the result must survive a power failure.
        alone: Whether it gets a transaction of its own, since it changes what other commands for the same rows have
            loaded.
    """

    __slots__ = ()
    durable: ClassVar[bool] = True
    alone: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class NewChat(Command[tuple[StoredChat, tuple[StoredEvent, ...]]]):
    """A chat to create, with its first members. Its first events add the creator and the members.

    Attributes:
        ai: How it answers; None: the defaults.
        limits: Limits of the creator's additions; None: no limits. Not used without a creator.

    Raises:
        ChatExists: the id is taken.
        AdditionLimitReached: the creator added users too often.
    """

    id: str
    title: str | None
    ai: ChatAi | None
    created_at: datetime
    creator_id: str | None = None
    members: tuple[str, ...] = ()
    limits: AdditionLimits | None = None


@dataclass(frozen=True, slots=True)
class OpenDirect(Command[tuple[str, tuple[StoredEvent, ...]]]):
    """Opens the direct chat of two users. Returns its id, and the events of its creation if this command created it.

    Attributes:
        id: The id of the chat, if it does not exist.
        users: The two users, in order.
        creator_id: The user whose allowances the creation charges; None: it is not limited.
        limits: As in `NewChat`.

    Raises:
        AdditionLimitReached: the creator added users too often.
    """

    id: str
    users: tuple[str, str]
    at: datetime
    creator_id: str | None = None
    limits: AdditionLimits | None = None


@dataclass(frozen=True, slots=True)
class NewMessage(Command[Committed]):
    """A message to write.

    Attributes:
        client_msg_id: Idempotency key. A second write with the same key in the same chat writes nothing and returns
            the first result.
        member: The user that must be a member of the chat at the commit; None skips the check.
        creates: The chat to create if ``chat_id`` does not exist; None makes an unknown chat an error.
        default_responder: Answers the message if its chat names no responder; None: such a chat does not answer.
        replaces: Id of the USER message of which this is a new version, with the same author; None: a new place.
            ``member`` must be its author. Its unfinished turn ends.
        reply_to: Id of the message that it replies to; None if there is none.
        quotas: The quotas of ``member`` for answers; None: there are none.
        trace: W3C ``traceparent`` of the request.
        files: Ids of its files; a new version has those of the earlier one.
        drops: Of them, those that a new version has no more.

    Raises:
        FileNotFound: a file was not uploaded to this chat by ``member``, or was sent or removed already; or ``drops``
            names a file that the earlier version does not have.
        ChatNotFound: the chat does not exist and ``creates`` is None.
        NotAMember: ``member`` is not a member of the chat.
        AnswerActive: the message asks for an answer, and the chat refuses this while it is being answered.
        QuotaReached: it asks for an answer, and a quota is used up.
        MessageNotFound: the chat has no message ``replaces`` or ``reply_to``.
        NotAllowed: ``replaces`` is not a USER message of ``member``.
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
    default_responder: str | None = None
    replaces: str | None = None
    trace: str | None = None
    reply_to: str | None = None
    files: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    quotas: Quotas | None = None


@dataclass(frozen=True, slots=True)
class NewVersion(Command[tuple[StoredTurn, Committed]]):
    """A new answer to the question of an earlier turn.

    Attributes:
        turn_id: The earlier turn, or another one that answered the same message.
        member: As in `NewMessage`.
        default_responder: As in `NewMessage`.
        quotas: As in `NewMessage`.
        trace: W3C ``traceparent`` of the request.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
        TurnNotFound: the chat has no such turn.
        AnswerActive: the message is being answered; or the chat is, and refuses questions meanwhile.
        QuotaReached: a quota of ``member`` is used up.
    """

    chat_id: str
    turn_id: str
    created_at: datetime
    member: str | None = None
    default_responder: str | None = None
    trace: str | None = None
    quotas: Quotas | None = None


@dataclass(frozen=True, slots=True)
class StartTurn(Command[Committed]):
    """A claimed turn starts: its answer is a message from now on, and its place is the seq of the event.

    The answer to a message that was answered before has the place of that answer, and the next version. If the turn has
    started before, under any claim, nothing is written and the earlier start is returned.

    Raises:
        TurnLost: the claim is void.
    """

    claim: TurnClaim
    at: datetime


@dataclass(frozen=True, slots=True)
class CallTool(Command[Committed]):
    """The answer of a claimed turn calls a tool. A repeat writes a second event.

    Raises:
        TurnLost: the claim is void, or the turn has not started.
    """

    claim: TurnClaim
    tool_call_id: str
    tool_name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class EndTurn(Command[Committed]):
    """A claimed turn ends, with one event: the whole message, or only the status if it has neither text nor parts.

    A repeat with the same claim returns the first result.

    Attributes:
        quotas: The quotas of the user that asked for the answer, which have its tokens; None: there are none.

    Raises:
        TurnLost: the claim is void.
    """

    claim: TurnClaim
    ending: Ending
    at: datetime
    quotas: Quotas | None = None


@dataclass(frozen=True, slots=True)
class StopTurn(Command[tuple[StoredTurn, Committed | None]]):
    """A turn to stop. Returns it as it is now, with the event of its end if this command ended it.

    A queued turn ends, also if it is claimed. A streaming one is marked: see `model.Renewal`. An ended one stays.

    Attributes:
        member: As in `NewMessage`.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
        TurnNotFound: the chat has no such turn.
    """

    chat_id: str
    turn_id: str
    at: datetime
    member: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeAi(Command[None]):
    """How a chat answers, from the next message on.

    Attributes:
        member: As in `NewMessage`.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
        RightMissing: the role of ``member`` does not permit it.
    """

    # Of the chats that do not answer, messages load less.
    alone: ClassVar[bool] = True
    chat_id: str
    ai: ChatAi
    at: datetime
    member: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeChat(Command[Committed | None]):
    """Renames a chat, archives it or takes it back, or changes its retention. Returns None if that changes nothing.

    Attributes:
        title: The new title, if ``renames``; None: no title.
        archived: Whether the chat is archived from now on; None: as before.
        retention_days: After how many days messages are deleted, if ``retains``; see `StoredChat`.
        member: As in `NewMessage`.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
        ChatArchived: an archived chat is not renamed.
    """

    chat_id: str
    at: datetime
    title: str | None = None
    renames: bool = False
    archived: bool | None = None
    member: str | None = None
    trace: str | None = None
    retention_days: int | None = None
    retains: bool = False


@dataclass(frozen=True, slots=True)
class DeleteChat(Command[Committed]):
    """Deletes a chat: its members, turns and marks at once, its messages and earlier events soon after.

    Attributes:
        member: As in `NewMessage`.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
    """

    alone: ClassVar[bool] = True
    chat_id: str
    at: datetime
    member: str | None = None
    trace: str | None = None


class MemberAction(StrEnum):
    """A change of a membership."""

    ADD = "add"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class NewMemberChange(Command[Committed | None]):
    """A member to add or remove. Returns None if the change has no effect; nothing is written then.

    Attributes:
        actor_id: The user that makes the change; None for a service, and while authentication is off.
        member: The user that must have the right to do it at the commit, or leaves; None skips the check.
        limits: Limits of the actor's additions; None: no limits. Not used without an actor.
        trace: W3C ``traceparent`` of the request.
        role: The role of an added member.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
        RightMissing: the role of ``member`` does not permit it.
        Banned: the user to add is banned.
        LastOwner: ``member`` is not None, and the chat would have members, but no owner.
        AdditionLimitReached: the actor added users too often.
    """

    chat_id: str
    user_id: str
    action: MemberAction
    actor_id: str | None
    created_at: datetime
    member: str | None = None
    limits: AdditionLimits | None = None
    trace: str | None = None
    role: MemberRole = MemberRole.MEMBER


@dataclass(frozen=True, slots=True)
class ChangeMember(Command[Committed | None]):
    """A new role or mute of a member. Returns None if the change has no effect.

    Attributes:
        member: The user that must have the right to do it at the commit; None skips the check.
        role: The new role; None keeps the role.
        mutes: Whether ``muted_until`` is to be set.
        muted_until: Until when the member cannot write; None, or a time before ``at``: the member can.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
        RightMissing: the role of ``member`` does not permit it, or the user is an owner, which cannot be muted.
        MemberNotFound: the user is not a member.
        LastOwner: ``member`` is not None, and the chat would have members, but no owner.
    """

    chat_id: str
    user_id: str
    at: datetime
    member: str | None = None
    role: MemberRole | None = None
    mutes: bool = False
    muted_until: datetime | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Ban(Command[Committed | None]):
    """A user may not become a member, or may again. Returns the removal if the user was a member.

    Attributes:
        member: The user that must have the right to do it at the commit; None skips the check.
        adds: False ends the ban.
        until: When the ban ends; None: when it is ended.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
        RightMissing: the role of ``member`` does not permit it.
        LastOwner: ``member`` is not None, and the chat would have members, but no owner.
        TooManyEntries: the chat has `MAX_BANS` bans.
    """

    chat_id: str
    user_id: str
    adds: bool
    at: datetime
    member: str | None = None
    until: datetime | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class NewInvite(Command[None]):
    """A link through which users become members.

    Attributes:
        id: The SHA-256 of its token in hexadecimal.
        member: The user that must have the right to do it at the commit; None skips the check.
        role: The role of those that join.
        expires_at: Until when users can join; None: no limit.
        max_uses: How many users can join; None: no limit.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
        RightMissing: the role of ``member`` does not permit it.
        TooManyEntries: the chat has `MAX_INVITES` links.
    """

    chat_id: str
    id: str
    role: MemberRole
    at: datetime
    member: str | None = None
    expires_at: datetime | None = None
    max_uses: int | None = None


@dataclass(frozen=True, slots=True)
class RevokeInvite(Command[None]):
    """Deletes a link; it need not exist.

    Raises:
        ChatNotFound, NotAMember, RightMissing: as for `NewInvite`.
    """

    chat_id: str
    id: str
    at: datetime
    member: str | None = None


@dataclass(frozen=True, slots=True)
class AcceptInvite(Command[Committed | None]):
    """A user becomes a member through a link. Returns None if the user is one already; that uses nothing up.

    Attributes:
        actor_id: The member that created the link; None for a service.

    Raises:
        InviteNotFound: the chat has no such link, it has expired or is used up, or its creator may not invite any more.
        Banned: the user is banned.
    """

    chat_id: str
    id: str
    user_id: str
    at: datetime
    trace: str | None = None
    actor_id: str | None = None


@dataclass(frozen=True, slots=True)
class MarkPublished(Command[None]):
    """Deletes the outbox marks of each chat up to the given seq.

    A mark that reappears after a power failure only costs one more read of the log.
    """

    durable: ClassVar[bool] = False
    up_to: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DeleteMessage(Command[Committed | None]):
    """Erases the text of a message in all its versions, also in the stored events. Returns None if it is deleted.

    Attributes:
        member: As in `NewMessage`. Must be the author of the message, or have the right to delete any.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
        MessageNotFound: the chat has no such message.
        RightMissing: the role of ``member`` does not permit it.
        AnswerActive: the message is being answered, or is an answer that is not finished.
    """

    alone: ClassVar[bool] = True
    chat_id: str
    message_id: str
    at: datetime
    member: str | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class ExpireMessages(Command[tuple[StoredEvent, ...]]):
    """Deletes the oldest messages of a chat: their rows, and their texts in the events. Returns its events.

    An answer that has waited or is being written for more than a day ends.

    Attributes:
        messages: The first messages of the chat, each by the id of one version; at most `MAX_FORGOTTEN`.

    Raises:
        AnswerActive: the chat is being answered; nothing is written.
    """

    alone: ClassVar[bool] = True
    chat_id: str
    messages: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class ForgetUser(Command[tuple[StoredEvent, ...]]):
    """Erases what a user has left in a chat. Returns the events, ascending.

    The messages become deleted ones of the user ``alias``. A chat that is deleted or does not exist stays as it is.

    Attributes:
        user_id: The user.
        messages: Messages of the user or answers to them, each by the id of one version; at most `MAX_FORGOTTEN`.
        reactions: Messages with a reaction of the user, by place.
        member: Whether the user is a member, which ends, also as the last owner and in a direct chat.

    Raises:
        AnswerActive: a message is being answered, or is an answer that is not finished; nothing is written.
    """

    alone: ClassVar[bool] = True
    chat_id: str
    user_id: str
    alias: str
    at: datetime
    messages: tuple[str, ...] = ()
    reactions: Mapping[int, str] = field(default_factory=dict)
    member: bool = False


@dataclass(frozen=True, slots=True)
class Report(Command[None]):
    """A user reports a message to the moderators of its chat; a repeat replaces the reason and the note.

    Attributes:
        member: As in `NewMessage`.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
        MessageNotFound: the chat has no such message, or it is deleted.
        TooManyEntries: the chat has `MAX_REPORTS` open reports.
    """

    chat_id: str
    message_id: str
    reporter_id: str
    reason: str
    note: str
    at: datetime
    member: str | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class ResolveReport(Command[None]):
    """A report is handled, whatever was done. It need not exist.

    Attributes:
        member: The user that must have the right to do it at the commit; None skips the check.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
        RightMissing: the role of ``member`` does not permit it.
    """

    chat_id: str
    message_id: str
    reporter_id: str
    at: datetime
    member: str | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class React(Command[Committed | None]):
    """A user adds a reaction to a message, or takes it back. Returns None if that changes nothing.

    Attributes:
        member: As in `NewMessage`.
        adds: False takes the reaction back.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
        MessageNotFound: the chat has no such message, or it is deleted.
        TooManyMarks: the message has `MAX_EMOJI` other emoji, or `MAX_REACTIONS` reactions.
    """

    chat_id: str
    message_id: str
    emoji: str
    user_id: str
    adds: bool
    at: datetime
    member: str | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Pin(Command[Committed | None]):
    """A member pins a message, or ends that. Returns None if that changes nothing.

    Attributes:
        member: As in `NewMessage`.
        adds: False ends it.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
        MessageNotFound: the chat has no such message, or it is deleted.
        TooManyMarks: the chat has `MAX_PINS` pinned messages.
    """

    chat_id: str
    message_id: str
    adds: bool
    at: datetime
    member: str | None = None
    trace: str | None = None


class CustomEvent(NamedTuple):
    """An event of an application, to store in a chat; see `contract.events.CustomEvent`."""

    chat_id: str
    id: str
    name: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewCustomEvents(Command[tuple[tuple[int, StoredEvent | None], ...]]):
    """Events of an application. Returns, for each, its seq, and the event itself if this command stored it.

    Attributes:
        events: An id that is known in its chat stores nothing again.
        alone: A batch gets a transaction of its own, so that it does not multiply the statements of a shared one.

    Raises:
        ChatNotFound: a chat does not exist; nothing is stored.
    """

    events: tuple[CustomEvent, ...]
    at: datetime
    trace: str | None = None
    alone: bool = False  # type: ignore[misc]  # the class variable's value, chosen for each command


@dataclass(frozen=True, slots=True)
class MarkRead(Command[CursorMoved | None]):
    """A user has read a chat up to an event. Returns None if its cursor is there or further already.

    A power failure may undo it: the messages are unread again.

    Attributes:
        seq: A larger one than the chat's head counts as the head.
        member: As in `NewMessage`.
        epoch: The epoch of the event. If there is no such event, or it was written later, nothing changes: the user
            has seen one that a backup has replaced. None: not checked.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
    """

    durable: ClassVar[bool] = False
    chat_id: str
    user_id: str
    seq: int
    member: str | None = None
    epoch: str | None = None


@dataclass(frozen=True, slots=True)
class SetNotifications(Command[Notifications]):
    """Change what notifies a user of a chat. Returns the new settings, without the user's default.

    Attributes:
        level: ``default``: remove the setting; None: keep it.
        muted_until: A time that has passed ends the mute; None: keep it.
        now: The current time.
        member: As in `NewMessage`.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
    """

    chat_id: str
    user_id: str
    level: Literal["default"] | NotifyLevel | None
    muted_until: datetime | None
    now: datetime
    member: str | None = None


@dataclass(frozen=True, slots=True)
class SetNotificationDefault(Command[None]):
    """Change what notifies a user of chats without a setting."""

    user_id: str
    level: NotifyLevel


@dataclass(frozen=True, slots=True)
class ReserveFile(Command[None]):
    """A file that is about to be uploaded. It is removed at ``due_at`` unless a message has it by then.

    Attributes:
        size: Its maximum size in bytes.
        user_id: The user that uploads it; None while authentication is off.
        member: As in `NewMessage`.
        max_unsent: Maximum total size in bytes of the files of ``member`` that no message has.
        max_total: Maximum total size in bytes of all files of ``member``.

    Raises:
        ChatNotFound: the chat does not exist.
        ChatArchived: the chat is read-only.
        NotAMember: ``member`` is not a member of the chat.
        RightMissing, Muted: ``member`` may not send messages.
        FileLimitReached: ``member`` has uploaded too much.
    """

    id: str
    chat_id: str
    user_id: str | None
    size: int
    at: datetime
    due_at: datetime
    max_unsent: int
    max_total: int
    member: str | None = None


@dataclass(frozen=True, slots=True)
class FinishFile(Command[None]):
    """The content of a reserved file is stored.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
        FileNotFound: the file was removed meanwhile.
    """

    chat_id: str
    attachment: Attachment
    member: str | None = None


@dataclass(frozen=True, slots=True)
class DropFile(Command[bool]):
    """Begins the removal of a file that no message has: from now on, none can. Returns whether it is to be removed.

    Attributes:
        at: The time; a file that is not due yet is kept, unless ``member`` removes it.
        member: The user that uploaded it, and removes it; None: it is removed because it is due.

    Raises:
        ChatNotFound: the chat does not exist.
        NotAMember: ``member`` is not a member of the chat.
        FileNotFound: ``member`` has no such file in the chat.
    """

    chat_id: str
    file_id: str
    at: datetime
    member: str | None = None


@dataclass(frozen=True, slots=True)
class ForgetFile(Command[None]):
    """The content of a dropped file is deleted."""

    chat_id: str
    file_id: str


@dataclass(frozen=True, slots=True)
class PostponeFile(Command[None]):
    """The content of a dropped file cannot be deleted now; it is due again at ``due_at``."""

    chat_id: str
    file_id: str
    due_at: datetime


#: Limits of the lists of a chat.
MAX_BANS = 1_000
MAX_INVITES = 100
MAX_REPORTS = 1_000
#: Limits of the marks, which pages of messages carry.
MAX_EMOJI = 20
MAX_REACTIONS = 500
MAX_PINS = 50
#: Messages that one transaction erases, so that sends to the chat do not wait for long.
MAX_FORGOTTEN = 100
