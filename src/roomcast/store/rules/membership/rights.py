"""Checks what a member may do, in the transaction of the command. What each role may do: `chat.policies.rights`.

Layer: store.rules.
"""

from __future__ import annotations

from datetime import datetime

from roomcast.chat.errors import Muted, NotAMember, RightMissing
from roomcast.chat.policies.rights import MUTABLE, UNOWNED, Right, outranks, permits
from roomcast.contract.events import MemberRole
from roomcast.contract.text import format_time
from roomcast.store.rows import from_ms, to_ms
from roomcast.store.rules.exchange import Needs
from roomcast.store.rules.work import Work
from roomcast.store.tables import members


def needs(needs: Needs, chat_id: str, member: str | None, right: Right) -> None:
    """The rows for `check`: the chat, the membership and, for some rights, the owners."""
    needs.chat(chat_id, member)
    if member is not None and right in UNOWNED:
        needs.owners.add(chat_id)


def check(work: Work, chat_id: str, member: str | None, right: Right, at: datetime | None = None) -> None:
    """Check that a member may do something.

    Args:
        work: Has the rows that `needs` names.
        chat_id: A chat.
        member: The user; None: the caller is not restricted.
        right: What the user does.
        at: The time of the command; required for the rights in `MUTABLE`.

    Raises:
        NotAMember: the user is no member.
        RightMissing: the user's role does not permit it.
        Muted: the user is muted, and it is something that muted members may not do.
    """
    if member is None:
        return
    row = work.row(members, chat_id, member)
    if row is None:
        raise NotAMember(chat_id, member)
    role = MemberRole(row["role"])
    owned = right not in UNOWNED or bool(work.owners(chat_id))
    if not permits(role, right, owned=owned):
        raise RightMissing(role, right)
    if right in MUTABLE and row["muted_until"] is not None and (at is None or row["muted_until"] > to_ms(at)):
        raise Muted(format_time(from_ms(row["muted_until"])))


def check_over(work: Work, chat_id: str, member: str | None, right: Right, other: str) -> None:
    """Check that a member has a right over another user, also over one that is no member.

    Raises:
        NotAMember, RightMissing: as for `check`, or the other has too high a role.
    """
    check(work, chat_id, member, right)
    row = work.row(members, chat_id, other)
    if member is None or row is None:
        return
    role = MemberRole((work.row(members, chat_id, member) or row)["role"])
    owned = right not in UNOWNED or bool(work.owners(chat_id))
    if not outranks(role, MemberRole(row["role"]), owned=owned):
        raise RightMissing(role, f"do this to a member with the role {row['role']}")
