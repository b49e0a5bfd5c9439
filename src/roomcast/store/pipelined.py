"""Reads and writes the rows of a batch on PostgreSQL, in two round trips whatever the size of the batch.

Commands that concern turns need a few more; plain messages do not.

The first round trip locks and reads, the second writes and commits. Each is a pipeline of statements whose parameters
are whole columns, passed as arrays. So a chat's row is locked for little more than one round trip and one sync to the
disk. The texts of the statements do not depend on the number of rows, so each statement is prepared once.

Layer: store. Source: PostgreSQL 15, libpq "Pipeline Mode", "The Locking Clause"; docs/decisions/0005.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, LiteralString, cast

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import namedtuple_row
from sqlalchemy import Column, Connection, String, Table, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from roomcast.store import tables
from roomcast.store.lineage import Lineage
from roomcast.store.rows import to_chat, to_event, to_ms
from roomcast.store.statements import (
    AccessKey,
    AccessRow,
    Changes,
    LoadedRows,
    RowKeys,
    added_members,
    addition_rows,
    load_turns,
    write_turns,
)

_EPOCHS: Final = "SELECT id, epoch FROM epochs ORDER BY id"
# "Explicit Locking": all processes lock in the order of the ids, so they cannot deadlock. The statements after this
# one use a later snapshot, which contains the commits of the previous holder of the locks (READ COMMITTED).
# The columns are named, since a prepared ``SELECT *`` fails once a newer version of roomcast has added a column.
_CHATS: Final = """
    SELECT id, title, ai, created_at, last_activity_at, last_seq
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
_MEMBERS: Final = """
    SELECT m.chat_id, m.user_id
    FROM unnest(%s::text[], %s::text[]) AS asked (chat_id, user_id)
    JOIN members m ON m.chat_id = asked.chat_id AND m.user_id = asked.user_id
"""
# A user that adds others has no row of its own to lock. The statement after this one sees the commits of the previous
# holder of the lock.
_LOCK_ACTORS: Final = (
    "SELECT pg_advisory_xact_lock(hashtextextended(actor, 0)) FROM unnest(%s::text[]) AS asked (actor)"
)
_ADDITIONS: Final = """
    SELECT a.actor_id, a.user_id, a.full_at
    FROM unnest(%s::text[], %s::text[]) AS asked (actor_id, user_id)
    JOIN additions a ON a.actor_id = asked.actor_id AND a.user_id = asked.user_id
"""
_ACCESS: Final = """
    SELECT (SELECT epoch FROM epochs ORDER BY id DESC LIMIT 1),
        (SELECT last_seq FROM chats WHERE id = asked.chat_id),
        EXISTS (SELECT 1 FROM members m WHERE m.chat_id = asked.chat_id AND m.user_id = asked.user_id),
        (SELECT epoch_id FROM events e WHERE e.chat_id = asked.chat_id AND e.seq = asked.seq)
    FROM unnest(%s::text[], %s::text[], %s::bigint[]) WITH ORDINALITY AS asked (chat_id, user_id, seq, place)
    ORDER BY asked.place
"""
_UPDATE_CHATS: Final = """
    UPDATE chats SET last_seq = grown.last_seq, last_activity_at = grown.last_activity_at
    FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS grown (id, last_seq, last_activity_at)
    WHERE chats.id = grown.id
"""
_DELETE_MEMBERS: Final = """
    DELETE FROM members USING unnest(%s::text[], %s::text[]) AS gone (chat_id, user_id)
    WHERE members.chat_id = gone.chat_id AND members.user_id = gone.user_id
"""
_DELETE_MARKS: Final = """
    DELETE FROM outbox USING unnest(%s::text[], %s::bigint[]) AS done (chat_id, seq)
    WHERE outbox.chat_id = done.chat_id AND outbox.seq <= done.seq
"""
# After a failed statement, psycopg logs a warning for each statement that the server skips. The failure itself is
# raised as an error anyway.
logging.getLogger("psycopg").setLevel(logging.ERROR)

_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's


class PipelinedStatements:
    """One pipeline each for `load` and `write`, with row locks, since several processes write; see `Statements`."""

    def access(self, connection: Connection, keys: Sequence[AccessKey]) -> list[AccessRow]:
        """See `Statements`."""
        with _wrap_errors(connection, retryable=True):
            return [AccessRow(*row) for row in _send(_driver_connection(connection), _ACCESS, *_columns(keys))]

    def load(self, connection: Connection, keys: RowKeys, lineage: Lineage) -> LoadedRows:
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
                chats = _send(raw, _CHATS, keys.chat_ids)
                newest = _send(raw, _NEWEST_ACTIVITY)
                sent = _send(raw, _SENT, *_columns(keys.message_keys)) if keys.message_keys else None
                members = _send(raw, _MEMBERS, *_columns(keys.memberships)) if keys.memberships else None
                additions = None
                if keys.additions:
                    _send(raw, _LOCK_ACTORS, sorted({actor for actor, _ in keys.additions}))
                    additions = _send(raw, _ADDITIONS, *_columns(keys.additions))
            lineage.update_from_write({row.id: row.epoch for row in epochs})
            found = {row.id: to_chat(row) for row in chats}
        return LoadedRows(
            chats=found,
            sent={(row.chat_id, row.client_msg_id): to_event(row, lineage.epochs) for row in sent or ()},
            members={(row.chat_id, row.user_id) for row in members or ()},
            additions={(row.actor_id, row.user_id): row.full_at for row in additions or ()},
            newest_activity_ms=next(newest).at or 0,
            **load_turns(connection, keys.turns, found, lineage),
        )

    def write(self, connection: Connection, changes: Changes, *, last: bool) -> None:
        """See `Statements`."""
        write_turns(connection, changes)
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
    if changes.updated_chats:
        heads = [(chat.id, chat.last_seq, to_ms(chat.last_activity_at)) for chat in changes.updated_chats]
        parts.append((_UPDATE_CHATS, _columns(heads)))
    if parts:
        *others, last = (statement for statement, _ in parts)
        named = ", ".join(f"part_{number} AS ({statement})" for number, statement in enumerate(others))
        yield f"WITH {named} {last}" if named else last, list(chain.from_iterable(columns for _, columns in parts))
    if changes.memberships:
        yield _DELETE_MEMBERS, _columns(list(changes.memberships))
        if added := added_members(changes):
            yield _insert(tables.members, added)
    if changes.additions:
        insert, columns = _insert(tables.additions, addition_rows(changes))
        yield insert + " ON CONFLICT (actor_id, user_id) DO UPDATE SET full_at = excluded.full_at", columns
    if changes.published:
        yield _DELETE_MARKS, _columns(changes.published)


def _insert(table: Table, rows: Sequence[Mapping[str, Any]]) -> tuple[str, Sequence[Sequence[Any]]]:
    names = list(rows[0])
    return _insert_text(table, tuple(names)), [[row[name] for row in rows] for name in names]


@functools.cache
def _insert_text(table: Table, names: tuple[str, ...]) -> str:
    arrays = ", ".join(f"%s::{_array_type(table.c[name])}" for name in names)
    return f"INSERT INTO {table.name} ({', '.join(names)}) SELECT * FROM unnest({arrays})"  # noqa: S608 - names from the table


def _array_type(column: Column[Any]) -> str:
    # A cast to varchar(n) would truncate a text that is too long; without it, the INSERT fails.
    text = type(column.type) in {String, Text}
    return f"{'text' if text else column.type.compile(_DIALECT)}[]"


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
