"""The port through which a batch reads and writes its rows, and an implementation with one statement per table.

Layer: store. Source: docs/design.md, "Events and seq".
"""

from __future__ import annotations

import functools
import json
import sqlite3
from collections import namedtuple
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple, Protocol, TypedDict, cast

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Connection,
    String,
    Table,
    Update,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

from roomcast.chat.model import StoredChat, StoredEvent
from roomcast.store.engine.keyed_rows import by_key, select_by_key, split, sqlite_delete, sqlite_select, sqlite_upsert
from roomcast.store.lineage import Lineage
from roomcast.store.message_queries import EACH_VERSION
from roomcast.store.rows import AnyRow, from_ms, to_attachments, to_chat, to_event, to_message, to_ms, to_turn
from roomcast.store.rules.exchange import Changes, LastVersion, LoadedRows, Needs, Row, TurnKeys
from roomcast.store.rules.turns import ACTIVE, Question, TurnRow
from roomcast.store.tables import (
    bans,
    chats,
    custom_events,
    events,
    files,
    invites,
    members,
    mentions,
    messages,
    notification_settings,
    outbox,
    pins,
    reactions,
    reads,
    reports,
    restrictions,
    search_entries,
    turns,
)

#: A chat, a user or None, and the seq of a cursor.
AccessKey = tuple[str, str | None, int]


class AccessRow(NamedTuple):
    """What a chat's row, its members and its events say about an `AccessKey`, and the newest epoch.

    Attributes:
        newest_epoch: The newest epoch in the statement's snapshot.
        last_seq: The chat's head; None if the chat does not exist.
        role: The user's role; None: not a member.
        muted_until: The end of its mute in milliseconds; None: there was none.
        event_epoch_id: The epoch of the event with the seq; None if there is no such event.
    """

    newest_epoch: str
    last_seq: int | None
    role: str | None
    muted_until: int | None
    event_epoch_id: int | None


class Statements(Protocol):
    """Reads and writes the rows of a batch inside the connection's transaction."""

    def access(self, connection: Connection, keys: Sequence[AccessKey]) -> list[AccessRow]:
        """Read what decides on accesses to chats, in one statement. One row for each key, in their order."""

    def load(self, connection: Connection, needs: Needs, lineage: Lineage) -> LoadedRows:
        """Lock chats, turns and users, in an order that is the same in every process, and read all rows of ``needs``.

        Args:
            connection: Inside a transaction.
            needs: At least one chat.
            lineage: Is updated if the implementation reads the epochs too.
        """

    def write(self, connection: Connection, changes: Changes, *, last: bool) -> None:
        """Write the changes.

        Args:
            connection: Inside the same transaction.
            changes: Not empty.
            last: Whether no other statement follows in this transaction, so that the implementation may also commit it.
        """


_SQLITE: Final = sqlite.dialect(paramstyle="named")


def _compiled(statement: ClauseElement) -> str:
    """The SQL of a statement. Compiled once: SQLAlchemy's work for each execution takes longer than SQLite's."""
    return str(statement.compile(dialect=_SQLITE))


@functools.lru_cache(64)
def _insert(table: Table, columns: tuple[str, ...]) -> str:
    values = ", ".join("?" * len(columns))
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({values})"  # noqa: S608 - names from the table


