"""Wall-clock time.

Layer: chat.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time. Passed in, so that tests control it."""

    def now(self) -> datetime:
        """The current time: aware, in UTC."""


class SystemClock:
    """The machine's clock, truncated to milliseconds, the precision of the wire and the database."""

    def now(self) -> datetime:
        """The current time: aware, in UTC, in whole milliseconds."""
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)
