"""The routes for members, their roles and mutes, bans and invite links.

Layer: api.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from roomcast.api.callers import CurrentCaller
from roomcast.api.routes.messages import DIGITS, PROBLEMS, as_json, chat_body, services_of, trace_of
from roomcast.chat.commands import MemberAction
from roomcast.chat.model import StoredInvite
from roomcast.contract import rest
from roomcast.contract.events import MemberRole
from roomcast.contract.text import ChatId, InviteId, InviteToken, NewUserId, UserId

member_router = APIRouter(responses=PROBLEMS, tags=["members"])
_CHAT = "/api/chats/{chat_id}"
EndsIn = Annotated[Annotated[int, Field(ge=1, le=rest.MAX_SECONDS), DIGITS] | None, Query(alias="endsIn")]


@member_router.get(_CHAT + "/members", response_model=rest.MemberPage)
async def list_members(
    request: Request, caller: CurrentCaller, chat_id: ChatId, after: UserId | None = None
) -> Response:
    """List the members of a chat, at most 1,000: those with an id above ``after``."""
    members, has_more = await services_of(request).reader.members(caller, chat_id, after or "")
    return as_json(
        rest.MemberPage(
            members=[
                rest.Member(
                    user_id=member.user_id,
                    added_at=member.added_at,
                    role=member.role,
                    muted_until=member.muted_until,
                )
                for member in members
            ],
            has_more=has_more,
        )
    )


@member_router.put(_CHAT + "/members/{user_id:path}", status_code=204)
async def add_member(
    request: Request,
    caller: CurrentCaller,
    chat_id: ChatId,
    user_id: NewUserId,
    role: MemberRole = MemberRole.MEMBER,
) -> Response:
    """Add a member. Adding an existing member changes nothing. Only owners add owners and moderators."""
    writer, trace = services_of(request).writer, trace_of(request)
    await writer.change_member(caller, chat_id, user_id, MemberAction.ADD, trace, role)
    return Response(status_code=204)


@member_router.patch(_CHAT + "/members/{user_id:path}", status_code=204)
async def update_member(
    request: Request, caller: CurrentCaller, chat_id: ChatId, user_id: UserId, change: rest.UpdateMember
) -> Response:
    """Change the role of a member, or mute the member."""
    await services_of(request).writer.managing.update_member(caller, chat_id, user_id, change, trace_of(request))
    return Response(status_code=204)


@member_router.delete(_CHAT + "/members/{user_id:path}", status_code=204)
async def remove_member(request: Request, caller: CurrentCaller, chat_id: ChatId, user_id: UserId) -> Response:
    """Remove a member, or leave. Removing a non-member changes nothing."""
    await services_of(request).writer.change_member(caller, chat_id, user_id, MemberAction.REMOVE, trace_of(request))
    return Response(status_code=204)


@member_router.get(_CHAT + "/bans", response_model=rest.BanList)
async def list_bans(request: Request, caller: CurrentCaller, chat_id: ChatId) -> Response:
    """List the users that may not become members."""
    bans = await services_of(request).writer.managing.bans(caller, chat_id)
    return as_json(
        rest.BanList(
            bans=[
                rest.Ban(user_id=ban.user_id, actor_id=ban.actor_id, banned_at=ban.banned_at, until=ban.until)
                for ban in bans
            ]
        )
    )


@member_router.put(_CHAT + "/bans/{user_id:path}", status_code=204)
async def ban_user(
    request: Request, caller: CurrentCaller, chat_id: ChatId, user_id: NewUserId, ends_in: EndsIn = None
) -> Response:
    """Ban a user: it is removed, and cannot become a member for ``endsIn`` seconds, or until the ban is ended."""
    await services_of(request).writer.managing.ban(caller, chat_id, user_id, ends_in, trace_of(request))
    return Response(status_code=204)


@member_router.delete(_CHAT + "/bans/{user_id:path}", status_code=204)
async def end_ban(request: Request, caller: CurrentCaller, chat_id: ChatId, user_id: UserId) -> Response:
    """End a ban. It need not exist."""
    await services_of(request).writer.managing.end_ban(caller, chat_id, user_id)
    return Response(status_code=204)


@member_router.post(_CHAT + "/invites", status_code=201, response_model=rest.NewInvite)
async def create_invite(
    request: Request, caller: CurrentCaller, chat_id: ChatId, command: rest.CreateInvite
) -> Response:
    """Create an invite link. Its token is in this response only. Only owners invite moderators and owners."""
    invite, token = await services_of(request).writer.managing.invite(caller, chat_id, command)
    return as_json(rest.NewInvite.model_validate({**_fields(invite), "token": token}), 201)


@member_router.get(_CHAT + "/invites", response_model=rest.InviteList)
async def list_invites(request: Request, caller: CurrentCaller, chat_id: ChatId) -> Response:
    """List the valid invite links: all for owners and moderators, their own ones for members."""
    invites = await services_of(request).writer.managing.invites(caller, chat_id)
    return as_json(rest.InviteList(invites=[rest.Invite.model_validate(_fields(invite)) for invite in invites]))


@member_router.delete(_CHAT + "/invites/{invite_id}", status_code=204)
async def revoke_invite(request: Request, caller: CurrentCaller, chat_id: ChatId, invite_id: InviteId) -> Response:
    """Revoke an invite link. It need not exist. Members revoke their own ones only."""
    await services_of(request).writer.managing.revoke_invite(caller, chat_id, invite_id)
    return Response(status_code=204)


@member_router.get("/api/invites/{token}", response_model=rest.InvitePreview)
async def preview_invite(request: Request, caller: CurrentCaller, token: InviteToken) -> Response:
    """Read what an invite link leads to."""
    invite, chat, size, is_member = await services_of(request).writer.managing.preview(caller, token)
    return as_json(
        rest.InvitePreview(
            title=chat.title, member_count=size, role=invite.role, chat_id=chat.id if is_member else None
        )
    )


@member_router.post("/api/invites/{token}", response_model=rest.Chat)
async def accept_invite(request: Request, caller: CurrentCaller, token: InviteToken) -> Response:
    """Join a chat through an invite link. A repeat changes nothing."""
    services = services_of(request)
    chat = await services.writer.managing.accept(caller, token, trace_of(request))
    return as_json(chat_body(chat, services))


def _fields(invite: StoredInvite) -> dict[str, object]:
    return {
        "id": invite.id,
        "actor_id": invite.actor_id,
        "role": invite.role,
        "created_at": invite.created_at,
        "expires_at": invite.expires_at,
        "max_uses": invite.max_uses,
        "uses": invite.uses,
    }