def _insert_rows(raw: sqlite3.Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    # Parameters by position take a sixth less time than by name.
    columns = tuple(rows[0])
    raw.executemany(_insert(table, columns), map(itemgetter(*columns), rows))


_UPDATE_CHAT: Final = _compiled(
    update(chats)
    .where(chats.c.id == bindparam("chat"))
    .values(last_seq=bindparam("seq"), last_activity_at=bindparam("at"))
)
_NEWEST: Final = select(func.max(chats.alias("others").c.last_activity_at).label("newest"))
_NEWEST_ACTIVITY: Final = _compiled(_NEWEST)
_DELETE_MARKS: Final = _compiled(
    delete(outbox).where(outbox.c.chat_id == bindparam("chat"), outbox.c.seq <= bindparam("seq"))
)
_IDS: Final = func.json_each(bindparam("ids")).table_valued("value", name="ids")
_CHATS: Final = _compiled(
    select(chats, _NEWEST.scalar_subquery().label("newest")).select_from(_IDS).join(chats, chats.c.id == _IDS.c.value)
)
# The pairs of a batch as a table. SQLite uses no index for ``(a, b) IN ((…), (…))`` with several pairs.
_PAIRS: Final = func.json_each(bindparam("pairs")).table_valued("value", name="pairs")
_FIRST: Final = func.json_extract(_PAIRS.c.value, literal_column("'$[0]'"), type_=String)
_SECOND: Final = func.json_extract(_PAIRS.c.value, literal_column("'$[1]'"), type_=String)
_SENT: Final = _compiled(
    select(events, messages.c.client_msg_id)
    .select_from(_PAIRS)
    .join(messages, (messages.c.chat_id == _FIRST) & (messages.c.client_msg_id == _SECOND))
    .join(events, (events.c.chat_id == messages.c.chat_id) & (events.c.seq == messages.c.seq))
)
_ACCESS: Final = """
    SELECT (SELECT epoch FROM epochs ORDER BY id DESC LIMIT 1),
        (SELECT last_seq FROM chats WHERE id = json_extract(asked.value, '$[0]')
            AND (state IS NULL OR state = 'archived')),
        members.role, members.muted_until,
        (SELECT epoch_id FROM events
            WHERE chat_id = json_extract(asked.value, '$[0]') AND seq = json_extract(asked.value, '$[2]'))
    FROM json_each(:keys) AS asked
    LEFT JOIN members
        ON members.chat_id = json_extract(asked.value, '$[0]') AND members.user_id = json_extract(asked.value, '$[1]')
    ORDER BY asked.key
"""
# Rows below 0 are indexed by a trigger; for all others it would take four times as long.
_LAST_INDEXED: Final = "SELECT max(coalesce(max(id), -1), -1) FROM search_entries"
_INDEX: Final = "INSERT INTO search_terms (rowid, terms) SELECT id, terms FROM search_entries WHERE id > ?"
_answer = messages.alias("answer")
_TURNS: Final = (
    select(
        turns,
        _answer.c.created_at.label("answered_at"),
        select(func.max(messages.c.version))
        .where(messages.c.chat_id == turns.c.chat_id, messages.c.place == turns.c.place)
        .scalar_subquery()
        .label("versions"),
        *(events.c[name].label(f"event_{name}") for name in ("epoch_id", "type", "payload", "trace", "created_at")),
    )
    .join(events, (events.c.chat_id == turns.c.chat_id) & (events.c.seq == turns.c.event_seq))
    .outerjoin(_answer, _answer.c.id == turns.c.id)
    .order_by(turns.c.id)
    # Claims and checkpoints write turns without a lock on their chat. SQLite ignores the clause.
    .with_for_update(of=turns, key_share=True)
)
_CHANGE_TURN: Final = update(turns).where(turns.c.id == bindparam("turn"))
_CHANGE_MESSAGE: Final = update(messages).where(messages.c.id == bindparam("message"))
_ERASE: Final = (
    update(events)
    .where(events.c.chat_id == bindparam("chat"), events.c.seq == bindparam("at"))
    .values(payload=bindparam("erased"))
)
_UPLOADED: Final = select(
    func.coalesce(func.sum(case((files.c.due_at.is_not(None), files.c.size), else_=0)), 0),
    func.coalesce(func.sum(files.c.size), 0),
).where(files.c.user_id == bindparam("user"))
_CHANGE_CHAT: Final = update(chats).where(chats.c.id == bindparam("chat"))
_any_version = messages.alias("any_version")
# The role is part of the text, so that PostgreSQL uses the index of owners.
_OWNERS: Final = select(members.c.user_id).where(
    members.c.chat_id == bindparam("chat"), members.c.role == literal_column("'owner'")
)
_VERSIONS: Final = (
    select(
        _any_version.c.id.label("key"),
        *(
            messages.c[name]
            for name in (
                "id",
                "chat_id",
                "place",
                "version",
                "role",
                "user_id",
                "turn_id",
                "reply_to",
                "deleted_at",
                "attachments",
            )
        ),
    )
    .join(messages, (messages.c.chat_id == _any_version.c.chat_id) & (messages.c.place == _any_version.c.place))
    .order_by(messages.c.version)
)
_last = messages.alias("last")
#: The last version of each message, by the id of any version.
_LAST_VERSION: Final = (
    select(_any_version.c.id.label("key"), *(messages.c[name] for name in ("id", "chat_id", "place", "deleted_at")))
    .join(messages, (messages.c.chat_id == _any_version.c.chat_id) & (messages.c.place == _any_version.c.place))
    .where(
        _any_version.c.id.in_(bindparam("ids", expanding=True)),
        messages.c.version
        == select(func.max(_last.c.version))
        .where(_last.c.chat_id == messages.c.chat_id, _last.c.place == messages.c.place)
        .scalar_subquery(),
    )
)


class PlainStatements:
    """One statement per table, without row locks: for an embedded database with one writing process."""

    def access(self, connection: Connection, keys: Sequence[AccessKey]) -> list[AccessRow]:
        """See `Statements`."""
        with driver_connection(connection) as raw:
            return [AccessRow(*row) for row in raw.execute(_ACCESS, {"keys": json.dumps(keys)})]

    def load(self, connection: Connection, needs: Needs, lineage: Lineage) -> LoadedRows:
        """See `Statements`."""
        with driver_connection(connection) as raw:
            rows = _select(raw, _CHATS, ids=sorted(needs.chats))
            found = {row.id: to_chat(row) for row in rows}
            known = sorted(key for key in needs.sent if key[0] in found)
            sent = _select(raw, _SENT, pairs=known) if known else ()
            keyed = {
                table: by_key(table, raw.execute(sqlite_select(table), (json.dumps(sorted(keys)),)).fetchall())
                for table, keys in needs.rows.items()
            }
            (newest, *_) = rows or _select(raw, _NEWEST_ACTIVITY)
        return LoadedRows(
            chats=found,
            sent={(row.chat_id, row.client_msg_id): to_event(row, lineage.epochs) for row in sent},
            rows=keyed,
            newest_activity_ms=newest.newest or 0,
            **load_turns(connection, needs.turns, found, lineage),
        )

    def write(self, connection: Connection, changes: Changes, *, last: bool) -> None:  # noqa: ARG002 - part of the port
        """See `Statements`. Never commits."""
        heads = [
            {"chat": chat.id, "seq": chat.last_seq, "at": to_ms(chat.last_activity_at)} for chat in changes.grown_chats
        ]
        with driver_connection(connection) as raw:
            raw.executemany(_UPDATE_CHAT, heads)
            for table, rows in changes.inserts.items():
                _insert_rows(raw, table, rows)
            for table, keyed in changes.rows.items():
                gone, put = split(table, keyed)
                raw.executemany(sqlite_delete(table), gone)
                before = raw.execute(_LAST_INDEXED).fetchone() if table is search_entries else None
                raw.executemany(sqlite_upsert(table), put)
                if before is not None:
                    raw.execute(_INDEX, before)
            if changes.published:
                raw.executemany(_DELETE_MARKS, [{"chat": chat, "seq": seq} for chat, seq in changes.published])
        write_changed(connection, changes)


class driver_connection:  # noqa: N801 - a context manager; `contextlib.contextmanager` would take three times as long
    """SQLite's connection. It runs a small statement in a quarter of the time that SQLAlchemy takes.

    Raises:
        DBAPIError: as SQLAlchemy does, instead of the driver's errors.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = cast("sqlite3.Connection", connection.connection.driver_connection)

    def __enter__(self) -> sqlite3.Connection:
        return self._connection

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, sqlite3.Error):
            raise DBAPIError.instance(None, None, error, sqlite3.Error, hide_parameters=True) from error


def _select(raw: sqlite3.Connection, query: str, **lists: Sequence[Any]) -> list[Any]:
    """All rows as named tuples; each parameter is a list, for ``json_each``."""
    cursor = raw.execute(query, {name: json.dumps(values) for name, values in lists.items()})
    return list(map(_row_type(tuple(column[0] for column in cursor.description))._make, cursor))


@functools.cache
def _row_type(names: tuple[str, ...]) -> type[Any]:
    return namedtuple("Row", names)  # noqa: PYI024 - the names are known at run time


class LoadedTurns(TypedDict, total=False):
    """Fields of `LoadedRows`."""

    turns: Mapping[str, TurnRow]
    questions: Mapping[str, Question]


def load_turns(
    connection: Connection, keys: TurnKeys, found: Mapping[str, StoredChat], lineage: Lineage
) -> LoadedTurns:
    """Lock and read turns and the messages that they answer. Runs no statement for plain messages.

    Args:
        connection: Inside a transaction that has locked the chats.
        keys: The keys.
        found: The chats that exist.
        lineage: The epochs of the database.
    """
    loaded: dict[str, TurnRow] = {}

    def load(condition: ColumnElement[bool]) -> None:
        loaded.update((row.id, _to_turn_row(row, lineage)) for row in connection.execute(_TURNS.where(condition)))

    waiting = [key for key in keys.asked if key in found and found[key].ai.when_active != "queue"]
    if chat_ids := {*waiting, *keys.changing}:
        load(turns.c.chat_id.in_(sorted(chat_ids)) & turns.c.status.in_(ACTIVE))
    if turn_ids := keys.ids | keys.regenerated:
        load(turns.c.id.in_(sorted(turn_ids)))
    message_ids = keys.replaced | {loaded[key].turn.question_id for key in keys.regenerated & loaded.keys()}
    if not message_ids:
        return {"turns": loaded}
    rows = connection.execute(_VERSIONS.where(_any_version.c.id.in_(sorted(message_ids))))
    questions = {
        row.key: Question(
            row.id,
            row.chat_id,
            row.place,
            row.version,
            row.role,
            row.user_id,
            row.turn_id,
            row.reply_to,
            row.deleted_at is not None,
            to_attachments(row.attachments),
        )
        for row in rows
    }
    if latest := {question.turn_id for question in questions.values() if question.turn_id} - loaded.keys():
        load(turns.c.id.in_(sorted(latest)))
    return {"turns": loaded, "questions": questions}


def _to_turn_row(row: AnyRow, lineage: Lineage) -> TurnRow:
    event = StoredEvent(
        chat_id=row.chat_id,
        seq=row.event_seq,
        epoch=lineage.epochs[row.event_epoch_id],
        type=row.event_type,
        payload=row.event_payload,
        created_at=from_ms(row.event_created_at),
        trace=row.event_trace,
    )
    return TurnRow(
        chat_id=row.chat_id,
        turn=to_turn(row, row.id),
        responder=row.responder,
        seq=row.seq,
        created_at=from_ms(row.created_at),
        event=event,
        stopping=row.stopping,
        versions=row.versions or 0,
        answered_at=None if row.answered_at is None else from_ms(row.answered_at),
        asker_id=row.asker_id,
    )


def load_versions(connection: Connection, needs: Needs, loaded: LoadedRows, lineage: Lineage) -> None:
    """Add versions of messages to the loaded rows. The chats must be locked."""
    if needs.last_versions:
        for row in connection.execute(_LAST_VERSION, {"ids": sorted(needs.last_versions)}):
            loaded.last_versions[row.key] = LastVersion(row.id, row.chat_id, row.place, row.deleted_at is not None)
    for message_id in sorted(needs.versions):
        rows = connection.execute(EACH_VERSION, {"message": message_id}).all()
        loaded.versions[message_id] = [to_message(row, lineage.epochs) for row in rows]


# In the order of the keys, as for the locks of the first rows.
_LOCK: Final = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(key, 0)) FROM unnest(CAST(:keys AS text[])) AS asked (key)"
)


def load_further(connection: Connection, needs: Needs, loaded: LoadedRows) -> None:
    """Lock users; add rows of any table, numbers of rows, and owners to the loaded rows."""
    if needs.locks and connection.dialect.name == "postgresql":
        connection.execute(_LOCK, {"keys": sorted(needs.locks)})
    for chat_id in needs.owners:
        loaded.owners[chat_id] = set(connection.execute(_OWNERS, {"chat": chat_id}).scalars())
    for table, first in needs.counts:
        column = next(iter(table.primary_key))
        loaded.counts[table, first] = connection.scalar(select(func.count()).where(column == first)) or 0
    for user_id in needs.uploaded:
        unsent, total = connection.execute(_UPLOADED, {"user": user_id}).one()
        loaded.uploaded[user_id] = int(unsent), int(total)
    for table, keys in needs.rows.items():
        found = connection.exec_driver_sql(*select_by_key(connection, table, sorted(keys))).all()
        loaded.rows.setdefault(table, {}).update(by_key(table, [tuple(row) for row in found]))


def write_changed(connection: Connection, changes: Changes) -> None:
    """Write the new states of turns, messages and chats. Runs no statement for plain messages."""
    if changes.changed_turns:
        connection.execute(_CHANGE_TURN, [{"turn": row.turn.id, **row.state()} for row in changes.changed_turns])
    _write_columns(connection, _CHANGE_MESSAGE, "message", changes.changed_messages)
    _write_columns(connection, _CHANGE_CHAT, "chat", changes.changed_chats)
    for (chat_id, seq), payload in changes.erased.items():
        connection.execute(_ERASE, {"chat": chat_id, "at": seq, "erased": payload})
    if changes.unreported:
        gone = [{"chat": chat_id, "message": message_id} for chat_id, message_id in sorted(changes.unreported)]
        connection.execute(_UNREPORTED, gone)
    if changes.expired:
        for statement in _EXPIRED:
            connection.execute(statement, {"ids": sorted(changes.expired)})
    for chat_id, head in changes.emptied.items():
        for statement in _OF_CHAT:
            connection.execute(statement, {"chat": chat_id})
        connection.execute(_UNSENT, {"chat": chat_id, "head": head})


_UNREPORTED: Final = delete(reports).where(
    reports.c.chat_id == bindparam("chat"), reports.c.message_id == bindparam("message")
)
#: Turns first, which refer to messages.
_EXPIRED: Final = (
    delete(turns).where(turns.c.question_id.in_(bindparam("ids", expanding=True))),
    delete(messages).where(messages.c.id.in_(bindparam("ids", expanding=True))),
)
#: Rows that a deleted chat loses at once; its messages and events, which may be many, are erased in steps.
_OF_CHAT: Final = [
    delete(table).where(table.c.chat_id == bindparam("chat"))
    for table in (
        turns,
        members,
        bans,
        restrictions,
        invites,
        pins,
        reactions,
        custom_events,
        reads,
        mentions,
        search_entries,
        notification_settings,
        reports,
    )
]
_UNSENT: Final = delete(outbox).where(outbox.c.chat_id == bindparam("chat"), outbox.c.seq <= bindparam("head"))


def _write_columns(connection: Connection, change: Update, name: str, rows: Mapping[str, Row]) -> None:
    same_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for key, columns in rows.items():
        same_columns.setdefault(tuple(columns), []).append({name: key, **columns})
    for parameters in same_columns.values():
        connection.execute(change, parameters)
