"""All feeds of one gateway: one for each chat that has members here, and one sweeper for all.

Layer: gateway. Source: DESIGN §4.3.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from roomcast.backoff import jittered
from roomcast.chat.ports import EventLog
from roomcast.gateway.delivery.chat_feed import ChatFeed, FeedOptions
from roomcast.gateway.delivery.counters import GatewayCounters
from roomcast.gateway.delivery.membership import Memberships
from roomcast.gateway.ports import ChatAdmission, Rooms

logger = logging.getLogger(__name__)

_SWEEP_SLICE: Final = 64


class Feeds:
    """All feeds of one gateway.

    Args:
        log: Where events come from.
        admission: What is nudged.
        rooms: Where events go.
        options: Bounds.
        signals: Takes ``(chat_id, payload)`` of the signals of followed chats; must not raise.

    Attributes:
        counters: What feeds and joins have seen.
        memberships: Which users are in the rooms: joins say who comes, the feeds see who is removed.
    """

    def __init__(
        self,
        log: EventLog,
        admission: ChatAdmission,
        rooms: Rooms,
        options: FeedOptions | None = None,
        signals: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self.memberships = Memberships(admission)
        self.counters = GatewayCounters()
        self._log = log
        self._admission = admission
        self._rooms = rooms
        self._options = options or FeedOptions()
        self._signals = signals
        self._feeds: dict[str, ChatFeed] = {}
        self._sweep_wanted = asyncio.Event()
        self._lingering: dict[ChatFeed, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Chats that are followed."""
        return len(self._feeds)

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                async with asyncio.timeout(jittered(self._options.sweep_s)):
                    await self._sweep_wanted.wait()
            except TimeoutError:
                pass  # nobody asked; it is time
            self._sweep_wanted.clear()
            await self.sweep()

    def sweep_soon(self) -> None:
        """Compare all feeds with their logs now, in the background: the live feed was away and may have missed some."""
        self._sweep_wanted.set()

    async def sweep(self) -> None:
        """Compare every feed with its log once."""
        for number, feed in enumerate(list(self._feeds.values())):
            try:
                await feed.compare()
            except Exception:
                # A bug in one chat's way must end no other's.
                logger.exception("comparing a feed with the log failed", extra={"chat_id": feed.chat_id})
            if number % _SWEEP_SLICE == 0:
                # A log in memory answers without a wait; thousands of chats must not hold the loop.
                await asyncio.sleep(0)

    async def hold(self, chat_id: str) -> ChatFeed:
        """The chat's feed, open; give it back with `release`.

        Raises:
            LogUnavailable: the log's engine is out of reach; nothing is held.
        """
        feed = self._feeds.get(chat_id)
        if feed is None:
            feed = self._feeds[chat_id] = ChatFeed(
                chat_id,
                self._log,
                self._admission,
                self._rooms,
                self.memberships,
                self._options,
                self._signals,
                self.counters,
            )
        linger = self._lingering.pop(feed, None)
        if linger is not None:
            linger.cancel()
        feed.holders += 1
        try:
            await feed.open()
        except BaseException as error:
            feed.holders -= 1
            if self._feeds.get(chat_id) is feed:
                if isinstance(error, Exception):
                    self._end(feed)  # the next join tries anew
                elif not feed.holders:
                    self._linger(feed)
            raise
        return feed

    def release(self, feed: ChatFeed) -> None:
        """Give back one hold."""
        feed.holders -= 1
        if not feed.holders and self._feeds.get(feed.chat_id) is feed:
            self._linger(feed)

    async def close(self) -> None:
        """End all feeds."""
        for feed in list(self._feeds.values()):
            self._end(feed)
        await asyncio.gather(*self._closing, self.memberships.close(), return_exceptions=True)

    def _linger(self, feed: ChatFeed) -> None:
        loop = asyncio.get_running_loop()
        self._lingering[feed] = loop.call_later(self._options.linger_s, self._end, feed)

    def _end(self, feed: ChatFeed) -> None:
        linger = self._lingering.pop(feed, None)
        if linger is not None:
            linger.cancel()
        del self._feeds[feed.chat_id]
        closing = asyncio.create_task(feed.close(), name=f"feed-close-{feed.chat_id}")
        self._closing.add(closing)
        closing.add_done_callback(self._closed)

    def _closed(self, closing: asyncio.Task[None]) -> None:
        self._closing.discard(closing)
        if not closing.cancelled() and (error := closing.exception()) is not None:
            logger.warning("a feed could not be closed: %r", error)
