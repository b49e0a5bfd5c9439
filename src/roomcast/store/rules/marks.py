"""The rules for what members do to a stored message: delete it, react to it, pin it.

All versions of a message share its marks, which belong to its place.

Layer: store.rules.
"""

from __future__ import annotations

import json

from roomcast.chat.commands import MAX_EMOJI, MAX_PINS, MAX_REACTIONS, DeleteMessage, Pin, React
from roomcast.chat.errors import AnswerActive, MessageNotFound, TooManyMarks
from roomcast.chat.model import AuditAction, Committed
from roomcast.chat.policies.rights import Right
from roomcast.contract.events import EventType
from roomcast.store.rows import to_ms
from roomcast.store.rules import files as attached_files
from roomcast.store.rules.exchange import LastVersion, LoadedRows, Needs
from roomcast.store.rules.membership import rights
from roomcast.store.rules.membership.reads import erase_mentions
from roomcast.store.rules.turns import ACTIVE
from roomcast.store.rules.work import Work
from roomcast.store.tables import pins, reactions

_Marking = DeleteMessage | React | Pin


def needs(needs: Needs, command: _Marking) -> None:
    """The rows for all rules of this module."""
    needs.chat(command.chat_id, command.member)
    needs.last_versions.add(command.message_id)
    if isinstance(command, DeleteMessage):
        needs.versions.add(command.message_id)


def follow(needs: Needs, loaded: LoadedRows, command: _Marking) -> None:
    """The marks at the place of the message."""
    message = loaded.last_versions.get(command.message_id)
    if message is not None:
        if isinstance(command, React):
            needs.row(reactions, command.chat_id, message.place)
        if isinstance(command, Pin):
            needs.row(pins, command.chat_id, message.place)
            needs.counts.add((pins, command.chat_id))
        if isinstance(command, DeleteMessage):
            attached_files.needs_of_messages(needs, loaded, (command.message_id,))


def delete(work: Work, command: DeleteMessage) -> Committed | None:
    """Erase a message."""
    message = _message(work, command)
    versions = work.versions[command.message_id]
    last = versions[-1]
    own = last.role == "USER" and last.user_id == command.member
    right = Right.DELETE_OWN if own else Right.DELETE_ANY
    rights.check(work, command.chat_id, command.member, right, command.at)
    if last.deleted:
        return None
    # The answer to an earlier version grows until its worker reads that it has to stop.
    for turn in (version.turn for version in versions):
        if turn is not None and turn.status in ACTIVE:
            raise AnswerActive(turn.id)
    attached_files.drop_of(work, (command.message_id,))
    for version in versions:
        work.recorder.erase(version, command.at)
        erase_mentions(work, version)
    work.delete(reactions, command.chat_id, last.place)
    work.delete(pins, command.chat_id, last.place)
    committed = _record(work, EventType.MESSAGE_DELETED, command, message, user_id=command.member)
    if command.member is None or command.member != last.user_id:
        work.recorder.record_act(AuditAction.MESSAGE_DELETED, committed.event, command.member, last.id)
    return committed


def react(work: Work, command: React) -> Committed | None:
    """Add a reaction, or take it back."""
    message = _shown(work, command)
    rights.check(work, command.chat_id, command.member, Right.REACT, command.at)
    row = work.row(reactions, command.chat_id, message.place)
    users: dict[str, list[str]] = {} if row is None else json.loads(row["users"])
    of_emoji = users.setdefault(command.emoji, [])
    if (command.user_id in of_emoji) == command.adds:
        return None
    if not command.adds:
        of_emoji.remove(command.user_id)
    elif len(users) > MAX_EMOJI or sum(map(len, users.values())) >= MAX_REACTIONS:
        raise TooManyMarks(f"a message has at most {MAX_EMOJI} different emoji and {MAX_REACTIONS} reactions")
    else:
        of_emoji.append(command.user_id)
    kept = {emoji: ids for emoji, ids in users.items() if ids}
    if kept:
        work.put(reactions, command.chat_id, message.place, users=json.dumps(kept, ensure_ascii=False))
    else:
        work.delete(reactions, command.chat_id, message.place)
    return _record(
        work,
        EventType.REACTION_CHANGED,
        command,
        message,
        emoji=command.emoji,
        added=command.adds,
        user_id=command.user_id,
    )


def pin(work: Work, command: Pin) -> Committed | None:
    """Pin a message, or end that."""
    message = _shown(work, command)
    rights.check(work, command.chat_id, command.member, Right.PIN, command.at)
    if (work.row(pins, command.chat_id, message.place) is not None) == command.adds:
        return None
    if command.adds:
        if work.count(pins, command.chat_id) >= MAX_PINS:
            raise TooManyMarks(f"a chat has at most {MAX_PINS} pinned messages")
        work.put(pins, command.chat_id, message.place, pinned_at=to_ms(command.at))
    else:
        work.delete(pins, command.chat_id, message.place)
    return _record(work, EventType.PIN_CHANGED, command, message, pinned=command.adds, user_id=command.member)


def _message(work: Work, command: _Marking) -> LastVersion:
    """The last version of the message."""
    work.chat(command.chat_id, command.member)
    message = work.last_versions.get(command.message_id)
    if message is None or message.chat_id != command.chat_id:
        raise MessageNotFound(command.chat_id, command.message_id)
    return message


def _shown(work: Work, command: _Marking) -> LastVersion:
    work.open_chat(command.chat_id, command.member)
    message = _message(work, command)
    if message.deleted:
        raise MessageNotFound(command.chat_id, command.message_id)
    return message


def _record(work: Work, event_type: EventType, command: _Marking, message: LastVersion, **fields: object) -> Committed:
    event = work.recorder.add(
        command.chat_id,
        event_type,
        command.at,
        command.trace,
        place=message.place,
        message_id=message.id,
        **fields,
    )
    return Committed(event, created=True)
