"""What time it is.

Layer: chat.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time, as an argument, so that a test need not wait."""

    def now(self) -> datetime:
        """Aware, in UTC."""


class SystemClock:
    """The machine's clock, cut to the millisecond that the wire and the database keep."""

    def now(self) -> datetime:
        """Aware, in UTC, whole milliseconds."""
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)
