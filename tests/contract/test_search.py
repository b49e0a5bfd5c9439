"""The contract of the search, over every store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from roomcast.chat.commands import (
    DeleteChat,
    DeleteMessage,
    EndTurn,
    MemberAction,
    NewChat,
    NewMemberChange,
    NewVersion,
    StartTurn,
)
from roomcast.chat.errors import ChatNotFound
from roomcast.chat.model import ANYONE, Caller, Ending, MessageFilter
from roomcast.chat.policies.search_terms import parse_query
from roomcast.chat.use_cases.searching import ChatSearch, SearchRead
from roomcast.contract.events import TurnStatus
from roomcast.contract.text import MAX_SEQ
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from roomcast.store.queries.searching import _INDEXED, RECENT, SqlSearchStore
from support.backend import START, new_message

ANN = Caller(user_id="ann")


@pytest.fixture(params=[RECENT, 1], ids=["compared", "indexed"])
async def store(database_options: DatabaseOptions, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """The newest messages are compared one by one; with one such message the index has to find the others."""
    async with open_store(database_options) as opened:
        index = SqlSearchStore(opened.chats._database, opened.chats, recent=request.param)
        replaced = replace(opened, search=index)
        await opened.chats.commit(NewChat("c", "Lunch", None, START, "ann", ("bob",)))
        await opened.chats.commit(NewChat("hidden", None, None, START, "bob"))
        yield replaced


async def send(store: Store, content: str, chat_id: str = "c", **changes: Any) -> str:
    committed = await store.chats.commit(new_message(chat_id, content, **changes))
    found: str = json.loads(committed.event.payload)["id"]
    return found


async def search(store: Store, text: str, caller: Caller = ANN, **options: Any) -> SearchRead:
    return await ChatSearch(store.chats, store.search).search(caller, text, **{"limit": 20} | options)


async def found(store: Store, text: str, caller: Caller = ANN, *, limit: int = 20, **options: Any) -> list[str]:
    """The messages of the first page; of several, if the time of a read was over before."""
    contents: list[str] = []
    before: int | None = None
    while True:
        read = await search(store, text, caller, limit=limit - len(contents), before=before, **options)
        contents += [hit.content for hit, _ in read.hits]
        before = read.next
        if before is None or len(contents) == limit:
            return contents


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("The Quick brown fox", "quick FOX"),
        ("The Quick brown fox", "bro"),
        ("我們明天中午吃飯", "中午"),
        ("我們明天中午吃飯", "吃"),
        ("我們明天中午吃飯", "明天中午"),
        ("請問AI助手在嗎", "ai助手"),
        ("ランチに行きましょう", "ランチ"),
        ("점심 먹으러 가요", "점심"),
        ("ไปกินข้าวกัน", "ข้าว"),
        ("Un café crème", "cafe creme"),
        ("\uff26\uff35\uff2c\uff2c width", "full"),
        ('It costs 42 euros: o\'clock "quoted" * AND -', 'o\'clock "quoted" * AND'),
    ],
)
async def test_a_message_is_found_by_the_words_and_characters_that_it_has(store: Store, text: str, query: str) -> None:
    await send(store, "something else 別的")
    await send(store, text)
    assert await found(store, query) == [text]


@pytest.mark.parametrize("query", ["午中", "rown", "天明", "lunch", "中天", "#", "*", "😀", "quick cat"])
async def test_nothing_else_is_found(store: Store, query: str) -> None:
    await send(store, "The quick brown fox 我們明天中 午吃飯")
    assert await found(store, query) == []


async def test_a_search_finds_only_messages_of_chats_of_which_the_caller_is_a_member_now(store: Store) -> None:
    await send(store, "secret plan", "hidden")
    mine = await send(store, "secret wish")
    assert await found(store, "secret") == ["secret wish"]
    assert await found(store, "secret", Caller(user_id="eve")) == []
    assert await found(store, "secret", Caller(user_id="bob")) == ["secret wish", "secret plan"]
    assert await found(store, "secret", ANYONE) == ["secret wish", "secret plan"]
    with pytest.raises(ChatNotFound):
        await search(store, "secret", chat_id="hidden")
    assert await found(store, "secret", Caller(user_id="bob"), chat_id="hidden") == ["secret plan"]
    await store.chats.commit(NewMemberChange("c", "ann", MemberAction.REMOVE, None, START))
    assert await found(store, "secret") == []
    assert mine


async def test_messages_of_one_role_or_author_are_found(store: Store) -> None:
    await send(store, "wish of ann", user_id="ann")
    await send(store, "wish of bob", user_id="bob")
    assert await found(store, "wish", only=MessageFilter(author="bob")) == ["wish of bob"]
    assert await found(store, "wish", only=MessageFilter(role="USER", author="ann"), limit=1) == ["wish of ann"]
    assert await found(store, "wish", only=MessageFilter(role="AI")) == []


async def test_a_user_of_more_chats_than_a_query_names_finds_the_messages_of_all(store: Store) -> None:
    await send(store, "needle in a foreign chat", "hidden")
    new = [NewChat(f"n{number}", None, None, START, "ann") for number in range(140)]
    await asyncio.gather(*map(store.chats.commit, new))
    await asyncio.gather(*(store.chats.commit(new_message(f"n{number}", f"needle {number}")) for number in range(140)))
    assert len(await found(store, "needle", limit=200)) == 140


async def test_an_edit_replaces_the_text_and_a_deletion_removes_it(store: Store) -> None:
    first = await send(store, "old words", user_id="ann")
    second = await send(store, "new words", replaces=first, user_id="ann", member="ann")
    assert await found(store, "words") == ["new words"]
    assert await found(store, "old") == []
    await store.chats.commit(DeleteMessage("c", second, START, "ann"))
    assert await found(store, "words") == []


async def test_an_answer_is_found_when_it_has_ended_in_its_last_version(store: Store) -> None:
    await send(store, "question", member="ann", default_responder="demo")

    async def answer(text: str) -> str:
        turn = await store.turns.claim_turn(START, START)
        assert turn is not None
        await store.turns.commit(StartTurn(turn.claim, START))
        assert await found(store, "wisdom") == []
        await store.turns.commit(EndTurn(turn.claim, Ending(TurnStatus.COMPLETE, content=text), START))
        return turn.claim.turn_id

    turn_id = await answer("ancient wisdom")
    assert await found(store, "wisdom") == ["ancient wisdom"]
    await store.turns.commit(NewVersion("c", turn_id, START, "ann"))
    await answer("modern wisdom")
    assert await found(store, "wisdom") == ["modern wisdom"]


async def test_pages_have_all_messages_once_the_newest_first(store: Store) -> None:
    for number in range(7):
        await send(store, f"page {number}")
        await send(store, f"中x文 {number}")  # has the terms of no query below, or only apart from each other
    texts, before = [], None
    for _ in range(10):
        read = await search(store, "page", before=before, limit=2)
        texts += [hit.content for hit, _ in read.hits]
        if read.next is None:
            break
        before = read.next
    assert texts == [f"page {number}" for number in reversed(range(7))]


@pytest.mark.parametrize("query", ["w", "wo", "word7", "other w", "other"])
async def test_an_unfinished_word_of_which_there_are_many_finds_the_same_by_every_way(store: Store, query: str) -> None:
    texts = [f"word{number} other" for number in range(90)]
    for text in texts:
        await send(store, text)
        await send(store, text, "hidden")
    every = [text for text in reversed(texts) if all(part in text for part in query.split())]
    if query in {"w", "other w"}:
        every = []  # one letter is a whole word
    assert await found(store, query, limit=100) == every
    assert await found(store, query, ANYONE, limit=200) == [text for text in every for _ in range(2)]
    assert await found(store, query, chat_id="c", limit=100) == every


async def test_a_search_that_takes_long_goes_on_where_it_has_stopped(
    store: Store, database_options: DatabaseOptions
) -> None:
    for number in range(40):
        await send(store, "common needle" if number in {3, 30} else "common hay")
    index = SqlSearchStore(store.chats._database, store.chats, recent=8, time_limit_s=0)
    texts: list[str] = []
    before: int | None = MAX_SEQ
    pages = 0
    while before is not None:
        hits, below = await index.search(parse_query("needle comm"), chat_id=None, member="ann", before=before, limit=5)
        texts += [hit.content for hit in hits]
        assert below is None or below < before
        before, pages = below, pages + 1
    assert texts == ["common needle"] * 2
    assert pages > 3


async def test_a_query_that_the_index_does_not_answer_in_time_is_answered_by_comparison(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL only: SQLite's statements are bounded by their windows."""
    if not store.shared:
        pytest.skip("SQLite has no time limit of a statement")
    for number in range(20):
        await send(store, f"slow {number}")
    monkeypatch.setitem(_INDEXED, "postgresql", f"{_INDEXED['postgresql']} AND pg_sleep(0.3) IS NOT NULL")
    read = await search(store, "slow")
    contents = [hit.content for hit, _ in read.hits]
    while read.next is not None:
        read = await search(store, "slow", before=read.next)
        contents += [hit.content for hit, _ in read.hits]
    assert contents == [f"slow {number}" for number in reversed(range(20))]
    assert await store.chats.message("c", "none") is None  # the connection is in order


