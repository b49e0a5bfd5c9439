"""The rule that deletes the oldest messages of a chat.

Layer: store.rules. Source: docs/personal-data.md, "Retention".
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from roomcast.chat.commands import ExpireMessages
from roomcast.chat.errors import AnswerActive
from roomcast.chat.model import ChatState, StoredEvent
from roomcast.contract.events import EventType
from roomcast.store.rules import files
from roomcast.store.rules.exchange import LoadedRows, Needs
from roomcast.store.rules.membership.reads import erase_mentions
from roomcast.store.rules.work import Work
from roomcast.store.tables import pins, reactions

#: A turn that has waited for a worker or for its end for longer keeps no message.
_LONGEST_ANSWER: Final = timedelta(days=1)


def needs(needs: Needs, command: ExpireMessages) -> None:
    """The rows for `expire`."""
    needs.chat(command.chat_id)
    needs.versions.update(command.messages)
    needs.turns.changing.add(command.chat_id)


def follow(needs: Needs, loaded: LoadedRows, command: ExpireMessages) -> None:
    """The files of the messages."""
    files.needs_of_messages(needs, loaded, command.messages)


def expire(work: Work, command: ExpireMessages) -> tuple[StoredEvent, ...]:
    """Erase the messages in the events, and delete their rows."""
    chat = work.recorder.chats.get(command.chat_id)
    found = [version for message_id in command.messages for version in work.versions[message_id]]
    if chat is None or chat.state in {ChatState.DELETED, ChatState.ERASED} or not found:
        return ()
    ids, through = {version.id for version in found}, max(version.place for version in found)
    # A later answer may have read them; that is no reason to keep them.
    active = [
        row
        for row in work.turns.active(chat.id)
        if row.turn.question_id in ids or (row.turn.place is not None and row.turn.place <= through)
    ]
    for row in active:
        if row.event.created_at > command.at - _LONGEST_ANSWER:
            raise AnswerActive(row.turn.id)
    given_up = [work.turns.give_up(row, command.at) for row in active]
    files.drop_of(work, command.messages)
    for version in found:
        erase_mentions(work, version)
        work.recorder.erase(version, command.at)
        work.delete(reactions, chat.id, version.place)
        work.delete(pins, chat.id, version.place)
        work.recorder.expired.add(version.id)
    return (*given_up, work.recorder.add(chat.id, EventType.MESSAGES_EXPIRED, command.at, through=through))
