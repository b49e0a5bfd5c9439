"""`roomcast migrate`: the schema, without starting anything.

Layer: app.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from roomcast.app.errors import AppFailed
from roomcast.store.database import DatabaseOptions, sqlite_url
from roomcast.store.errors import StoreError
from roomcast.store.migrating import HEAD, migrate


def migrate_database(path: Path) -> tuple[str | None, str]:
    """Bring a database file to the newest schema.

    Returns:
        The schema's revision before (None: there was no database) and after.

    Raises:
        AppFailed: the database cannot be used.
    """
    try:
        before = asyncio.run(migrate(DatabaseOptions(url=sqlite_url(path))))
    except StoreError as error:
        raise AppFailed(str(error)) from error
    return before, HEAD
