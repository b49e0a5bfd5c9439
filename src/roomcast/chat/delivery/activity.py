"""Announces new events of a chat to its users, whether or not they follow the chat: ``chat-activity``.

An announcement is ephemeral and delivered at most once. A lost announcement is not repeated, since the list of chats in
the database contains the same information. A write never waits for the announcement of its event.

- Announcements are throttled per chat and process. The first event is announced at once. Of the events in the following
  ``interval_s``, only the newest is announced, at the end of that interval.
- An announcement reaches at most the first ``max_audience`` members by user id.

Layer: chat. Source: docs/design.md, "Contract".
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol

from roomcast.chat.delivery.audience import MemberCache, MemberLookup, RecentAuthors
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import StoredEvent
from roomcast.contract.events import STORED_EVENTS, ChatActivity, EventType, LastMessage

logger = logging.getLogger(__name__)

_ANNOUNCED_TYPES: Final = frozenset(kind for kind, event in STORED_EVENTS.items() if event.announced)


@dataclass(frozen=True, slots=True)
class ActivityOptions:
    """Limits of the announcements.

    Attributes:
        interval_s: Shortest time between two announcements of one chat.
        max_audience: Maximum number of members notified per announcement.
        max_chats: Maximum number of throttled chats. If more chats have an event within one interval, the chat whose
            interval ends first loses its pending update.
        concurrency: Maximum number of announcements in progress, so that their queries do not delay writes.
        cached_audiences: Maximum number of chats whose members are cached; 500 member ids take about 40 KB.
        authors_chats: Maximum number of chats whose recent authors are remembered, while authentication is off.
        authors_per_chat: Maximum number of recent authors remembered per chat.
    """

    interval_s: float = 1.0
    max_audience: int = 500
    max_chats: int = 5_000
    concurrency: int = 4
    cached_audiences: int = 1_000
    authors_chats: int = 1_000
    authors_per_chat: int = 50


class AnnouncementLost(Exception):
    """The announcement was not published; it is not repeated."""


class Announcer(Protocol):
    """Emits to users on every node that they are connected to."""

    async def announce(self, user_ids: Sequence[str], activity: ChatActivity) -> None:
        """Emit once to each connection of these users. Takes a few seconds at most.

        Raises:
            AnnouncementLost: the announcement could not be published.
        """


@dataclass(frozen=True, slots=True)
class _Update:
    """The fields of an event that its announcement contains. The payload is left out because it may be large."""

    epoch: str
    seq: int
    user_id: str | None
    time: datetime
    # Fields of `LastMessage`, which is built only for an announcement.
    last_message: Mapping[str, Any] | None


@dataclass(slots=True)
class _Throttle:
    """One chat's throttle. ``task`` announces ``pending``, and ends after an interval without a new update."""

    pending: _Update | None
    announcing: bool = False
    task: asyncio.Task[None] | None = None


