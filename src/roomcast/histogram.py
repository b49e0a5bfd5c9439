"""Counts of durations by size, which metrics export.

Layer: below all others (standard library only). Source: Prometheus, "Histograms and summaries".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

#: Upper bounds in seconds. The alerts of ``deploy/prometheus`` use several of them as limits.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """Counts of values by upper bound. Not for several threads: use it on the event loop only.

    Attributes:
        bounds: Ascending upper bounds; a value counts in the first bucket whose bound is not below it.
        counts: The number of values in each bucket, not cumulated; the last bucket has no bound.
        total: The sum of all values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value; one below 0, from two clocks that differ, counts as 0."""
        value = max(value, 0.0)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
