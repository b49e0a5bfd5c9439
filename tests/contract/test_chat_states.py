"""The contract of the commands that rename, archive and delete a chat, over every store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from roomcast.chat.commands import (
    ChangeAi,
    ChangeChat,
    Command,
    DeleteChat,
    DeleteMessage,
    EndTurn,
    MarkPublished,
    MemberAction,
    NewChat,
    NewMemberChange,
    NewVersion,
    OpenDirect,
    Pin,
    React,
    StartTurn,
)
from roomcast.chat.errors import ChatArchived, ChatError, ChatExists, ChatNotFound, NotAllowed, NotAMember, TurnLost
from roomcast.chat.ids import new_id
from roomcast.chat.model import ChatAi, ChatState, Ending
from roomcast.contract.cursor import Cursor
from roomcast.contract.events import EventType, TurnStatus
from roomcast.contract.text import MAX_SEQ
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from support.backend import START, new_message


@pytest.fixture
async def store(database_options: DatabaseOptions) -> AsyncIterator[Store]:
    async with open_store(database_options) as opened:
        await opened.chats.commit(NewChat("c", "first", None, START, "ann", ("bob",)))
        yield opened


async def publish_and_erase(store: Store) -> None:
    await store.chats.commit(MarkPublished({"c": MAX_SEQ}))
    while await store.chats.erase_deleted(100):
        pass


async def test_a_chat_is_renamed_and_archived_by_events(store: Store) -> None:
    committed = await store.chats.commit(ChangeChat("c", START, title="second", renames=True, member="ann"))
    assert committed is not None
    assert committed.event.type is EventType.CHAT_CHANGED
    assert await store.chats.commit(ChangeChat("c", START, title="second", renames=True)) is None
    archived = await store.chats.commit(ChangeChat("c", START, archived=True, member="ann"))
    assert archived is not None
    fields = json.loads(archived.event.payload)
    assert (fields["title"], fields["archived"], fields["userId"]) == ("second", True, "ann")
    assert [chat.id for chat in await store.chats.chats(10, None, "ann")] == []
    (found,) = await store.chats.chats(10, None, "ann", archived=True)
    assert (found.id, found.title, found.state) == ("c", "second", ChatState.ARCHIVED)
    await store.chats.commit(ChangeChat("c", START, archived=False))
    assert [chat.id for chat in await store.chats.chats(10, None, None)] == ["c"]
    assert await store.chats.commit(new_message(member="ann")) is not None


async def test_a_chat_is_renamed_archived_and_deleted_in_the_batch_that_creates_it(store: Store) -> None:
    await asyncio.gather(
        *(store.chats.commit(NewChat(chat_id, "first", None, START, "ann")) for chat_id in ("new", "gone")),
        store.chats.commit(ChangeAi("new", ChatAi(answers="never"), START)),
        store.chats.commit(ChangeChat("new", START, title="second", renames=True)),
        store.chats.commit(ChangeChat("new", START, archived=True)),
        store.chats.commit(DeleteChat("gone", START)),
    )
    found = await store.chats.chat("new")
    assert found is not None
    assert (found.title, found.state, found.ai.answers) == ("second", ChatState.ARCHIVED, "never")
    assert await store.chats.chat("gone") is None
    assert await store.chats.members("gone", 10) == []


async def test_an_archived_chat_is_read_and_left_and_not_written(store: Store) -> None:
    committed = await store.chats.commit(new_message(member="ann", default_responder="demo"))
    message_id = json.loads(committed.event.payload)["id"]
    turn = await store.turns.claim_turn(START, START)
    assert turn is not None
    await store.turns.commit(StartTurn(turn.claim, START))
    await store.chats.commit(ChangeChat("c", START, archived=True))
    refused: list[Command[object]] = [
        new_message(member="ann"),
        new_message(role="AI", user_id=None),
        NewVersion("c", turn.claim.turn_id, START),
        React("c", message_id, "👍", "ann", True, START),
        Pin("c", message_id, True, START),
        ChangeAi("c", ChatAi(), START),
        NewMemberChange("c", "eve", MemberAction.ADD, None, START),
        ChangeChat("c", START, title="other", renames=True),
    ]
    for command in refused:
        with pytest.raises(ChatArchived):
            await store.chats.commit(command)
    with pytest.raises(NotAMember):
        await store.chats.commit(new_message(member="eve"))
    # An answer that has begun ends.
    await store.turns.commit(EndTurn(turn.claim, Ending(TurnStatus.COMPLETE, content="all"), START))
    assert await store.chats.commit(DeleteMessage("c", message_id, START)) is not None
    assert await store.chats.commit(NewMemberChange("c", "bob", MemberAction.REMOVE, "bob", START, "bob")) is not None
    found, _ = await store.chats.messages("c", before=None, after=None, limit=10)
    assert [message.content for message in found] == ["", "all"]


async def test_nothing_but_the_last_event_of_a_deleted_chat_is_left(store: Store) -> None:
    for number in range(7):
        committed = await store.chats.commit(
            new_message(content="secret", client_msg_id=f"k{number}", default_responder="demo")
        )
    message_id = json.loads(committed.event.payload)["id"]
    await store.chats.commit(React("c", message_id, "👍", "ann", True, START))
    await store.chats.commit(Pin("c", message_id, True, START))
    turn = await store.turns.claim_turn(START, START)
    assert turn is not None
    await store.turns.commit(StartTurn(turn.claim, START))
    cursor = Cursor(epoch=store.chats.epoch, seq=committed.event.seq)
    deleted = await store.chats.commit(DeleteChat("c", START, "ann"))
    assert deleted.event.type is EventType.CHAT_DELETED
    # At once: members, turns, lists, access.
    assert await store.chats.chat("c") is None
    assert await store.chats.chats(10, None, None) == []
    assert await store.chats.chats(10, None, None, archived=True) == []
    assert await store.chats.members("c", 10) == []
    access = await store.chats.access("c", "ann", cursor)
    assert (access.exists, access.is_member) == (False, False)
    with pytest.raises(TurnLost):
        await store.turns.commit(EndTurn(turn.claim, Ending(TurnStatus.COMPLETE, content="all"), START))
    assert await store.turns.claim_turn(START, START) is None
    # The event is published, also if its process dies after the commit.
    assert await store.chats.first_unpublished("c") == deleted.event.seq
    # Its log may lack earlier events until then.
    assert not await store.chats.erase_deleted(3)
    await store.chats.commit(MarkPublished({"c": deleted.event.seq}))
    # In steps: messages and events.
    steps = 0
    while await store.chats.erase_deleted(3):
        steps += 1
    assert steps > 3
    assert [event.type for event in await store.chats.recent_events("c", 100)] == [EventType.CHAT_DELETED]
    assert (await store.chats.messages("c", before=None, after=None, limit=10))[0] == []
    assert not (await store.chats.access("c", "ann", cursor)).cursor_valid


async def test_the_id_of_a_deleted_chat_is_not_used_again(store: Store) -> None:
    await store.chats.commit(DeleteChat("c", START))
    for _ in range(2):
        with pytest.raises(ChatExists):
            await store.chats.commit(NewChat("c", None, None, START))
        for command in (
            new_message(creates=NewChat("c", None, None, START)),
            NewMemberChange("c", "ann", MemberAction.ADD, None, START),
            ChangeChat("c", START, archived=True),
            DeleteChat("c", START),
        ):
            with pytest.raises(ChatNotFound):
                await store.chats.commit(command)
        await publish_and_erase(store)


async def test_messages_that_arrive_with_the_deletion_are_erased_or_refused(store: Store) -> None:
    sends = [store.chats.commit(new_message(content="secret")) for _ in range(10)]
    joins = [
        store.chats.commit(NewMemberChange("c", f"u{number}", MemberAction.ADD, None, START)) for number in range(5)
    ]
    outcomes = await asyncio.gather(
        *sends[:5],
        *joins[:2],
        store.chats.commit(DeleteChat("c", START)),
        *sends[5:],
        *joins[2:],
        return_exceptions=True,
    )
    assert all(isinstance(outcome, ChatError) for outcome in outcomes[8:])
    await publish_and_erase(store)
    assert await store.chats.members("c", 10) == []
    assert len(await store.chats.recent_events("c", 100)) == 1


async def test_only_members_change_a_chat(store: Store) -> None:
    for command in (ChangeChat("c", START, archived=True, member="eve"), DeleteChat("c", START, "eve")):
        with pytest.raises(NotAMember):
            await store.chats.commit(command)


def direct(first: str = "ann", second: str = "bob") -> OpenDirect:
    return OpenDirect(new_id(), (first, second), START)


async def test_two_users_have_one_direct_chat_also_if_both_open_it_at_once_in_two_processes(
    database_options: DatabaseOptions,
) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_store(database_options))]
        if database_options.url.startswith("postgresql"):  # one process at a time uses a file
            stores.append(await stack.enter_async_context(open_store(database_options)))
        found = await asyncio.gather(*(store.chats.commit(direct()) for _ in range(20) for store in stores))
        assert len({chat_id for chat_id, _ in found}) == 1
        assert len([events for _, events in found if events]) == 1
        (listed,) = await stores[0].chats.chats(10, None, "bob")
        assert (listed.direct, listed.ai.answers) == (("ann", "bob"), "mention")
        # Ids may contain anything printable.
        ids = {
            (await stores[-1].chats.commit(direct(*users)))[0] for users in (("a,b", "c"), ("a", "b,c"), ('a"', "b"))
        }
        assert len(ids) == 3


async def test_the_members_of_a_direct_chat_stay_and_after_its_deletion_there_is_a_new_one(store: Store) -> None:
    chat_id, _ = await store.chats.commit(direct())
    for change in (
        NewMemberChange(chat_id, "eve", MemberAction.ADD, "ann", START, "ann"),
        NewMemberChange(chat_id, "bob", MemberAction.REMOVE, "ann", START, "ann"),
    ):
        with pytest.raises(NotAllowed):
            await store.chats.commit(change)
    await store.chats.commit(DeleteChat(chat_id, START, "bob"))
    again, events = await store.chats.commit(direct())
    assert (again != chat_id, len(events)) == (True, 2)
