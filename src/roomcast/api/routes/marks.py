"""The routes for what members do to a stored message: delete it, react to it, pin it, read its replies.

Layer: api.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from roomcast.api.callers import CurrentCaller
from roomcast.api.routes.messages import DEFAULT_PAGE, PROBLEMS, ActingUser, PageLimit, as_json, services_of, trace_of
from roomcast.chat.delivery.encoding import encode_message
from roomcast.contract import rest
from roomcast.contract.text import ChatId, Emoji, MessageId

mark_router = APIRouter(responses=PROBLEMS, tags=["messages"])
_MESSAGE = "/api/chats/{chat_id}/messages/{message_id}"


@mark_router.delete(_MESSAGE, status_code=204)
async def delete_message(request: Request, caller: CurrentCaller, chat_id: ChatId, message_id: MessageId) -> Response:
    """Delete a message in all its versions: its text is erased, and its place stays. Moderators may do this, too."""
    await services_of(request).writer.marks.delete(caller, chat_id, message_id, trace_of(request))
    return Response(status_code=204)


@mark_router.put(_MESSAGE + "/reactions/{emoji}", status_code=204)
async def add_reaction(
    request: Request,
    caller: CurrentCaller,
    chat_id: ChatId,
    message_id: MessageId,
    emoji: Emoji,
    user_id: ActingUser = None,
) -> Response:
    """React to a message. A repeat changes nothing."""
    marks, trace = services_of(request).writer.marks, trace_of(request)
    await marks.react(caller, chat_id, message_id, emoji, adds=True, user_id=user_id, trace=trace)
    return Response(status_code=204)


@mark_router.delete(_MESSAGE + "/reactions/{emoji}", status_code=204)
async def remove_reaction(
    request: Request,
    caller: CurrentCaller,
    chat_id: ChatId,
    message_id: MessageId,
    emoji: Emoji,
    user_id: ActingUser = None,
) -> Response:
    """Take a reaction back. A repeat changes nothing."""
    marks, trace = services_of(request).writer.marks, trace_of(request)
    await marks.react(caller, chat_id, message_id, emoji, adds=False, user_id=user_id, trace=trace)
    return Response(status_code=204)


@mark_router.put(_MESSAGE + "/pin", status_code=204)
async def pin_message(request: Request, caller: CurrentCaller, chat_id: ChatId, message_id: MessageId) -> Response:
    """Pin a message. A repeat changes nothing."""
    await services_of(request).writer.marks.pin(caller, chat_id, message_id, adds=True, trace=trace_of(request))
    return Response(status_code=204)


@mark_router.delete(_MESSAGE + "/pin", status_code=204)
async def unpin_message(request: Request, caller: CurrentCaller, chat_id: ChatId, message_id: MessageId) -> Response:
    """Take a message from the pinned ones. A repeat changes nothing."""
    await services_of(request).writer.marks.pin(caller, chat_id, message_id, adds=False, trace=trace_of(request))
    return Response(status_code=204)


@mark_router.get("/api/chats/{chat_id}/pins", response_model=rest.MessageList)
async def list_pins(request: Request, caller: CurrentCaller, chat_id: ChatId) -> Response:
    """List the pinned messages, in the order of the chat."""
    messages = await services_of(request).reader.pinned(caller, chat_id)
    return as_json(b'{"messages":[%b]}' % b",".join(map(encode_message, messages)))


@mark_router.get(_MESSAGE + "/replies", response_model=rest.MessageList)
async def list_replies(
    request: Request, caller: CurrentCaller, chat_id: ChatId, message_id: MessageId, limit: PageLimit = DEFAULT_PAGE
) -> Response:
    """List the newest replies to a message, in the order of the chat."""
    messages = await services_of(request).reader.replies(caller, chat_id, message_id, limit)
    return as_json(b'{"messages":[%b]}' % b",".join(map(encode_message, messages)))
