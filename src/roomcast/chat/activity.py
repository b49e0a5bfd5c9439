"""Tells the users of a chat that it has something new, whether they follow it or not: ``chat-activity``.

Of the moment and at most once: what is lost here (a process that ends, a Redis that is away, a commit whose answer was
lost and that nobody repeats to the same process) is seen in the list of chats, which is read from the truth. So nothing
waits for it: a send hands its event over and goes on.

Bounded fan-out. One announcement per chat and second, from each process that commits: the first event is told at once,
of those that follow within the second the newest, at its end. At most ``max_audience`` users are told of one chat,
those whose ids come first: a chat with more members is one that people look into, not one that calls each of them.

Layer: chat. Source: DESIGN §5.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import StoredEvent, StoredMember
from roomcast.contract.events import ChatActivity, EventType

logger = logging.getLogger(__name__)

#: Events that people want to hear of: somebody wrote, and a chat is new to somebody.
_TOLD: Final = frozenset({EventType.MESSAGE_CREATED, EventType.MEMBER_ADDED})
_MEMBER_EVENTS: Final = frozenset({EventType.MEMBER_ADDED, EventType.MEMBER_REMOVED})


@dataclass(frozen=True, slots=True)
class ActivityOptions:
    """Bounds of the announcements.

    Attributes:
        interval_s: Shortest time between two announcements of one chat.
        max_audience: Users that are told of one chat.
        max_chats: Chats whose interval runs at a time; beyond it the oldest one's news are dropped. Each of so many
            chats would have to get a message within the same interval.
        concurrency: Announcements under way at a time: they must not crowd out the sends at the database.
        cached_audiences: Chats whose members are remembered; 500 ids each make some 40 KB.
        authors_chats: Chats whose recent authors are remembered, while authentication is off.
        authors_per_chat: Authors of each that are.
    """

    interval_s: float = 1.0
    max_audience: int = 500
    max_chats: int = 5_000
    concurrency: int = 4
    cached_audiences: int = 1_000
    authors_chats: int = 1_000
    authors_per_chat: int = 50


class AnnouncementLost(Exception):
    """An announcement reached nobody, or not everybody; it is not repeated."""


class Announcer(Protocol):
    """Reaches users wherever they are connected."""

    async def announce(self, user_ids: Sequence[str], activity: ChatActivity) -> None:
        """Tell each device of these users once. Takes a few seconds at most.

        Raises:
            AnnouncementLost: it could not be handed over.
        """


class MemberLookup(Protocol):
    """Who belongs to a chat; `roomcast.chat.ports.ChatStore` has it."""

    async def members(self, chat_id: str, limit: int) -> Sequence[StoredMember]:
        """A chat's members by user id.

        Raises:
            StoreUnavailable: nobody knows.
        """


@dataclass(frozen=True, slots=True)
class _News:
    """What is told of an event; without its payload, which may be large."""

    epoch: str
    seq: int
    user_id: str | None
    time: datetime


@dataclass(slots=True)
class _Lane:
    """One chat's interval. ``task`` runs until an interval has passed without news."""

    news: _News | None
    telling: bool = False
    task: asyncio.Task[None] | None = None


