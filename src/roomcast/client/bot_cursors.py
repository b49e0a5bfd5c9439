"""Up to where a bot has handled the events of each chat, in a file that survives its process.

Layer: client.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

from roomcast.contract.cursor import Cursor


class BotCursors:
    """One cursor per chat, in an SQLite file. Use it as a context manager.

    Args:
        path: The file, which is created; None: the cursors are kept in memory.

    Raises:
        OSError: the file cannot be used.
    """

    def __init__(self, path: Path | None) -> None:
        try:
            # Written after each message: a file that is replaced as a whole would grow with the number of chats.
            self._db = sqlite3.connect(":memory:" if path is None else path, isolation_level=None)
            self._db.executescript(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                "CREATE TABLE IF NOT EXISTS cursors"
                " (chat_id TEXT PRIMARY KEY, epoch TEXT NOT NULL, seq INTEGER NOT NULL);"
            )
        except sqlite3.Error as error:
            raise OSError(f"{path} cannot be used for the positions of the bot: {error}") from None

    def __enter__(self) -> Self:
        """Nothing is loaded."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._db.close()

    @property
    def begun(self) -> bool:
        """Whether the bot has run before, perhaps without a chat."""
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        return version > 0 or self._db.execute("SELECT 1 FROM cursors LIMIT 1").fetchone() is not None

    def begin(self) -> None:
        """The bot has run: what comes from now on is handled."""
        self._db.execute("PRAGMA user_version = 1")

    def get(self, chat_id: str) -> Cursor | None:
        """The cursor of a chat; None: no event of it was handled."""
        row = self._db.execute("SELECT epoch, seq FROM cursors WHERE chat_id = ?", (chat_id,)).fetchone()
        return None if row is None else Cursor(epoch=row[0], seq=row[1])

    def put(self, chat_id: str, cursor: Cursor) -> None:
        """Replace the cursor of a chat."""
        self._db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", (chat_id, cursor.epoch, cursor.seq))

    def remove(self, chat_id: str) -> None:
        """Forget a chat."""
        self._db.execute("DELETE FROM cursors WHERE chat_id = ?", (chat_id,))
