"""The rules for what users have read, and for the messages that mention them.

Layer: store.rules. Source: docs/decisions/0017.
"""

from __future__ import annotations

from roomcast.chat.commands import MarkRead, NewMessage
from roomcast.chat.model import CursorMoved, StoredMessage
from roomcast.chat.policies.mentions import mentioned
from roomcast.contract.tenants import MAX_QUALIFIED_CHARS, qualify, tenant_of
from roomcast.store.rules.exchange import LoadedRows, Needs
from roomcast.store.rules.work import Work
from roomcast.store.tables import events, members, mentions, reads


def needs(needs: Needs, command: MarkRead) -> None:
    """The rows for `mark`."""
    needs.chat(command.chat_id, command.member)
    needs.row(reads, command.chat_id, command.user_id)
    if command.epoch is not None:
        needs.row(events, command.chat_id, command.seq)


def follow(needs: Needs, _loaded: LoadedRows, command: MarkRead) -> None:
    """The number of members."""
    needs.counts.add((members, command.chat_id))


def mark(work: Work, command: MarkRead) -> CursorMoved | None:
    """Move a cursor; never back."""
    chat = work.chat(command.chat_id, command.member)
    row = work.row(reads, chat.id, command.user_id)
    if command.epoch is not None and not _has_seen(work, command):
        return None
    seq = min(command.seq, chat.last_seq)
    if row is not None and row["seq"] >= seq:
        return None
    work.put(reads, chat.id, command.user_id, seq=seq)
    return CursorMoved(seq, work.count(members, chat.id))


def _has_seen(work: Work, command: MarkRead) -> bool:
    """Whether the event of a command's seq is the one of its epoch, and not one that was written after a restore."""
    event = work.row(events, command.chat_id, command.seq)
    known = work.lineage.id_of(command.epoch or "")
    return event is not None and known is not None and event["epoch_id"] <= known


def _mentioned(chat_id: str, content: str) -> list[list[str]]:
    """The possible ids of each mention. Texts have local ids."""
    if not (found := mentioned(content)):
        return []
    tenant = tenant_of(chat_id)
    most = MAX_QUALIFIED_CHARS - (len(tenant) + 1 if tenant else 0)
    return [[qualify(tenant, user_id) for user_id in ids if len(user_id) <= most] for ids in found]


def needs_mentions(needs: Needs, new: NewMessage) -> None:
    """The rows for `record_mentions`."""
    for ids in _mentioned(new.chat_id, new.content):
        for user_id in ids:
            needs.row(members, new.chat_id, user_id)
            needs.row(reads, new.chat_id, user_id)


def record_mentions(work: Work, message: StoredMessage) -> None:
    """Record mentions of members by a new message or version; without members, of users that have read the chat."""
    chat_id = message.chat_id
    for ids in _mentioned(message.chat_id, message.content):
        known = (user for user in ids if work.row(members, chat_id, user) or work.row(reads, chat_id, user))
        user_id = next(known, None)
        if user_id is not None and user_id != message.user_id:
            work.put(mentions, chat_id, user_id, message.place)


def erase_mentions(work: Work, message: StoredMessage) -> None:
    """Delete what a version of a message may have recorded."""
    for ids in _mentioned(message.chat_id, message.content):
        for user_id in ids:
            work.delete(mentions, message.chat_id, user_id, message.place)
