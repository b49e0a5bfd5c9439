"""The route of the audit log.

Layer: api.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from roomcast.api.callers import AdminCaller
from roomcast.api.routes.messages import DEFAULT_PAGE, PROBLEMS, PageLimit, SeqParam, as_json, services_of
from roomcast.contract import rest
from roomcast.contract.tenants import local_id
from roomcast.contract.text import MAX_SEQ, ChatId, UserId

audit_router = APIRouter(responses=PROBLEMS, tags=["audit"])


@audit_router.get("/api/audit", response_model=rest.AuditPage)
async def read_audit(
    request: Request,
    caller: AdminCaller,
    limit: PageLimit = DEFAULT_PAGE,
    before: SeqParam = MAX_SEQ,
    chat_id: Annotated[ChatId | None, Query(alias="chatId")] = None,
    actor_id: Annotated[UserId | None, Query(alias="actorId")] = None,
) -> Response:
    """Read administrative acts, the newest first. Requires a service token (`admin`).

    The next page has `before` of the last act.
    """
    acts = await services_of(request).reader.acts(caller, before, limit, chat_id=chat_id, actor_id=actor_id)
    return as_json(
        rest.AuditPage(
            acts=[
                rest.AuditAct(
                    id=act.id,
                    action=act.action,
                    time=act.at,
                    chat_id=act.chat_id if local_id(act.chat_id) else None,
                    actor_id=act.actor_id,
                    object_id=None if act.object_id is None else local_id(act.object_id),
                    trace=act.trace,
                )
                for act in acts
            ]
        )
    )
