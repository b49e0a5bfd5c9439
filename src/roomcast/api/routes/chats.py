"""The routes that keep a chat in order: its title, the archive, its retention, its deletion; and direct chats.

Layer: api.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from roomcast.api.callers import CurrentCaller
from roomcast.api.routes.messages import PROBLEMS, as_json, chat_body, services_of, trace_of
from roomcast.contract import rest
from roomcast.contract.text import ChatId

chat_router = APIRouter(responses=PROBLEMS, tags=["chats"])
_CHAT = "/api/chats/{chat_id}"


@chat_router.post("/api/chats/direct", response_model=rest.Chat)
async def open_direct_chat(request: Request, caller: CurrentCaller, command: rest.OpenDirectChat) -> Response:
    """Open the direct chat with another user: the same one at each request, of either user."""
    services = services_of(request)
    chat_id = await services.writer.open_direct(caller, command)
    return as_json(chat_body(await services.reader.chat(caller, chat_id), services))


@chat_router.put(_CHAT + "/title", status_code=204)
async def rename_chat(request: Request, caller: CurrentCaller, chat_id: ChatId, command: rest.RenameChat) -> Response:
    """Rename a chat. A repeat changes nothing."""
    await services_of(request).writer.keeping.rename(caller, chat_id, command.title, trace_of(request))
    return Response(status_code=204)


@chat_router.put(_CHAT + "/archive", status_code=204)
async def archive_chat(request: Request, caller: CurrentCaller, chat_id: ChatId) -> Response:
    """Archive a chat for all members: it is read-only, and listed with `archived=true` only."""
    await services_of(request).writer.keeping.archive(caller, chat_id, archived=True, trace=trace_of(request))
    return Response(status_code=204)


@chat_router.delete(_CHAT + "/archive", status_code=204)
async def unarchive_chat(request: Request, caller: CurrentCaller, chat_id: ChatId) -> Response:
    """Take a chat back from the archive. A repeat changes nothing."""
    await services_of(request).writer.keeping.archive(caller, chat_id, archived=False, trace=trace_of(request))
    return Response(status_code=204)


@chat_router.delete(_CHAT, status_code=204)
async def delete_chat(request: Request, caller: CurrentCaller, chat_id: ChatId) -> Response:
    """Delete a chat with its members, messages and events. Its id is not used again."""
    await services_of(request).writer.keeping.delete(caller, chat_id, trace_of(request))
    return Response(status_code=204)


@chat_router.put(_CHAT + "/retention", status_code=204)
async def change_retention(
    request: Request, caller: CurrentCaller, chat_id: ChatId, command: rest.ChangeRetention
) -> Response:
    """Change after how many days the chat deletes its messages, also the present ones. A repeat changes nothing."""
    await services_of(request).writer.keeping.retain(caller, chat_id, command.days, trace_of(request))
    return Response(status_code=204)
