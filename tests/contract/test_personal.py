"""The contract of `chat.ports.PersonalStore`, over every store, with the use cases that export and erase."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, select, text

from roomcast.auth.ended_sessions import EndedSessions
from roomcast.chat.commands import (
    AcceptInvite,
    Ban,
    ChangeMember,
    CustomEvent,
    DeleteChat,
    DeleteMessage,
    EndTurn,
    FinishFile,
    MarkPublished,
    MarkRead,
    MemberAction,
    NewChat,
    NewCustomEvents,
    NewInvite,
    NewMemberChange,
    NewVersion,
    OpenDirect,
    Pin,
    React,
    ReserveFile,
    StartTurn,
)
from roomcast.chat.errors import ChatError, ErasureNotFound, ExportBusy, NotAllowed
from roomcast.chat.ids import new_id
from roomcast.chat.model import ANYONE, Caller, Ending, StoredEvent
from roomcast.chat.policies.search_terms import parse_query
from roomcast.chat.use_cases.personal import MAX_EXPORTS, PersonalData
from roomcast.chat.use_cases.publishing import Publishing
from roomcast.chat.use_cases.sessions import Sessions
from roomcast.chat.use_cases.turns import Turns
from roomcast.contract.events import Attachment, MemberRole, TurnStatus
from roomcast.contract.tenants import local_id, qualify, tenant_of
from roomcast.contract.text import MAX_SEQ
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from roomcast.store.personal.columns import Erase, personal_of
from roomcast.store.personal.pages import personal_tables
from roomcast.store.tables import METADATA
from support.backend import START, new_message
from support.waiting import until

#: Ids and texts that occur nowhere else.
GONE = 'Zoë "quux"'
WORDS = "zyzzyva"


class Published:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.events: list[StoredEvent] = []

    def offer(self, events: tuple[StoredEvent, ...]) -> None:
        self.events += events

    def request_sweep(self) -> None:
        raise AssertionError("no outcome is unknown")


@dataclass
class Parts:
    store: Store
    data: PersonalData
    published: Published


@pytest.fixture
async def parts(database_options: DatabaseOptions) -> AsyncIterator[Parts]:
    async with open_store(database_options) as store:
        published = Published()
        turns = Turns(store.turns, published, MemoryEventLog())
        sessions = Sessions(store.sessions, EndedSessions().add)
        publishing = Publishing(published, None, lambda: None)
        data = PersonalData(store.personal, store.chats, publishing, turns, sessions)
        yield Parts(store, data, published)


@pytest.mark.parametrize("table", METADATA.sorted_tables, ids=lambda table: table.name)
def test_a_table_says_what_it_has_of_users(table: Any) -> None:
    assert "personal" in table.info, f"{table.name}: say which columns name users, in the info of the table"
    named = {
        column.name
        for column in table.columns
        if any(part in column.name for part in ("user", "actor", "author", "owner", "member", "object", "reporter"))
    }
    assert named <= personal_of(table).columns.keys(), f"{table.name}: a column names users"
    assert personal_of(table).columns.keys() <= set(table.columns.keys())
    if set(personal_of(table).columns.values()) & {Erase.ROW, Erase.ALIAS, Erase.JSON}:
        assert table in personal_tables()


async def dump(store: Store, *without: str) -> str:
    """Everything that the database has, but some tables; with the terms of the search."""

    def read(connection: Connection) -> str:
        found = []
        for table in METADATA.sorted_tables:
            if table.name not in without:
                found += [
                    " ".join([table.name, *map(_plain, row)]).replace("\n", " ")
                    for row in connection.execute(select(table))
                ]
        if connection.dialect.name == "sqlite":
            connection.execute(
                text("CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocabulary USING fts5vocab(main, search_terms, row)")
            )
            found += map(str, connection.execute(text("SELECT term FROM temp.vocabulary")))
        return "\n".join(found)

    return await store._database.write(read)


def _plain(value: Any) -> str:
    """The text of a value; of JSON, that of all its strings, without escapes."""
    if isinstance(value, (bytes, memoryview)):
        return " ".join(_strings(json.loads(bytes(value))))
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        return " ".join(_strings(json.loads(value)))
    return str(value)


def _strings(value: Any) -> Iterator[str]:
    match value:
        case dict():
            yield from value
            yield from _strings(list(value.values()))
        case list():
            for item in value:
                yield from _strings(item)
        case _:
            yield str(value)


class Usage:
    """Random operations of some users, of which the last one writes words of its own."""

    def __init__(self, store: Store, seed: int, users: list[str], chat_ids: list[str]) -> None:
        self._store = store
        self._chance = random.Random(seed)
        self._users = users
        self._chats = chat_ids
        self._messages: list[tuple[str, str]] = []
        self._numbers = itertools.count(1)

    async def run(self, operations: int) -> None:
        """Create the chats and run the operations."""
        for chat_id in self._chats:
            await self._store.chats.commit(NewChat(chat_id, None, None, START, self._users[0], tuple(self._users)))
        *others, last = self._users
        for other in others:
            first, second = sorted((other, last))
            chat_id = qualify(tenant_of(last), new_id())
            await self._store.chats.commit(OpenDirect(chat_id, (first, second), START, other))
        await self._send(self._chats[0], last)
        kinds = [self._send] * 3 + [self._edit, self._answer, self._answer, self._react, self._pin, self._delete]
        kinds += [self._change_member, self._change_role, self._ban, self._invite, self._read, self._publish]
        for _ in range(operations):
            try:
                await self._chance.choice(kinds)(self._chance.choice(self._chats), self._chance.choice(self._users))
            except ChatError:  # what is allowed, other tests say
                continue

    def _text(self, user: str) -> str:
        return f"{WORDS if user == self._users[-1] else 'text'}{next(self._numbers)}"

    async def _send(self, chat_id: str, user: str) -> None:
        content = f"{self._text(user)} @{local_id(self._chance.choice(self._users[:-1]))}"
        key = f"{local_id(user)} {next(self._numbers)}"
        message = new_message(chat_id, content, user_id=user, client_msg_id=key, default_responder="demo", id=new_id())
        await self._store.chats.commit(message)
        self._messages.append((chat_id, message.id))

    async def _edit(self, _chat_id: str, user: str) -> None:
        chat_id, message_id = self._chance.choice(self._messages)
        changed = new_message(
            chat_id, self._text(user), user_id=user, replaces=message_id, member=user, id=new_id(), creates=None
        )
        await self._store.chats.commit(changed)
        self._messages.append((chat_id, changed.id))

    async def _answer(self, _chat_id: str, _user: str) -> None:
        turn = await self._store.turns.claim_turn(START, START)
        if turn is not None:
            await self._store.turns.commit(StartTurn(turn.claim, START))
            ending = Ending(TurnStatus.COMPLETE, content=f"you said {turn.message.content}")
            await self._store.turns.commit(EndTurn(turn.claim, ending, START))

    async def _react(self, _chat_id: str, user: str) -> None:
        adds = self._chance.random() < 0.8
        await self._store.chats.commit(React(*self._chance.choice(self._messages), "👍", user, adds, START))

    async def _pin(self, _chat_id: str, user: str) -> None:
        await self._store.chats.commit(Pin(*self._chance.choice(self._messages), True, START, user))

    async def _delete(self, _chat_id: str, user: str) -> None:
        await self._store.chats.commit(DeleteMessage(*self._chance.choice(self._messages), START, user))

    async def _change_member(self, chat_id: str, user: str) -> None:
        action = self._chance.choice(list(MemberAction))
        await self._store.chats.commit(NewMemberChange(chat_id, user, action, self._chance.choice(self._users), START))

    async def _change_role(self, chat_id: str, user: str) -> None:
        role = self._chance.choice(list(MemberRole))
        await self._store.chats.commit(ChangeMember(chat_id, user, START, role=role))

    async def _ban(self, chat_id: str, user: str) -> None:
        adds, actor = self._chance.random() < 0.5, self._chance.choice(self._users)
        await self._store.chats.commit(Ban(chat_id, user, adds, START, actor))

    async def _invite(self, chat_id: str, user: str) -> None:
        link = f"{next(self._numbers)}"
        await self._store.chats.commit(NewInvite(chat_id, link, MemberRole.MEMBER, START, user))
        await self._store.chats.commit(AcceptInvite(chat_id, link, self._chance.choice(self._users), START))

    async def _read(self, chat_id: str, user: str) -> None:
        await self._store.chats.commit(MarkRead(chat_id, user, self._chance.randrange(1, 99)))

    async def _publish(self, chat_id: str, user: str) -> None:
        name = local_id(user)
        event = CustomEvent(chat_id, f"{next(self._numbers)}", "order.paid", {"buyer": name, "of": {name: [name]}})
        await self._store.chats.commit(NewCustomEvents((event,), START))


@pytest.mark.parametrize(("tenant", "seed"), [("", 1), ("acme", 2), ("", 3)])
async def test_after_an_erasure_the_user_occurs_nowhere(parts: Parts, tenant: str, seed: int) -> None:
    store = parts.store
    users = [qualify(tenant, name) for name in ("ann", "bob", GONE)]
    gone, chat_ids = users[-1], [qualify(tenant, f"c{number}") for number in range(3)]
    await Usage(store, seed, users, chat_ids).run(200)
    await store.chats.commit(Ban(chat_ids[2], gone, False, START))
    await store.chats.commit(NewMemberChange(chat_ids[2], gone, MemberAction.ADD, None, START))
    await store.chats.commit(ChangeMember(chat_ids[2], gone, START, role=MemberRole.OWNER))
    await store.chats.commit(DeleteChat(chat_ids[2], START, gone))
    await store.chats.commit(MarkPublished({chat_ids[2]: MAX_SEQ}))
    # The same id in another tenant is another user.
    other = qualify("umbrella", GONE)
    await store.chats.commit(new_message(qualify("umbrella", "c0"), "keep this", user_id=other))
    before = await dump(store)
    assert local_id(gone) in before
    assert WORDS in before
    heads = {chat: (await store.chats.access(chat, None, None)).last_seq for chat in chat_ids[:2]}

    erasure = await parts.data.request(ANYONE, gone)
    assert await parts.data.erase_one()
    assert not await parts.data.erase_one()
    await store.chats.commit(MarkPublished({chat_ids[2]: MAX_SEQ}))
    while await store.chats.erase_deleted(500):
        pass

    done = await parts.data.erasure(erasure.id)
    assert done.done_at is not None
    assert done.erased > 20
    for word in (WORDS, local_id(gone)):
        found = [line for line in (await dump(store, "ended_sessions")).splitlines() if word in line]
        assert [line for line in found if "umbrella" not in line] == []
    hits, _ = await store.search.search(parse_query(WORDS), chat_id=None, member=None, before=2**40, limit=10)
    assert hits == []
    assert "keep this" in await dump(store)
    for chat, head in heads.items():
        events, last = await store.chats.events_after(chat, 0, 10_000)
        assert [event.seq for event in events] == list(range(1, last + 1))
        assert last >= head
    published = {event.type for event in parts.published.events}
    assert {"messages-erased", "member-removed"} <= published


async def test_an_erasure_begins_the_removal_of_files_that_were_not_sent(parts: Parts) -> None:
    files, later = parts.store.files, START + timedelta(days=1)
    await parts.store.chats.commit(NewChat("c", None, None, START, GONE, ("ann",)))
    for file_id, user in (("f", GONE), ("unfinished", GONE), ("other", "ann")):
        await files.commit(ReserveFile(file_id, "c", user, 9, START, later, 100, 100, user))
    await files.commit(FinishFile("c", Attachment(id="f", name="a", type="text/plain", size=9), GONE))
    await parts.data.request(ANYONE, GONE)
    assert await parts.data.erase_one()
    assert sorted(await files.due_files(START, 10)) == [("c", "f"), ("c", "unfinished")]
    assert await files.file("f") is None
    assert local_id(GONE) not in await dump(parts.store, "ended_sessions")


async def test_an_erasure_leaves_no_trace_of_the_user_that_regenerated_an_answer(parts: Parts) -> None:
    store = parts.store
    await store.chats.commit(NewChat("c", None, None, START, "ann", (GONE,)))
    await store.chats.commit(new_message(member="ann", user_id="ann", default_responder="demo", creates=None))
    for again in (True, False):
        turn = await store.turns.claim_turn(START, START)
        assert turn is not None
        await store.turns.commit(StartTurn(turn.claim, START))
        await store.turns.commit(EndTurn(turn.claim, Ending(TurnStatus.COMPLETE, content="a"), START))
        if again:
            await store.chats.commit(NewVersion("c", turn.claim.turn_id, START, GONE))
    assert any(local_id(GONE) in line for line in (await dump(store)).splitlines() if line.startswith("turns"))
    await parts.data.request(ANYONE, GONE)
    assert await parts.data.erase_one()
    assert local_id(GONE) not in await dump(store, "ended_sessions")


async def test_an_erasure_goes_on_after_a_crash_and_once_only(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    store = parts.store
    for number in range(3):
        await store.chats.commit(new_message(f"c{number}", f"{WORDS}{number}", user_id=GONE))
    first = await parts.data.request(ANYONE, GONE)
    assert (await parts.data.request(ANYONE, GONE)).id == first.id
    real, calls = store.personal.erase, 0

    async def crash(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise asyncio.CancelledError
        await real(*arguments)

    monkeypatch.setattr(store.personal, "erase", crash)
    with pytest.raises(asyncio.CancelledError):
        await parts.data.erase_one()
    assert not await parts.data.erase_one()  # the lease has not ended
    await store._database.write(lambda connection: connection.execute(text("UPDATE erasures SET lease_until = 0")))
    assert await parts.data.erase_one()
    assert WORDS not in await dump(store)
    assert (await parts.data.erasure(first.id)).user_id is None
    again = await parts.data.request(ANYONE, GONE)
    assert again.id != first.id


async def test_an_answer_that_is_being_written_is_stopped_and_erased(parts: Parts) -> None:
    store = parts.store
    await store.chats.commit(new_message("c", WORDS, user_id=GONE, default_responder="demo"))
    turn = await store.turns.claim_turn(START, START)
    assert turn is not None
    await store.turns.commit(StartTurn(turn.claim, START))
    await parts.data.request(ANYONE, GONE)
    erasing = asyncio.create_task(parts.data.erase_one())

    async def is_stopping() -> bool:
        return bool((await store.turns.renew([turn.claim], START)).stopping)

    await until(is_stopping)
    await store.turns.commit(EndTurn(turn.claim, Ending(TurnStatus.STOPPED, content=f"{WORDS} indeed"), START))
    assert await erasing
    assert WORDS not in await dump(store)
    messages, _ = await store.chats.messages("c", before=None, after=None, limit=9)
    assert [message.deleted for message in messages] == [True, True]


async def export(data: PersonalData, user_id: str, caller: Caller = ANYONE) -> list[Any]:
    return [row async for row in data.export(caller, user_id)]


async def test_an_export_has_what_the_user_has_written_and_no_name_of_others(parts: Parts) -> None:
    store = parts.store
    users = ("ann", GONE)
    await store.chats.commit(NewChat("c", "title", None, START, "ann", users))
    await store.chats.commit(new_message("c", "of ann", user_id="ann"))
    await store.chats.commit(new_message("c", WORDS, user_id=GONE, client_msg_id="k"))
    message_id = (await store.chats.messages("c", before=None, after=None, limit=1))[0][0].id
    for user in users:
        await store.chats.commit(React("c", message_id, "👍", user, True, START))
    await store.chats.commit(NewMemberChange("c", GONE, MemberAction.REMOVE, "ann", START))
    rows = await export(parts.data, GONE)
    (message,) = [row for row in rows if row["table"] == "messages"]
    assert (message["content"], message["chat_id"], message["created_at"]) == (WORDS, "c", "2026-01-02T03:04:05.678Z")
    (reaction,) = [row for row in rows if row["table"] == "reactions"]
    assert reaction["emoji"] == ["👍"]
    assert {row["action"] for row in rows if row["table"] == "audit"} == {"member.added", "member.removed"}
    assert '"ann"' not in json.dumps(rows)
    assert await export(parts.data, GONE, Caller(GONE)) == rows
    with pytest.raises(NotAllowed):
        parts.data.export(Caller("ann"), GONE)
    with pytest.raises(ErasureNotFound):
        await parts.data.erasure("erased-0")


async def test_few_exports_run_at_the_same_time(parts: Parts) -> None:
    await parts.store.chats.commit(new_message("c", user_id=GONE))
    running = [parts.data.export(ANYONE, GONE) for _ in range(MAX_EXPORTS)]
    for rows in running:
        await anext(rows)
    with pytest.raises(ExportBusy):
        parts.data.export(ANYONE, GONE)
    for rows in running:
        await anext(rows, None)
        assert await anext(rows, None) is None
    assert await export(parts.data, GONE)
