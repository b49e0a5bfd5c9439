"""The rules for memberships. A user that adds others is limited by allowances (`chat.additions`).

Layer: store.rules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from roomcast.chat.additions import ALL_USERS, AdditionLimits
from roomcast.chat.commands import MemberAction, NewMemberChange
from roomcast.chat.errors import NotAllowed
from roomcast.chat.model import AuditAction, Committed, StoredEvent
from roomcast.contract.events import EventType
from roomcast.store.rows import to_ms
from roomcast.store.rules.exchange import Needs
from roomcast.store.rules.work import Work
from roomcast.store.tables import additions, members, reads


def needs(needs: Needs, change: NewMemberChange) -> None:
    """The rows for `change`."""
    needs.chat(change.chat_id, change.member)
    needs.row(members, change.chat_id, change.user_id)
    if change.action is MemberAction.ADD:
        needs_additions(needs, change.actor_id, (change.user_id,))


def change(work: Work, change: NewMemberChange) -> Committed | None:
    """Add or remove a member. None: the change has no effect."""
    adds = change.action is MemberAction.ADD
    # A member may leave an archived chat.
    chat = (work.open_chat if adds else work.chat)(change.chat_id, change.member)
    if chat.direct is not None:
        raise NotAllowed("the two users of a direct chat stay its only members; archive or delete it")
    is_member = work.row(members, change.chat_id, change.user_id) is not None
    if is_member == adds:
        return None
    if adds:
        charge(work, change.actor_id, (change.user_id,), change.limits, change.created_at)
    event = record(
        work, change.chat_id, change.user_id, change.action, change.actor_id, change.created_at, change.trace
    )
    return Committed(event, created=True)


def record(
    work: Work,
    chat_id: str,
    user_id: str,
    action: MemberAction,
    actor_id: str | None,
    at: datetime,
    trace: str | None = None,
) -> StoredEvent:
    """Record a change of a membership and its event."""
    adds = action is MemberAction.ADD
    if adds:
        work.put(members, chat_id, user_id, added_at=to_ms(at))
        # What was written before is not unread.
        work.put(reads, chat_id, user_id, seq=work.recorder.next_seq(chat_id))
    else:
        work.delete(members, chat_id, user_id)
        work.delete(reads, chat_id, user_id)
    event_type = EventType.MEMBER_ADDED if adds else EventType.MEMBER_REMOVED
    event = work.recorder.add(chat_id, event_type, at, trace, user_id=user_id, actor_id=actor_id)
    act = AuditAction.MEMBER_ADDED if adds else AuditAction.MEMBER_REMOVED
    work.recorder.record_act(act, event, actor_id, user_id)
    return event


def needs_additions(needs: Needs, actor_id: str | None, user_ids: Collection[str]) -> None:
    """The allowances that additions may charge."""
    if actor_id is not None and user_ids:
        needs.locks.add(actor_id)
        for user_id in (*user_ids, ALL_USERS):
            needs.row(additions, actor_id, user_id)


def charge(
    work: Work, actor_id: str | None, user_ids: Iterable[str], limits: AdditionLimits | None, at: datetime
) -> None:
    """Charge the additions of these users to the actor's allowances.

    Raises:
        AdditionLimitReached: the actor added users too often.
    """
    others = set(user_ids) - {actor_id}
    if actor_id is None or limits is None or not others:
        return
    rows = {user_id: work.row(additions, actor_id, user_id) for user_id in (*others, ALL_USERS)}
    full_at = {user_id: row["full_at"] for user_id, row in rows.items() if row is not None}
    for user_id, state in limits.charge(full_at, others, to_ms(at)).items():
        work.put(additions, actor_id, user_id, full_at=state)
