"""The use case that searches the messages of a user's chats.

Layer: chat. Source: docs/design.md, "Search".
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from roomcast.chat.errors import ChatNotFound
from roomcast.chat.model import NO_FILTER, Caller, MessageFilter, SearchHit
from roomcast.chat.policies.search_terms import Query, Snippet, find_snippet, parse_query
from roomcast.chat.ports import ChatStore, SearchStore
from roomcast.contract.tenants import tenant_of
from roomcast.contract.text import MAX_SEQ

#: Reads of the index for one page. A read may return messages that have the terms, but not beside each other.
_MAX_READS: Final = 5
#: After it no further read and no further snippet begins.
_TIME_LIMIT_S: Final = 0.1

#: Longer texts are folded in a thread, while the event loop does other work.
_SHORT_CHARS: Final = 2_000


@dataclass(frozen=True, slots=True)
class SearchRead:
    """A page of messages that match, the newest first.

    Attributes:
        hits: The messages, each with its snippet.
        next: Where the next page begins; None on the last page. A page may be shorter than asked, even empty.
        complete: Whether all messages are indexed; false for some time after an upgrade from a version without search.
    """

    hits: Sequence[tuple[SearchHit, Snippet]]
    next: int | None
    complete: bool


class ChatSearch:
    """The use case.

    Args:
        chats: The chats.
        index: The index.
    """

    def __init__(self, chats: ChatStore, index: SearchStore) -> None:
        self._chats = chats
        self._index = index

    async def search(
        self,
        caller: Caller,
        text: str,
        chat_id: str | None = None,
        *,
        before: int | None = None,
        limit: int,
        only: MessageFilter = NO_FILTER,
    ) -> SearchRead:
        """Messages that have all words of a text, among the chats of which the caller is a member now.

        Args:
            caller: The origin of the request; one without restriction searches all chats.
            text: What the user has typed.
            chat_id: The only chat to search.
            before: `SearchRead.next` of the previous page.
            limit: Maximum number of messages.
            only: Which messages are found.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
        """
        if chat_id is not None:
            await self._check(caller, chat_id)
        member = caller.restricted_user_id
        query = parse_query(text)
        hits: list[tuple[SearchHit, Snippet]] = []
        complete = await self._index.complete()
        if not query.runs:
            return SearchRead(hits, None, complete)
        position = MAX_SEQ if before is None else before
        time = asyncio.get_running_loop().time
        ends = time() + _TIME_LIMIT_S
        for _ in range(_MAX_READS):
            found, below = await self._index.search(
                query, chat_id=chat_id, member=member, before=position, limit=limit + 1
            )
            for hit in found:
                if len(hits) == limit:
                    return SearchRead(hits, position, complete)
                position = hit.position
                if (snippet := await _match(caller, hit, query, only)) is not None:
                    hits.append((hit, snippet))
                if len(hit.content) > _SHORT_CHARS and time() >= ends:
                    return SearchRead(hits, position, complete)
            if below is None:
                return SearchRead(hits, None, complete)
            position = below
            if time() >= ends:
                break
        return SearchRead(hits, position, complete)

    async def _check(self, caller: Caller, chat_id: str) -> None:
        if tenant_of(chat_id) != caller.tenant:
            raise ChatNotFound(chat_id)
        if not caller.trusted:
            access = await self._chats.access(chat_id, caller.restricted_user_id, None)
            if not access.exists or not (caller.service or access.is_member):
                raise ChatNotFound(chat_id)


async def _match(caller: Caller, hit: SearchHit, query: Query, only: MessageFilter) -> Snippet | None:
    """The snippet of a message that the caller may see and that matches; None for others."""
    # Only for services: users are members of chats of their tenant.
    if tenant_of(hit.chat_id) != caller.tenant:
        return None
    # Not by the index, which has neither: a frequent word of a rare author takes several pages.
    if only.role not in (None, hit.role) or only.author not in (None, hit.user_id):
        return None
    if len(hit.content) <= _SHORT_CHARS:
        return find_snippet(hit.content, query)
    return await asyncio.to_thread(find_snippet, hit.content, query)
