"""Reports of messages, over every store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select

from roomcast.chat import commands
from roomcast.chat.commands import (
    Command,
    DeleteChat,
    DeleteMessage,
    ExpireMessages,
    ForgetUser,
    NewChat,
    Report,
    ResolveReport,
)
from roomcast.chat.errors import MessageNotFound, NotAMember, RightMissing, TooManyEntries
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from roomcast.store.rules import reports as rules
from roomcast.store.tables import reports
from support.backend import START, new_message


@pytest.fixture
async def store(database_options: DatabaseOptions) -> AsyncIterator[Store]:
    async with open_store(database_options) as opened:
        await opened.chats.commit(NewChat("c", None, None, START, "ann", ("bob", "cyd")))
        yield opened


def report(message_id: str, user: str = "bob", **changes: str) -> Report:
    values = {"chat_id": "c", "reason": "spam", "note": "", "member": user} | changes
    return Report(message_id=message_id, reporter_id=user, at=START, **values)


async def test_a_member_reports_and_a_moderator_closes(store: Store) -> None:
    message = new_message(user_id="cyd")
    await store.chats.commit(message)
    await store.chats.commit(report(message.id))
    await store.chats.commit(report(message.id, reason="abuse", note="again"))
    await store.chats.commit(report(message.id, "cyd"))
    found = {one.reporter_id: (one.message_id, one.reason, one.note) for one in await store.chats.reports("c")}
    assert found == {"bob": (message.id, "abuse", "again"), "cyd": (message.id, "spam", "")}
    with pytest.raises(RightMissing):
        await store.chats.commit(ResolveReport("c", message.id, "cyd", START, "bob"))
    for _ in range(2):
        await store.chats.commit(ResolveReport("c", message.id, "bob", START, "ann"))
    assert [one.reporter_id for one in await store.chats.reports("c")] == ["cyd"]
    acts = [(act.action, act.actor_id) for act in await store.chats.acts(2**40, 3, "c", None)]
    assert acts == [("message.report-closed", "ann"), ("message.reported", "cyd"), ("message.reported", "bob")]
    await store.chats.commit(DeleteMessage("c", message.id, START, "ann"))
    assert await store.chats.reports("c") == []
    await store.chats.commit(DeleteChat("c", START, "ann"))


@pytest.mark.parametrize("how", ["delete", "expire", "forget"])
async def test_an_erased_message_loses_its_reports_and_no_other_does(store: Store, how: str) -> None:
    first, second = new_message(content="a", user_id="cyd"), new_message(content="b", user_id="ann")
    for message in (first, second):
        await store.chats.commit(message)
    edit = new_message(content="edit", replaces=first.id, creates=None)
    await store.chats.commit(edit)
    for message_id in (first.id, edit.id, second.id):
        await store.chats.commit(report(message_id, note="a secret"))
    erasure: Command[Any] = {
        "delete": DeleteMessage("c", first.id, START, "ann"),
        "expire": ExpireMessages("c", (first.id,), START),
        "forget": ForgetUser("c", "cyd", "erased-1", START, (first.id,)),
    }[how]
    await store.chats.commit(erasure)
    stored = await store.chats._database.fetch(select(reports.c.message_id))
    assert [row.message_id for row in stored] == [second.id]
    acts = await store.chats.acts(2**40, 9, "c", None)
    assert [act.action for act in acts if act.object_id in {first.id, edit.id}].count("message.reported") == 2


async def test_what_cannot_be_reported(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    message, gone = new_message(user_id="cyd"), new_message()
    for new in (message, gone, new_message("d", id="other")):
        await store.chats.commit(new)
    await store.chats.commit(DeleteMessage("c", gone.id, START))
    for message_id in (gone.id, "other", "unknown"):
        with pytest.raises(MessageNotFound):
            await store.chats.commit(report(message_id))
    with pytest.raises(NotAMember):
        await store.chats.commit(report(message.id, "eve"))
    monkeypatch.setattr(rules, "MAX_REPORTS", 1)
    await store.chats.commit(report(message.id))
    with pytest.raises(TooManyEntries):
        await store.chats.commit(report(message.id, "ann"))
    await store.chats.commit(report(message.id, note="a repeat"))
    assert commands.MAX_REPORTS > 1
