"""The route that searches messages.

Layer: api.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from roomcast.api.callers import CurrentCaller
from roomcast.api.routes.messages import PROBLEMS, PageLimit, as_json, services_of
from roomcast.chat.model import MessageFilter
from roomcast.contract import rest
from roomcast.contract.events import Role
from roomcast.contract.text import ChatId, SearchText, UserId

search_router = APIRouter(responses=PROBLEMS, tags=["messages"])
_DEFAULT_HITS: Final = 20
_Cursor = Annotated[str | None, Query(pattern=r"^-?[0-9]{1,15}$")]


@search_router.get("/api/search", response_model=rest.SearchPage)
async def search_messages(
    request: Request,
    caller: CurrentCaller,
    q: Annotated[SearchText, Query()],
    chat_id: Annotated[ChatId | None, Query(alias="chatId")] = None,
    limit: PageLimit = _DEFAULT_HITS,
    cursor: _Cursor = None,
    role: Annotated[Role | None, Query()] = None,
    author: Annotated[UserId | None, Query()] = None,
) -> Response:
    """Search the messages of the caller's chats, or of one chat, for texts with all words of ``q``.

    ``role`` and ``author``, the id of a user, leave out the messages of others.
    """
    before = None if cursor is None else int(cursor)
    read = await services_of(request).search.search(
        caller, q, chat_id, before=before, limit=limit, only=MessageFilter(role, author)
    )
    hits = [
        rest.SearchHit(
            chat_id=hit.chat_id,
            chat_title=hit.chat_title,
            message_id=hit.message_id,
            place=hit.place,
            role=hit.role,
            user_id=hit.user_id,
            time=hit.created_at,
            snippet=snippet.text,
            matches=list(snippet.matches),
        )
        for hit, snippet in read.hits
    ]
    next_cursor = None if read.next is None else str(read.next)
    return as_json(rest.SearchPage(hits=hits, next_cursor=next_cursor, complete=read.complete))
