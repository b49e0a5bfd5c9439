"""The implementation of `chat.ports.SearchStore`.

Both databases have the same terms (`chat.search_terms`) in the same table; SQLite indexes them with FTS5, PostgreSQL
with GIN. The writes are in `rules.recording` and, of messages that earlier versions have written, in
`search_batches`.

Layer: store. Source: SQLite, "FTS5 Extension"; PostgreSQL 15, "GIN Indexes", "Text Search Types".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, select, text

from roomcast.chat.model import SearchHit
from roomcast.chat.search_terms import Query
from roomcast.store.batch import CustomWrite
from roomcast.store.database import Database
from roomcast.store.rows import from_ms
from roomcast.store.rules.recording import chat_term
from roomcast.store.search_batches import index_batch
from roomcast.store.tables import members, search_backlog
from roomcast.store.writer import Writer

#: Chats of a user that narrow the index to their messages. Of a user with more chats, the messages that match are read
#: before the chats are checked.
_MAX_CHAT_TERMS: Final = 128

_CHATS_OF: Final = select(members.c.chat_id).where(members.c.user_id == bindparam("user")).limit(_MAX_CHAT_TERMS + 1)
# CROSS JOIN: in this order; SQLite then stops at the limit, since FTS5 returns the rows in the order of the ids.
_MATCHES: Final = {
    "sqlite": """
        SELECT e.id, e.chat_id, e.place
        FROM search_terms CROSS JOIN search_entries e ON e.id = search_terms.rowid
        WHERE search_terms MATCH :terms AND search_terms.rowid < :before {member}
        ORDER BY search_terms.rowid DESC LIMIT :count
    """,
    # Without MATERIALIZED the planner may walk all entries in the order of their ids.
    "postgresql": """
        WITH e AS MATERIALIZED (
            SELECT id, chat_id, place FROM search_entries
            WHERE array_to_tsvector(string_to_array(terms, ' ')) @@ CAST(:terms AS tsquery) AND id < :before
        )
        SELECT e.id, e.chat_id, e.place FROM e WHERE true {member} ORDER BY e.id DESC LIMIT :count
    """,
}
_IS_MEMBER: Final = "AND EXISTS (SELECT 1 FROM members m WHERE m.chat_id = e.chat_id AND m.user_id = :user)"
_HITS: Final = """
    SELECT hit.id AS position, hit.chat_id, hit.place, c.title, m.id AS message_id, m.role, m.user_id, m.content,
        m.created_at
    FROM ({matches}) AS hit
    JOIN chats c ON c.id = hit.chat_id
    LEFT JOIN messages m ON m.chat_id = hit.chat_id AND m.place = hit.place AND m.deleted_at IS NULL
        AND m.version = (SELECT max(o.version) FROM messages o WHERE o.chat_id = m.chat_id AND o.place = m.place)
    ORDER BY hit.id DESC
"""


class SqlSearchStore:
    """See `chat.ports.SearchStore` for what each method guarantees.

    Args:
        database: An open database.
        writer: The writer of this database.
    """

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._dialect = "postgresql" if database.shared else "sqlite"

    async def search(
        self, query: Query, *, chat_id: str | None, member: str | None, before: int, limit: int
    ) -> Sequence[SearchHit]:
        """See the port."""
        chat_ids: Sequence[str] = () if chat_id is None else (chat_id,)
        if chat_id is None and member is not None:
            rows = await self._database.fetch(_CHATS_OF, {"user": member})
            if not rows:
                return ()
            chat_ids = [row.chat_id for row in rows] if len(rows) <= _MAX_CHAT_TERMS else ()
        terms = (_fts5 if self._dialect == "sqlite" else _tsquery)(query, map(chat_term, chat_ids))
        matches = _MATCHES[self._dialect].format(member=_IS_MEMBER if member is not None else "")
        given: dict[str, Any] = {"terms": terms, "before": before, "count": limit}
        if member is not None:
            given["user"] = member
        statement = text(_HITS.format(matches=matches))
        found = await self._database.read(lambda connection: connection.execute(statement, given).all())
        return [
            SearchHit(
                row.position,
                row.chat_id,
                row.title,
                row.message_id or "",
                row.place,
                row.role or "",
                row.user_id,
                row.content or "",
                from_ms(row.created_at or 0),
            )
            for row in found
        ]

    async def complete(self) -> bool:
        """See the port."""
        return not await self._database.fetch(select(search_backlog.c.below).limit(1))

    async def index_more(self) -> bool:
        """See the port."""
        return await self._writer.commit(CustomWrite(index_batch)) > 0


def _fts5(query: Query, chat_terms: Iterable[str]) -> str:
    """The query as FTS5's; terms have no quotes."""
    parts = [f'"{term}"' for term in query.terms] + ([f'"{query.prefix}" *'] if query.prefix else [])
    if any_chat := " OR ".join(f'"{term}"' for term in chat_terms):
        parts.append(f"({any_chat})")
    return " AND ".join(parts)


def _tsquery(query: Query, chat_terms: Iterable[str]) -> str:
    """The query as the text of a ``tsquery``; terms have no quotes."""
    parts = [f"'{term}'" for term in query.terms] + ([f"'{query.prefix}':*"] if query.prefix else [])
    if any_chat := " | ".join(f"'{term}'" for term in chat_terms):
        parts.append(f"({any_chat})")
    return " & ".join(parts)
