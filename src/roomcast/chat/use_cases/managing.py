"""The use cases that manage the members of a chat: roles, mutes, bans, invite links, reports.

Layer: chat. Source: docs/roles.md; docs/moderation.md, "Reports".
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import TypeVar

from roomcast.chat.commands import AcceptInvite, Ban, ChangeMember, NewInvite, Report, ResolveReport, RevokeInvite
from roomcast.chat.errors import (
    Banned,
    ChatNotFound,
    InviteNotFound,
    NotAllowed,
    NotAMember,
    RightMissing,
    TooManyEntries,
)
from roomcast.chat.model import Caller, StoredBan, StoredChat, StoredInvite, StoredReport
from roomcast.chat.policies.rights import Right, permits
from roomcast.chat.ports import ChatStore, Clock, SystemClock
from roomcast.chat.use_cases.publishing import Publishing
from roomcast.contract.events import MemberRole
from roomcast.contract.rest import CreateInvite, ReportMessage, UpdateMember
from roomcast.contract.tenants import tenant_of

_R = TypeVar("_R")
#: Random bytes of a token, which cannot be guessed.
_TOKEN_BYTES = 24


def invite_id(token: str) -> str:
    """The id of a link, which is stored in place of its token."""
    return hashlib.sha256(token.encode()).hexdigest()


class Managing:
    """The use cases. Each that writes is one transaction, whose event is published after the commit.

    Args:
        store: The database.
        publishing: Passes on what was committed.
        clock: Provides the times.

    Raises:
        ChatNotFound: the chat does not exist or is hidden from the caller.
        RightMissing: the caller's role does not permit it.
        StoreUnavailable: the change may or may not have been made; repeat it.
    """

    def __init__(self, store: ChatStore, publishing: Publishing, clock: Clock | None = None) -> None:
        self._store = store
        self._publishing = publishing
        self._clock = clock or SystemClock()

    async def update_member(
        self, caller: Caller, chat_id: str, user_id: str, change: UpdateMember, trace: str | None = None
    ) -> None:
        """Change the role or the mute of a member.

        Raises:
            MemberNotFound: the user is not a member.
            LastOwner: the chat would have no owner.
        """
        now = self._clock.now()
        mutes = change.muted_for is not None
        until = now + timedelta(seconds=change.muted_for) if change.muted_for else None
        member = caller.restricted_user_id
        await self._change(caller, ChangeMember(chat_id, user_id, now, member, change.role, mutes, until, trace))

    async def ban(
        self, caller: Caller, chat_id: str, user_id: str, ends_in_s: int | None, trace: str | None = None
    ) -> None:
        """Ban a user, which need not be a member; a repeat sets a new end.

        Raises:
            LastOwner: the chat would have no owner.
            TooManyEntries: the chat has too many bans.
        """
        now = self._clock.now()
        until = None if ends_in_s is None else now + timedelta(seconds=ends_in_s)
        command = Ban(chat_id, user_id, True, now, caller.restricted_user_id, until, trace)
        try:
            await self._change(caller, command)
        except TooManyEntries:
            await self._store.delete_ended(chat_id, now)
            await self._change(caller, command)

    async def end_ban(self, caller: Caller, chat_id: str, user_id: str) -> None:
        """End a ban; it need not exist."""
        await self._change(caller, Ban(chat_id, user_id, False, self._clock.now(), caller.restricted_user_id))

    async def bans(self, caller: Caller, chat_id: str) -> Sequence[StoredBan]:
        """The bans that have not ended, ascending by user id."""
        await self._check_role(caller, chat_id, Right.BAN)
        return await self._bans(chat_id)

    async def report(
        self,
        caller: Caller,
        chat_id: str,
        message_id: str,
        command: ReportMessage,
        acting: str | None,
        trace: str | None = None,
    ) -> None:
        """Report a message to the moderators; a repeat replaces the reason and the note.

        Raises:
            NotAllowed: no user is given.
            MessageNotFound: the chat has no such message.
            TooManyEntries: the chat has too many open reports.
        """
        member = caller.restricted_user_id
        reporter = member or acting
        if reporter is None:
            raise NotAllowed("give the user that reports the message in userId")
        now = self._clock.now()
        new = Report(chat_id, message_id, reporter, command.reason, command.note, now, member, trace)
        await self._commit(chat_id, self._store.commit(new))

    async def reports(self, caller: Caller, chat_id: str) -> Sequence[StoredReport]:
        """The open reports, the oldest first."""
        await self._check_role(caller, chat_id, Right.HANDLE_REPORTS)
        return await self._store.reports(chat_id)

    async def close_report(
        self, caller: Caller, chat_id: str, message_id: str, reporter_id: str, trace: str | None = None
    ) -> None:
        """Close a report, whatever was done about it; it need not exist."""
        member = caller.restricted_user_id
        command = ResolveReport(chat_id, message_id, reporter_id, self._clock.now(), member, trace)
        await self._commit(chat_id, self._store.commit(command))

    async def invite(self, caller: Caller, chat_id: str, command: CreateInvite) -> tuple[StoredInvite, str]:
        """Create a link, and return it with its token, which is not stored.

        Raises:
            TooManyEntries: the chat has too many links.
        """
        now, token = self._clock.now(), secrets.token_urlsafe(_TOKEN_BYTES)
        expires_at = None if command.expires_in is None else now + timedelta(seconds=command.expires_in)
        member = caller.restricted_user_id
        new = NewInvite(chat_id, invite_id(token), command.role, now, member, expires_at, command.max_uses)
        try:
            await self._commit(chat_id, self._store.commit(new))
        except TooManyEntries:
            await self._store.delete_ended(chat_id, now)
            await self._commit(chat_id, self._store.commit(new))
        return StoredInvite(chat_id, new.id, member, new.role, now, expires_at, new.max_uses, 0), token

    async def revoke_invite(self, caller: Caller, chat_id: str, invite_id: str) -> None:
        """Delete a link; it need not exist. Members may delete their own ones only."""
        command = RevokeInvite(chat_id, invite_id, self._clock.now(), caller.restricted_user_id)
        await self._commit(chat_id, self._store.commit(command))

    async def invites(self, caller: Caller, chat_id: str) -> Sequence[StoredInvite]:
        """The links that are valid: all for moderators, their own ones for other members."""
        role = await self._check_role(caller, chat_id, Right.INVITE)
        every = role is None or permits(role, Right.BAN, owned=True)
        now = self._clock.now()
        return [
            found
            for found in await self._store.invites(chat_id)
            if found.is_valid(now) and (every or found.actor_id == caller.user_id)
        ]

    async def preview(self, caller: Caller, token: str) -> tuple[StoredInvite, StoredChat, int, bool]:
        """What a link leads to: the link, the chat, its number of members, and whether the caller is one.

        Raises:
            InviteNotFound: the link is not valid, or the caller is banned.
        """
        found, user_id = await self._find(caller, token), _user_of(caller)
        is_member = (await self._store.access(found.chat_id, user_id, None)).is_member
        chat = await self._store.chat(found.chat_id)
        if chat is None or not (is_member or found.is_valid(self._clock.now())):
            raise InviteNotFound
        if any(ban.user_id == user_id for ban in await self._bans(chat.id)):
            raise InviteNotFound
        return found, chat, await self._store.member_count(found.chat_id), is_member

    async def accept(self, caller: Caller, token: str, trace: str | None = None) -> StoredChat:
        """Join through a link, and return the chat. A member that repeats it uses nothing up.

        Raises:
            InviteNotFound: the link is not valid, or the caller is banned.
            NotAllowed: the caller is not a user.
        """
        found, user_id = await self._find(caller, token), _user_of(caller)
        now = self._clock.now()
        try:
            await self._change(caller, AcceptInvite(found.chat_id, found.id, user_id, now, trace, found.actor_id))
        except Banned:
            raise InviteNotFound from None
        chat = await self._store.chat(found.chat_id)
        if chat is None:
            raise InviteNotFound
        return chat

    async def _bans(self, chat_id: str) -> Sequence[StoredBan]:
        now = self._clock.now()
        return [ban for ban in await self._store.bans(chat_id) if ban.until is None or ban.until > now]

    async def _find(self, caller: Caller, token: str) -> StoredInvite:
        found = await self._store.invite(invite_id(token))
        # A link of another tenant leads nowhere.
        if found is None or tenant_of(found.chat_id) != caller.tenant:
            raise InviteNotFound
        return found

    async def _check_role(self, caller: Caller, chat_id: str, right: Right) -> MemberRole | None:
        """The caller's role, if it has a right; None for an unrestricted caller."""
        user_id = caller.restricted_user_id
        if user_id is None:
            if await self._store.chat(chat_id) is None:
                raise ChatNotFound(chat_id)
            return None
        member = await self._store.member(chat_id, user_id)
        if member is None:
            raise ChatNotFound(chat_id)
        if not permits(member.role, right, owned=True):
            raise RightMissing(member.role, right)
        return member.role

    async def _change(self, caller: Caller, command: ChangeMember | Ban | AcceptInvite) -> None:
        await self._publishing.carry_out(caller, command.chat_id, self._store.commit(command))

    async def _commit(self, chat_id: str, write: Awaitable[_R]) -> _R:
        try:
            return await self._publishing.commit(write)
        except NotAMember:
            raise ChatNotFound(chat_id) from None


def _user_of(caller: Caller) -> str:
    if caller.restricted_user_id is None:
        raise NotAllowed("an invite link needs the token of a user")
    return caller.restricted_user_id
