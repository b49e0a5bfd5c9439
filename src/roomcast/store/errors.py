"""Why a database cannot be opened. What fails later is `chat.errors.StoreUnavailable`.

The hierarchy::

    StoreError
    ├── DataInUse           another process has the data directory
    ├── DatabaseTooNew      the schema is of a newer version of roomcast
    ├── ServerTooOld        the PostgreSQL server lacks a needed feature
    └── DatabaseUnreadable  not a database, damaged, not reachable, or no permission

Layer: store.
"""

from __future__ import annotations


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
        reason: What the driver or the operating system said.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"cannot open the database {url}: {reason}")
        self.url = url
        self.reason = reason


class ServerTooOld(StoreError):
    """The PostgreSQL server is older than the oldest supported version."""

    def __init__(self, location: str, version: int, needed: int) -> None:
        super().__init__(f"{location} is PostgreSQL {version}; roomcast needs {needed} or newer")
        self.location = location
        self.version = version
        self.needed = needed
