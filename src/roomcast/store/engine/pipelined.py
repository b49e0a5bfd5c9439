"""Reads and writes the rows of a batch on PostgreSQL, in two round trips whatever the size of the batch.

Commands that concern turns need a few more; plain messages do not.

The first round trip locks and reads, the second writes and commits. Each is a pipeline of statements whose parameters
are whole columns, passed as arrays. So a chat's row is locked for little more than one round trip and one sync to the
disk. The texts of the statements do not depend on the number of rows, so each statement is prepared once.

Layer: store. Source: PostgreSQL 15, libpq "Pipeline Mode", "The Locking Clause"; docs/decisions/0005.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, LiteralString, cast

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import namedtuple_row
from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

from roomcast.store import tables
from roomcast.store.engine.keyed_rows import (
    by_key,
    postgres_delete,
    postgres_insert,
    postgres_select,
    postgres_upsert,
    split,
)
from roomcast.store.engine.statements import (
    AccessKey,
    AccessRow,
    load_turns,
    write_changed,
)
from roomcast.store.lineage import Lineage
from roomcast.store.rows import to_chat, to_event, to_ms
from roomcast.store.rules.exchange import Changes, LoadedRows, Needs, Row

_EPOCHS: Final = "SELECT id, epoch FROM epochs ORDER BY id"
# "Explicit Locking": all processes lock in the order of the ids, so they cannot deadlock. The statements after this
# one use a later snapshot, which contains the commits of the previous holder of the locks (READ COMMITTED).
# The columns are named, since a prepared ``SELECT *`` fails once a newer version of roomcast has added a column.
_CHATS: Final = """
    SELECT id, title, ai, created_at, last_activity_at, last_seq, state, direct, retention_days
    FROM chats WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE
"""
_NEWEST_ACTIVITY: Final = "SELECT max(last_activity_at) AS at FROM chats"
# A planner without statistics takes all ways for equal, and may read a whole chat for each message. LIMIT fixes the
# order of the tables; a range and its order leave one index.
_SENT: Final = """
    SELECT asked.chat_id, m.seq, e.epoch_id, e.type, e.payload, e.trace, e.created_at, m.client_msg_id
    FROM unnest(%s::text[], %s::text[]) AS asked (chat_id, key)
    CROSS JOIN LATERAL (
        SELECT seq, client_msg_id FROM messages
        WHERE chat_id = asked.chat_id AND client_msg_id BETWEEN asked.key AND asked.key
        ORDER BY client_msg_id LIMIT 1
    ) AS m
    CROSS JOIN LATERAL (
        SELECT epoch_id, type, payload, trace, created_at FROM events
        WHERE chat_id = asked.chat_id AND seq = m.seq LIMIT 1
    ) AS e
"""
# A user has no row to lock. The statement after this one sees the commits of the previous
# holder of the lock.
_LOCK_USERS: Final = (
    "SELECT pg_advisory_xact_lock(hashtextextended(user_id, 0)) FROM unnest(%s::text[]) AS asked (user_id)"
)
_ACCESS: Final = """
    SELECT (SELECT epoch FROM epochs ORDER BY id DESC LIMIT 1),
        (SELECT last_seq FROM chats WHERE id = asked.chat_id AND (state IS NULL OR state = 'archived')),
        m.role, m.muted_until,
        (SELECT epoch_id FROM events e WHERE e.chat_id = asked.chat_id AND e.seq = asked.seq)
    FROM unnest(%s::text[], %s::text[], %s::bigint[]) WITH ORDINALITY AS asked (chat_id, user_id, seq, place)
    LEFT JOIN members m ON m.chat_id = asked.chat_id AND m.user_id = asked.user_id
    ORDER BY asked.place
"""
_UPDATE_CHATS: Final = """
    UPDATE chats SET last_seq = grown.last_seq, last_activity_at = grown.last_activity_at
    FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS grown (id, last_seq, last_activity_at)
    WHERE chats.id = grown.id
"""
_DELETE_MARKS: Final = """
    DELETE FROM outbox USING unnest(%s::text[], %s::bigint[]) AS done (chat_id, seq)
    WHERE outbox.chat_id = done.chat_id AND outbox.seq <= done.seq
