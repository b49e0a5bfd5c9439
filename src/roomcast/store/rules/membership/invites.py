"""The rules for invite links. The lock of the chat makes their uses exact.

Layer: store.rules.
"""

from __future__ import annotations

from roomcast.chat.commands import MAX_INVITES, AcceptInvite, NewInvite, RevokeInvite
from roomcast.chat.errors import InviteNotFound, Muted, NotAllowed, NotAMember, RightMissing, TooManyEntries
from roomcast.chat.model import AuditAction, Committed
from roomcast.chat.policies.rights import Right
from roomcast.contract.events import MemberRole
from roomcast.store.rows import to_ms
from roomcast.store.rules.exchange import Needs
from roomcast.store.rules.membership import rights
from roomcast.store.rules.membership.members import check_gives, check_not_banned, needs_return, record_return
from roomcast.store.rules.work import Work
from roomcast.store.tables import invites, members


def needs_new(needs: Needs, new: NewInvite) -> None:
    """The rows for `create`."""
    needs.chat(new.chat_id, new.member)
    needs.counts.add((invites, new.chat_id))


def create(work: Work, new: NewInvite) -> None:
    """Create a link."""
    if work.open_chat(new.chat_id, new.member).direct is not None:
        raise NotAllowed("the two users of a direct chat stay its only members; create a chat for more")
    rights.check(work, new.chat_id, new.member, Right.INVITE, new.at)
    check_gives(work, new.chat_id, new.member, new.role)
    if work.count(invites, new.chat_id) >= MAX_INVITES:
        raise TooManyEntries(f"a chat has at most {MAX_INVITES} invite links; revoke one first")
    work.put(
        invites,
        new.chat_id,
        new.id,
        actor_id=new.member,
        role=new.role,
        created_at=to_ms(new.at),
        expires_at=None if new.expires_at is None else to_ms(new.expires_at),
        max_uses=new.max_uses,
        uses=0,
    )
    work.recorder.record_silent_act(AuditAction.INVITE_CREATED, new.chat_id, new.at, new.member, new.id)


def needs_revoke(needs: Needs, command: RevokeInvite) -> None:
    """The rows for `revoke`."""
    needs.chat(command.chat_id, command.member)
    needs.row(invites, command.chat_id, command.id)


def revoke(work: Work, command: RevokeInvite) -> None:
    """Delete a link: a moderator any, another member an own one."""
    work.chat(command.chat_id, command.member)
    row = work.row(invites, command.chat_id, command.id)
    if row is None:
        return
    own = row["actor_id"] == command.member
    if not own:
        rights.check(work, command.chat_id, command.member, Right.BAN)
    work.delete(invites, command.chat_id, command.id)
    acts = work.recorder.record_silent_act
    acts(AuditAction.INVITE_REVOKED, command.chat_id, command.at, command.member, command.id)


def needs_accept(needs: Needs, command: AcceptInvite) -> None:
    """The rows for `accept`."""
    needs.chat(command.chat_id, command.user_id)
    needs.row(invites, command.chat_id, command.id)
    needs_return(needs, command.chat_id, command.user_id)
    if command.actor_id is not None:
        needs.row(members, command.chat_id, command.actor_id)


def accept(work: Work, command: AcceptInvite) -> Committed | None:
    """Make a user a member."""
    chat_id, user_id = command.chat_id, command.user_id
    row = work.row(invites, chat_id, command.id)
    if row is None or chat_id not in work.recorder.chats:
        raise InviteNotFound
    if work.row(members, chat_id, user_id) is not None:
        return None
    if row["expires_at"] is not None and row["expires_at"] <= to_ms(command.at):
        raise InviteNotFound
    if row["max_uses"] is not None and row["uses"] >= row["max_uses"]:
        raise InviteNotFound
    role = MemberRole(row["role"])
    _check_creator(work, command, role)
    work.open_chat(chat_id, None)
    check_not_banned(work, chat_id, user_id, command.at)
    columns = {name: row[name] for name in ("actor_id", "role", "created_at", "expires_at", "max_uses")}
    work.put(invites, chat_id, command.id, **columns, uses=row["uses"] + 1)
    event = record_return(work, chat_id, user_id, user_id, command.at, command.trace, role)
    work.recorder.record_act(AuditAction.INVITE_USED, event, user_id, command.id)
    return Committed(event, created=True)


def _check_creator(work: Work, command: AcceptInvite, role: MemberRole) -> None:
    """Check that the member that created the link may still invite, and give its role."""
    try:
        rights.check(work, command.chat_id, command.actor_id, Right.INVITE, command.at)
        check_gives(work, command.chat_id, command.actor_id, role)
    except (NotAMember, RightMissing, Muted):
        raise InviteNotFound from None
