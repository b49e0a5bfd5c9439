"""A database, from its URL to the ports over it, and back.

Layer: store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from roomcast.store.chats import SqlChatStore
from roomcast.store.database import Database
from roomcast.store.migrating import migrate
from roomcast.store.options import DatabaseOptions
from roomcast.store.turns import SqlTurnStore
from roomcast.store.writer import WriterOptions


@dataclass(frozen=True, slots=True)
class Store:
    """An open store: `chat.ports.ChatStore` and `chat.ports.TurnStore` over one database.

    Attributes:
        shared: Whether other processes may write to it.
    """

    chats: SqlChatStore
    turns: SqlTurnStore
    shared: bool


@asynccontextmanager
async def open_store(options: DatabaseOptions, writer_options: WriterOptions | None = None) -> AsyncIterator[Store]:
    """Migrate, open and, at the end, close a database; what was submitted by then is committed.

    Raises:
        StoreError: it cannot be used; the text says what to do.
    """
    await migrate(options)
    database = await Database.open(options)
    try:
        chats = SqlChatStore(database, writer_options)
        try:
            yield Store(chats, SqlTurnStore(database, chats), database.shared)
        finally:
            await chats.close()
    finally:
        await database.close()
