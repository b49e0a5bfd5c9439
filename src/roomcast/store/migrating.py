"""Upgrades the schema, at every start and for `roomcast migrate`.

Layer: store.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, func, inspect, select, text
from sqlalchemy.exc import DatabaseError, DBAPIError

from roomcast.store.engine.backend import Backend, driver_message
from roomcast.store.engine.database import backend_for
from roomcast.store.errors import DatabaseTooNew, DatabaseUnreadable
from roomcast.store.options import DatabaseOptions
from roomcast.store.queries.search_batches import BATCH, index_batch
from roomcast.store.tables import METADATA, messages, search_backlog

logger = logging.getLogger(__name__)

MIGRATIONS: Final = Path(__file__).parent / "migrations"
#: The newest revision. A constant, so that most starts need not load the scripts; a test compares the two.
HEAD: Final = "0022"
#: Attempts at an upgrade, including the first: after a deadlock with a replica that serves.
_MAX_ATTEMPTS: Final = 10


#: Called with the number of messages that are not indexed yet, and of all messages.
Progress = Callable[[int, int], None]
#: Called with the revision and the description of a step.
OnStep = Callable[[str, str], None]


def _log_step(revision: str, description: str) -> None:
    """Log a step."""
    logger.info("database migrated", extra={"revision": revision, "description": description})


async def migrate(
    options: DatabaseOptions,
    *,
    new_epoch: bool = False,
    on_step: OnStep | None = None,
    progress: Progress | None = None,
) -> str | None:
    """Create the tables or upgrade them to `HEAD`, in one transaction. Several processes may do this at once.

    Args:
        options: Where the database is.
        new_epoch: Begin a new epoch. Required after PostgreSQL was restored from a backup, so that clients
            that hold lost events receive a reset (docs/decisions/0001). SQLite begins an epoch at each start anyway.
        on_step: Called in another thread after each step, before the commit, with its revision and description; None:
            the steps of an existing database are logged.
        progress: If given, also index the messages of earlier versions, in short transactions; a server does this in
            the background.

    Returns:
        The revision before the upgrade; None for a new database.

    Raises:
        DataInUse: another process has the SQLite file open.
        DatabaseTooNew: a newer version migrated the schema.
        ServerTooOld: the PostgreSQL server is older than the oldest supported version.
        DatabaseUnreadable: the database cannot be opened for any other reason.
    """
    return await asyncio.to_thread(_migrate, options, new_epoch=new_epoch, on_step=on_step, progress=progress)


def _migrate(
    options: DatabaseOptions, *, new_epoch: bool, on_step: OnStep | None, progress: Progress | None
) -> str | None:
    backend = backend_for(options)
    backend.acquire()
    engine = backend.engine(writes=True)
    try:
        before = _upgrade_with_retries(engine, backend, on_step, new_epoch=new_epoch)
        if progress is not None:
            _index_messages(engine, progress)
    except DatabaseError as error:
        raise DatabaseUnreadable(backend.location, backend.damage(error) or driver_message(error)) from None
    else:
        return before
    finally:
        engine.dispose()
        backend.release()


def _upgrade_with_retries(engine: Engine, backend: Backend, on_step: OnStep | None, *, new_epoch: bool) -> str | None:
    for attempt in itertools.count(1):
        try:
            with engine.begin() as connection:
                backend.lock_schema(connection)
                before = _upgrade(connection, backend, on_step)
                backend.ensure_epoch(connection, new_epoch=new_epoch)
        except DBAPIError as error:
            # A table that this version does not have any more is not locked in advance.
            if not backend.is_retryable(error) or attempt == _MAX_ATTEMPTS:
                raise
            logger.info("the migration starts again", extra={"error": driver_message(error)})
        else:
            return before
    raise AssertionError  # unreachable: the count has no end


def _index_messages(engine: Engine, progress: Progress) -> None:
    with engine.begin() as connection:
        if connection.scalar(select(search_backlog.c.below)) is None:
            return
        total = left = connection.scalar(select(func.count()).select_from(messages)) or 0
    indexed = BATCH
    while indexed:
        progress(left, total)
        with engine.begin() as connection:
            indexed = index_batch(connection)
        left = max(0, left - indexed)


def _upgrade(connection: Connection, backend: Backend, on_step: OnStep | None) -> str | None:
    before: str | None = None
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        before = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if before == HEAD:
        return before

    # Imported only when an upgrade is needed, since importing Alembic takes a large part of the start-up time.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    if on_step is None and before is not None:
        on_step = _log_step
    config.attributes["on_step"] = on_step or (lambda _revision, _description: None)
    if before is not None:
        try:
            ScriptDirectory.from_config(config).get_revision(before)
        except CommandError:
            raise DatabaseTooNew(before) from None
        # All tables at once: replicas of the earlier version lock tables in another order than the scripts change them.
        # `epochs` is the first one, which every write transaction reads first.
        backend.lock_tables(connection, [name for name in METADATA.tables if name in tables])
    command.upgrade(config, HEAD)
    return before
