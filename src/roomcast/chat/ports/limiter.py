"""The port of the rate limits.

Layer: chat. Contract suite: tests/contract/test_limits.py.
"""

from __future__ import annotations

from typing import Protocol

from roomcast.chat.errors import RateLimitReached
from roomcast.chat.policies.rates import LimitName

#: A limit; the user, chat or address that is counted; how much.
Charge = tuple[LimitName, str, int]


class RateLimiter(Protocol):
    """Counts what users, chats and addresses do. Limits that are off permit everything.

    No method suspends: a process decides by what it knows, and replicas learn of it within a moment. Memory is
    bounded, whatever the keys are.
    """

    def charge(self, *charges: Charge) -> None:
        """Charge all, or nothing if one of the limits is reached. An amount above a whole limit counts as the whole.

        Raises:
            RateLimitReached: nothing was charged.
        """

    def spend(self, limit: LimitName, key: str, amount: int) -> None:
        """Charge what has happened already, also beyond the limit: up to one whole limit more."""

    def wait_s(self, limit: LimitName, key: str) -> float:
        """Seconds until an amount of 1 can be charged; 0: now."""

    def refuse(self, limit: LimitName, wait_s: float) -> RateLimitReached:
        """Count a refusal that follows from `wait_s`, and return its error."""
