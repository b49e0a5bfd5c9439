"""AG-UI 1.0 as a server: ``POST /api/ai/agui`` with a ``RunAgentInput``, answered by server-sent events.

The thread is the chat. The last message decides what a run follows:

- a message of the user: its turn; the message is stored first, unless it is stored already;
- an answer, or a part of it: the rest of this answer (see `roomcast.api.dialects.agui`);
- otherwise the active turn of the chat, if there is one.

So a run outlives its request: the same request, or any later one, follows it. A client that disconnects does not stop
the answer; ``RUN_STARTED`` has the id of the turn, for ``POST /api/chats/{id}/turns/{turnId}/stop``.

Layer: api. Source: AG-UI 1.0 schema; npm ``@ag-ui/client`` 1.0, ``src/agent/http.ts``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import StringConstraints
from starlette.responses import Response

from roomcast.api.dialects.agui import Event, Run, read_known
from roomcast.api.dialects.asking import Conversation, invalid, text_of
from roomcast.api.dialects.sending import EventStream, error_text
from roomcast.api.routes.messages import services_of, trace_of
from roomcast.auth.scopes import ServiceScope
from roomcast.contract.model import Payload
from roomcast.contract.tenants import local_id
from roomcast.contract.text import ChatId

router = APIRouter(include_in_schema=False)


class RunAgentInput(Payload):
    """The parts of AG-UI's ``RunAgentInput`` that are read. Tools, context and state of the client are not used."""

    thread_id: ChatId
    run_id: Annotated[str, StringConstraints(max_length=256)]
    messages: list[dict[str, Any]]


@router.post("/api/ai/agui")
async def run_agent(request: Request, body: RunAgentInput) -> Response:
    """Follow a turn."""
    authorization = request.headers.get("authorization")
    chat = await Conversation.begin(
        services_of(request), authorization, ServiceScope.WRITE, body.thread_id, trace_of(request)
    )
    turn_id = await _turn_of(chat, body.messages)
    known = None if turn_id is None else read_known(body.messages, turn_id, chat.epoch)
    run = Run(local_id(body.thread_id), body.run_id, turn_id, chat.epoch, known)
    return EventStream(request.app.state.streams, _events(chat, run, turn_id))


async def _turn_of(chat: Conversation, messages: Sequence[dict[str, Any]]) -> str | None:
    """The turn to follow.

    Raises:
        RequestValidationError: the last message is one of the user, and not a text.
        ChatError: see `Conversation`.
    """
    last = messages[-1] if messages else {}
    message_id = last.get("id")
    if last.get("role") == "user":
        content = last.get("content")
        if not isinstance(message_id, str) or not isinstance(content, str | list):
            raise invalid("the last message must have an id and a content", "messages")
        # A client that has loaded the history through REST names messages by their stored ids.
        stored = await chat.find(message_id)
        if stored is not None:
            return None if stored.turn is None else stored.turn.id
        return await chat.ask(message_id, content if isinstance(content, str) else text_of(content))
    for message in reversed(messages):
        if message.get("role") == "assistant" and isinstance(message.get("id"), str):
            stored = await chat.find(message["id"])
            if stored is not None and stored.turn is not None:
                return stored.turn.id
            break
    turn = await chat.active()
    return None if turn is None else turn.id


async def _events(chat: Conversation, run: Run, turn_id: str | None) -> AsyncGenerator[Event | None]:
    for event in run.start():
        yield event
    if turn_id is None:
        for event in run.finish():
            yield event
        return
    try:
        async with aclosing(chat.follow(turn_id)) as chunks:
            async for chunk in chunks:
                if chunk is None:
                    yield None
                    continue
                for event in run.add(chunk):
                    yield event
    except Exception as error:  # noqa: BLE001 - the response has begun: the client gets the error in the stream
        for event in () if run.ended else run.fail(error_text(error), "failed"):
            yield event
