"""The routes of AI answers: how a chat answers, edits and versions of messages, stopping and regenerating turns.

Layer: api.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from roomcast.api.callers import CurrentCaller
from roomcast.api.routes.messages import PROBLEMS, as_json, chat_body, services_of, trace_of
from roomcast.chat.delivery.encoding import encode_message
from roomcast.contract import rest
from roomcast.contract.events import Message, Turn
from roomcast.contract.text import ChatId, TurnId

turn_router = APIRouter(responses=PROBLEMS, tags=["answers"])


@turn_router.put("/api/chats/{chat_id}/ai", response_model=rest.Chat)
async def change_ai(request: Request, caller: CurrentCaller, chat_id: ChatId, settings: rest.AiSettings) -> Response:
    """Change how a chat answers, from the next message on."""
    services = services_of(request)
    return as_json(chat_body(await services.writer.change_ai(caller, chat_id, settings), services))


@turn_router.put(
    "/api/chats/{chat_id}/messages/{message_id}",
    status_code=201,
    response_model=Message,
    responses={200: {"model": Message, "description": "A version with this clientMsgId exists and is returned"}},
)
async def edit_message(
    request: Request, caller: CurrentCaller, chat_id: ChatId, message_id: TurnId, command: rest.EditMessage
) -> Response:
    """Write a new version of a USER message, which is answered anew. Only its author may do this."""
    committed = await services_of(request).writer.edit(caller, chat_id, message_id, command, trace_of(request))
    return as_json(committed.event.payload, 201 if committed.created else 200)


@turn_router.get("/api/chats/{chat_id}/messages/{message_id}/versions", response_model=rest.MessageVersions)
async def list_versions(request: Request, caller: CurrentCaller, chat_id: ChatId, message_id: TurnId) -> Response:
    """List the versions of a message, oldest first."""
    versions = await services_of(request).reader.versions(caller, chat_id, message_id)
    return as_json(b'{"versions":[%b]}' % b",".join(map(encode_message, versions)))


@turn_router.post("/api/chats/{chat_id}/turns/{turn_id}/stop", response_model=Turn)
async def stop_turn(request: Request, caller: CurrentCaller, chat_id: ChatId, turn_id: TurnId) -> Response:
    """Stop an answer; its text so far is kept. An ended turn is returned unchanged."""
    turn = await services_of(request).turns.stop(caller, chat_id, turn_id)
    return as_json(turn.to_contract())


@turn_router.post("/api/chats/{chat_id}/turns/{turn_id}/regenerate", status_code=201, response_model=Turn)
async def regenerate(request: Request, caller: CurrentCaller, chat_id: ChatId, turn_id: TurnId) -> Response:
    """Answer the message of a turn again, as a new version of the answer."""
    turn = await services_of(request).turns.regenerate(caller, chat_id, turn_id)
    return as_json(turn.to_contract(), 201)
