"""The contract of cursors, unread messages and mentions, over every store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, delete

from roomcast.chat.commands import DeleteMessage, MarkRead, MemberAction, NewChat, NewMemberChange, StartTurn
from roomcast.chat.errors import ChatNotFound, NotAMember
from roomcast.chat.model import MAX_UNREAD, StoredCursor
from roomcast.store.engine.batch import CustomWrite
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from roomcast.store.tables import reads
from support.backend import START, new_message


@pytest.fixture
async def store(database_options: DatabaseOptions) -> AsyncIterator[Store]:
    async with open_store(database_options) as opened:
        await opened.chats.commit(NewChat("c", None, None, START, "ann", ("bob", "小 明")))
        # Counts are those of one chat, in a list of several.
        await opened.chats.commit(NewChat("other", None, None, START, "ann", ("bob",)))
        await opened.chats.commit(new_message("other", user_id="bob", content="@ann"))
        yield opened


async def send(store: Store, content: str = "hello", user_id: str | None = "bob", **changes: Any) -> dict[str, Any]:
    committed = await store.chats.commit(new_message(content=content, user_id=user_id, **changes))
    found: dict[str, Any] = json.loads(committed.event.payload)
    return found


async def counts(store: Store, user_id: str = "ann") -> tuple[int | None, int | None]:
    chat = await store.chats.chat("c", user_id)
    assert chat is not None
    assert chat in await store.chats.chats(10, None, None, reader=user_id)
    return chat.unread, chat.mentions


def read(seq: int, user_id: str = "ann") -> MarkRead:
    return MarkRead("c", user_id, seq, user_id)


async def test_messages_of_others_after_the_cursor_are_unread(store: Store) -> None:
    assert await counts(store) == (0, 0)
    first = await send(store)
    await send(store, user_id="ann")
    await send(store)
    assert await counts(store) == (2, 0)
    moved = await store.chats.commit(read(first["seq"]))
    assert moved is not None
    assert (moved.seq, moved.members) == (first["seq"], 3)
    assert await counts(store) == (1, 0)
    assert await counts(store, "bob") == (1, 0)
    chat = await store.chats.chat("c")
    assert chat is not None
    assert (chat.unread, chat.mentions, chat.preview) == (None, None, "hello")


async def test_the_count_reads_a_bounded_number_of_own_messages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roomcast.store.queries.chats._MAX_READ", 5)
    await send(store)
    for _ in range(4):
        await send(store, user_id="ann")
    assert await counts(store) == (1, 0)
    await send(store, user_id="ann")
    assert await counts(store) == (0, 0)
    await send(store)
    assert await counts(store) == (1, 0)


async def test_a_cursor_never_moves_back_nor_beyond_the_head(store: Store) -> None:
    message = await send(store)
    moved = await store.chats.commit(read(10_000))
    assert moved is not None
    assert moved.seq == message["seq"]
    for seq in (0, message["seq"], 10_000):
        assert await store.chats.commit(read(seq)) is None
    await send(store)
    assert await counts(store) == (1, 0)
    assert StoredCursor("ann", message["seq"]) in await store.chats.cursors("c", 10)


async def test_only_members_have_cursors(store: Store) -> None:
    with pytest.raises(NotAMember):
        await store.chats.commit(read(1, "eve"))
    with pytest.raises(ChatNotFound):
        await store.chats.commit(MarkRead("unknown", "eve", 1))
    await send(store)
    for action in (MemberAction.REMOVE, MemberAction.ADD):
        await store.chats.commit(NewMemberChange("c", "ann", action, None, START))
        listed = {cursor.user_id for cursor in await store.chats.cursors("c", 10)}
        assert ("ann" in listed) == (action is MemberAction.ADD)
    # What was written before the addition is not unread.
    assert await counts(store) == (0, 0)


async def test_a_new_version_is_not_unread_again_and_a_deleted_message_is_not_counted(store: Store) -> None:
    first = await send(store, "hi @ann")
    await send(store)
    await store.chats.commit(read(first["seq"]))
    await send(store, "hi again @ann", replaces=first["id"])
    assert await counts(store) == (1, 0)
    third = await send(store, "look")
    third = await send(store, "look @ann", replaces=third["id"])
    third = await send(store, "look there", replaces=third["id"])
    # A mention counts in any version.
    assert await counts(store) == (2, 1)
    await store.chats.commit(DeleteMessage("c", third["id"], START))
    assert await counts(store) == (1, 0)


async def test_an_answer_counts_once_from_its_start(store: Store) -> None:
    await send(store, user_id="ann", default_responder="demo")
    assert await counts(store) == (0, 0)
    turn = await store.turns.claim_turn(START, START)
    assert turn is not None
    await store.turns.commit(StartTurn(turn.claim, START))
    assert await counts(store) == (1, 0)


async def test_a_mention_names_a_member_or_a_user_that_has_read_the_chat(store: Store) -> None:
    await send(store, "@ann and @小 明你好, @eve, `@ann`, @ann-b, x@ann.example, @ann")
    assert await counts(store) == (1, 1)
    assert await counts(store, "小 明") == (1, 1)
    assert (await counts(store, "eve"))[1] == 0
    await store.chats.commit(MarkRead("c", "eve", 1))
    await send(store, "@eve @bob")
    assert (await counts(store, "eve"))[1] == 1
    # The author is not mentioned.
    assert (await counts(store, "bob"))[1] == 0


async def test_counts_end_at_a_maximum(store: Store) -> None:
    for _ in range(MAX_UNREAD + 2):
        await store.chats.commit(new_message(user_id="bob"))
    assert await counts(store) == (MAX_UNREAD, 0)


async def test_a_member_without_a_cursor_has_read_what_was_written_before_it_was_added(store: Store) -> None:
    """A replica of an earlier version has added it."""
    await send(store, "@ann")

    def write(connection: Connection) -> None:
        connection.execute(delete(reads).where(reads.c.chat_id == "c", reads.c.user_id == "ann"))

    await store.chats.commit(CustomWrite(write))
    assert await counts(store) == (0, 0)
    for _ in range(2):
        await send(store, "@ann", created_at=START + timedelta(seconds=1))
    assert await counts(store) == (2, 2)
    assert await counts(store, "eve") == (3, 0)  # no member
