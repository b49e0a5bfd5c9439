"""`roomcast migrate`: the schema, without starting anything.

Layer: app.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from roomcast.app.errors import AppFailed
from roomcast.store.database import sqlite_url
from roomcast.store.errors import StoreError
from roomcast.store.migrating import HEAD, migrate
from roomcast.store.options import DatabaseOptions


def migrate_database(path: Path | None, url: str | None, *, new_epoch: bool = False) -> tuple[str | None, str]:
    """Bring a database to the newest schema.

    Args:
        path: The embedded database's file; or
        url: PostgreSQL's address.
        new_epoch: It was restored from a backup: clients that saw what is lost start anew (docs/decisions/0001).

    Returns:
        The schema's revision before (None: there was no database) and after.

    Raises:
        AppFailed: the database cannot be used.
    """
    try:
        before = asyncio.run(migrate(database_options(path, url), new_epoch=new_epoch))
    except StoreError as error:
        raise AppFailed(str(error)) from error
    return before, HEAD


def database_options(path: Path | None, url: str | None) -> DatabaseOptions:
    """How to open the database that a plan names.

    Raises:
        ValueError: it names none: a bug here.
    """
    if url is not None:
        return DatabaseOptions(url=url)
    if path is None:
        raise ValueError("neither a file nor a URL names a database")
    return DatabaseOptions(url=sqlite_url(path))
