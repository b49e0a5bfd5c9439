"""The use case that reads the events of all chats, for back ends.

Layer: chat. Source: docs/decisions/0019.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from roomcast.chat.ports import FeedRead, FeedStore
from roomcast.contract.cursor import Cursor
from roomcast.contract.tenants import tenant_of

#: Time between two looks for new events, in seconds.
POLL_S: Final = 0.5


class Feed:
    """The events of all chats in one order.

    Args:
        store: The database.
    """

    def __init__(self, store: FeedStore) -> None:
        self._store = store

    async def read(self, tenant: str, cursor: Cursor | None, limit: int, wait_s: float) -> tuple[FeedRead, bool]:
        """Read the events after a cursor, and whether there may be more.

        Args:
            tenant: The tenant whose chats are read. Events of other tenants use up the limit, but are not returned.
            cursor: As in an earlier result; None: from the beginning.
            limit: Maximum number of events.
            wait_s: If there are none, how long to wait for some.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + wait_s
        while True:
            unplaced = await self._store.place()
            read = await self._store.read(cursor, limit)
            more = unplaced or len(read.events) == limit or read.cut
            own = replace(read, events=tuple(event for event in read.events if tenant_of(event.chat_id) == tenant))
            left_s = ends_at - loop.time()
            if own.events or own.reset or more or left_s <= 0:
                return own, more
            cursor = read.cursor
            await asyncio.sleep(min(POLL_S, left_s))
