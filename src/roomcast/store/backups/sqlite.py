"""Copies an SQLite database while a server writes to it, and puts a copy in its place.

A copy is one file in which nothing is missing that was acknowledged before the copy began.

Layer: store. Source: SQLite documentation, "Online Backup API", "Write-Ahead Logging", "File Locking And Concurrency".
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from roomcast.store.errors import BackupFailed, DatabaseTooNew
from roomcast.store.exclusive import ExclusiveLock
from roomcast.store.migrating import HEAD

#: Pages of one step of a copy, 4 MiB: progress is reported after each step.
_STEP_PAGES: Final = 1_024
#: The other files that SQLite keeps beside a database; they hold committed rows after a crash.
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")

#: Called with the number of pages that are left, and of all pages.
Progress = Callable[[int, int], None]


def back_up(database: Path, copy: Path, *, force: bool, progress: Progress) -> None:
    """Copy a database, which other processes may read and write meanwhile, and check the copy.

    Args:
        database: The file of the database.
        copy: The file to create, readable by its owner only. It appears when it is complete.
        force: Replace ``copy`` if it exists.
        progress: Called after each step.

    Raises:
        BackupFailed: ``copy`` exists, or one of the files cannot be read or written, or is no database of roomcast.
        DatabaseTooNew: a newer version migrated the schema.
    """
    if copy.exists():
        if database.exists() and copy.samefile(database):
            raise BackupFailed(f"{copy} is the database itself; name another file")
        if not force:
            raise BackupFailed(f"{copy} exists; name another file, or pass --force to replace it")
    with _checked_copy(database, copy.parent, progress) as complete:
        complete.replace(copy)


def restore(copy: Path, database: Path, *, progress: Progress) -> Path | None:
    """Put a copy of a backup in the place of the database. The next start begins a new epoch (docs/decisions/0001).

    Args:
        copy: The backup, which is only read.
        database: The file of the database, which need not exist.
        progress: Called after each step of the copy.

    Returns:
        The file to which the replaced database was moved; None if there was none.

    Raises:
        DataInUse: a server has the database open.
        DatabaseUnreadable: the lock file cannot be opened.
        BackupFailed, DatabaseTooNew: see `back_up`.
    """
    database = database.resolve()
    try:
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BackupFailed(f"cannot create {database.parent}: {error.strerror}; use --data with another one") from None
    if database.exists() and copy.exists() and copy.samefile(database):
        raise BackupFailed(f"{copy} is the database itself; name a backup")
    lock = ExclusiveLock(database)
    lock.acquire()
    try:
        with _checked_copy(copy, database.parent, progress) as complete:
            aside = _move_aside(database)
            complete.replace(database)
            return aside
    finally:
        lock.release()


@contextmanager
def _checked_copy(source: Path, directory: Path, progress: Progress) -> Iterator[Path]:
    """A complete copy of ``source`` with another name in ``directory``; removed at the end unless it was renamed."""
    if not source.is_file():
        raise BackupFailed(f"there is no file {source}")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{source.name}.", suffix=".part", dir=directory)
    except OSError as error:
        raise BackupFailed(f"cannot write to {directory}: {error.strerror}; use another directory") from None
    part = Path(name)
    try:
        _copy(source, part, progress)
        os.fsync(descriptor)
        yield part
        _sync_directory(directory)
    except sqlite3.Error as error:
        raise BackupFailed(f"cannot copy {source}: {error}") from None
    except OSError as error:
        raise BackupFailed(f"cannot copy {source}: {error.strerror or error}") from None
    finally:
        os.close(descriptor)
        part.unlink(missing_ok=True)


def _copy(source: Path, part: Path, progress: Progress) -> None:
    with (
        closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)) as opened,
        closing(sqlite3.connect(part, isolation_level=None)) as copied,
    ):
        # "Online Backup API": a write of another process restarts the copy, except while its connection is inside a
        # transaction: all steps then read one state. Readers do not block writers, whose log grows meanwhile.
        opened.execute("BEGIN")
        _check_schema(opened, source)
        opened.backup(copied, pages=_STEP_PAGES, progress=lambda _status, left, total: progress(left, total))
        # Without its write-ahead log the copy is one file.
        copied.execute("PRAGMA journal_mode = DELETE")
        (found,) = copied.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise BackupFailed(f"{source} is damaged ({found}); use an older backup")


def _check_schema(connection: sqlite3.Connection, source: Path) -> None:
    try:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        connection.execute("SELECT epoch FROM epochs LIMIT 1")
    except sqlite3.DatabaseError as error:
        raise BackupFailed(f"{source} is no readable database of roomcast: {error}") from None
    # Revisions are numbers of four digits, in ascending order.
    if found is None or found[0] > HEAD:
        raise DatabaseTooNew("none" if found is None else found[0])


def _move_aside(database: Path) -> Path | None:
    """Rename the files of a database that no server has open."""
    if not database.exists():
        return None
    aside = database.with_name(f"{database.name}.replaced-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    if aside.exists():
        raise BackupFailed(f"{aside} exists, from a restore in this second; try again")
    # Log first: beside the restored file, SQLite would apply it. All names change alike, so that they still belong
    # together.
    for suffix in (*_SIDE_FILES, ""):
        file = database.with_name(database.name + suffix)
        if file.exists():
            file.rename(aside.with_name(aside.name + suffix))
    return aside


def _sync_directory(directory: Path) -> None:
    if os.name == "nt":  # which cannot open a directory
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
