from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from roomcast.chat.commands import MemberAction
from roomcast.chat.errors import AnswerActive, ChatNotFound, MessageNotFound, NotAllowed, StoreBusy, StoreUnavailable
from roomcast.chat.model import ANYONE, Caller, ChatAi, Committed, StoredEvent
from roomcast.chat.ports import ChatStore
from roomcast.chat.use_cases.writing import ChatOptions, ChatWriter
from roomcast.contract.rest import AiSettings, CreateChat, EditMessage, SendMessage
from roomcast.store.engine.database import sqlite_url
from roomcast.store.engine.writer import WriterOptions
from roomcast.store.opening import open_store
from roomcast.store.options import DatabaseOptions
from support.backend import FixedClock, fresh_database, new_message

ANN, BOB, SERVICE = Caller("ann"), Caller("bob"), Caller(service=True)


class RecordingPublisher:
    """Records every offered event."""

    def __init__(self) -> None:
        self.events: list[StoredEvent] = []
        self.sweeps = 0

    def offer(self, events: tuple[StoredEvent, ...]) -> None:
        self.events += events

    def request_sweep(self) -> None:
        self.sweeps += 1


def message(**changes: str) -> SendMessage:
    return SendMessage.model_validate({"chatId": "c", "role": "USER", "content": "hello"} | changes)


def make_writer(
    store: ChatStore, publisher: RecordingPublisher, wakes: list[None], responder: str | None = None
) -> ChatWriter:
    return ChatWriter(
        store,
        publisher,
        wake_worker=lambda: wakes.append(None),
        options=ChatOptions(responders=() if responder is None else (responder,)),
        clock=FixedClock(),
    )


async def test_a_committed_event_is_offered_once_and_a_repeat_is_not(tmp_path: Path) -> None:
    publisher = RecordingPublisher()
    async with open_store(fresh_database(tmp_path)) as store:
        writer = make_writer(store.chats, publisher, [])
        committed = await writer.send(ANYONE, message(clientMsgId="k"), trace="00-ab")
        repeat = await writer.send(ANYONE, message(clientMsgId="k"))
    assert repeat == Committed(committed.event, created=False)
    assert publisher.events == [committed.event]
    assert committed.event.trace == "00-ab"


async def test_the_worker_is_woken_for_user_messages_only(tmp_path: Path) -> None:
    wakes: list[None] = []
    async with open_store(fresh_database(tmp_path)) as store:
        writer = make_writer(store.chats, RecordingPublisher(), wakes, "demo")
        await writer.send(ANYONE, message(role="AI"))
        assert not wakes
        await writer.send(ANYONE, message(clientMsgId="k"))
        await writer.send(ANYONE, message(clientMsgId="k"))
    assert len(wakes) == 1


async def test_a_user_writes_only_as_itself_and_only_in_its_own_chats(tmp_path: Path) -> None:
    async with open_store(fresh_database(tmp_path)) as store:
        writer = make_writer(store.chats, RecordingPublisher(), [])
        with pytest.raises(ChatNotFound):
            await writer.send(ANN, message())
        chat = await writer.create_chat(ANN, CreateChat())
        own = message(chatId=chat.id)
        assert b'"userId":"ann"' in (await writer.send(ANN, own)).event.payload
        with pytest.raises(ChatNotFound):
            await writer.send(BOB, own)
        for refused in (message(chatId=chat.id, role="AI"), message(chatId=chat.id, userId="bob")):
            with pytest.raises(NotAllowed):
                await writer.send(ANN, refused)
        assert b'"userId":"ann"' in (await writer.send(ANN, message(chatId=chat.id, userId="ann"))).event.payload


async def test_a_service_writes_as_any_user_but_creates_no_chat_by_writing(tmp_path: Path) -> None:
    async with open_store(fresh_database(tmp_path)) as store:
        writer = make_writer(store.chats, RecordingPublisher(), [])
        with pytest.raises(ChatNotFound):
            await writer.send(SERVICE, message())
        await writer.create_chat(SERVICE, CreateChat(id="c", members=["ann"]))
        assert b'"userId":"bob"' in (await writer.send(SERVICE, message(userId="bob"))).event.payload
        assert b'"role":"AI"' in (await writer.send(SERVICE, message(role="AI"))).event.payload
        assert [member.user_id for member in await store.chats.members("c", 9)] == ["ann"]


async def test_members_manage_members_and_each_change_is_offered(tmp_path: Path) -> None:
    publisher = RecordingPublisher()
    async with open_store(fresh_database(tmp_path)) as store:
        writer = make_writer(store.chats, publisher, [])
        await writer.create_chat(SERVICE, CreateChat(id="c", members=["ann"]))
        with pytest.raises(ChatNotFound):
            await writer.change_member(BOB, "c", "bob", MemberAction.ADD)
        assert await writer.change_member(ANN, "c", "bob", MemberAction.ADD)
        assert not await writer.change_member(ANN, "c", "bob", MemberAction.ADD)
        assert await writer.change_member(BOB, "c", "ann", MemberAction.REMOVE)
        with pytest.raises(ChatNotFound):
            await writer.send(ANN, message())
    assert [event.seq for event in publisher.events] == [1, 2, 3]


class RecordingListener:
    """Records the seq and the actor of every committed event."""

    def __init__(self) -> None:
        self.events: list[tuple[int, str | None]] = []

    def committed(self, event: StoredEvent, actor_id: str | None) -> None:
        self.events.append((event.seq, actor_id))


