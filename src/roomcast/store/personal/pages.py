"""Finds the rows of a user: every table is read once, in the order of a unique index, a page at a time.

No index has the users of all tables, and a search by membership would miss chats that the user has left. So the time
grows with the database, and nothing is missed. A page is one query without locks.

Layer: store.personal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from pydantic_core import to_json
from sqlalchemy import Column, Select, String, Table, literal, select, tuple_

from roomcast.chat.ports import InChat, PersonalPage
from roomcast.contract.events import EventType
from roomcast.contract.tenants import SEPARATOR, local_id, tenant_of
from roomcast.contract.text import MAX_ID_CHARS, format_time
from roomcast.store.engine.database import Database
from roomcast.store.personal.columns import Erase, personal_of
from roomcast.store.rows import AnyRow, from_ms
from roomcast.store.tables import METADATA, audit, events, files, members, messages, reactions, turns

#: Rows that one query reads.
PAGE: Final = 1_000
# Of epochs and the like, which mean nothing outside the database.
_INTERNAL: Final = frozenset({"epoch_id", "lease_until", "position"})


class Found(NamedTuple):
    """A row to delete or change.

    Attributes:
        key: The values of the primary key.
        changes: New values of columns; empty: the row is deleted.
    """

    table: Table
    key: tuple[Any, ...]
    changes: Mapping[str, Any]


@cache
def personal_tables() -> list[Table]:
    """The tables to read, in their order. The last two also have what an erasure writes before."""
    every = [table for table in METADATA.sorted_tables if personal_of(table).columns]
    return [*(table for table in every if table not in {audit, events}), audit, events]


def _order(table: Table) -> list[Column[Any]]:
    names = personal_of(table).order
    return [table.c[name] for name in names] if names else list(table.primary_key)


_turn, _asked, _version = turns.alias("turn"), messages.alias("asked"), messages.alias("version")
#: The id of the message that has a reaction.
#: The fields of events that name users.
_USERS: Final = ("userId", "actorId")
_REACTED: Final = (
    select(_version.c.id)
    .where(_version.c.chat_id == reactions.c.chat_id, _version.c.place == reactions.c.place)
    .order_by(_version.c.version.desc())
    .limit(1)
    .scalar_subquery()
)


@cache
def _base(table: Table) -> Select[*tuple[Any, ...]]:
    order = _order(table)
    query: Select[*tuple[Any, ...]] = select(table)
    if table is messages:
        # The author of the message that an answer answers.
        query = select(table, _asked.c.user_id.label("asker")).select_from(
            messages.outerjoin(_turn, _turn.c.id == messages.c.id).outerjoin(_asked, _asked.c.id == _turn.c.question_id)
        )
    if table is reactions:
        query = select(table, _REACTED.label("message_id"))
    return query.order_by(*order).limit(PAGE)


def _page(table: Table, tenant: str, key: Sequence[Any] | None) -> Select[*tuple[Any, ...]]:
    order, query = _order(table), _base(table)
    if key is None:
        key = ["" if isinstance(column.type, String) else -1 for column in order]
    if tenant and order[0].name == "chat_id":
        # Chats of a tenant are next to each other; those of the default tenant are among all.
        key = [max(key[0], tenant + SEPARATOR), *key[1:]]
        query = query.where(order[0] < tenant + chr(ord(SEPARATOR) + 1))
    return query.where(tuple_(*order) > tuple_(*map(literal, key, (column.type for column in order))))


async def find(database: Database, user_id: str, alias: str | None, position: str | None) -> PersonalPage:
    """See `chat.ports.PersonalStore.page`."""
    name, *key = json.loads(position) if position is not None else [personal_tables()[0].name]
    table = METADATA.tables[name]
    rows = await database.fetch(_page(table, tenant_of(user_id), key or None))
    chats: dict[str, InChat] = {}
    others: list[Found] = []
    exported: list[Mapping[str, Any]] = []
    for row in rows:
        columns = dict(_naming(table, row, user_id))
        if alias is None:
            if columns and personal_of(table).exported:
                exported.append(_exported(table, row, columns, user_id))
        elif table in {messages, members, reactions}:
            _collect(chats, table, row, user_id, alias, named=bool(columns))
        elif columns:
            others += _found(table, row, columns, user_id, alias)
    following: list[Any] | None = None
    if len(rows) == PAGE:
        following = [name, *(rows[-1]._mapping[column.name] for column in _order(table))]  # noqa: SLF001 - SQLAlchemy's
    elif table is not personal_tables()[-1]:
        following = [personal_tables()[personal_tables().index(table) + 1].name]
    return PersonalPage(exported, chats, others, None if following is None else json.dumps(following))


def _naming(table: Table, row: AnyRow, user_id: str) -> Iterator[tuple[str, Erase]]:
    """The columns of a row that name the user."""
    for name, erase in personal_of(table).columns.items():
        value = getattr(row, name)
        if erase is Erase.PAYLOAD:
            # Payloads have local ids, which mean something in their tenant only.
            if tenant_of(row.chat_id) == tenant_of(user_id) and _text(local_id(user_id)) in value:
                yield name, erase
        elif value == user_id or (value is not None and _is_json(table, name) and _names_in(value, user_id)):
            yield name, erase


def _is_json(table: Table, name: str) -> bool:
    return table is reactions or personal_of(table).columns[name] is Erase.JSON


def _text(value: str) -> bytes:
    """A string inside a JSON text of `contract`, without its quotation marks."""
    return to_json(value)[1:-1]


def _names_in(value: str, user_id: str) -> bool:
    return bool(replaced(json.loads(value), user_id, "") != json.loads(value))


def replaced(value: Any, old: str, new: str) -> Any:
    """A JSON value with each string that equals ``old`` replaced, also the names of fields."""
    match value:
        case str():
            return new if value == old else value
        case list():
            return [replaced(item, old, new) for item in value]
        case dict():
            return {replaced(name, old, new): replaced(item, old, new) for name, item in value.items()}
        case _:
            return value


def _collect(chats: dict[str, InChat], table: Table, row: AnyRow, user_id: str, alias: str, *, named: bool) -> None:
    if table is messages:
        if named or row.asker in {user_id, alias}:
            found = chats.setdefault(row.chat_id, InChat()).messages
            # All versions are erased with one.
            if row.version == 1 or not found:
                found.append(row.id)
    elif named and table is members:
        chats.setdefault(row.chat_id, InChat()).member = True
    elif named:
        chats.setdefault(row.chat_id, InChat()).reactions[row.place] = row.message_id or ""


def _found(table: Table, row: AnyRow, columns: Mapping[str, Erase], user_id: str, alias: str) -> Iterator[Found]:
    key = tuple(getattr(row, column.name) for column in table.primary_key)
    if Erase.ROW in columns.values():
        yield Found(table, key, {})
        return
    changes: dict[str, Any] = {}
    if table is files and row.due_at is not None:
        # No message has it: its removal begins.
        changes["due_at"] = 0
    for name, erase in columns.items():
        value = getattr(row, name)
        if erase is Erase.ALIAS:
            changes[name] = alias
        elif erase is Erase.JSON:
            changes[name] = json.dumps(replaced(json.loads(value), user_id, alias), ensure_ascii=False)
        elif erase is Erase.PAYLOAD:
            payload = _payload(row.type, value, local_id(user_id), local_id(alias))
            if payload != value:
                changes[name] = payload
    if changes:
        yield Found(table, key, changes)


def _payload(event_type: str, payload: bytes, user_id: str, alias: str) -> bytes:
    """The payload of an event without the user. The texts of others stay, also where they have the id in them."""
    fields = json.loads(payload)
    if event_type == EventType.CUSTOM:
        return to_json(fields | {"data": replaced(fields["data"], user_id, alias)})
    if event_type != EventType.MESSAGE_CREATED:
        # No other fields: a chat or a role may have the same text.
        return to_json(fields | {name: alias for name in _USERS if fields.get(name) == user_id})
    if fields.get("userId") != user_id:
        return payload
    return to_json(fields | {"content": "", "parts": None, "userId": alias, "clientMsgId": None, "deleted": True})


def _exported(table: Table, row: AnyRow, columns: Mapping[str, Erase], user_id: str) -> Mapping[str, Any]:
    """A row for an export: local ids, times as in the API, and the names of other users left out."""
    values: dict[str, Any] = {"table": table.name}
    others = personal_of(table).columns.keys() - columns.keys()
    for column in table.columns:
        value = getattr(row, column.name)
        if column.name in _INTERNAL | others or value is None:
            continue
        if table is reactions and column.name == "users":
            values["emoji"] = [emoji for emoji, users in json.loads(value).items() if user_id in users]
        elif column.name in columns and columns[column.name] is Erase.JSON:
            values[column.name] = [local_id(user) for user in json.loads(value)]
        elif column.name.endswith(("_at", "until")) or column.name == "at":
            values[column.name] = format_time(from_ms(value))
        elif isinstance(column.type, String) and column.type.length == MAX_ID_CHARS:
            values[column.name] = local_id(value)
        else:
            values[column.name] = value
    return values
