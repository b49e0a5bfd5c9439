"""Time for the limits that tests assert, independent of what else the machine does."""

from __future__ import annotations

import os
import time
from pathlib import Path


class Stopwatch:
    """Seconds since its creation, without those in which this thread waited for a processor.

    It cannot tell the wait of another process. Use it on the thread that runs both the test and the code under test.
    """

    def __init__(self) -> None:
        self._began = time.monotonic() - _waited_for_processor_s()

    @property
    def elapsed_s(self) -> float:
        """Seconds so far; may be slightly below 0 right after the start."""
        return time.monotonic() - _waited_for_processor_s() - self._began


def _waited_for_processor_s() -> float:
    """Seconds that this thread was runnable without a processor, plus the host's steal time; 0 where not available."""
    try:
        queued_ns = int(Path("/proc/thread-self/schedstat").read_text().split()[1])
        with Path("/proc/stat").open() as stat:
            stolen_ticks = int(stat.readline().split()[8])
    except OSError:
        return 0.0
    return queued_ns / 1e9 + stolen_ticks / os.sysconf("SC_CLK_TCK")
