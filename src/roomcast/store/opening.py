"""Opens and closes a store.

Layer: store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.ports import Tracer
from roomcast.histogram import Histogram
from roomcast.store.engine.database import Database
from roomcast.store.engine.writer import WriterOptions
from roomcast.store.lineage import read_epochs
from roomcast.store.migrating import migrate
from roomcast.store.options import DatabaseOptions
from roomcast.store.personal.erasing import SqlPersonalStore
from roomcast.store.queries.chats import SqlChatStore
from roomcast.store.queries.feed import SqlFeedStore
from roomcast.store.queries.files import SqlFileStore
from roomcast.store.queries.pushes import SqlPushStore
from roomcast.store.queries.searching import SqlSearchStore
from roomcast.store.queries.sessions import SqlSessionStore
from roomcast.store.queries.turns import SqlTurnStore
from roomcast.store.queries.webhooks import SqlWebhookStore


@dataclass(frozen=True, slots=True)
class Store:
    """An open store: the implementations of the ports for one database.

    Attributes:
        chats: The chats with their events, messages and members; also the writer.
        turns: The queue of AI turns.
        sessions: Access tokens that were ended before their expiry.
        feed: The events of all chats in one order.
        files: The files of chats, without their contents.
        search: The index of the messages.
        pushes: The devices that receive pushes.
        webhooks: Webhooks, and what they have not received.
        personal: The data of one user.
    """

    chats: SqlChatStore
    turns: SqlTurnStore
    sessions: SqlSessionStore
    feed: SqlFeedStore
    files: SqlFileStore
    search: SqlSearchStore
    pushes: SqlPushStore
    webhooks: SqlWebhookStore
    personal: SqlPersonalStore
    _database: Database

    @property
    def shared(self) -> bool:
        """Whether other processes may write to the same database."""
        return self._database.shared

    @property
    def failure(self) -> str | None:
        """None, or one line that says why no write is accepted until the next start of the process, and what to do.

        Set once the SQLite file is damaged, deleted or replaced, for readiness: every send is answered with 503.
        """
        return self._database.failure

    async def check(self) -> None:
        """Check that a write would succeed.

        Raises:
            StoreUnavailable: it would fail.
        """
        await self._database.check()

    @property
    def durations(self) -> dict[str, Histogram]:
        """Durations of transactions by operation, with the wait for a connection: ``read`` and ``write``."""
        return self._database.durations

    @property
    def connections(self) -> dict[str, int]:
        """See `Database.connections`."""
        return self._database.connections

    async def readable(self) -> bool:
        """Whether the database answers reads."""
        try:
            await self._database.read(read_epochs)
        except StoreUnavailable:
            return False
        return True


@asynccontextmanager
async def open_store(
    options: DatabaseOptions, writer_options: WriterOptions | None = None, *, tracer: Tracer | None = None
) -> AsyncIterator[Store]:
    """Migrate and open a database; on exit, commit the submitted writes and close it.

    Args:
        options: The database.
        writer_options: Limits of the writer.
        tracer: Records the commits of traced requests; None: tracing is off.

    Raises:
        StoreError: the database cannot be used; the text says what to do.
    """
    await migrate(options)
    database = await Database.open(options)
    try:
        chats = SqlChatStore(database, writer_options, tracer)
        try:
            # All writes pass through one writer. The chat store is that writer.
            yield Store(
                chats,
                SqlTurnStore(database, chats),
                SqlSessionStore(database, chats),
                SqlFeedStore(database, chats),
                SqlFileStore(database, chats),
                SqlSearchStore(database, chats),
                SqlPushStore(database, chats),
                SqlWebhookStore(database, chats),
                SqlPersonalStore(database, chats),
                database,
            )
        finally:
            await chats.close()
    finally:
        await database.close()
