"""Wall-clock time.

Layer: chat.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of wall-clock time, injected so that tests can control it."""

    def now(self) -> datetime:
        """The current time: aware, in UTC."""


class SystemClock:
    """The system clock, truncated to milliseconds: the precision of the payloads and of the database."""

    def now(self) -> datetime:
        """The current time: aware, in UTC, in whole milliseconds."""
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)
