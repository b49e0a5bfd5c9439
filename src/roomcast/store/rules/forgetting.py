"""The rule that erases what a user has left in a chat.

Its events have the user's id, so that clients change what they show; the erasure replaces it later, as in all events.

Layer: store.rules. Source: docs/personal-data.md.
"""

from __future__ import annotations

import json
from dataclasses import replace

from roomcast.chat.commands import ForgetUser, MemberAction
from roomcast.chat.errors import AnswerActive
from roomcast.chat.model import ChatState, StoredChat, StoredEvent
from roomcast.contract.events import EventType
from roomcast.store.rules import files
from roomcast.store.rules.exchange import LoadedRows, Needs
from roomcast.store.rules.membership import members
from roomcast.store.rules.membership.reads import erase_mentions
from roomcast.store.rules.turns import ACTIVE
from roomcast.store.rules.work import Work
from roomcast.store.tables import direct_chats, pins, reactions
from roomcast.store.tables import members as members_table


def needs(needs: Needs, command: ForgetUser) -> None:
    """The rows for `forget`."""
    needs.chat(command.chat_id)
    needs.row(members_table, command.chat_id, command.user_id)
    needs.versions.update(command.messages)
    for place in command.reactions:
        needs.row(reactions, command.chat_id, place)


def follow(needs: Needs, loaded: LoadedRows, command: ForgetUser) -> None:
    """The files of the messages."""
    files.needs_of_messages(needs, loaded, command.messages)


def forget(work: Work, command: ForgetUser) -> tuple[StoredEvent, ...]:
    """Erase messages, reactions and the membership of a user."""
    chat = work.recorder.chats.get(command.chat_id)
    if chat is None or chat.state in {ChatState.DELETED, ChatState.ERASED}:
        return ()
    for versions in (work.versions[message_id] for message_id in command.messages):
        for turn in (version.turn for version in versions):
            if turn is not None and turn.status in ACTIVE:
                raise AnswerActive(turn.id)
    events = [*_forget_messages(work, command), *_forget_reactions(work, command)]
    if command.member and work.row(members_table, chat.id, command.user_id) is not None:
        _leave_direct(work, work.recorder.chats[chat.id], command)
        events.append(members.record(work, chat.id, command.user_id, MemberAction.REMOVE, None, command.at))
    return tuple(events)


def _forget_messages(work: Work, command: ForgetUser) -> list[StoredEvent]:
    places = set()
    files.drop_of(work, command.messages)
    for message_id in command.messages:
        for version in work.versions[message_id]:
            if not version.deleted:
                erase_mentions(work, version)
                places.add(version.place)
            own = version.user_id == command.user_id
            author = command.alias if own else version.user_id
            forgotten = replace(version, user_id=author, client_msg_id=None)
            work.recorder.erase(forgotten, command.at, user_id=author, client_msg_id=None)
            work.delete(reactions, command.chat_id, version.place)
            work.delete(pins, command.chat_id, version.place)
    if not places:
        return []
    found = tuple(sorted(places))
    return [work.recorder.add(command.chat_id, EventType.MESSAGES_ERASED, command.at, places=found)]


def _forget_reactions(work: Work, command: ForgetUser) -> list[StoredEvent]:
    events = []
    for place, message_id in command.reactions.items():
        row = work.row(reactions, command.chat_id, place)
        users: dict[str, list[str]] = {} if row is None else json.loads(row["users"])
        kept = {emoji: [user for user in ids if user != command.user_id] for emoji, ids in users.items()}
        left = {emoji: ids for emoji, ids in kept.items() if ids}
        if left:
            work.put(reactions, command.chat_id, place, users=json.dumps(left, ensure_ascii=False))
        elif row is not None:
            work.delete(reactions, command.chat_id, place)
        events += [
            work.recorder.add(
                command.chat_id,
                EventType.REACTION_CHANGED,
                command.at,
                place=place,
                message_id=message_id,
                emoji=emoji,
                added=False,
                user_id=command.user_id,
            )
            for emoji, ids in users.items()
            if command.user_id in ids
        ]
    return events


def _leave_direct(work: Work, chat: StoredChat, command: ForgetUser) -> None:
    """Let the users of a direct chat open another one, which they could not read together any more."""
    if chat.direct is None:
        return
    work.delete(direct_chats, *chat.direct)
    first, second = (command.alias if user == command.user_id else user for user in chat.direct)
    direct = (first, second)
    work.recorder.change_chat(replace(chat, direct=direct), direct=json.dumps(direct, ensure_ascii=False))
