"""The routes of sessions: the caller's identity, sign-out, and the end of all sessions of a user.

Layer: api.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from roomcast.api.callers import AdminCaller, CurrentCaller, CurrentIdentity
from roomcast.api.routes.messages import PROBLEMS, as_json, services_of
from roomcast.chat.model import Caller
from roomcast.contract import rest
from roomcast.contract.text import UserId

session_router = APIRouter(responses=PROBLEMS, tags=["sessions"])


@session_router.get("/api/me", response_model=rest.Me)
async def read_me(identity: CurrentIdentity) -> Response:
    """Read what the access token says about the caller."""
    if identity is None:
        return as_json(rest.Me())
    return as_json(rest.Me(user_id=identity.user_id, name=identity.name, service=identity.service))


@session_router.get("/api/me/quota", response_model=rest.QuotaUses)
async def read_quota(request: Request, caller: CurrentCaller) -> Response:
    """Read how many AI answers and tokens the caller has left, and when its quotas are full again."""
    resets_at, uses = await services_of(request).turns.quota_use(caller)
    return as_json(rest.QuotaUses(resets_at=resets_at, quotas=[rest.QuotaUse(**use._asdict()) for use in uses]))


@session_router.post("/api/logout", status_code=204)
async def log_out(request: Request, identity: CurrentIdentity, command: rest.LogOut) -> Response:
    """End the access token of the request or, with `everywhere`, all tokens of its user. Their sockets are closed."""
    if identity is not None:
        sessions = services_of(request).sessions
        if command.everywhere and identity.service:
            raise HTTPException(403, "a service token names no user: end its token, or use /api/users/{id}/logout")
        if command.everywhere:
            await sessions.end_all(Caller(identity.user_id), identity.user_id)
        else:
            await sessions.end_token(identity.digest, identity.expires_at)
    return Response(status_code=204)


@session_router.post("/api/users/{user_id:path}/logout", status_code=204)
async def log_out_user(request: Request, caller: AdminCaller, user_id: UserId) -> Response:
    """End all access tokens of a user, for example of one that is banned. Requires a service token (`admin`)."""
    await services_of(request).sessions.end_all(caller, user_id)
    return Response(status_code=204)
