"""How many AI answers, and how many tokens of them, a user and a tenant have in a window of time.

The windows are the same for all: they begin at multiples of their length since 1970 in UTC, so each has a time at which
the quota is full again. Answers are counted in the transactions that queue them, so the counts are exact over replicas.
Tokens are known at the end of an answer: those of answers that are being written may exceed the quota.

Layer: chat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final, NamedTuple

from roomcast.chat.errors import QuotaReached
from roomcast.contract.tenants import SEPARATOR, tenant_of
from roomcast.contract.text import format_time

_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Use(NamedTuple):
    """What was used in a window."""

    turns: int = 0
    tokens: int = 0


class QuotaUse(NamedTuple):
    """One quota, and what was used of it."""

    name: str
    used: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """The quotas per window; 0: no limit. Service tokens have none, and without authentication there is none.

    Attributes:
        user_turns: AI answers for each user.
        user_tokens: Tokens of the answers to each user, as their providers count them, prompts included.
        tenant_turns: AI answers for all users of a tenant.
        tenant_tokens: Tokens of the answers to all users of a tenant.
        window_s: Length of a window.
    """

    user_turns: int = 1_000
    user_tokens: int = 0
    tenant_turns: int = 0
    tenant_tokens: int = 0
    window_s: int = 86_400

    def window(self, at: datetime) -> datetime:
        """The begin of the window of a time."""
        return at - (at - _START) % timedelta(seconds=self.window_s)

    def subjects(self, user_id: str) -> Sequence[str]:
        """The keys under which the answers to a user are counted: the user, the tenant; each if it has a quota."""
        tenant = tenant_of(user_id)
        found = [user_id] if self.user_turns or self.user_tokens else []
        # No user has this id, since local ids are not empty.
        return [*found, tenant + SEPARATOR] if self.tenant_turns or self.tenant_tokens else found

    def uses(self, subject: str, use: Use) -> Sequence[QuotaUse]:
        """The quotas of a subject."""
        kind, turns, tokens = (
            ("tenant", self.tenant_turns, self.tenant_tokens)
            if subject.endswith(SEPARATOR)
            else ("user", self.user_turns, self.user_tokens)
        )
        every = (QuotaUse(f"{kind}-turns", use.turns, turns), QuotaUse(f"{kind}-tokens", use.tokens, tokens))
        return [quota for quota in every if quota.limit]

    def check(self, subject: str, use: Use, at: datetime) -> None:
        """Check that one more answer is permitted.

        Raises:
            QuotaReached: it is not.
        """
        for quota in self.uses(subject, use):
            if quota.used >= quota.limit:
                resets_at = self.window(at) + timedelta(seconds=self.window_s)
                raise QuotaReached(quota.name, format_time(resets_at), ceil((resets_at - at).total_seconds()))
