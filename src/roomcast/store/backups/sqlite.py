"""Copies an SQLite database while a server writes to it, and puts a copy in its place.

A copy is one file in which nothing is missing that was acknowledged before the copy began.

Layer: store. Source: SQLite documentation, "Online Backup API", "Write-Ahead Logging", "File Locking And Concurrency".
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from roomcast.store.engine.exclusive import ExclusiveLock
from roomcast.store.errors import BackupFailed, DatabaseTooNew
from roomcast.store.migrating import HEAD

#: Pages of one step of a copy, 4 MiB: progress is reported after each step.
_STEP_PAGES: Final = 1_024
#: Steps of SQLite's virtual machine after which a signal is handled during the check of a copy: some milliseconds.
_CHECK_STEPS: Final = 100_000
#: The other files that SQLite keeps beside a database; they hold committed rows after a crash.
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")

#: Called with the number of pages that are left, and of all pages.
Progress = Callable[[int, int], None]


def back_up(database: Path, copy: Path, *, force: bool, progress: Progress) -> None:
    """Copy a database, which other processes may read and write meanwhile, and check the copy.

    Nothing beside ``copy`` is created or changed, whichever user calls this.

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

    The exchange is one step: an interruption leaves the old database, or the new one. Its owner stays the same.

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
        _give_to_owner(lock.path, database)
        with _checked_copy(copy, database.parent, progress) as complete:
            _give_to_owner(complete, database)
            aside = _keep(database)
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
    while True:
        before = _used(source)
        with (
            opened_read_only(source) as opened,
            closing(sqlite3.connect(part, isolation_level=None)) as copied,
        ):
            # "Online Backup API": a write of another process restarts the copy, except while its connection is inside a
            # transaction: all steps then read one state. Readers do not block writers, whose log grows meanwhile.
            opened.execute("BEGIN")
            _check_schema(opened, source)
            opened.backup(copied, pages=_STEP_PAGES, progress=lambda _status, left, total: progress(left, total))
            # A server may have started on a file that is read without locks, and then keeps a log.
            if before is not None and _used(source) != before:
                continue
            # Without its write-ahead log the copy is one file.
            copied.execute("PRAGMA journal_mode = DELETE")
            copied.set_progress_handler(lambda: 0, _CHECK_STEPS)
            (found,) = copied.execute("PRAGMA integrity_check(1)").fetchone()
            if found != "ok":
                raise BackupFailed(f"{source} is damaged ({found}); use an older backup")
            return


@contextmanager
def opened_read_only(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection that creates no file: files of another user beside the database would keep its server from starting.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    # SQLite creates a log even for a reader, and only a connection that may write removes it. Without a log the file
    # is complete, and "immutable" reads it alone.
    immutable = "" if _used(database) is None else "&immutable=1"
    uri = f"{database.resolve().as_uri()}?mode=ro{immutable}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as opened:
        yield opened


def _used(database: Path) -> tuple[int, int] | None:
    """None if a server has the database open, or left it in a crash. Else what changes when a server uses it."""
    if any(database.with_name(database.name + suffix).exists() for suffix in _SIDE_FILES):
        return None
    found = database.stat()
    return found.st_size, found.st_mtime_ns


def _check_schema(connection: sqlite3.Connection, source: Path) -> None:
    try:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        connection.execute("SELECT epoch FROM epochs LIMIT 1")
    except sqlite3.DatabaseError as error:
        raise BackupFailed(f"{source} is no readable database of roomcast: {error}") from None
    # Revisions are numbers of four digits, in ascending order.
    if found is None or found[0] > HEAD:
        raise DatabaseTooNew("none" if found is None else found[0])


def _keep(database: Path) -> Path | None:
    """Give the database, which no server has open, a second name; return it."""
    if not database.exists():
        return None
    aside = database.with_name(f"{database.name}.replaced-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    if aside.exists():
        raise BackupFailed(f"{aside} exists, from a restore in this second; try again")
    # A damaged database cannot be opened, and is the reason for a restore.
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)) as opened:
        # At its end the last connection moves the log into the file, and removes it.
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    logs = [suffix for suffix in _SIDE_FILES if database.with_name(database.name + suffix).exists()]
    if not logs:
        # Some file systems have no hard links.
        with suppress(OSError):
            os.link(database, aside)
            return aside
    # Log first: beside the restored file, SQLite would apply it. All names change alike, so that they still belong
    # together.
    for suffix in (*logs, ""):
        database.with_name(database.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside


def _give_to_owner(file: Path, database: Path) -> None:
    """Let ``file`` have the owner and the permissions of the database, or the owner of its directory."""
    there = database if database.exists() else database.parent
    found = there.stat()
    # Only root may do so. Otherwise this user is the owner, or created both.
    if os.name != "nt" and os.geteuid() == 0:
        os.chown(file, found.st_uid, found.st_gid)
    if there == database:
        shutil.copymode(database, file)


def _sync_directory(directory: Path) -> None:
    if os.name == "nt":  # which cannot open a directory
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
