"""Statements that read, insert, replace and delete rows of any table by primary key, for both databases.

Layer: store.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, String, Table, Text
from sqlalchemy.dialects import postgresql, sqlite

from roomcast.store.rules.exchange import Key, Row

# ruff: noqa: S608 - the names are those of the tables in `tables`

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's


def insert_into(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that can have ``ON CONFLICT``."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def key_names(table: Table) -> tuple[str, ...]:
    """The columns by which rows are read and written: those of ``info["key"]`` or of the primary key."""
    return table.info.get("key") or tuple(column.name for column in table.primary_key)


@functools.cache
def _names(table: Table) -> tuple[list[str], list[str]]:
    """The columns of the key, and all columns."""
    key = key_names(table)
    # A key other than the primary key: the database numbers the rows.
    numbered = set() if "key" not in table.info else {column.name for column in table.primary_key}
    return list(key), [column.name for column in table.columns if column.name not in numbered]


def _list(names: Collection[str], prefix: str = "") -> str:
    return ", ".join(f"{prefix}{name}" for name in names)


def _matches(table: Table, asked: list[str]) -> str:
    return " AND ".join(f"{table.name}.{name} = {value}" for name, value in zip(_names(table)[0], asked, strict=True))


def _upsert(table: Table) -> str:
    key, every = _names(table)
    values = [name for name in every if name not in key]
    change = f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in values)}" if values else "NOTHING"
    return f"ON CONFLICT ({_list(key)}) DO {change}"


@functools.cache
def sqlite_select(table: Table) -> str:
    """Takes a JSON array of keys, each an array. The columns are in the order of the table."""
    key, every = _names(table)
    # SQLite uses no index for ``(a, b) IN ((…), (…))`` with several pairs.
    asked = [f"json_extract(asked.value, '$[{place}]')" for place in range(len(key))]
    columns = _list(every, f"{table.name}.")
    return f"SELECT {columns} FROM json_each(?) AS asked JOIN {table.name} ON {_matches(table, asked)}"


def select_by_key(connection: Connection, table: Table, keys: Sequence[Key]) -> tuple[str, tuple[Any, ...]]:
    """The select of the rows with these keys, and its parameters."""
    if connection.dialect.name == "postgresql":
        return postgres_select(table), tuple(list(column) for column in zip(*keys, strict=True))
    return sqlite_select(table), (json.dumps(keys),)


@functools.cache
def sqlite_upsert(table: Table) -> str:
    """Takes the columns in the order of the table."""
    every = _names(table)[1]
    return f"INSERT INTO {table.name} ({_list(every)}) VALUES ({_list('?' * len(every))}) {_upsert(table)}"


@functools.cache
def sqlite_delete(table: Table) -> str:
    """Takes the columns of the primary key."""
    key, _ = _names(table)
    return f"DELETE FROM {table.name} WHERE {_matches(table, ['?'] * len(key))}"


@functools.cache
def postgres_select(table: Table) -> str:
    """Takes one array per column of the primary key."""
    key, every = _names(table)
    columns, matches = _list(every, f"{table.name}."), _matches(table, [f"asked.{name}" for name in key])
    return f"SELECT {columns} FROM {_keys(table)} JOIN {table.name} ON {matches}"


@functools.cache
def postgres_upsert(table: Table) -> str:
    """Takes one array per column."""
    return f"{postgres_insert(table, tuple(_names(table)[1]))} {_upsert(table)}"


@functools.cache
def postgres_delete(table: Table) -> str:
    """Takes one array per column of the primary key."""
    key, _ = _names(table)
    return f"DELETE FROM {table.name} USING {_keys(table)} WHERE {_matches(table, [f'asked.{name}' for name in key])}"


@functools.cache
def postgres_insert(table: Table, names: tuple[str, ...]) -> str:
    """Takes one array per column of ``names``."""
    arrays = ", ".join(f"%s::{_array_type(table.c[name])}" for name in names)
    return f"INSERT INTO {table.name} ({_list(names)}) SELECT * FROM unnest({arrays})"


def _keys(table: Table) -> str:
    key, _ = _names(table)
    arrays = ", ".join(f"%s::{_array_type(table.c[name])}" for name in key)
    return f"unnest({arrays}) AS asked ({_list(key)})"


def _array_type(column: Column[Any]) -> str:
    # A cast to varchar(n) would truncate a text that is too long; without it, the INSERT fails.
    text = type(column.type) in {String, Text}
    return f"{'text' if text else column.type.compile(_DIALECT)}[]"


def by_key(table: Table, rows: Collection[tuple[Any, ...]]) -> dict[Key, Row]:
    """The rows of a select above by primary key."""
    key, every = _names(table)
    places = [every.index(name) for name in key]
    return {tuple(row[place] for place in places): dict(zip(every, row, strict=True)) for row in rows}


def split(table: Table, rows: Mapping[Key, Row | None]) -> tuple[list[Key], list[list[Any]]]:
    """The keys of the rows to delete, and the columns of those to insert or replace, both in the order of the keys."""
    every = _names(table)[1]
    gone = sorted(key for key, row in rows.items() if row is None)
    put = [[row[name] for name in every] for _, row in sorted(rows.items()) if row is not None]
    return gone, put
