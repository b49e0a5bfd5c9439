"""Pauses between retries, jittered intervals, a limit for repeated log lines, and the loop of periodic tasks.

Layer: below all others (standard library only). Source: "Exponential Backoff And Jitter", AWS Architecture Blog; the
jitter is its "equal jitter": half of a pause is fixed, the other half is random. RFC 9110 §10.2.3 (``Retry-After``).
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NoReturn

logger = logging.getLogger(__name__)

# Limits the exponent: higher powers of two would overflow a float, and the cap is reached long before.
_MAX_DOUBLINGS: Final = 32
_DAY_S: Final = 86_400.0


def jittered(interval_s: float, low: float = 0.5, high: float = 1.0) -> float:
    """A random time between ``low`` and ``high`` times ``interval_s``, so that processes do not act simultaneously."""
    return interval_s * random.uniform(low, high)  # noqa: S311 - not a secret


def should_log(count: int) -> bool:
    """Whether the ``count``-th repetition is logged: the 1st, 2nd, 4th, 8th … so that a flood cannot fill the logs."""
    return count & (count - 1) == 0


def parse_retry_after(value: str, most_s: float = _DAY_S) -> float | None:
    """The seconds, from 0 to ``most_s``, in a ``Retry-After``: a number, or a date; None if it is neither."""
    value, seconds = value.strip(), None
    if re.fullmatch(r"[0-9]{1,9}", value):
        seconds = float(value)
    elif value:
        with suppress(ValueError, TypeError, OverflowError):
            date = parsedate_to_datetime(value)
            seconds = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return None if seconds is None else min(max(seconds, 0.0), most_s)


class Backoff:
    """Exponential backoff with equal jitter and a cap.

    Args:
        first_s: Maximum of the first pause, doubled with each failure.
        max_s: Maximum of every pause.

    Attributes:
        failures: Failures since the last `reset`.
    """

    __slots__ = ("_first_s", "_max_s", "failures")

    def __init__(self, first_s: float, max_s: float) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self.failures = 0

    def next_s(self) -> float:
        """Count a failure and return the pause after it, in seconds."""
        longest_s = min(self._first_s * 2 ** min(self.failures, _MAX_DOUBLINGS), self._max_s)
        self.failures += 1
        return jittered(longest_s)

    def reset(self) -> None:
        """Start over with the first pause, after an attempt succeeded."""
        self.failures = 0


async def repeat_forever(
    step: Callable[[], Awaitable[bool | None]],
    every_s: float,
    what: str,
    *errors: type[Exception],
    longest_s: float = 0.0,
) -> NoReturn:
    """Call ``step`` until cancelled: again at once after it returned True, else after a jittered ``every_s``.

    Args:
        step: One round.
        every_s: Longest pause, in seconds.
        what: Names the task in logs.
        errors: Are logged, and end a round. Others are raised.
        longest_s: After errors in a row the pause grows up to this, if it is longer than ``every_s``.
    """
    backoff = Backoff(every_s, max(every_s, longest_s))
    while True:
        try:
            more = await step()
        except errors as error:
            pause_s = backoff.next_s()
            if should_log(backoff.failures):
                logger.warning("%s failed, retrying in %.1f s: %r", what, pause_s, error)
        else:
            if backoff.failures:
                logger.info("%s succeeded again", what)
            backoff.reset()
            if more:
                continue
            pause_s = jittered(every_s)
        await asyncio.sleep(pause_s)
