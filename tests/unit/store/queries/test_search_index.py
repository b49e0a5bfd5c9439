"""SQLite's index of the search has each entry once, whether a trigger or the batch has written it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, text

from roomcast.chat.commands import DeleteMessage, NewChat
from roomcast.store.engine.batch import CustomWrite
from roomcast.store.opening import open_store
from roomcast.store.options import DatabaseOptions
from support.backend import START, new_message


async def test_the_index_agrees_with_its_entries_after_every_kind_of_write(tmp_path: Path) -> None:
    file = tmp_path / "roomcast.db"
    async with open_store(DatabaseOptions(url=f"sqlite:///{file}")) as store:
        await store.chats.commit(NewChat("c", None, None, START, "ann"))

        def add_earlier(connection: Connection) -> None:
            # As `search_batches` numbers them; the newest is away, so that SQLite counts on below 0.
            row = text("INSERT INTO search_entries VALUES (:id, 'c', :place, 'old')")
            connection.execute(row, [{"id": -4, "place": 901}, {"id": -5, "place": 902}])

        await store.chats.commit(CustomWrite(add_earlier))
        sent = [new_message("c", f"word{number} lunch", user_id="ann") for number in range(9)]
        await asyncio.gather(*(store.chats.commit(message) for message in sent))
        edit = new_message("c", "supper", user_id="ann", replaces=sent[0].id, member="ann")
        await asyncio.gather(store.chats.commit(edit), store.chats.commit(new_message("c", "later lunch")))
        # The deletion of the newest entry frees its id.
        await store.chats.commit(new_message("c", "newest lunch", id="newest"))
        await store.chats.commit(DeleteMessage("c", "newest", START, "ann"))
        await store.chats.commit(new_message("c", "after lunch"))
    index = sqlite3.connect(file)
    index.execute("INSERT INTO search_terms (search_terms, rank) VALUES ('integrity-check', 1)")
    assert index.execute("SELECT count(*) FROM search_terms WHERE search_terms MATCH 'lunch'").fetchone() == (10,)
    assert index.execute("SELECT count(*) FROM search_vocabulary WHERE term = 'lunch'").fetchone() == (10,)
    index.close()