class ActivityNotifier:
    """Hears of every event that this process commits, and announces what is new.

    Args:
        store: Knows the members.
        open_to_all: Authentication is off. Chats then often have no members, so those who wrote of late, as far as this
            process knows, are told as well. With authentication only members are.
        options: Bounds.

    Attributes:
        counters: ``announced``; ``coalesced`` (told by a newer one); ``curtailed`` (announcements that did not reach
            everybody, since the chat has too many members); and what was lost: ``dropped`` (too many chats at once),
            ``unavailable`` (no database), ``lost`` (no way to the users), ``failed`` (a bug).
    """

    def __init__(self, store: MemberLookup, *, open_to_all: bool, options: ActivityOptions | None = None) -> None:
        self._options = options or ActivityOptions()
        self._audiences = _Audiences(store, self._options)
        self._authors = _Authors(self._options) if open_to_all else None
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()
        self._slots = asyncio.Semaphore(self._options.concurrency)
        self._announcer: Announcer | None = None
        self.counters: Counter[str] = Counter()

    def announce_through(self, announcer: Announcer) -> None:
        """Announce from now on; before this nobody is told."""
        self._announcer = announcer

    def committed(self, event: StoredEvent, by: str | None) -> None:
        """Take an event right after its commit. Returns at once and never fails.

        Args:
            event: What stands in the events table now.
            by: Who caused it; None: an AI or a service.
        """
        if self._announcer is None:
            return
        self._audiences.follow(event)
        if event.type not in _TOLD:
            return
        if self._authors is not None and by is not None:
            self._authors.add(event.chat_id, by)
        self._take(event.chat_id, _News(event.epoch, event.seq, by, event.created_at))

    async def close(self) -> None:
        """Tell nobody any more."""
        self._announcer = None
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        self._lanes.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, chat_id: str, news: _News) -> None:
        lane = self._lanes.get(chat_id)
        if lane is None:
            lane = self._lanes[chat_id] = _Lane(news)
            lane.task = asyncio.create_task(self._run(chat_id, lane), name=f"activity-{chat_id}")
            if len(self._lanes) > self._options.max_chats:
                self._drop_oldest()
            return
        if lane.news is not None:
            self.counters["coalesced"] += 1
            # Two sends of one chat may come back from the database in either order.
            if lane.news.epoch == news.epoch and lane.news.seq > news.seq:
                return
        lane.news = news

    def _drop_oldest(self) -> None:
        _, lane = self._lanes.popitem(last=False)
        if lane.news is not None or lane.telling:
            self.counters["dropped"] += 1
        if lane.task is not None:
            lane.task.cancel()

    async def _run(self, chat_id: str, lane: _Lane) -> None:
        try:
            while lane.news is not None:
                async with self._slots:
                    # Not before there is a slot: until then a newer one may take its place.
                    news, lane.news, lane.telling = lane.news, None, True
                    await self._tell(chat_id, news)
                    lane.telling = False
                if chat_id in self._lanes:
                    # The first of the lanes is always the one whose interval ends soonest.
                    self._lanes.move_to_end(chat_id)
                await asyncio.sleep(self._options.interval_s)
        finally:
            if self._lanes.get(chat_id) is lane:
                del self._lanes[chat_id]

    async def _tell(self, chat_id: str, news: _News) -> None:
        """Announce; whatever goes wrong is counted and logged."""
        facts = {"chat_id": chat_id, "seq": news.seq}
        if self._announcer is None:
            return
        try:
            members, curtailed = await self._audiences.members(chat_id, news)
            users = members if self._authors is None else tuple(dict.fromkeys((*members, *self._authors.of(chat_id))))
            if not users:
                return
            activity = ChatActivity(
                chat_id=chat_id, epoch=news.epoch, seq=news.seq, user_id=news.user_id, time=news.time
            )
            await self._announcer.announce(users, activity)
        except StoreUnavailable as error:
            self._count("unavailable")
            logger.info("nobody was told of a chat's activity: %s", error, extra=facts)
        except AnnouncementLost as error:
            self._count("lost")
            logger.info("nobody was told of a chat's activity: %s", error, extra=facts)
        except Exception:
            # A bug here must not silence the chat for good.
            self._count("failed")
            logger.exception("nobody was told of a chat's activity", extra=facts)
        else:
            self._count("announced")
            self.counters["curtailed"] += curtailed

    def _count(self, outcome: str) -> None:
        self.counters[outcome] += 1


@dataclass(slots=True)
class _Audience:
    """A chat's members as they are at ``seq``.

    Attributes:
        curtailed: There are more.
    """

    epoch: str
    seq: int
    user_ids: tuple[str, ...]
    curtailed: bool

    def covers(self, epoch: str, seq: int) -> bool:
        """Whether this event had happened then."""
        return self.epoch == epoch and self.seq >= seq


class _Audiences:
    """Who belongs to which chat, remembered for as long as it is certain.

    It is while every event of the chat since then was committed here, and none was about members: an event that does
    not follow the last one was preceded by another process's. So a removed member is told of nothing that came later.
    """

    def __init__(self, store: MemberLookup, options: ActivityOptions) -> None:
        self._store = store
        self._options = options
        self._known: OrderedDict[str, _Audience] = OrderedDict()

    def follow(self, event: StoredEvent) -> None:
        """Take each event of this process."""
        known = self._known.get(event.chat_id)
        if known is None:
            return
        follows = known.epoch == event.epoch and known.seq + 1 == event.seq
        if event.type in _MEMBER_EVENTS or not (follows or known.covers(event.epoch, event.seq)):
            del self._known[event.chat_id]
        elif follows:
            known.seq = event.seq

    async def members(self, chat_id: str, news: _News) -> tuple[tuple[str, ...], bool]:
        """Members as of ``news`` or later, and whether there are more.

        Raises:
            StoreUnavailable: nobody knows.
        """
        known = self._known.get(chat_id)
        # What was committed while the store was asked may be missing from its answer.
        if known is not None and known.covers(news.epoch, news.seq):
            self._known.move_to_end(chat_id)
        else:
            limit = self._options.max_audience
            members = await self._store.members(chat_id, limit + 1)
            user_ids = tuple(member.user_id for member in members[:limit])
            known = _Audience(news.epoch, news.seq, user_ids, len(members) > limit)
            self._known[chat_id] = known
            if len(self._known) > self._options.cached_audiences:
                self._known.popitem(last=False)
        return known.user_ids, known.curtailed


class _Authors:
    """Who wrote in which chat of late."""

    def __init__(self, options: ActivityOptions) -> None:
        self._options = options
        self._chats: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()

    def add(self, chat_id: str, user_id: str) -> None:
        """Somebody wrote."""
        authors = self._chats.setdefault(chat_id, OrderedDict())
        self._chats.move_to_end(chat_id)
        authors[user_id] = None
        authors.move_to_end(user_id)
        if len(authors) > self._options.authors_per_chat:
            authors.popitem(last=False)
        if len(self._chats) > self._options.authors_chats:
            self._chats.popitem(last=False)

    def of(self, chat_id: str) -> Sequence[str]:
        """Who did, the latest last."""
        return tuple(self._chats.get(chat_id, ()))
