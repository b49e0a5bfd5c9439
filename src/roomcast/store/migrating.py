"""Brings a database's schema up to date; run before every start, and by `roomcast migrate`.

Layer: store.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DatabaseError

from roomcast.store.database import DatabaseOptions, checked_url, make_engine
from roomcast.store.errors import DatabaseTooNew, DatabaseUnreadable
from roomcast.store.exclusive import ExclusiveLock

MIGRATIONS: Final = Path(__file__).parent / "migrations"
#: The newest revision. A test compares it with the scripts; knowing it here spares most starts from loading them.
HEAD: Final = "0001"


async def migrate(options: DatabaseOptions) -> str | None:
    """Create the database or bring it to `HEAD`, in one transaction.

    Returns:
        The revision that it had before; None for a new database.

    Raises:
        DataInUse: another process has the database open.
        DatabaseTooNew: a newer version wrote it.
        DatabaseUnreadable: it cannot be opened.
    """
    return await asyncio.to_thread(_migrate, options)


def _migrate(options: DatabaseOptions) -> str | None:
    url = checked_url(options.url)
    path = Path(str(url.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseUnreadable(str(path.parent), error.strerror or str(error)) from None
    lock = ExclusiveLock(path)
    lock.acquire()
    engine = make_engine(url, options, writes=True)
    try:
        with engine.begin() as connection:
            return _upgrade(connection)
    except DatabaseError as error:
        raise DatabaseUnreadable(str(path), str(error.orig)) from None
    finally:
        engine.dispose()
        lock.release()


def _upgrade(connection: Connection) -> str | None:
    before: str | None = None
    if inspect(connection).has_table("alembic_version"):
        before = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if before == HEAD:
        return before

    # Loaded only where there is something to migrate: it takes a good part of a start.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    if before is not None:
        try:
            ScriptDirectory.from_config(config).get_revision(before)
        except CommandError:
            raise DatabaseTooNew(before) from None
    command.upgrade(config, HEAD)
    return before
