"""One process for one embedded database: an advisory lock beside the file, gone with the process whatever kills it.

Layer: store.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from roomcast.store.errors import DatabaseUnreadable, DataInUse

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        # A byte far behind the process id, which stays readable.
        os.lseek(descriptor, 1024, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class ExclusiveLock:
    """Holds ``{database}.lock`` until `release` or the end of the process."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock or fail at once.

        Raises:
            DataInUse: another process has it.
            DatabaseUnreadable: the lock file cannot be made there.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            raise DatabaseUnreadable(str(self._path), error.strerror or str(error)) from None
        try:
            _take(descriptor)
        except OSError:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() if hasattr(os, "pread") else ""
            os.close(descriptor)
            raise DataInUse(str(self._path.parent), owner) from None
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back. The file stays: removing it would race with the next owner."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