"""
# After a failed statement, psycopg logs a warning for each statement that the server skips. The failure itself is
# raised as an error anyway.
logging.getLogger("psycopg").setLevel(logging.ERROR)


class PipelinedStatements:
    """One pipeline each for `load` and `write`, with row locks, since several processes write; see `Statements`."""

    def access(self, connection: Connection, keys: Sequence[AccessKey]) -> list[AccessRow]:
        """See `Statements`."""
        with _wrap_errors(connection, retryable=True):
            return [AccessRow(*row) for row in _send(_driver_connection(connection), _ACCESS, *_columns(keys))]

    def load(self, connection: Connection, needs: Needs, lineage: Lineage) -> LoadedRows:
        """See `Statements`."""
        with _wrap_errors(connection, retryable=True):
            raw = _driver_connection(connection)
            # The driver's own BEGIN takes a round trip, even in a pipeline.
            begin = raw.info.transaction_status is TransactionStatus.IDLE
            if begin:
                raw.autocommit = True
            with raw.pipeline():
                if begin:
                    raw.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
                epochs = _send(raw, _EPOCHS)
                chats = _send(raw, _CHATS, sorted(needs.chats))
                newest = _send(raw, _NEWEST_ACTIVITY)
                sent = _send(raw, _SENT, *_columns(sorted(needs.sent))) if needs.sent else None
                if needs.locks:
                    _send(raw, _LOCK_USERS, sorted(needs.locks))
                keyed = {
                    table: raw.execute(postgres_select(table).encode(), _columns(sorted(keys)))
                    for table, keys in needs.rows.items()
                }
            lineage.update_from_write({row.id: row.epoch for row in epochs})
            found = {row.id: to_chat(row) for row in chats}
        return LoadedRows(
            chats=found,
            sent={(row.chat_id, row.client_msg_id): to_event(row, lineage.epochs) for row in sent or ()},
            rows={table: by_key(table, cursor.fetchall()) for table, cursor in keyed.items()},
            newest_activity_ms=next(newest).at or 0,
            **load_turns(connection, needs.turns, found, lineage),
        )

    def write(self, connection: Connection, changes: Changes, *, last: bool) -> None:
        """See `Statements`."""
        write_changed(connection, changes)
        # If the connection is lost during the commit, the outcome is unknown, so there is no retry.
        with _wrap_errors(connection, retryable=not last):
            raw = _driver_connection(connection)
            with raw.pipeline():
                for query, parameters in _write_statements(changes):
                    raw.execute(query.encode(), parameters)
                if last:
                    raw.execute("COMMIT")


def _write_statements(changes: Changes) -> Iterator[tuple[str, Sequence[Sequence[Any]]]]:
    # One statement for the rows of all tables, since each execution costs about 0.1 ms. It writes the tables in no
    # certain order, so new chats have their own before it: two processes that create the same chats could deadlock.
    inserts = dict(changes.inserts)
    if rows := inserts.pop(tables.chats, None):
        yield _insert(tables.chats, rows)
    parts = [_insert(table, rows) for table, rows in inserts.items()]
    if changes.grown_chats:
        heads = [(chat.id, chat.last_seq, to_ms(chat.last_activity_at)) for chat in changes.grown_chats]
        parts.append((_UPDATE_CHATS, _columns(heads)))
    others = []
    for table, keyed in changes.rows.items():
        gone, put = split(table, keyed)
        if gone:
            others.append((postgres_delete(table), _columns(gone)))
        if put:
            # Entries of the search are written with almost every message, and only while their chat is locked.
            at = parts if table is tables.search_entries else others
            at.append((postgres_upsert(table), _columns(put)))
    if parts:
        *first, last = (statement for statement, _ in parts)
        named = ", ".join(f"part_{number} AS ({statement})" for number, statement in enumerate(first))
        yield f"WITH {named} {last}" if named else last, list(chain.from_iterable(columns for _, columns in parts))
    yield from others
    if changes.published:
        yield _DELETE_MARKS, _columns(changes.published)


def _insert(table: Table, rows: Sequence[Row]) -> tuple[str, Sequence[Sequence[Any]]]:
    names = list(rows[0])
    return postgres_insert(table, tuple(names)), [[row[name] for row in rows] for name in names]


def _columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _send(raw: psycopg.Connection[Any], query: LiteralString, *parameters: Sequence[Any]) -> psycopg.Cursor[Any]:
    """Send a query. The cursor contains the rows after the end of the pipeline block."""
    return raw.cursor(row_factory=namedtuple_row).execute(query, [list(value) for value in parameters])


def _driver_connection(connection: Connection) -> psycopg.Connection[Any]:
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


@contextmanager
def _wrap_errors(connection: Connection, *, retryable: bool) -> Iterator[None]:
    """Convert psycopg's errors to SQLAlchemy's, as SQLAlchemy does for its own statements.

    Args:
        connection: Invalidated if the error shows that it is lost.
        retryable: Whether the transaction may be retried if the connection is lost.
    """
    try:
        yield
    except psycopg.Error as error:
        raw = connection.connection.driver_connection
        # A primary that became a standby keeps its connections; a new connection finds the new primary.
        lost = raw is None or raw.closed or raw.broken or isinstance(error, psycopg.errors.ReadOnlySqlTransaction)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            None,
            None,
            error,
            psycopg.Error,
            hide_parameters=True,
            connection_invalidated=lost and retryable,
            dialect=connection.dialect,
        ) from error
