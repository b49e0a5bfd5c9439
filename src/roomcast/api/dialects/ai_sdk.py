"""The AI SDK's UI message stream over server-sent events, for its ``DefaultChatTransport``.

- ``POST /api/ai/chat`` sends the last message of the user, or regenerates an answer, and streams the answer.
- ``GET /api/ai/chat/{id}/stream`` streams the active answer from its beginning; 204: there is none.

A client that disconnects does not stop the answer. The id of the streamed message is that of the turn, so that the
client can stop it with ``POST /api/chats/{id}/turns/{turnId}/stop``.

Layer: api. Source: npm ``ai`` 7, ``src/ui/http-chat-transport.ts``, ``src/ui/chat.ts``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from roomcast.api.dialects.asking import Conversation, invalid, text_of
from roomcast.api.dialects.sending import EventStream, error_text
from roomcast.api.routes.messages import services_of, trace_of
from roomcast.auth.scopes import ServiceScope
from roomcast.chat.ports.responder import Chunk
from roomcast.contract.model import Payload
from roomcast.contract.text import ChatId

#: Clients check neither; other servers of the protocol send it.
_HEADERS: Final = {"x-vercel-ai-ui-message-stream": "v1"}

router = APIRouter(include_in_schema=False)


class ChatRequest(Payload):
    """The body of ``DefaultChatTransport``, and the part of a ``send`` frame of ``WebSocketChatTransport``.

    Attributes:
        id: The chat.
        messages: ``UIMessage`` objects, of which the last one is read.
        message_id: The message to replace or to answer again; null: the last one is new, or answered again.
    """

    id: ChatId
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    message_id: str | None = None


async def turn_of(chat: Conversation, request: ChatRequest) -> str | None:
    """Do what a request asks for, and return the turn to stream; None: the chat does not answer.

    Raises:
        RequestValidationError: the last message is not a text of the user.
        ChatError: see `Conversation`.
    """
    last = request.messages[-1]
    message_id, parts = last.get("id"), last.get("parts")
    if not isinstance(message_id, str) or not isinstance(parts, list):
        raise invalid("the last message must have an id and parts", "messages")
    if request.trigger == "regenerate-message":
        return await chat.regenerate(request.message_id or message_id)
    if last.get("role") != "user":
        raise invalid("the last message must be of the user: tools run on the server", "messages")
    if request.message_id is None:
        return await chat.ask(message_id, text_of(parts))
    return await chat.edit(request.message_id, text_of(parts))


async def stream_turn(chat: Conversation, turn_id: str | None) -> AsyncGenerator[Chunk | None]:
    """The chunks of a turn for a client, which names its message from the first moment; None in pauses.

    Args:
        chat: The chat.
        turn_id: None: nothing is answered, and the stream ends at once.
    """
    if turn_id is None:
        yield {"type": "start"}
        yield {"type": "finish"}
        return
    yield {"type": "start", "messageId": turn_id}
    try:
        async with aclosing(chat.follow(turn_id)) as chunks:
            async for chunk in chunks:
                if chunk is None or chunk["type"] != "start":
                    yield chunk
    except Exception as error:  # noqa: BLE001 - the response has begun: the client gets the error in the stream
        yield {"type": "error", "errorText": error_text(error)}


@router.post("/api/ai/chat")
async def ask(request: Request, body: ChatRequest) -> Response:
    """Send a message and stream its answer."""
    chat = await _conversation(request, ServiceScope.WRITE, body.id)
    return _stream(request, chat, await turn_of(chat, body))


@router.get("/api/ai/chat/{chat_id}/stream")
async def resume(request: Request, chat_id: ChatId) -> Response:
    """Stream the active answer of a chat from its beginning."""
    chat = await _conversation(request, ServiceScope.READ, chat_id)
    turn = await chat.active()
    return Response(status_code=204) if turn is None else _stream(request, chat, turn.id)


async def _conversation(request: Request, needed: ServiceScope, chat_id: str) -> Conversation:
    authorization = request.headers.get("authorization")
    return await Conversation.begin(services_of(request), authorization, needed, chat_id, trace_of(request))


def _stream(request: Request, chat: Conversation, turn_id: str | None) -> Response:
    return EventStream(request.app.state.streams, stream_turn(chat, turn_id), last="[DONE]", headers=_HEADERS)
