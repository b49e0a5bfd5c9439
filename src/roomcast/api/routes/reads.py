"""The routes for what users have read.

Layer: api.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from roomcast.api.callers import CurrentCaller
from roomcast.api.routes.messages import PROBLEMS, ActingUser, as_json, services_of
from roomcast.contract import rest
from roomcast.contract.text import ChatId

read_router = APIRouter(responses=PROBLEMS, tags=["chats"])


@read_router.put("/api/chats/{chat_id}/read", status_code=204)
async def mark_read(
    request: Request, caller: CurrentCaller, chat_id: ChatId, command: rest.MarkRead, user_id: ActingUser = None
) -> Response:
    """Record that the user has read a chat up to ``seq``. The user's cursor never moves back."""
    await services_of(request).reads.mark(caller, chat_id, command.seq, user_id, command.epoch)
    return Response(status_code=204)


@read_router.get("/api/chats/{chat_id}/reads", response_model=rest.ReadCursors)
async def list_reads(request: Request, caller: CurrentCaller, chat_id: ChatId) -> Response:
    """List up to where users have read a chat."""
    cursors = await services_of(request).reads.cursors(caller, chat_id)
    return as_json(rest.ReadCursors(reads=[rest.ReadCursor(user_id=row.user_id, seq=row.seq) for row in cursors]))
