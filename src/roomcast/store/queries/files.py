"""The implementation of `chat.ports.FileStore`.

Layer: store.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeVar

from sqlalchemy import Connection, bindparam, literal_column, select, update

from roomcast.chat.commands import Command
from roomcast.chat.model import StoredFile
from roomcast.contract.events import Attachment
from roomcast.store.engine.batch import CustomWrite
from roomcast.store.engine.database import Database
from roomcast.store.engine.keyed_rows import insert_into
from roomcast.store.engine.writer import Writer
from roomcast.store.rows import AnyRow, to_ms
from roomcast.store.tables import chats, files, shared_keys

_R = TypeVar("_R")
_KEY_BYTES: Final = 32
_COMPLETE: Final = (files.c.type != "") & (files.c.due_at.is_(None) | (files.c.due_at != 0))

# Those that are not sent become due anyway. The state is part of the text, so that the index is used.
_ORPHANS: Final = (
    select(files.c.id)
    .join(chats, chats.c.id == files.c.chat_id)
    .where(literal_column("state") == literal_column("'erased'"), files.c.due_at.is_(None))
    .limit(bindparam("count"))
)


class SqlFileStore:
    """See `chat.ports.FileStore` for what each method guarantees.

    Args:
        database: An open database.
        writer: The writer of this database.
    """

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def commit(self, command: Command[_R]) -> _R:
        """See the port."""
        return await self._writer.commit(command)

    async def file(self, file_id: str) -> StoredFile | None:
        """See the port."""
        rows = await self._database.fetch(select(files).where(files.c.id == file_id, _COMPLETE))
        return _to_file(rows[0]) if rows else None

    async def files(self, chat_id: str, file_ids: Sequence[str]) -> Sequence[StoredFile]:
        """See the port."""
        query = select(files).where(files.c.id.in_(file_ids), files.c.chat_id == chat_id, _COMPLETE)
        return [_to_file(row) for row in await self._database.fetch(query)]

    async def due_files(self, at: datetime, limit: int) -> Sequence[tuple[str, str]]:
        """See the port."""
        query = select(files.c.chat_id, files.c.id).where(files.c.due_at <= to_ms(at)).order_by(files.c.due_at)
        return [(row.chat_id, row.id) for row in await self._database.fetch(query.limit(limit))]

    async def drop_orphans(self, limit: int) -> int:
        """See the port."""
        # Read first: usually there is none, and an embedded database has one writer.
        found = [row.id for row in await self._database.fetch(_ORPHANS, {"count": limit})]
        if found:
            removal = update(files).where(files.c.id.in_(found)).values(due_at=0)
            await self._writer.commit(CustomWrite(lambda connection: connection.execute(removal)))
        return len(found)

    async def secret(self, name: str) -> bytes:
        """See the port."""

        def write(connection: Connection) -> bytes:
            # Another process may create it at the same time; the first one counts.
            new = {"name": name, "value": secrets.token_bytes(_KEY_BYTES)}
            connection.execute(insert_into(connection, shared_keys).values(new).on_conflict_do_nothing())
            value: bytes = connection.execute(
                select(shared_keys.c.value).where(shared_keys.c.name == name)
            ).scalar_one()
            return value

        return await self._writer.commit(CustomWrite(write))


def _to_file(row: AnyRow) -> StoredFile:
    attachment = Attachment.model_construct(**{name: getattr(row, name) for name in Attachment.model_fields})
    return StoredFile(row.chat_id, row.user_id, attachment, row.due_at is None)
