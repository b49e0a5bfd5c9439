"""The rule for quotas of AI answers, which belong to no chat: a lock per user and tenant makes the counts exact.

Only messages that ask for an answer take it, after all other locks.

Layer: store.rules.
"""

from __future__ import annotations

from datetime import datetime

from roomcast.chat.policies.quotas import Quotas, Use
from roomcast.store.rows import to_ms
from roomcast.store.rules.exchange import Needs
from roomcast.store.rules.work import Work
from roomcast.store.tables import ai_usage


def needs(needs: Needs, quotas: Quotas | None, user_id: str | None) -> None:
    """The rows for `charge` and `spend`; named by the ``follow`` of a rule."""
    if quotas is None or user_id is None:
        return
    for subject in quotas.subjects(user_id):
        # Not the lock of the allowances for additions: two batches could wait for each other.
        needs.locks.add(f"quota {subject}")
        needs.row(ai_usage, subject)


def charge(work: Work, quotas: Quotas | None, user_id: str | None, at: datetime) -> None:
    """Count one answer.

    Raises:
        QuotaReached: a quota does not permit it; nothing was counted.
    """
    if quotas is None or user_id is None:
        return
    uses = {subject: _use(work, quotas, subject, at) for subject in quotas.subjects(user_id)}
    for subject, use in uses.items():
        quotas.check(subject, use, at)
    for subject, use in uses.items():
        _put(work, quotas, subject, at, use._replace(turns=use.turns + 1))


def spend(work: Work, quotas: Quotas | None, user_id: str | None, tokens: int, at: datetime) -> None:
    """Count tokens of an answer."""
    if quotas is None or user_id is None or not tokens:
        return
    for subject in quotas.subjects(user_id):
        use = _use(work, quotas, subject, at)
        _put(work, quotas, subject, at, use._replace(tokens=use.tokens + tokens))


def _use(work: Work, quotas: Quotas, subject: str, at: datetime) -> Use:
    row = work.row(ai_usage, subject)
    # The clocks of two processes may differ: a later window stays.
    if row is None or row["started_at"] < to_ms(quotas.window(at)):
        return Use()
    return Use(row["turns"], row["tokens"])


def _put(work: Work, quotas: Quotas, subject: str, at: datetime, use: Use) -> None:
    row = work.row(ai_usage, subject)
    started_at = max(to_ms(quotas.window(at)), 0 if row is None else row["started_at"])
    work.put(ai_usage, subject, started_at=started_at, turns=use.turns, tokens=use.tokens)
