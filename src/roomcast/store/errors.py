"""What can go wrong with a database, beside `chat.errors.StoreUnavailable`.

The hierarchy::

    StoreError
    ├── DataInUse           another process has the data directory
    ├── DatabaseTooNew      written by a newer version
    ├── ServerTooOld        a database server of a version that lacks what is used
    └── DatabaseUnreadable  no database, or no permission

Layer: store.
"""

from __future__ import annotations


class StoreError(Exception):
    """Base of this package: the process cannot start; the text says what to do."""


class DataInUse(StoreError):
    """Another process has this database open."""

    def __init__(self, path: str, owner: str) -> None:
        who = f" (process {owner})" if owner else ""
        super().__init__(f"{path} is in use by another roomcast{who}; stop it, or choose another --data directory")
        self.path = path
        self.owner = owner


class DatabaseTooNew(StoreError):
    """The schema is of a version that this code does not know."""

    def __init__(self, revision: str) -> None:
        super().__init__(f"the database has schema {revision!r}, which this version does not know; update roomcast")
        self.revision = revision


class DatabaseUnreadable(StoreError):
    """It cannot be opened: not a database, damaged, or not permitted."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"cannot open the database {url}: {reason}")
        self.url = url
        self.reason = reason


class ServerTooOld(StoreError):
    """The database server lacks what is used here."""

    def __init__(self, place: str, version: int, needed: int) -> None:
        super().__init__(f"{place} is PostgreSQL {version}; roomcast needs {needed} or newer")
        self.place = place
        self.version = version
        self.needed = needed
