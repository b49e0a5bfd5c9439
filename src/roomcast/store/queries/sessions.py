"""The implementation of `chat.ports.SessionStore`.

Layer: store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from roomcast.chat.model import AuditAction
from roomcast.contract.internal import EndedSession
from roomcast.store.engine.batch import CustomWrite
from roomcast.store.engine.database import Database
from roomcast.store.engine.writer import Writer
from roomcast.store.queries.pushes import delete_devices_of
from roomcast.store.rows import from_ms
from roomcast.store.rules.recording import audit_row, no_chat
from roomcast.store.tables import audit, ended_sessions

_at = ended_sessions.c.ended_at
_EXPIRED: Final = delete(ended_sessions).where(ended_sessions.c.expires_at < bindparam("now"))
_VALID: Final = select(ended_sessions).where(_at >= bindparam("after"), ended_sessions.c.expires_at >= bindparam("now"))
#: The last time of a page; later ones are on the next page.
_LAST: Final = _VALID.with_only_columns(_at).order_by(_at).limit(1).offset(bindparam("skipped"))


class SqlSessionStore:
    """See `chat.ports.SessionStore` for what each method guarantees.

    Args:
        database: An open database.
        writer: The writer of this database.
    """

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def end_session(self, session: EndedSession, now_ms: int, *, by_service: bool = False) -> None:
        """See the port."""
        kind, key = ("token", session.token) if session.user_id is None else ("user", session.user_id)

        def write(connection: Connection) -> None:
            connection.execute(_EXPIRED, {"now": now_ms})
            if session.user_id is not None:
                delete_devices_of(connection, session.user_id)
            if by_service and session.user_id is not None:
                # Of no chat.
                chat_id = no_chat(session.user_id)
                act = audit_row(AuditAction.SESSIONS_ENDED, chat_id, from_ms(now_ms), None, session.user_id)
                connection.execute(insert(audit).values(act))
            values = {"kind": kind, "key": key, "ended_at": session.ended_at, "expires_at": session.expires_at}
            on_postgresql = connection.dialect.name == "postgresql"
            # Another process may end the same session at the same time; the later end counts.
            statement = (postgresql if on_postgresql else sqlite).insert(ended_sessions).values(values)
            later = func.greatest if on_postgresql else func.max
            given = statement.excluded
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=ended_sessions.primary_key,
                    set_={name: later(ended_sessions.c[name], given[name]) for name in ("ended_at", "expires_at")},
                )
            )

        await self._writer.commit(CustomWrite(write))

    async def ended_sessions(self, after_ms: int, now_ms: int, limit: int) -> Sequence[EndedSession]:
        """See the port."""

        def read(connection: Connection) -> list[EndedSession]:
            last = connection.execute(
                _LAST, {"after": after_ms, "now": now_ms, "skipped": limit - 1}
            ).scalar_one_or_none()
            page = _VALID.order_by(_at) if last is None else _VALID.where(_at <= last).order_by(_at)
            return [
                EndedSession(
                    user_id=row.key if row.kind == "user" else None,
                    token=row.key if row.kind == "token" else None,
                    ended_at=row.ended_at,
                    expires_at=row.expires_at,
                )
                for row in connection.execute(page, {"after": after_ms, "now": now_ms})
            ]

        return await self._database.read(read)