async def test_the_listener_is_notified_once_of_each_event_with_its_actor(tmp_path: Path) -> None:
    listener = RecordingListener()
    async with open_store(fresh_database(tmp_path)) as store:
        writer = ChatWriter(store.chats, RecordingPublisher(), listener=listener, clock=FixedClock())
        chat = (await writer.create_chat(ANN, CreateChat(members=["bob"]))).id
        await writer.send(BOB, message(chatId=chat, clientMsgId="k"))
        await writer.send(BOB, message(chatId=chat, clientMsgId="k"))
        await writer.send(SERVICE, message(chatId=chat, role="AI"))
        await writer.send(SERVICE, message(chatId=chat, userId="cleo"))
        await writer.change_member(ANN, chat, "bob", MemberAction.REMOVE)
        await writer.change_member(ANN, chat, "bob", MemberAction.REMOVE)
    assert listener.events == [(1, "ann"), (2, "ann"), (3, "bob"), (4, None), (5, "cleo"), (6, "ann")]


async def test_a_write_that_was_not_attempted_requests_no_sweep(tmp_path: Path) -> None:
    publisher = RecordingPublisher()
    async with open_store(fresh_database(tmp_path), WriterOptions(max_waiting=0)) as store:
        writer = ChatWriter(store.chats, publisher)
        with pytest.raises(StoreBusy):
            await writer.send(ANYONE, message(clientMsgId="k"))
        assert (publisher.sweeps, writer._uncertain) == (0, {})


async def test_writes_of_unknown_outcome_are_remembered_up_to_a_bound(tmp_path: Path) -> None:
    """A database that another program locks commits nothing, but the writer cannot know that."""
    publisher = RecordingPublisher()
    options = DatabaseOptions(url=sqlite_url(tmp_path / "a.db"), synchronous="OFF", busy_timeout_s=0.01)
    async with open_store(options) as store:
        writer = ChatWriter(store.chats, publisher, options=ChatOptions(max_uncertain=2))
        for number in range(3):
            await store.chats.commit(new_message(client_msg_id=f"k{number}"))
        other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for number in range(3):
            with pytest.raises(StoreUnavailable):
                await writer.send(ANYONE, message(clientMsgId=f"k{number}"))
            with pytest.raises(StoreUnavailable):
                await writer.send(ANYONE, message())
        other.execute("ROLLBACK")
        other.close()
        assert publisher.sweeps == 6
        for number in (0, 1, 2, 2):
            assert not (await writer.send(ANYONE, message(clientMsgId=f"k{number}"))).created
    assert [event.seq for event in publisher.events] == [2, 3]


async def test_an_edit_keeps_the_author_and_the_place_and_wakes_the_worker(tmp_path: Path) -> None:
    wakes: list[None] = []
    publisher = RecordingPublisher()
    async with open_store(fresh_database(tmp_path)) as store:
        writer = make_writer(store.chats, publisher, wakes, "demo")
        chat = await writer.create_chat(ANN, CreateChat(members=["bob"]))
        sent = json.loads((await writer.send(ANN, message(chatId=chat.id))).event.payload)
        edit = EditMessage(content="better", clientMsgId="k")
        edited = await writer.edit(ANN, chat.id, sent["id"], edit, trace="00-ab")
        body = json.loads(edited.event.payload)
        assert (body["userId"], body["place"], body["version"]) == ("ann", sent["place"], 2)
        assert (edited.event.trace, len(wakes)) == ("00-ab", 2)
        # The turn of the first version has ended, in the same transaction.
        assert [event.seq for event in publisher.events] == [1, 2, 3, 4, 5]
        assert not (await writer.edit(ANN, chat.id, sent["id"], edit)).created
        service = await writer.edit(SERVICE, chat.id, sent["id"], EditMessage(content="best"))
        assert json.loads(service.event.payload)["userId"] == "ann"
        with pytest.raises(NotAllowed):
            await writer.edit(BOB, chat.id, sent["id"], edit.model_copy(update={"client_msg_id": None}))
        with pytest.raises(MessageNotFound):
            await writer.edit(ANN, chat.id, "unknown", EditMessage(content="x"))
        with pytest.raises(ChatNotFound):
            await writer.edit(Caller("eve"), chat.id, sent["id"], EditMessage(content="x"))


async def test_every_member_may_change_how_a_chat_answers(tmp_path: Path) -> None:
    async with open_store(fresh_database(tmp_path)) as store:
        writer = make_writer(store.chats, RecordingPublisher(), [], "demo")
        chat = await writer.create_chat(ANN, CreateChat(ai=AiSettings(answers="never")))
        assert chat.ai == ChatAi(answers="never")
        assert not (await writer.send(ANN, message(chatId=chat.id))).turn_queued
        changed = await writer.change_ai(ANN, chat.id, AiSettings(whenActive="reject", model="small"))
        assert changed.ai == ChatAi(when_active="reject", model="small")
        assert changed.last_message is not None
        assert (await writer.send(ANN, message(chatId=chat.id))).turn_queued
        with pytest.raises(AnswerActive):
            await writer.send(ANN, message(chatId=chat.id))
        for caller, chat_id in ((BOB, chat.id), (BOB, "nowhere"), (SERVICE, "nowhere")):
            with pytest.raises(ChatNotFound):
                await writer.change_ai(caller, chat_id, AiSettings())
