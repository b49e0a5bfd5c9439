"""The implementation of `chat.ports.SearchStore`.

Both databases have the same terms (`chat.policies.search_terms`) in the same table; SQLite indexes them with FTS5,
PostgreSQL with GIN. The writes are in `rules.recording` and, of messages that earlier versions have written, in
`search_batches`.

Neither index bounds the work of a query of a frequent word: GIN, and FTS5 for the beginning of a word, collect all rows
of a term before the first hit is known. So the newest messages are compared one by one, which fills a page if the words
are frequent; only rarer words ask the index, in windows of ids and for a limited time (docs/decisions/0024).

Layer: store. Source: SQLite, "FTS5 Extension", "The fts5vocab Virtual Table Module"; PostgreSQL 15, "GIN Indexes",
"Text Search Types".
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, select, text
from sqlalchemy.exc import OperationalError

from roomcast.chat.model import SearchHit
from roomcast.chat.policies.search_terms import Query
from roomcast.store.engine.batch import CustomWrite
from roomcast.store.engine.database import Database
from roomcast.store.engine.statements import driver_connection
from roomcast.store.engine.writer import Writer
from roomcast.store.queries.search_batches import index_batch
from roomcast.store.rows import AnyRow, from_ms
from roomcast.store.rules.recording import chat_term
from roomcast.store.tables import members, search_backlog, search_entries

#: Chats of a user that narrow the index to their messages. Of a user with more chats, the messages that match are read
#: before the chats are checked.
_MAX_CHAT_TERMS: Final = 128
#: Words that an unfinished one stands for in a query of FTS5. If there are more, the texts are compared.
_MAX_EXPANSIONS: Final = 64
#: The newest messages, which are compared without the index.
RECENT: Final = 8_192
#: The next window is twice as large if the last one took at most this share of the time limit.
_QUICK: Final = 0.2

_CHATS_OF: Final = select(members.c.chat_id).where(members.c.user_id == bindparam("user")).limit(_MAX_CHAT_TERMS + 1)
_RANGE: Final = select(
    select(func.min(search_entries.c.id)).scalar_subquery().label("first"),
    select(func.max(search_entries.c.id)).scalar_subquery().label("last"),
)
_SCAN: Final = "SELECT e.id, e.chat_id, e.place FROM search_entries e WHERE e.id >= :low AND e.id < :before"
_INDEXED: Final = {
    # CROSS JOIN: in this order; SQLite then stops at the limit, since FTS5 returns the rows in the order of the ids.
    "sqlite": """
        SELECT e.id, e.chat_id, e.place FROM search_terms CROSS JOIN search_entries e ON e.id = search_terms.rowid
        WHERE search_terms MATCH :terms AND search_terms.rowid >= :low AND search_terms.rowid < :before
    """,
    # Without MATERIALIZED the planner may walk all entries in the order of their ids.
    "postgresql": """
        SELECT e.id, e.chat_id, e.place FROM (
            WITH e AS MATERIALIZED (
                SELECT id, chat_id, place, terms FROM search_entries
                WHERE array_to_tsvector(string_to_array(terms, ' ')) @@ CAST(:terms AS tsquery)
            ) SELECT * FROM e
        ) e WHERE e.id >= :low AND e.id < :before
    """,
}
_IS_MEMBER: Final = " AND EXISTS (SELECT 1 FROM members m WHERE m.chat_id = e.chat_id AND m.user_id = :user)"
_IN_CHAT: Final = " AND e.chat_id = :chat"
_HITS: Final = """
    SELECT hit.id AS position, hit.chat_id, hit.place, c.title, m.id AS message_id, m.role, m.user_id, m.content,
        m.created_at
    FROM ({matches} ORDER BY e.id DESC LIMIT :count) AS hit
    JOIN chats c ON c.id = hit.chat_id
    LEFT JOIN messages m ON m.chat_id = hit.chat_id AND m.place = hit.place AND m.deleted_at IS NULL
        AND m.version = (SELECT max(o.version) FROM messages o WHERE o.chat_id = m.chat_id AND o.place = m.place)
    ORDER BY hit.id DESC
