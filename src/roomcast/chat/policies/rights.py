"""What the members of a chat may do, by their roles. The rules of `roomcast.store.rules` check it in the transaction.

Callers without memberships, which are services and everyone while authentication is off, are not restricted. Every
member may read and leave.

Layer: chat. Source: docs/roles.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from roomcast.contract.events import MemberRole


class Right(StrEnum):
    """What a role may permit. The values complete the sentence "you may not …"."""

    SEND = "send messages, ask for answers or stop them"
    REACT = "react to messages"
    EDIT_OWN = "edit messages"
    DELETE_OWN = "delete your messages"
    DELETE_ANY = "delete messages of others"
    PIN = "pin messages"
    ADD_MEMBERS = "add members"
    REMOVE_MEMBERS = "remove members"
    CHANGE_ROLES = "change roles"
    INVITE = "invite people"
    BAN = "ban people"
    MUTE = "mute members"
    CHANGE_AI = "change how the chat answers"
    RENAME_CHAT = "rename the chat"
    ARCHIVE_CHAT = "archive the chat"
    HANDLE_REPORTS = "handle reports"
    CHANGE_RETENTION = "change how long the chat keeps messages"
    DELETE_CHAT = "delete the chat"


_OWNERS: Final = frozenset({MemberRole.OWNER})
_MODERATORS: Final = _OWNERS | {MemberRole.MODERATOR}
_MEMBERS: Final = _MODERATORS | {MemberRole.MEMBER}

#: The roles that have each right.
RIGHTS: Final[Mapping[Right, frozenset[MemberRole]]] = {
    Right.SEND: _MEMBERS,
    Right.REACT: _MEMBERS,
    Right.EDIT_OWN: _MEMBERS,
    Right.DELETE_OWN: frozenset(MemberRole),
    Right.DELETE_ANY: _MODERATORS,
    Right.PIN: _MEMBERS,
    Right.ADD_MEMBERS: _MEMBERS,
    Right.REMOVE_MEMBERS: _MODERATORS,
    Right.CHANGE_ROLES: _OWNERS,
    Right.INVITE: _MEMBERS,
    Right.BAN: _MODERATORS,
    Right.MUTE: _MODERATORS,
    Right.CHANGE_AI: _MEMBERS,
    Right.RENAME_CHAT: _MODERATORS,
    Right.ARCHIVE_CHAT: _OWNERS,
    Right.HANDLE_REPORTS: _MODERATORS,
    Right.CHANGE_RETENTION: _OWNERS,
    Right.DELETE_CHAT: _OWNERS,
}
#: The rights that members have, too, while a chat has no owner: chats of services work as before there were roles.
UNOWNED: Final = frozenset({Right.REMOVE_MEMBERS, Right.RENAME_CHAT, Right.ARCHIVE_CHAT})
#: The rights that a muted member does not have.
MUTABLE: Final = frozenset(
    {Right.SEND, Right.REACT, Right.EDIT_OWN, Right.PIN, Right.ADD_MEMBERS, Right.INVITE, Right.CHANGE_AI}
)
#: The roles that may be given without the right to change roles.
PLAIN_ROLES: Final = frozenset({MemberRole.MEMBER, MemberRole.READER})


def permits(role: MemberRole, right: Right, *, owned: bool) -> bool:
    """Whether a role has a right, in a chat that has an owner or not."""
    return role in RIGHTS[right] or (not owned and right in UNOWNED and role is MemberRole.MEMBER)


_ALWAYS: Final = datetime.max.replace(tzinfo=UTC)


def silent_until(role: MemberRole, muted_until: datetime | None) -> datetime | None:
    """Until when a member may not send messages; None, or a time in the past: it may."""
    return muted_until if role in RIGHTS[Right.SEND] else _ALWAYS


def outranks(role: MemberRole, other: MemberRole, *, owned: bool) -> bool:
    """Whether a role that has a right over members has it over those of another role."""
    if role is MemberRole.MODERATOR or (not owned and role is MemberRole.MEMBER):
        return other in PLAIN_ROLES
    return role is MemberRole.OWNER