async def test_the_snippet_shows_the_first_match_in_units_of_javascript(store: Store) -> None:
    await send(store, "😀 " + "padding " * 50 + "the Needle 針 ends " + "padding " * 50)
    ((hit, snippet),) = (await search(store, "needle")).hits
    assert hit.chat_title == "Lunch"
    ((start, end),) = snippet.matches
    assert snippet.text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le") == "Needle"
    assert len(snippet.text) <= 160


async def test_messages_of_earlier_versions_are_indexed_in_batches(
    store: Store, database_options: DatabaseOptions
) -> None:
    for number in range(5):
        await send(store, f"earlier {number}")
    gone = await send(store, "earlier and gone", user_id="ann")
    await store.chats.commit(DeleteMessage("c", gone, START, "ann"))
    await forget_index(store)
    assert not (await search(store, "earlier")).complete
    assert await found(store, "earlier") == []
    await send(store, "later, of earlier days")
    while await store.search.index_more():
        pass
    read = await search(store, "earlier")
    assert read.complete
    assert [hit.content for hit, _ in read.hits] == [
        "later, of earlier days",
        *(f"earlier {number}" for number in reversed(range(5))),
    ]


async def test_the_messages_of_a_chat_that_was_deleted_before_are_not_indexed(store: Store) -> None:
    await send(store, "secret of the chat")
    await forget_index(store)
    await store.chats.commit(DeleteChat("c", START, None))
    while await store.search.index_more():
        pass
    assert await stored_terms(store) == 0