"""
#: An SQLSTATE of PostgreSQL.
_QUERY_CANCELED: Final = "57014"
# `instance` has a row for each term and message; a search from a term on reads one row only.
_NEXT_WORD: Final = "SELECT term FROM search_vocabulary WHERE term >= ? LIMIT 1"


@dataclass(frozen=True, slots=True)
class _Search:
    """One query, and to whose messages it is limited."""

    query: Query
    chat_id: str | None
    member: str | None
    chat_terms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Matches:
    """A query of the entries that match.

    Attributes:
        statement: It selects from ``search_entries e``.
        given: Its parameters.
        compares: Whether it reads texts, for which small windows take long enough.
        timed: Whether it has to be interrupted at the time limit.
    """

    statement: str
    given: Mapping[str, Any]
    compares: bool = False
    timed: bool = False


class SqlSearchStore:
    """See `chat.ports.SearchStore` for what each method guarantees.

    Args:
        database: An open database.
        writer: The writer of this database.
        recent: The newest messages, which are compared without the index.
        time_limit_s: After it no further window is read.
    """

    def __init__(self, database: Database, writer: Writer, *, recent: int = RECENT, time_limit_s: float = 0.1) -> None:
        self._database = database
        self._writer = writer
        self._postgres = database.shared
        self._recent = recent
        self._time_limit_s = time_limit_s

    async def search(
        self, query: Query, *, chat_id: str | None, member: str | None, before: int, limit: int
    ) -> tuple[Sequence[SearchHit], int | None]:
        """See the port."""
        chat_ids: Sequence[str] = () if chat_id is None else (chat_id,)
        if chat_id is None and member is not None:
            rows = await self._database.fetch(_CHATS_OF, {"user": member})
            if not rows:
                return (), None
            chat_ids = [row.chat_id for row in rows] if len(rows) <= _MAX_CHAT_TERMS else ()
        (ids,) = await self._database.fetch(_RANGE)
        if ids.first is None or before <= ids.first:
            return (), None
        search = _Search(query, chat_id, member, tuple(map(chat_term, chat_ids)))
        found, below = await self._newest_first(search, ids.first, min(before, ids.last + 1), limit)
        return [_to_hit(row) for row in found], below

    async def complete(self) -> bool:
        """See the port."""
        return not await self._database.fetch(select(search_backlog.c.below).limit(1))

    async def index_more(self) -> bool:
        """See the port."""
        return await self._writer.commit(CustomWrite(index_batch)) > 0

    async def _newest_first(
        self, search: _Search, first: int, before: int, limit: int
    ) -> tuple[Sequence[AnyRow], int | None]:
        """The hits from ``first`` up to ``before``, and below which id the rest is, unless there is none."""
        ends = time.monotonic() + self._time_limit_s
        found: list[AnyRow] = []
        compared = matches = self._compared(search)
        size = self._recent
        while True:
            began = time.monotonic()
            low = max(first, before - size)
            rows = await self._window(matches, low, before, limit - len(found), (ends - began) / 2)
            if rows is not None:
                found += rows
                before = low
            if len(found) >= limit:
                return found, found[-1].position
            if before <= first:
                return found, None
            now = time.monotonic()
            if now >= ends:
                return found, before
            if rows is None:
                matches, size = compared, self._recent
            elif matches is compared and size == self._recent:
                matches = await self._indexed(search) or compared
                size = before - first if matches.timed else size if matches.compares else 8 * size
            elif now - began < _QUICK * self._time_limit_s:
                size *= 2

    async def _window(
        self, matches: _Matches, low: int, before: int, count: int, limit_s: float
    ) -> Sequence[AnyRow] | None:
        """The newest hits with these ids; None: the database did not find them in time."""
        given = {**matches.given, "low": low, "before": before, "count": count}
        statement = text(_HITS.format(matches=matches.statement))

        def read(connection: Connection) -> Sequence[AnyRow] | None:
            if not matches.timed:
                return connection.execute(statement, given).all()
            connection.exec_driver_sql(f"BEGIN; SET LOCAL statement_timeout = {max(1, round(limit_s * 1000))}")
            try:
                return connection.execute(statement, given).all()
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", None) != _QUERY_CANCELED:
                    raise
                return None
            finally:
                connection.exec_driver_sql("ROLLBACK")

        return await self._database.read(read)

    def _compared(self, search: _Search) -> _Matches:
        """A query that compares each entry."""
        query = search.query
        parts = [f" {term} " for term in query.terms] + ([f" {query.prefix}"] if query.prefix else [])
        given = {f"part{number}": part for number, part in enumerate(parts)}
        return self._limited(_SCAN + "".join(map(self._has, given)), search, given, compares=True)

    async def _indexed(self, search: _Search) -> _Matches | None:
        """A query through the index; None: it would not narrow the entries."""
        query = search.query
        if self._postgres:
            words = [f"'{query.prefix}':*"] if query.prefix else []
            every = [f"'{term}'" for term in query.terms]
            chats = [f"'{term}'" for term in search.chat_terms]
            return self._limited(
                _INDEXED["postgresql"], search, {"terms": _all(every, words, chats, " & ", " | ")}, timed=True
            )
        statement, given = _INDEXED["sqlite"], dict[str, Any]()
        words = await self._database.read(lambda connection: _expand(connection, query.prefix)) if query.prefix else []
        if len(words) > _MAX_EXPANSIONS:
            words, given["part"] = [], f" {query.prefix}"
            statement += self._has("part")
        elif query.prefix and not words:
            words = [query.prefix]
        every, some, chats = ([f'"{term}"' for term in terms] for terms in (query.terms, words, search.chat_terms))
        given["terms"] = _all(every, some, chats, " AND ", " OR ")
        return self._limited(statement, search, given, compares="part" in given) if given["terms"] else None

    def _has(self, parameter: str) -> str:
        return f" AND {'strpos' if self._postgres else 'instr'}(e.terms || ' ', :{parameter}) > 0"

    def _limited(self, statement: str, search: _Search, given: dict[str, Any], **how: bool) -> _Matches:
        """The query for the chats that are searched."""
        if search.chat_id is not None:
            statement += _IN_CHAT
            given["chat"] = search.chat_id
        if search.member is not None:
            statement += _IS_MEMBER
            given["user"] = search.member
        return _Matches(statement, given, **how)


def _all(every: Sequence[str], words: Sequence[str], chats: Sequence[str], conjunction: str, disjunction: str) -> str:
    """A query of the index for all of some terms, one of the words and one of the chats, unless there is none."""
    return conjunction.join([*every, *(f"({disjunction.join(some)})" for some in (words, chats) if some)])


def _expand(connection: Connection, prefix: str) -> list[str]:
    """Words of the index that begin so, one more than `_MAX_EXPANSIONS` at most."""
    words: list[str] = []
    least = prefix
    with driver_connection(connection) as raw:
        while len(words) <= _MAX_EXPANSIONS:
            row = raw.execute(_NEXT_WORD, (least,)).fetchone()
            if row is None or not row[0].startswith(prefix):
                break
            words.append(row[0])
            least = f"{row[0]}\x01"  # no term has a character below
    return words


def _to_hit(row: AnyRow) -> SearchHit:
    return SearchHit(
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
