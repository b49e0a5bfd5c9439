"""All feeds of one gateway: one for each chat with local members, and one sweep over all of them.

Layer: gateway. Source: docs/design.md, "Feeds".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from roomcast.backoff import jittered
from roomcast.chat.ports import EventLog, Tracer
from roomcast.gateway.delivery.chat_feed import ChatFeed, FeedOptions
from roomcast.gateway.delivery.counters import GatewayCounters
from roomcast.gateway.delivery.membership import Memberships
from roomcast.gateway.ports import ChatAdmission, Rooms

logger = logging.getLogger(__name__)

_SWEEP_SLICE: Final = 64


class Feeds:
    """Opens, shares and closes feeds.

    Args:
        log: The log that feeds subscribe to.
        admission: Confirms memberships, and has the relay publish.
        rooms: Receives the events.
        options: Limits of each feed, and the interval of the sweep.
        signals: Called with ``(chat_id, payload)`` for each signal of a followed chat; must not raise.
        tracer: Records the deliveries of events with a trace; None: tracing is off.

    Attributes:
        counters: Totals of feeds and joins.
        memberships: The users in the rooms: joins add users, feeds take removed users out.
    """

    def __init__(
        self,
        log: EventLog,
        admission: ChatAdmission,
        rooms: Rooms,
        options: FeedOptions | None = None,
        signals: Callable[[str, bytes], None] | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.memberships = Memberships(admission)
        self.counters = GatewayCounters()
        self._log = log
        self._admission = admission
        self._rooms = rooms
        self._options = options or FeedOptions()
        self._signals = signals
        self._tracer = tracer
        self._feeds: dict[str, ChatFeed] = {}
        self._sweep_wanted = asyncio.Event()
        self._lingering: dict[ChatFeed, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """The number of followed chats."""
        return len(self._feeds)

    async def run(self) -> None:
        """Sweep periodically until cancelled."""
        while True:
            try:
                async with asyncio.timeout(jittered(self._options.sweep_s)):
                    await self._sweep_wanted.wait()
            except TimeoutError:
                pass
            self._sweep_wanted.clear()
            await self.sweep()

    def sweep_soon(self) -> None:
        """Sweep now, in the background: the subscriptions were interrupted and may have missed entries."""
        self._sweep_wanted.set()

    async def sweep(self) -> None:
        """Compare every feed with its log once."""
        for number, feed in enumerate(list(self._feeds.values())):
            try:
                await feed.compare_with_log()
            except Exception:
                # A bug in one feed must not end the sweep of the others.
                logger.exception("comparing a feed with the log failed", extra={"chat_id": feed.chat_id})
            if number % _SWEEP_SLICE == 0:
                # The memory log answers without suspending; thousands of feeds must not block the loop.
                await asyncio.sleep(0)

    async def acquire(self, chat_id: str) -> ChatFeed:
        """Return the chat's open feed, with one more holder. The caller must `release` the feed.

        Raises:
            LogUnavailable: the log does not answer; there is nothing to release.
        """
        feed = self._feeds.get(chat_id) or self._create(chat_id)
        self._cancel_linger(feed)
        self.retain(feed)
        try:
            await feed.open()
        except asyncio.CancelledError:
            self.release(feed)
            raise
        except Exception:
            self._end(feed)  # the next join tries again
            raise
        return feed

    def retain(self, feed: ChatFeed) -> None:
        """Add another holder to a feed that has one. The caller must `release` the feed once more."""
        feed.holders += 1

    def release(self, feed: ChatFeed) -> None:
        """Remove one holder; a feed without holders lingers, then closes."""
        feed.holders -= 1
        if not feed.holders and self._feeds.get(feed.chat_id) is feed:
            loop = asyncio.get_running_loop()
            self._lingering[feed] = loop.call_later(self._options.linger_s, self._end, feed)

    async def close(self) -> None:
        """Close all feeds."""
        for feed in list(self._feeds.values()):
            self._end(feed)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _create(self, chat_id: str) -> ChatFeed:
        feed = self._feeds[chat_id] = ChatFeed(
            chat_id,
            self._log,
            self._admission,
            self._rooms,
            self.memberships,
            self._options,
            self._signals,
            self.counters,
            self._tracer,
        )
        return feed

    def _cancel_linger(self, feed: ChatFeed) -> None:
        linger = self._lingering.pop(feed, None)
        if linger is not None:
            linger.cancel()

    def _end(self, feed: ChatFeed) -> None:
        """Close the feed in the background, unless it is already being closed."""
        if self._feeds.get(feed.chat_id) is not feed:
            return
        self._cancel_linger(feed)
        del self._feeds[feed.chat_id]
        closing = asyncio.create_task(feed.close(), name=f"feed-close-{feed.chat_id}")
        self._closing.add(closing)
        closing.add_done_callback(self._closed)

    def _closed(self, closing: asyncio.Task[None]) -> None:
        self._closing.discard(closing)
        if not closing.cancelled() and (error := closing.exception()) is not None:
            logger.warning("closing a feed failed", extra={"error": repr(error)})
