"""The rules for chats: a chat is created once, and members change how it answers.

Layer: store.rules.
"""

from __future__ import annotations

from dataclasses import replace

from roomcast.chat.commands import ChangeAi, ChangeChat, DeleteChat, MarkPublished, MemberAction, NewChat, OpenDirect
from roomcast.chat.errors import ChatExists
from roomcast.chat.model import AuditAction, ChatAi, ChatState, Committed, StoredChat, StoredEvent
from roomcast.chat.policies.rights import Right
from roomcast.contract.events import EventType, MemberRole
from roomcast.store.rows import encode_ai
from roomcast.store.rules.exchange import Needs
from roomcast.store.rules.membership import members, rights
from roomcast.store.rules.work import Work
from roomcast.store.tables import direct_chats


def needs_new(needs: Needs, new: NewChat) -> None:
    """The rows for `create`."""
    needs.chat(new.id)
    members.needs_additions(needs, new.creator_id, new.members)


def create(work: Work, new: NewChat) -> tuple[StoredChat, tuple[StoredEvent, ...]]:
    """Create a chat. Its first events add the creator, which becomes its owner, and the members."""
    recorder = work.recorder
    if new.id in recorder.chats:
        raise ChatExists(new.id)
    members.charge(work, new.creator_id, new.members, new.limits, new.created_at)
    recorder.add_chat(new)
    creator = () if new.creator_id is None else (new.creator_id,)
    added = tuple(
        members.record(
            work,
            new.id,
            user_id,
            MemberAction.ADD,
            new.creator_id,
            new.created_at,
            role=MemberRole.OWNER if user_id == new.creator_id else MemberRole.MEMBER,
        )
        for user_id in dict.fromkeys((*creator, *new.members))
    )
    return recorder.chats[new.id], added


def needs_direct(needs: Needs, command: OpenDirect) -> None:
    """The rows for `open_direct`."""
    needs.chat(command.id)
    # Both users may open it at the same time.
    needs.locks.update(command.users)
    needs.row(direct_chats, *command.users)
    members.needs_additions(needs, command.creator_id, command.users)


def open_direct(work: Work, command: OpenDirect) -> tuple[str, tuple[StoredEvent, ...]]:
    """Find the direct chat of two users, or create it. It answers if it is mentioned."""
    known = work.row(direct_chats, *command.users)
    if known is not None:
        return known["chat_id"], ()
    members.charge(work, command.creator_id, command.users, command.limits, command.at)
    new = NewChat(command.id, None, ChatAi(answers="mention"), command.at)
    work.recorder.add_chat(new, direct=command.users)
    work.put(direct_chats, *command.users, chat_id=new.id)
    added = tuple(
        members.record(work, new.id, user_id, MemberAction.ADD, command.creator_id, command.at)
        for user_id in command.users
    )
    return new.id, added


def needs_ai(needs: Needs, change: ChangeAi) -> None:
    """The rows for `change_ai`."""
    needs.chat(change.chat_id, change.member)
    needs.turns.changing.add(change.chat_id)


def change_ai(work: Work, change: ChangeAi) -> None:
    """Change how a chat answers."""
    chat = work.open_chat(change.chat_id, change.member)
    rights.check(work, change.chat_id, change.member, Right.CHANGE_AI, change.at)
    work.recorder.change_chat(replace(chat, ai=change.ai), ai=encode_ai(change.ai))
    if change.ai != chat.ai:
        work.recorder.record_silent_act(AuditAction.AI_CHANGED, chat.id, change.at, change.member)


def needs_chat(needs: Needs, command: ChangeChat | DeleteChat) -> None:
    """The rows for `change` and `delete`."""
    rights.needs(needs, command.chat_id, command.member, Right.RENAME_CHAT)


def _check(work: Work, chat: StoredChat, member: str | None, right: Right) -> None:
    """Check a right over the chat. The two users of a direct chat have all of them."""
    if chat.direct is None:
        rights.check(work, chat.id, member, right)


def change(work: Work, change: ChangeChat) -> Committed | None:
    """Rename a chat, archive it or take it back, or change how long it keeps messages."""
    chat = (work.open_chat if change.renames else work.chat)(change.chat_id, change.member)
    if change.renames:
        _check(work, chat, change.member, Right.RENAME_CHAT)
    if change.archived is not None:
        _check(work, chat, change.member, Right.ARCHIVE_CHAT)
    if change.retains:
        _check(work, chat, change.member, Right.CHANGE_RETENTION)
    title = change.title if change.renames else chat.title
    archived = chat.state is ChatState.ARCHIVED if change.archived is None else change.archived
    state = ChatState.ARCHIVED if archived else None
    days = change.retention_days if change.retains else chat.retention_days
    if (title, state, days) == (chat.title, chat.state, chat.retention_days):
        return None
    changed = replace(chat, title=title, state=state, retention_days=days)
    work.recorder.change_chat(changed, title=title, state=state, retention_days=days)
    event = work.recorder.add(
        chat.id,
        EventType.CHAT_CHANGED,
        change.at,
        change.trace,
        title=title,
        archived=archived,
        user_id=change.member,
        retention_days=days,
    )
    for action, differs in (
        (AuditAction.CHAT_RENAMED, title != chat.title),
        (AuditAction.CHAT_ARCHIVED if archived else AuditAction.CHAT_UNARCHIVED, state != chat.state),
        (AuditAction.RETENTION_CHANGED, days != chat.retention_days),
    ):
        if differs:
            work.recorder.record_act(action, event, change.member)
    return Committed(event, created=True)


def delete(work: Work, command: DeleteChat) -> Committed:
    """Delete a chat. Claims of its turns are void from now on."""
    chat, recorder = work.chat(command.chat_id, command.member), work.recorder
    _check(work, chat, command.member, Right.DELETE_CHAT)
    recorder.emptied[chat.id] = chat.last_seq
    if chat.direct is not None:
        work.delete(direct_chats, *chat.direct)
    deleted = replace(chat, title=None, ai=ChatAi(), state=ChatState.DELETED)
    recorder.change_chat(deleted, title=None, ai=None, state=ChatState.DELETED)
    event = recorder.add(chat.id, EventType.CHAT_DELETED, command.at, command.trace, user_id=command.member)
    recorder.record_act(AuditAction.CHAT_DELETED, event, command.member)
    return Committed(event, created=True)


def needs_nothing(needs: Needs, command: MarkPublished) -> None:
    """Marks are deleted without being read."""


def mark_published(work: Work, command: MarkPublished) -> None:
    """Delete outbox marks."""
    for chat_id, seq in command.up_to.items():
        work.published[chat_id] = max(seq, work.published.get(chat_id, 0))
