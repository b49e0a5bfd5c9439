"""Backups of the database, and their restore.

Layer: app.
"""

from __future__ import annotations

from pathlib import Path

from roomcast.app.backend import migrate_database
from roomcast.app.errors import AppError
from roomcast.store.backups import sqlite
from roomcast.store.backups.sqlite import Progress
from roomcast.store.errors import StoreError


def back_up(database: Path | str, copy: Path, *, force: bool, progress: Progress) -> None:
    """Copy a database to a file, which servers may use meanwhile.

    Args:
        database: An SQLite file, or the URL of PostgreSQL.
        copy: The file to create.
        force: Replace ``copy`` if it exists.
        progress: Called with the pages that are left and all pages; never for PostgreSQL.

    Raises:
        AppError: no backup was made.
    """
    try:
        if isinstance(database, Path):
            sqlite.back_up(database, copy, force=force, progress=progress)
        else:
            from roomcast.store.backups.postgres import dump

            dump(database, copy, force=force)
    except StoreError as error:
        raise AppError(str(error)) from error


def restore(copy: Path, database: Path | str, *, progress: Progress) -> Path | None:
    """Restore a backup. Clients that hold lost events then load their chats again (docs/decisions/0001).

    Args:
        copy: The backup.
        database: An SQLite file that no server has open, or the URL of an empty database of PostgreSQL.
        progress: See `back_up`.

    Returns:
        The SQLite file to which the replaced database was moved; None if there was none.

    Raises:
        AppError: the backup was not restored.
    """
    try:
        if isinstance(database, Path):
            return sqlite.restore(copy, database, progress=progress)
        from roomcast.store.backups.postgres import load

        load(copy, database)
    except StoreError as error:
        raise AppError(str(error)) from error
    # SQLite begins an epoch at each start.
    migrate_database(database, new_epoch=True)
    return None
