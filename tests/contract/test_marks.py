"""The contract of the commands that mark messages, over every store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from roomcast.chat.commands import MAX_EMOJI, MAX_PINS, Command, DeleteMessage, EndTurn, NewChat, Pin, React, StartTurn
from roomcast.chat.errors import AnswerActive, ChatNotFound, MessageNotFound, NotAMember, RightMissing, TooManyMarks
from roomcast.chat.model import Ending, StoredMessage
from roomcast.contract.events import EventType, TurnReason, TurnStatus
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from support.backend import START, new_message


@pytest.fixture
async def store(database_options: DatabaseOptions) -> AsyncIterator[Store]:
    async with open_store(database_options) as opened:
        await opened.chats.commit(NewChat("c", None, None, START, "ann", ("bob",)))
        yield opened


async def send(store: Store, **changes: Any) -> str:
    committed = await store.chats.commit(new_message(**changes))
    found: str = json.loads(committed.event.payload)["id"]
    return found


async def messages(store: Store) -> list[StoredMessage]:
    found, _ = await store.chats.messages("c", before=None, after=None, limit=100)
    return list(found)


def react(message_id: str, emoji: str = "👍", user_id: str = "ann", *, adds: bool = True) -> React:
    return React("c", message_id, emoji, user_id, adds, START, user_id)


async def test_a_reaction_is_an_event_and_is_read_with_its_message(store: Store) -> None:
    message_id = await send(store)
    committed = await store.chats.commit(react(message_id))
    assert committed is not None
    assert committed.event.type is EventType.REACTION_CHANGED
    (message,) = await messages(store)
    assert json.loads(committed.event.payload) == {
        "chatId": "c",
        "epoch": store.chats.epoch,
        "seq": committed.event.seq,
        "time": "2026-01-02T03:04:05.678Z",
        "place": message.place,
        "messageId": message_id,
        "emoji": "👍",
        "added": True,
        "userId": "ann",
    }
    assert await store.chats.commit(react(message_id)) is None
    await store.chats.commit(react(message_id, user_id="bob"))
    await store.chats.commit(react(message_id, "🎉", "bob"))
    (message,) = await messages(store)
    assert message.reactions == {"👍": ["ann", "bob"], "🎉": ["bob"]}
    await store.chats.commit(react(message_id, user_id="ann", adds=False))
    await store.chats.commit(react(message_id, "🎉", "bob", adds=False))
    assert await store.chats.commit(react(message_id, "🎉", "bob", adds=False)) is None
    (message,) = await messages(store)
    assert message.reactions == {"👍": ["bob"]}


async def test_reactions_in_one_batch_do_not_undo_each_other(store: Store) -> None:
    message_id = await send(store)
    first, second = react(message_id), react(message_id, user_id="bob")
    await store.chats.commit(first)
    commands = (second, react(message_id, "🎉"), react(message_id, adds=False))
    await asyncio.gather(*map(store.chats.commit, commands))
    (message,) = await messages(store)
    assert message.reactions == {"👍": ["bob"], "🎉": ["ann"]}


async def test_all_versions_of_a_message_share_its_marks(store: Store) -> None:
    first = await send(store, user_id="ann")
    await store.chats.commit(react(first))
    second = await send(store, replaces=first, user_id="ann", member="ann")
    await store.chats.commit(react(second, user_id="bob"))
    await store.chats.commit(Pin("c", first, True, START, "ann"))
    (message,) = await messages(store)
    assert (message.id, message.reactions, message.pinned) == (second, {"👍": ["ann", "bob"]}, True)
    assert [found.id for found in await store.chats.pinned("c")] == [second]


async def test_a_message_has_a_limited_number_of_emoji_and_a_chat_of_pins(store: Store) -> None:
    message_id = await send(store)
    for number in range(MAX_EMOJI):
        await store.chats.commit(react(message_id, chr(0x1F600 + number)))
    with pytest.raises(TooManyMarks):
        await store.chats.commit(react(message_id, "🎉"))
    await store.chats.commit(react(message_id, chr(0x1F600), "bob"))
    pins = [await send(store) for _ in range(MAX_PINS + 1)]
    for pin in pins[:-1]:
        assert await store.chats.commit(Pin("c", pin, True, START, "ann")) is not None
    with pytest.raises(TooManyMarks):
        await store.chats.commit(Pin("c", pins[-1], True, START, "ann"))
    await store.chats.commit(Pin("c", pins[0], False, START, "ann"))
    assert await store.chats.commit(Pin("c", pins[0], False, START, "ann")) is None
    await store.chats.commit(Pin("c", pins[-1], True, START, "ann"))
    assert [found.id for found in await store.chats.pinned("c")] == pins[1:]


async def test_a_deleted_message_keeps_its_place_and_loses_its_text_everywhere(store: Store) -> None:
    first = await send(store, content="secret one", user_id="ann", reply_to=None)
    second = await send(store, content="secret two", user_id="ann", replaces=first, member="ann")
    await send(store, content="public", reply_to=second)
    await store.chats.commit(react(second))
    await store.chats.commit(Pin("c", second, True, START))
    committed = await store.chats.commit(DeleteMessage("c", first, START, "ann"))
    assert committed is not None
    assert committed.event.type is EventType.MESSAGE_DELETED
    assert json.loads(committed.event.payload)["messageId"] == second
    message, reply = await messages(store)
    assert (message.id, message.content, message.deleted, message.reactions) == (second, "", True, {})
    assert (message.pinned, reply.content, reply.reply_to) == (False, "public", second)
    versions = await store.chats.versions("c", second, 10)
    assert [(version.content, version.deleted) for version in versions] == [("", True), ("", True)]
    events, _ = await store.chats.events_after("c", 0, 100)
    assert not [event for event in events if b"secret" in event.payload]
    assert [json.loads(event.payload)["deleted"] for event in events if b'"content":""' in event.payload] == [True] * 2
    assert await store.chats.commit(DeleteMessage("c", second, START, "ann")) is None
    for command in (react(second), Pin("c", second, True, START, "ann")):
        with pytest.raises(MessageNotFound):
            await store.chats.commit(command)
    with pytest.raises(MessageNotFound):
        await send(store, replaces=second, user_id="ann", member="ann")


async def test_commands_for_a_message_that_arrive_with_its_deletion_do_not_restore_it(store: Store) -> None:
    message_id = await send(store, content="secret", user_id="ann")
    deletion = DeleteMessage("c", message_id, START, "ann")
    edits = [
        new_message(content=f"secret {number}", user_id="ann", member="ann", replaces=message_id) for number in (2, 3)
    ]
    pin = Pin("c", message_id, True, START, "ann")
    commands: list[Command[Any]] = [new_message(), edits[0], deletion, edits[1], deletion, pin, react(message_id)]
    outcomes = await asyncio.gather(*map(store.chats.commit, commands), return_exceptions=True)
    assert outcomes[2] is not None
    assert outcomes[4] is None
    assert [type(outcome) for outcome in (outcomes[3], *outcomes[5:])] == [MessageNotFound] * 3
    events, _ = await store.chats.events_after("c", 0, 100)
    assert not [event for event in events if b"secret" in event.payload]
    assert [event.type for event in events].count(EventType.MESSAGE_DELETED) == 1
    assert await store.chats.pinned("c") == []
    message, _ = await messages(store)
    assert (message.deleted, message.content, message.reactions) == (True, "", {})


async def test_only_the_author_a_moderator_and_a_service_delete_a_message(store: Store) -> None:
    message_id = await send(store, user_id="ann")
    with pytest.raises(RightMissing):
        await store.chats.commit(DeleteMessage("c", message_id, START, "bob"))
    assert await store.chats.commit(DeleteMessage("c", message_id, START)) is not None


async def test_a_message_that_is_being_answered_is_not_deleted(store: Store) -> None:
    message_id = await send(store, default_responder="demo")
    with pytest.raises(AnswerActive):
        await store.chats.commit(DeleteMessage("c", message_id, START))
    turn = await store.turns.claim_turn(START, START)
    assert turn is not None
    await store.turns.commit(StartTurn(turn.claim, START))
    with pytest.raises(AnswerActive):
        await store.chats.commit(DeleteMessage("c", turn.claim.turn_id, START))


async def test_a_message_is_not_deleted_while_the_answer_to_its_earlier_version_grows(store: Store) -> None:
    first = await send(store, user_id="ann", default_responder="demo")
    turn = await store.turns.claim_turn(START, START)
    assert turn is not None
    await store.turns.commit(StartTurn(turn.claim, START))
    second = await send(store, user_id="ann", member="ann", replaces=first)  # asks for no answer
    with pytest.raises(AnswerActive):
        await store.chats.commit(DeleteMessage("c", second, START))
    await store.turns.commit(EndTurn(turn.claim, Ending(TurnStatus.STOPPED, TurnReason.REPLACED), START))
    assert await store.chats.commit(DeleteMessage("c", second, START)) is not None


async def test_reactions_and_pins_read_no_text_and_one_statement_for_all_messages(store: Store) -> None:
    commands = [
        mark
        for message_id in [await send(store) for _ in range(5)]
        for mark in (react(message_id), Pin("c", message_id, True, START))
    ]
    statements: list[str] = []
    with recorded(statements):
        await store.chats.commit(commands[0])
        await asyncio.gather(*map(store.chats.commit, commands[1:]))
    reads = [statement for statement in statements if "any_version" in statement]
    assert 2 <= len(reads) <= 3
    assert not [statement for statement in statements if "messages.content" in statement]


@contextmanager
def recorded(statements: list[str]) -> Iterator[None]:
    """Record the statements that SQLAlchemy runs."""

    def record(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", record)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", record)


async def test_the_replies_to_any_version_of_a_message_are_found(store: Store) -> None:
    first = await send(store, user_id="ann")
    to_first = await send(store, reply_to=first)
    second = await send(store, replaces=first, user_id="ann", member="ann")
    to_second = await send(store, reply_to=second)
    await send(store)
    for message_id in (first, second):
        assert [found.id for found in await store.chats.replies("c", message_id, 10)] == [to_first, to_second]
    assert [found.id for found in await store.chats.replies("c", first, 1)] == [to_second]
    assert await store.chats.replies("other", first, 10) == []


@pytest.mark.parametrize("kind", [DeleteMessage, React, Pin])
async def test_marks_need_a_chat_a_member_and_a_message_of_the_chat(store: Store, kind: type[Any]) -> None:
    message_id = await send(store)
    await store.chats.commit(NewChat("d", None, None, START, "ann"))

    async def mark(chat_id: str, message_id: str, member: str | None) -> object:
        if kind is DeleteMessage:
            return await store.chats.commit(DeleteMessage(chat_id, message_id, START, member))
        if kind is Pin:
            return await store.chats.commit(Pin(chat_id, message_id, True, START, member))
        return await store.chats.commit(React(chat_id, message_id, "👍", "ann", True, START, member))

    with pytest.raises(ChatNotFound):
        await mark("none", message_id, None)
    with pytest.raises(NotAMember):
        await mark("c", message_id, "eve")
    for chat_id, given in (("c", "none"), ("d", message_id)):
        with pytest.raises(MessageNotFound):
            await mark(chat_id, given, "ann")
    with pytest.raises(MessageNotFound):
        await send(store, chat_id="d", reply_to=message_id)