class ActivityNotifier:
    """Announces the events that this process commits to the users of their chats.

    Args:
        store: Queried for members.
        open_to_all: Whether authentication is off. Chats then often have no members, so the announcements also go to
            the users that recently wrote through this process. With authentication, they go to members only.
        options: Limits of the announcements.

    Attributes:
        counters: ``announced``; ``coalesced`` (replaced by a newer update); ``curtailed`` (announced, but not to all
            members); not announced because of ``max_chats`` (``dropped``), the database (``unavailable``), the
            announcer (``lost``) or a bug (``failed``).
    """

    def __init__(self, store: MemberLookup, *, open_to_all: bool, options: ActivityOptions | None = None) -> None:
        self._options = options = options or ActivityOptions()
        self._members = MemberCache(store, max_members=options.max_audience, max_chats=options.cached_audiences)
        self._authors: RecentAuthors | None = None
        if open_to_all:
            self._authors = RecentAuthors(max_chats=options.authors_chats, max_authors=options.authors_per_chat)
        # Ordered by the end of their intervals.
        self._throttles: OrderedDict[str, _Throttle] = OrderedDict()
        self._slots = asyncio.Semaphore(options.concurrency)
        self._announcer: Announcer | None = None
        self.counters: Counter[str] = Counter()

    def announce_through(self, announcer: Announcer) -> None:
        """Start announcing through ``announcer``. Events committed earlier are not announced."""
        self._announcer = announcer

    def committed(self, event: StoredEvent, actor_id: str | None) -> None:
        """Schedule the announcement of an event that was just committed. Returns at once and never fails.

        Args:
            event: The stored event.
            actor_id: The user that caused the event; None for an AI or a service.
        """
        if self._announcer is None:
            return
        self._members.apply(event)
        if event.type not in _ANNOUNCED_TYPES:
            return
        if self._authors is not None and actor_id is not None:
            self._authors.add(event.chat_id, actor_id)
        message = None
        if event.type is EventType.MESSAGE_CREATED:
            message = {"epoch": event.epoch, "seq": event.seq, "user_id": actor_id, "time": event.created_at}
        self._schedule(event.chat_id, _Update(event.epoch, event.seq, actor_id, event.created_at, message))

    async def close(self) -> None:
        """Stop announcing and drop pending updates."""
        self._announcer = None
        tasks = [throttle.task for throttle in self._throttles.values() if throttle.task is not None]
        self._throttles.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _schedule(self, chat_id: str, update: _Update) -> None:
        throttle = self._throttles.get(chat_id)
        if throttle is None:
            throttle = self._throttles[chat_id] = _Throttle(update)
            throttle.task = asyncio.create_task(self._run(chat_id, throttle), name=f"activity-{chat_id}")
            if len(self._throttles) > self._options.max_chats:
                self._drop_first()
            return
        pending = throttle.pending
        if pending is not None:
            self.counters["coalesced"] += 1
            # The commits of two concurrent writes to one chat may be reported in either order.
            if pending.epoch == update.epoch and pending.seq > update.seq:
                pending, update = update, pending
            # The addition of a member does not hide a message that is not announced yet.
            if update.last_message is None:
                update = replace(update, last_message=pending.last_message)
        throttle.pending = update

    def _drop_first(self) -> None:
        _, throttle = self._throttles.popitem(last=False)
        if throttle.pending is not None or throttle.announcing:
            self.counters["dropped"] += 1
        if throttle.task is not None:
            throttle.task.cancel()

    async def _run(self, chat_id: str, throttle: _Throttle) -> None:
        try:
            while throttle.pending is not None:
                async with self._slots:
                    # Read the update only now: it may have been replaced while this task waited for a slot.
                    update, throttle.pending, throttle.announcing = throttle.pending, None, True
                    await self._announce(chat_id, update)
                    throttle.announcing = False
                if chat_id in self._throttles:
                    self._throttles.move_to_end(chat_id)
                await asyncio.sleep(self._options.interval_s)
        finally:
            if self._throttles.get(chat_id) is throttle:
                del self._throttles[chat_id]

    async def _announce(self, chat_id: str, update: _Update) -> None:
        """Announce one update. Failures are counted and logged, so that the next update is still announced."""
        if self._announcer is None:
            return
        facts = {"chat_id": chat_id, "seq": update.seq}
        try:
            user_ids, truncated = await self._audience(chat_id, update)
            if not user_ids:
                return
            activity = ChatActivity(
                chat_id=chat_id,
                epoch=update.epoch,
                seq=update.seq,
                user_id=update.user_id,
                time=update.time,
                last_message=update.last_message and LastMessage(**update.last_message),
            )
            await self._announcer.announce(user_ids, activity)
        except (StoreUnavailable, AnnouncementLost) as error:
            self.counters["lost" if isinstance(error, AnnouncementLost) else "unavailable"] += 1
            logger.info("chat activity is not announced: %s", error, extra=facts)
        except Exception:
            self.counters["failed"] += 1
            logger.exception("announcing chat activity failed", extra=facts)
        else:
            self.counters["announced"] += 1
            self.counters["curtailed"] += truncated

    async def _audience(self, chat_id: str, update: _Update) -> tuple[Sequence[str], bool]:
        """The users to notify, and whether some members were left out.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        members, truncated = await self._members.members(chat_id, update.epoch, update.seq)
        if self._authors is None:
            return members, truncated
        return tuple(dict.fromkeys((*members, *self._authors.of(chat_id)))), truncated
