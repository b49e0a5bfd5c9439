"""The events of chats in encoded blocks, which the pages of all clients share.

Clients that lost their connections together page through the same events. So each block is read and encoded once, also
if many clients request it at once, and kept within a limit. Events never change, but for the deletion of a message,
which erases its text: so a block is used for `KEPT_S` at most, while its epoch is the current one.

Layer: chat.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Final

from roomcast.chat.delivery.encoding import event_item
from roomcast.chat.model import StoredEvent
from roomcast.chat.ports import ChatStore

#: Events in one block. If all of them have the largest content, they take a few megabytes.
BLOCK_EVENTS: Final = 64
#: Longest time in seconds for which a block is used after its read began.
KEPT_S: Final = 60.0
#: Epoch, chat, and the seq before the first event.
_Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class EventBlock:
    """Consecutive events as items of ``GET …/events``.

    Attributes:
        start: The seq before the first event.
        body: The items, separated by commas.
        ends: Where each item ends in ``body``.
        read_at: When its read began, by the clock of `EventBlocks`.
    """

    start: int
    body: bytes
    ends: Sequence[int]
    read_at: float = 0.0

    @classmethod
    def of(cls, start: int, events: Sequence[StoredEvent], read_at: float = 0.0) -> EventBlock:
        """Encode events."""
        items = [event_item(event) for event in events]
        ends = tuple(accumulate((len(item) + 1 for item in items), initial=-1))[1:]
        return cls(start, b",".join(items), ends, read_at)

    @property
    def size_bytes(self) -> int:
        """Memory that a kept block takes, about; ``body`` is less than half of it if the block has a single event."""
        return len(self.body) + 40 * len(self.ends) + 500

    @property
    def last(self) -> int:
        """The seq of the last event."""
        return self.start + len(self.ends)

    def cut(self, after: int, last: int, max_bytes: int) -> tuple[bytes, int]:
        """The items from ``after + 1`` to ``last`` or to the one that reaches ``max_bytes``, and the seq of the last.

        Args:
            after: The seq before an event of this block.
            last: More than ``after``; may be beyond this block.
            max_bytes: More than 0.
        """
        first = after - self.start
        begin = 0 if first == 0 else self.ends[first - 1] + 1
        count = min(last - self.start, len(self.ends), bisect_left(self.ends, begin + max_bytes) + 1)
        return self.body[begin : self.ends[count - 1]], self.start + count


class EventBlocks:
    """Reads blocks, and keeps the most recently used ones.

    Args:
        store: The database.
        max_bytes: Limit of all kept blocks.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self, store: ChatStore, max_bytes: int = 33_554_432, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._clock = clock
        self._bytes_left = max_bytes
        # Least recently used first.
        self._kept: OrderedDict[_Key, EventBlock] = OrderedDict()
        self._reads: dict[_Key, asyncio.Task[EventBlock]] = {}

    async def block(self, chat_id: str, after: int, head: int) -> EventBlock:
        """Return the block with the event ``after + 1``.

        Args:
            chat_id: The chat.
            after: Less than ``head``.
            head: A head that the chat has had; the block ends there or later, or at its size.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        start = after - after % BLOCK_EVENTS
        key = (self._store.epoch, chat_id, start)
        wanted = min(start + BLOCK_EVENTS, head)
        block = self._kept.get(key)
        if block is not None and block.last >= wanted and self._clock() - block.read_at <= KEPT_S:
            self._kept.move_to_end(key)
            return block
        if read := self._reads.get(key):
            # The cancellation of one request must not cancel the read that others share.
            block = await asyncio.shield(read)
            if block.last >= wanted:
                return block
        # The read that was in progress may have begun before the chat had this head.
        read = self._reads.get(key)
        if read is None:
            read = self._reads[key] = asyncio.create_task(self._read(key), name="event-block", context=Context())
            read.add_done_callback(partial(self._end_read, key))
        return await asyncio.shield(read)

    async def _read(self, key: _Key) -> EventBlock:
        epoch, chat_id, start = key
        began = self._clock()
        events, _ = await self._store.events_after(chat_id, start, BLOCK_EVENTS)
        block = EventBlock.of(start, events, began)
        if self._store.epoch == epoch:
            before = self._kept.pop(key, None)
            self._bytes_left += 0 if before is None else before.size_bytes
            self._kept[key] = block
            self._bytes_left -= block.size_bytes
            while self._bytes_left < 0:
                _, dropped = self._kept.popitem(last=False)
                self._bytes_left += dropped.size_bytes
        return block

    def _end_read(self, key: _Key, read: asyncio.Task[EventBlock]) -> None:
        del self._reads[key]
        if not read.cancelled():
            read.exception()  # the requests got it, unless all were cancelled