async def stored_terms(store: Store) -> int:
    """The number of indexed messages."""
    from sqlalchemy import Connection, text

    from roomcast.store.engine.batch import CustomWrite

    counts: list[int] = []

    def count(connection: Connection) -> None:
        counts.append(connection.scalar(text("SELECT count(*) FROM search_entries")) or 0)

    await store.chats.commit(CustomWrite(count))
    return counts[0]


async def forget_index(store: Store) -> None:
    """Make the database what a migration leaves."""
    from sqlalchemy import Connection, text

    from roomcast.store.engine.batch import CustomWrite

    def write(connection: Connection) -> None:
        connection.execute(text("DELETE FROM search_entries"))
        connection.execute(text("INSERT INTO search_backlog (below) SELECT max(id) || '~' FROM messages"))

    await store.chats.commit(CustomWrite(write))


async def test_the_history_is_filtered_by_role_and_author_in_both_directions(store: Store) -> None:
    for number in range(6):
        await send(store, f"{number}", user_id="ann" if number % 2 else "bob", role="USER" if number < 4 else "AI")

    async def page(only: MessageFilter, **position: int) -> list[str]:
        given: dict[str, Any] = {"before": None, "after": None, "limit": 2} | position
        read, _ = await store.chats.messages("c", only=only, **given)
        return [message.content for message in read]

    assert await page(MessageFilter(role="AI")) == ["4", "5"]
    assert await page(MessageFilter(role="USER")) == ["2", "3"]
    assert await page(MessageFilter(role="USER"), after=0) == ["0", "1"]
    assert await page(MessageFilter(author="ann", role="USER")) == ["1", "3"]
    everything, _ = await store.chats.messages("c", before=None, after=None, limit=10)
    assert await page(MessageFilter(author="ann"), before=everything[-1].place) == ["1", "3"]


async def test_long_texts_are_searched_beside_other_work_and_within_a_time(store: Store) -> None:
    for number in range(6):
        await send(store, f"{number} " + "今天天氣很好我們去公園" * 2_900)
    before, seen = None, []
    while True:
        read = await search(store, "公園", before=before, limit=4)
        seen += [hit.content[0] for hit, _ in read.hits]
        if read.next is None:
            break
        before = read.next
    assert seen == ["5", "4", "3", "2", "1", "0"]
