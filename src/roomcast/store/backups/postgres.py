"""Backups of PostgreSQL by its own programs ``pg_dump`` and ``pg_restore``.

Layer: store. Source: PostgreSQL 15, "pg_dump", "pg_restore".
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from roomcast.store.errors import BackupFailed


def dump(url: str, copy: Path, *, force: bool) -> None:
    """Write a dump in PostgreSQL's custom format, readable by its owner only. Servers may run meanwhile.

    Raises:
        BackupFailed: ``copy`` exists, ``pg_dump`` is not installed, or it failed.
    """
    if copy.exists() and not force:
        raise BackupFailed(f"{copy} exists; name another file, or pass --force to replace it")
    part = copy.with_name(f".{copy.name}.{os.getpid()}.part")
    try:
        part.touch(mode=0o600, exist_ok=False)
        _run("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={part}")
        part.replace(copy)
    except OSError as error:
        raise BackupFailed(f"cannot write {copy}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)


def load(copy: Path, url: str) -> None:
    """Load a dump into an empty database, in one transaction. The caller then begins a new epoch.

    An existing database is never replaced: it stays as it is, under its name.

    Raises:
        BackupFailed: the database has tables, ``pg_restore`` is not installed, or it failed.
    """
    if not copy.is_file():
        raise BackupFailed(f"there is no file {copy}")
    try:
        with psycopg.connect(_conninfo(url)) as connection:
            row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()").fetchone()
    except psycopg.Error as error:
        raise BackupFailed(f"cannot open the database in DATABASE_URL: {str(error).strip()}") from None
    if row != (0,):
        raise BackupFailed(
            "the database in DATABASE_URL has tables; stop roomcast, create an empty database (createdb) and name it in"
            " DATABASE_URL"
        )
    _run("pg_restore", url, "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", str(copy))


def _conninfo(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"


def _run(program: str, url: str, *args: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise BackupFailed(
            f"{program} is not installed; install the client programs of PostgreSQL, of the server's version or newer"
        )
    parameters = conninfo_to_dict(_conninfo(url))
    # Every user of the machine can read the command line of a process, but not its environment.
    password = parameters.pop("password", None)
    env = os.environ | ({} if password is None else {"PGPASSWORD": str(password)})
    command = [found, f"--dbname={make_conninfo('', **parameters)}", "--no-password", *args]
    done = subprocess.run(command, env=env, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603 - fixed programs
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise BackupFailed(lines[-1] if len(lines) == 1 else f"{lines[0]} ({lines[-1]})")
