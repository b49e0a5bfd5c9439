"""Errors raised while a database is opened. Later failures raise `chat.errors.StoreUnavailable`.

The hierarchy::

    StoreError
    ├── DataInUse           another process has the database open
    ├── DatabaseTooNew      a newer version of roomcast has migrated the schema
    ├── BackupFailed        a backup could not be made or restored
    ├── ServerTooOld        the PostgreSQL server is older than the oldest supported version
    └── DatabaseUnreadable  not a database, damaged, unreachable, or no permission

Layer: store.
"""

from __future__ import annotations

from typing import Final

#: What to do if the operating system refuses a file or its directory.
CHOOSE_DIRECTORY: Final = "choose a directory that this user can write with --data or ROOMCAST_DATA"


class StoreError(Exception):
    """Base of this package's errors: the process cannot start. The text says what to do."""


class DataInUse(StoreError):
    """Another process has this database open."""

    def __init__(self, path: str, owner: str) -> None:
        process = f" (process {owner})" if owner else ""
        super().__init__(f"{path} is in use by another roomcast{process}; stop it, or choose another --data directory")
        self.path = path
        self.owner = owner


class DatabaseTooNew(StoreError):
    """A newer version of roomcast migrated the schema."""

    def __init__(self, revision: str) -> None:
        super().__init__(f"the database has schema {revision!r}, which this version does not know; update roomcast")
        self.revision = revision


class DatabaseUnreadable(StoreError):
    """The database cannot be opened.

    Attributes:
        url: Path or URL, without passwords.
        reason: Error message of the driver or of the operating system.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"cannot open the database {url}: {reason}")
        self.url = url
        self.reason = reason


class BackupFailed(StoreError):
    """A backup could not be made or restored; no file was replaced."""


class ServerTooOld(StoreError):
    """The PostgreSQL server is older than the oldest supported version."""

    def __init__(self, location: str, version: int, needed: int) -> None:
        super().__init__(f"the server {location} is PostgreSQL {version}; roomcast needs {needed} or newer")
        self.location = location
        self.version = version
        self.needed = needed
