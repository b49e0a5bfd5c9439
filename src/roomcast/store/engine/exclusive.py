"""An advisory file lock that allows only one process to open an SQLite database.

The operating system releases the lock when the process ends.

Layer: store.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from roomcast.store.errors import CHOOSE_DIRECTORY, DatabaseUnreadable, DataInUse

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # Locks one byte far after the process id, so that other processes can still read the id.
        os.lseek(descriptor, 1024, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class ExclusiveLock:
    """Locks the file ``{database}.lock``, which holds the process id of the owner.

    Attributes:
        path: This file.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock without waiting.

        Raises:
            DataInUse: another process holds the lock.
            DatabaseUnreadable: the lock file cannot be opened.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            raise DatabaseUnreadable(str(self.path), f"{error.strerror or error}; {CHOOSE_DIRECTORY}") from None
        try:
            _lock(descriptor)
        except OSError:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() if hasattr(os, "pread") else ""
            os.close(descriptor)
            raise DataInUse(str(self.path.parent), owner) from None
        try:
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except OSError as error:
            os.close(descriptor)
            raise DatabaseUnreadable(str(self.path), f"{error.strerror or error}; {CHOOSE_DIRECTORY}") from None
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock. The file stays, since removing it would race with the next owner."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
