"""Brings a database's schema up to date; run before every start, and by `roomcast migrate`.

Layer: store.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DatabaseError

from roomcast.store.database import backing_for, reason_of
from roomcast.store.errors import DatabaseTooNew, DatabaseUnreadable
from roomcast.store.options import DatabaseOptions

MIGRATIONS: Final = Path(__file__).parent / "migrations"
#: The newest revision. A test compares it with the scripts; knowing it here spares most starts from loading them.
HEAD: Final = "0001"


async def migrate(options: DatabaseOptions, *, new_epoch: bool = False) -> str | None:
    """Create the database's tables or bring them to `HEAD`, in one transaction. Several processes may do it at once.

    Args:
        options: Where the database is.
        new_epoch: PostgreSQL was restored from a backup: clients that saw what is lost are told to start anew
            (docs/decisions/0001). SQLite begins an epoch at each start by itself.

    Returns:
        The revision that it had before; None for a new database.

    Raises:
        DataInUse: another process has the database open, and it is not for several.
        DatabaseTooNew: a newer version wrote it.
        ServerTooOld: its server is too old.
        DatabaseUnreadable: it cannot be opened.
    """
    return await asyncio.to_thread(_migrate, options, new_epoch=new_epoch)


def _migrate(options: DatabaseOptions, *, new_epoch: bool) -> str | None:
    backing = backing_for(options)
    backing.acquire()
    engine = backing.engine(writes=True)
    try:
        with engine.begin() as connection:
            backing.lock_schema(connection)
            before = _upgrade(connection)
            backing.keep_lineage(connection, new_epoch=new_epoch)
            return before
    except DatabaseError as error:
        raise DatabaseUnreadable(backing.place, reason_of(error)) from None
    finally:
        engine.dispose()
        backing.release()


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
