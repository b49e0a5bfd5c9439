"""A complete back end on one SQLite file, composed as the product composes it."""

from __future__ import annotations

import asyncio
import functools
import itertools
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from roomcast.chat.commands import Command, NewChat, NewMessage
from roomcast.chat.delivery.relay import Relay, RelayOptions
from roomcast.chat.ports import EventLog, Tracer, Writes
from roomcast.chat.use_cases.admission import Admissions
from roomcast.chat.use_cases.personal import PersonalData
from roomcast.chat.use_cases.publishing import Publishing
from roomcast.chat.use_cases.reading import ChatReader
from roomcast.chat.use_cases.sessions import Sessions
from roomcast.chat.use_cases.turns import Turns
from roomcast.chat.use_cases.writing import ChatOptions, ChatWriter
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.store.engine.database import sqlite_url
from roomcast.store.migrating import migrate
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions

START = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
_numbers = itertools.count(1)


class FixedClock:
    """A clock that only `advance` moves."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Backend:
    """The running parts."""

    store: Store
    log: EventLog
    relay: Relay
    writer: ChatWriter
    turns: Turns
    reader: ChatReader
    admissions: Admissions


def database_options(directory: Path) -> DatabaseOptions:
    """A database file in ``directory``, not synced to disk: no test cuts the power."""
    return DatabaseOptions(url=sqlite_url(directory / "roomcast.db"), synchronous="OFF")


@functools.cache
def _migrated() -> bytes:
    """The file of an empty database with the newest schema; made once, since migrating takes longer than most tests."""
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(asyncio.run, migrate(database_options(Path(directory)))).result()
        return (Path(directory) / "roomcast.db").read_bytes()


def fresh_database(directory: Path) -> DatabaseOptions:
    """The database in ``directory``, created and migrated if it does not exist."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "roomcast.db"
    if not file.exists():
        file.write_bytes(_migrated())
    return database_options(directory)


@asynccontextmanager
async def open_backend(
    directory: Path,
    *,
    log: EventLog | None = None,
    responder: str | None = None,
    relay_options: RelayOptions | None = None,
    tracer: Tracer | None = None,
) -> AsyncIterator[Backend]:
    """Everything except HTTP and the worker; running inside the block."""
    log = MemoryEventLog() if log is None else log
    async with open_store(fresh_database(directory), tracer=tracer) as store:
        relay = Relay(store.chats, log, relay_options, tracer=tracer)
        options = ChatOptions(responders=() if responder is None else (responder,))
        writer = ChatWriter(store.chats, relay, options=options)
        turns = Turns(store.turns, relay, log, default_responder=responder)
        await relay.start()
        try:
            reader, admissions = ChatReader(store.chats), Admissions(store.chats, relay)
            yield Backend(store, log, relay, writer, turns, reader, admissions)
        finally:
            await relay.stop()


def personal_data(backend: Backend, sessions: Sessions) -> PersonalData:
    """The use cases for the data of one user."""
    store, publishing = backend.store, Publishing(backend.relay, None, lambda: None)
    return PersonalData(store.personal, store.chats, publishing, backend.turns, sessions)


def new_message(chat_id: str = "c", content: str = "hello", **changes: object) -> NewMessage:
    """A user's message, which creates its chat."""
    values: dict[str, object] = {
        "id": f"m-{next(_numbers)}",
        "chat_id": chat_id,
        "role": "USER",
        "content": content,
        "user_id": "ann",
        "client_msg_id": None,
        "created_at": START,
        "creates": NewChat(chat_id, None, None, START),
    }
    return NewMessage(**(values | changes))  # type: ignore[arg-type] # the keys are the fields


def replace_commit(
    monkeypatch: pytest.MonkeyPatch,
    store: Writes,
    kind: type[Command[Any]],
    commit: Callable[[Command[Any]], Awaitable[Any]],
) -> None:
    """Let ``commit`` handle the commands of one kind."""
    real = store.commit

    async def choose(command: Command[Any]) -> Any:
        return await (commit if isinstance(command, kind) else real)(command)

    monkeypatch.setattr(store, "commit", choose)
