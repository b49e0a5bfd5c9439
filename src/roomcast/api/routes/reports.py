"""The routes for reports of messages to the moderators of a chat.

Layer: api.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from roomcast.api.callers import CurrentCaller
from roomcast.api.routes.messages import PROBLEMS, ActingUser, as_json, services_of, trace_of
from roomcast.contract import rest
from roomcast.contract.text import ChatId, MessageId, UserId

report_router = APIRouter(responses=PROBLEMS, tags=["reports"])
_CHAT = "/api/chats/{chat_id}"


@report_router.put(_CHAT + "/messages/{message_id}/report", status_code=204)
async def report_message(
    request: Request,
    caller: CurrentCaller,
    chat_id: ChatId,
    message_id: MessageId,
    command: rest.ReportMessage,
    user_id: ActingUser = None,
) -> Response:
    """Report a message to the moderators of its chat. A repeat replaces the reason and the note."""
    managing = services_of(request).writer.managing
    await managing.report(caller, chat_id, message_id, command, user_id, trace_of(request))
    return Response(status_code=204)


@report_router.get(_CHAT + "/reports", response_model=rest.ReportList)
async def list_reports(request: Request, caller: CurrentCaller, chat_id: ChatId) -> Response:
    """List the open reports of a chat, for its owners and moderators."""
    found = await services_of(request).writer.managing.reports(caller, chat_id)
    return as_json(
        rest.ReportList(
            reports=[
                rest.Report(
                    message_id=report.message_id,
                    user_id=report.reporter_id,
                    reason=report.reason,
                    note=report.note,
                    time=report.created_at,
                )
                for report in found
            ]
        )
    )


@report_router.delete(_CHAT + "/reports/{message_id}/{user_id:path}", status_code=204)
async def close_report(
    request: Request, caller: CurrentCaller, chat_id: ChatId, message_id: MessageId, user_id: UserId
) -> Response:
    """Close a report, whatever was done about it: nothing, or a deletion, mute or ban. It need not exist."""
    managing = services_of(request).writer.managing
    await managing.close_report(caller, chat_id, message_id, user_id, trace_of(request))
    return Response(status_code=204)
