"""The rules for memberships: members, their roles and mutes, bans.

A user that adds others is limited by allowances (`chat.policies.additions`).

Layer: store.rules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from roomcast.chat.commands import MAX_BANS, Ban, ChangeMember, MemberAction, NewMemberChange
from roomcast.chat.errors import Banned, LastOwner, MemberNotFound, NotAllowed, TooManyEntries
from roomcast.chat.model import AuditAction, Committed, StoredEvent
from roomcast.chat.policies.additions import ALL_USERS, AdditionLimits
from roomcast.chat.policies.rights import PLAIN_ROLES, Right
from roomcast.contract.events import EventType, MemberRole
from roomcast.store.rows import from_ms, to_ms
from roomcast.store.rules.exchange import Needs
from roomcast.store.rules.membership import rights
from roomcast.store.rules.work import Work
from roomcast.store.tables import additions, bans, members, notification_settings, reads, restrictions


def needs(needs: Needs, change: NewMemberChange) -> None:
    """The rows for `change`."""
    adds = change.action is MemberAction.ADD
    rights.needs(needs, change.chat_id, change.member, Right.ADD_MEMBERS if adds else Right.REMOVE_MEMBERS)
    needs.row(members, change.chat_id, change.user_id)
    if adds:
        needs_return(needs, change.chat_id, change.user_id)
        needs_additions(needs, change.actor_id, (change.user_id,))
    else:
        needs_departure(needs, change.chat_id, change.member)


def change(work: Work, change: NewMemberChange) -> Committed | None:
    """Add or remove a member. None: the change has no effect."""
    chat_id, user_id, member, at = change.chat_id, change.user_id, change.member, change.created_at
    adds = change.action is MemberAction.ADD
    # A member may leave an archived chat.
    chat = (work.open_chat if adds else work.chat)(chat_id, member)
    if chat.direct is not None:
        raise NotAllowed("the two users of a direct chat stay its only members; archive or delete it")
    is_member = work.row(members, chat_id, user_id) is not None
    if adds:
        rights.check(work, chat_id, member, Right.ADD_MEMBERS, at)
        check_gives(work, chat_id, member, change.role)
        if is_member:
            return None
        check_not_banned(work, chat_id, user_id, at)
        charge(work, change.actor_id, (user_id,), change.limits, at)
        restores = member is not None
        event = record_return(work, chat_id, user_id, change.actor_id, at, change.trace, change.role, restores=restores)
        return Committed(event, created=True)
    if user_id != member:
        rights.check_over(work, chat_id, member, Right.REMOVE_MEMBERS, user_id)
    if not is_member:
        return None
    check_departure(work, chat_id, member, user_id)
    keep_restrictions(work, chat_id, user_id, at)
    event = record(work, chat_id, user_id, change.action, change.actor_id, at, change.trace, change.role)
    return Committed(event, created=True)


def needs_update(needs: Needs, change: ChangeMember) -> None:
    """The rows for `update`."""
    needs.chat(change.chat_id, change.member)
    needs.row(members, change.chat_id, change.user_id)
    needs_departure(needs, change.chat_id, change.member)


def update(work: Work, change: ChangeMember) -> Committed | None:
    """Change the role or the mute of a member. None: the change has no effect."""
    chat_id, user_id, member, at = change.chat_id, change.user_id, change.member, change.at
    if work.open_chat(chat_id, member).direct is not None:
        raise NotAllowed("the two users of a direct chat have the same rights")
    for right in [Right.CHANGE_ROLES] * (change.role is not None) + [Right.MUTE] * change.mutes:
        rights.check_over(work, chat_id, member, right, user_id)
    row = work.row(members, chat_id, user_id)
    if row is None:
        raise MemberNotFound(user_id)
    role = MemberRole(row["role"]) if change.role is None else change.role
    muted_until: int | None = row["muted_until"]
    if change.mutes:
        muted_until = None if change.muted_until is None else to_ms(change.muted_until)
    if muted_until is not None and muted_until <= to_ms(at):
        muted_until = None
    if role is MemberRole.OWNER:
        if change.mutes and muted_until is not None:
            raise NotAllowed("an owner cannot be muted; change the role first")
        muted_until = None
    if (role, muted_until) == (row["role"], row["muted_until"]):
        return None
    if role is not MemberRole.OWNER:
        check_departure(work, chat_id, member, user_id)
    work.put(members, chat_id, user_id, added_at=row["added_at"], role=role, muted_until=muted_until)
    event = work.recorder.add(
        chat_id,
        EventType.MEMBER_UPDATED,
        at,
        change.trace,
        user_id=user_id,
        role=role,
        muted_until=None if muted_until is None else from_ms(muted_until),
        actor_id=member,
    )
    changed = {
        AuditAction.ROLE_CHANGED: role != row["role"],
        AuditAction.MUTE_CHANGED: muted_until != row["muted_until"],
    }
    _record_acts(work, event, member, user_id, changed)
    return Committed(event, created=True)


def _record_acts(
    work: Work, event: StoredEvent, actor_id: str | None, user_id: str, changed: Mapping[AuditAction, bool]
) -> None:
    for action, differs in changed.items():
        if differs:
            work.recorder.record_act(action, event, actor_id, user_id)


def needs_ban(needs: Needs, command: Ban) -> None:
    """The rows for `ban`."""
    needs.chat(command.chat_id, command.member)
    needs.row(members, command.chat_id, command.user_id)
    needs.row(bans, command.chat_id, command.user_id)
    needs.counts.add((bans, command.chat_id))
    needs_departure(needs, command.chat_id, command.member)


def ban(work: Work, command: Ban) -> Committed | None:
    """Ban a user, whose membership ends, or end a ban."""
    chat_id, user_id, member, at = command.chat_id, command.user_id, command.member, command.at
    record_act = work.recorder.record_silent_act
    if work.chat(chat_id, member).direct is not None:
        raise NotAllowed("the two users of a direct chat stay its only members; archive or delete it")
    rights.check_over(work, chat_id, member, Right.BAN, user_id)
    if not command.adds:
        if work.row(bans, chat_id, user_id) is not None:
            work.delete(bans, chat_id, user_id)
            record_act(AuditAction.BAN_ENDED, chat_id, at, member, user_id, command.trace)
        return None
    if user_id == member:
        raise NotAllowed("you cannot ban yourself; leave the chat instead")
    is_member = work.row(members, chat_id, user_id) is not None
    if is_member:
        check_departure(work, chat_id, member, user_id)
    if work.row(bans, chat_id, user_id) is None and work.count(bans, chat_id) >= MAX_BANS:
        raise TooManyEntries(f"a chat has at most {MAX_BANS} bans; end one first")
    if is_member:
        keep_restrictions(work, chat_id, user_id, at)
    until = None if command.until is None else to_ms(command.until)
    work.put(bans, chat_id, user_id, actor_id=member, banned_at=to_ms(at), until=until)
    record_act(AuditAction.BANNED, chat_id, at, member, user_id, command.trace)
    if not is_member:
        return None
    event = record(work, chat_id, user_id, MemberAction.REMOVE, member, at, command.trace, banned=True)
    return Committed(event, created=True)


def record(
    work: Work,
    chat_id: str,
    user_id: str,
    action: MemberAction,
    actor_id: str | None,
    at: datetime,
    trace: str | None = None,
    role: MemberRole = MemberRole.MEMBER,
    *,
    muted_until: int | None = None,
    banned: bool = False,
) -> StoredEvent:
    """Record a change of a membership and its event."""
    adds = action is MemberAction.ADD
    if adds:
        work.put(members, chat_id, user_id, added_at=to_ms(at), role=role, muted_until=muted_until)
        # What was written before is not unread.
        work.put(reads, chat_id, user_id, seq=work.recorder.next_seq(chat_id))
    else:
        work.delete(members, chat_id, user_id)
        work.delete(reads, chat_id, user_id)
        work.delete(notification_settings, chat_id, user_id)
    event = work.recorder.add(
        chat_id,
        EventType.MEMBER_ADDED if adds else EventType.MEMBER_REMOVED,
        at,
        trace,
        user_id=user_id,
        actor_id=actor_id,
        **(
            {"role": role, "muted_until": None if muted_until is None else from_ms(muted_until)}
            if adds
            else {"banned": banned}
        ),
    )
    act = AuditAction.MEMBER_ADDED if adds else AuditAction.MEMBER_REMOVED
    work.recorder.record_act(act, event, actor_id, user_id)
    return event


def needs_return(needs: Needs, chat_id: str, user_id: str) -> None:
    """The rows for `check_not_banned` and `record_return`."""
    needs.row(bans, chat_id, user_id)
    needs.row(restrictions, chat_id, user_id)


def keep_restrictions(work: Work, chat_id: str, user_id: str, at: datetime) -> None:
    """Keep what a member that leaves must not lose by coming back: a mute, the role of a reader."""
    row = work.row(members, chat_id, user_id)
    if row is None:
        return
    muted_until = row["muted_until"] if row["muted_until"] is not None and row["muted_until"] > to_ms(at) else None
    if muted_until is not None or row["role"] == MemberRole.READER:
        work.put(restrictions, chat_id, user_id, role=row["role"], muted_until=muted_until)


def record_return(
    work: Work,
    chat_id: str,
    user_id: str,
    actor_id: str | None,
    at: datetime,
    trace: str | None,
    role: MemberRole,
    *,
    restores: bool = True,
) -> StoredEvent:
    """Record a new membership: with the restrictions of an earlier one, unless a service gives it."""
    row = work.row(restrictions, chat_id, user_id)
    muted_until = None
    if row is not None:
        work.delete(restrictions, chat_id, user_id)
        if restores:
            role = MemberRole.READER if row["role"] == MemberRole.READER else role
            muted_until = row["muted_until"]
    return record(work, chat_id, user_id, MemberAction.ADD, actor_id, at, trace, role, muted_until=muted_until)


def check_gives(work: Work, chat_id: str, member: str | None, role: MemberRole) -> None:
    """Check that a member may give a role to new members."""
    if role not in PLAIN_ROLES:
        rights.check(work, chat_id, member, Right.CHANGE_ROLES)


def check_not_banned(work: Work, chat_id: str, user_id: str, at: datetime) -> None:
    """Check that a user may become a member.

    Raises:
        Banned: the user may not.
    """
    row = work.row(bans, chat_id, user_id)
    if row is not None and (row["until"] is None or row["until"] > to_ms(at)):
        raise Banned(user_id)


def needs_departure(needs: Needs, chat_id: str, member: str | None) -> None:
    """The rows for `check_departure`."""
    if member is not None:
        needs.owners.add(chat_id)
        needs.counts.add((members, chat_id))


def check_departure(work: Work, chat_id: str, member: str | None, user_id: str) -> None:
    """Check that a user is not the last owner of a chat that has other members. Services are not restricted.

    Raises:
        LastOwner: it is.
    """
    if member is not None and work.owners(chat_id) == {user_id} and work.count(members, chat_id) > 1:
        raise LastOwner


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
