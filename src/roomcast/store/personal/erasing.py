"""The implementation of `chat.ports.PersonalStore`.

Layer: store.personal.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from roomcast.chat.model import AuditAction
from roomcast.chat.ports import Erasure, PersonalPage
from roomcast.store.engine.batch import CustomWrite
from roomcast.store.engine.database import Database
from roomcast.store.engine.keyed_rows import insert_into
from roomcast.store.engine.writer import Writer
from roomcast.store.leases import times, without_lease
from roomcast.store.personal.pages import Found, find
from roomcast.store.rows import AnyRow, from_ms, maybe_time, to_ms
from roomcast.store.rules.recording import audit_row, no_chat
from roomcast.store.tables import audit, ended_sessions, erasures

_OF_USER: Final = select(erasures).where(erasures.c.user_id == bindparam("user"))
_CLAIMABLE: Final = without_lease(erasures, erasures.c.user_id.is_not(None), erasures.c.user_id)
_THIS: Final = update(erasures).where(erasures.c.id == bindparam("this"))
_EXPIRED: Final = delete(ended_sessions).where(ended_sessions.c.expires_at < bindparam("now"))


class SqlPersonalStore:
    """See `chat.ports.PersonalStore` for what each method guarantees.

    Args:
        database: An open database.
        writer: The writer of this database.
    """

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def page(self, user_id: str, alias: str | None, position: str | None) -> PersonalPage:
        """See the port."""
        return await find(self._database, user_id, alias, position)

    async def request_erasure(self, erasure: Erasure) -> Erasure:
        """See the port."""

        def write(connection: Connection) -> Erasure:
            values = {
                "id": erasure.id,
                "user_id": erasure.user_id,
                "requested_at": to_ms(erasure.requested_at),
                "erased": 0,
                "lease_until": 0,
            }
            stored = connection.execute(
                insert_into(connection, erasures).values(values).on_conflict_do_nothing().returning(erasures.c.id)
            )
            if stored.first() is not None:
                act = audit_row(AuditAction.USER_ERASED, no_chat(erasure.id), erasure.requested_at, None, erasure.id)
                connection.execute(insert(audit).values(act))
            return _to_erasure(connection.execute(_OF_USER, {"user": erasure.user_id}).one())

        return await self._writer.commit(CustomWrite(write))

    async def erasure(self, erasure_id: str) -> Erasure | None:
        """See the port."""
        rows = await self._database.fetch(select(erasures).where(erasures.c.id == erasure_id))
        return _to_erasure(rows[0]) if rows else None

    async def claim_erasure(self, now: datetime, lease_until: datetime) -> Erasure | None:
        """See the port."""

        def claim(connection: Connection) -> Erasure | None:
            connection.execute(_EXPIRED, {"now": to_ms(now)})
            found = connection.execute(_CLAIMABLE, times(now, lease_until)).one_or_none()
            if found is None:
                return None
            connection.execute(_THIS.values(lease_until=to_ms(lease_until)), {"this": found.id})
            return _to_erasure(found)

        return await self._writer.commit(CustomWrite(claim))

    async def erase(self, erasure: Erasure, page: PersonalPage, erased: int, lease_until: datetime) -> None:
        """See the port."""

        def erase(connection: Connection) -> None:
            for found in page.rows:
                _change(connection, found)
            changed = {"position": page.next, "erased": erasures.c.erased + erased, "lease_until": to_ms(lease_until)}
            connection.execute(_THIS.values(changed), {"this": erasure.id})

        await self._writer.commit(CustomWrite(erase))

    async def finish_erasure(self, erasure: Erasure, now: datetime) -> None:
        """See the port."""
        done: Mapping[str, Any] = {"user_id": None, "position": None, "done_at": to_ms(now)}
        statement = _THIS.values(done)
        await self._writer.commit(CustomWrite(lambda connection: connection.execute(statement, {"this": erasure.id})))


def _change(connection: Connection, found: Found) -> None:
    keys = dict(zip(found.table.primary_key, found.key, strict=True))
    this = [column == value for column, value in keys.items()]
    if found.changes:
        connection.execute(update(found.table).where(*this).values(found.changes))
    else:
        connection.execute(delete(found.table).where(*this))


def _to_erasure(row: AnyRow) -> Erasure:
    return Erasure(row.id, row.user_id, from_ms(row.requested_at), maybe_time(row.done_at), row.position, row.erased)
