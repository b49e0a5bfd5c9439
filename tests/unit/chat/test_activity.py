from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from roomcast.chat.activity import ActivityNotifier, ActivityOptions, AnnouncementLost
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import StoredEvent, StoredMember
from roomcast.contract.events import ChatActivity, EventType
from support.backend import START
from support.virtual_time import run_in_virtual_time

ADDED, REMOVED, MESSAGE = EventType.MEMBER_ADDED, EventType.MEMBER_REMOVED, EventType.MESSAGE_CREATED


class World:
    """A feed between a table of members and an announcer that writes down what it is told, and when."""

    def __init__(self, *, open_to_all: bool = False, **options: Any) -> None:
        self.table: dict[str, set[str]] = {}
        self.lookups: list[str] = []
        self.told: list[tuple[float, str, int, tuple[str, ...]]] = []
        self.activities: list[ChatActivity] = []
        self.seqs: dict[str, int] = {}
        self.troubles: list[Exception] = []
        self.refusals: list[Exception] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.feed = ActivityNotifier(self, open_to_all=open_to_all, options=ActivityOptions(**options))
        self.feed.announce_through(self)

    async def members(self, chat_id: str, limit: int) -> Sequence[StoredMember]:
        """Of the store."""
        self.lookups.append(chat_id)
        users = sorted(self.table.get(chat_id, ()))
        await self.answering.wait()
        if self.troubles:
            raise self.troubles.pop()
        return [StoredMember(user_id, START) for user_id in users[:limit]]

    async def announce(self, user_ids: Sequence[str], activity: ChatActivity) -> None:
        """Of the announcer."""
        if self.refusals:
            raise self.refusals.pop()
        now = round(asyncio.get_running_loop().time(), 3)
        self.told.append((now, activity.chat_id, activity.seq, tuple(user_ids)))
        self.activities.append(activity)

    def elsewhere(self, chat_id: str = "c", type_: EventType = MESSAGE, user_id: str = "") -> StoredEvent:
        """An event that another process commits."""
        if type_ is ADDED:
            self.table.setdefault(chat_id, set()).add(user_id)
        elif type_ is REMOVED:
            self.table[chat_id].discard(user_id)
        seq = self.seqs[chat_id] = self.seqs.get(chat_id, 0) + 1
        return StoredEvent(chat_id, seq, "e", type_, b"{}", START)

    def commit(
        self, chat_id: str = "c", by: str | None = "ann", type_: EventType = MESSAGE, user_id: str = ""
    ) -> StoredEvent:
        event = self.elsewhere(chat_id, type_, user_id)
        self.feed.committed(event, by)
        return event

    def seqs_told(self) -> list[int]:
        return [seq for _, _, seq, _ in self.told]


def lived(scenario: Callable[[World], Coroutine[Any, Any, None]], **options: Any) -> World:
    async def main() -> World:
        world = World(**options)
        await scenario(world)
        await world.feed.close()
        return world

    return run_in_virtual_time(main())


def test_every_member_is_told_at_once_the_author_included() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann", "bob"}
        world.commit(by="ann")
        await asyncio.sleep(5)

    world = lived(scenario)
    assert world.told == [(0.0, "c", 1, ("ann", "bob"))]
    assert world.activities == [ChatActivity(chat_id="c", epoch="e", seq=1, user_id="ann", time=START)]


def test_a_burst_is_told_once_a_second_and_its_end_is_told_last() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann"}
        for _ in range(200):
            world.commit()
            await asyncio.sleep(0.01)
        await asyncio.sleep(5)

    world = lived(scenario)
    times = [at for at, *_ in world.told]
    assert times == [0.0, 1.0, 2.0]
    assert world.seqs_told()[0] == 1
    assert world.seqs_told()[-1] == 200
    assert world.feed.counters == {"announced": 3, "coalesced": 197, "curtailed": 0}
    assert world.lookups == ["c"]


def test_after_a_quiet_second_the_next_event_is_told_at_once() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann"}
        world.commit()
        await asyncio.sleep(1.5)
        world.commit()
        await asyncio.sleep(0.1)

    assert [at for at, *_ in lived(scenario).told] == [0.0, 1.5]


def test_chats_do_not_wait_for_each_other() -> None:
    async def scenario(world: World) -> None:
        for number in range(50):
            world.table[f"c{number}"] = {"ann"}
            world.commit(f"c{number}")
        await asyncio.sleep(0.5)

    assert len(lived(scenario).told) == 50


def test_an_older_event_that_comes_late_does_not_replace_a_newer_one() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann"}
        world.commit()
        late = world.elsewhere()
        world.commit()
        world.feed.committed(late, "ann")
        await asyncio.sleep(3)

    assert lived(scenario).seqs_told() == [3]


def test_who_is_added_is_told_and_who_is_removed_is_not() -> None:
    async def scenario(world: World) -> None:
        world.commit(type_=ADDED, user_id="ann")
        await asyncio.sleep(2)
        world.commit(type_=ADDED, user_id="bob")
        await asyncio.sleep(2)
        world.commit(type_=REMOVED, user_id="bob")
        await asyncio.sleep(2)
        world.commit()
        await asyncio.sleep(2)

    world = lived(scenario)
    assert [(seq, users) for _, _, seq, users in world.told] == [(1, ("ann",)), (2, ("ann", "bob")), (4, ("ann",))]


def test_a_member_whom_another_process_removed_is_told_of_nothing_that_came_later() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann", "bob"}
        world.commit()
        await asyncio.sleep(2)
        world.elsewhere(type_=REMOVED, user_id="bob")
        world.commit()
        await asyncio.sleep(2)
        world.commit()
        await asyncio.sleep(2)

    world = lived(scenario)
    assert [(seq, users) for _, _, seq, users in world.told] == [(1, ("ann", "bob")), (3, ("ann",)), (4, ("ann",))]
    assert len(world.lookups) == 2  # what follows without a gap needs no look


def test_a_removal_while_the_members_are_looked_up_is_not_missed() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann", "bob"}
        world.answering.clear()
        world.commit()
        await asyncio.sleep(0.1)
        world.commit(type_=REMOVED, user_id="bob")
        world.commit()
        world.answering.set()
        await asyncio.sleep(3)

    world = lived(scenario)
    assert [(seq, users) for _, _, seq, users in world.told] == [(1, ("ann", "bob")), (3, ("ann",))]


def test_a_large_chat_is_told_in_part_and_that_is_counted() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {f"u{number:02}" for number in range(30)}
        world.commit()
        await asyncio.sleep(1)

    world = lived(scenario, max_audience=10)
    assert world.told[0][3] == tuple(f"u{number:02}" for number in range(10))
    assert world.feed.counters["curtailed"] == 1


def test_without_authentication_recent_authors_are_told_too_and_nobody_else() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann"}
        for author in ("ann", "bob", None, "cleo", "dave"):
            world.commit(by=author)
        world.commit("other", by="eve")
        await asyncio.sleep(2)

    world = lived(scenario, open_to_all=True, authors_per_chat=2)
    assert {chat_id: users for _, chat_id, _, users in world.told} == {"c": ("ann", "cleo", "dave"), "other": ("eve",)}


def test_with_authentication_an_author_who_is_no_member_is_not_told() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann"}
        world.commit(by="bob")
        world.commit("empty", by="bob")
        await asyncio.sleep(2)

    world = lived(scenario)
    assert [(chat_id, users) for _, chat_id, _, users in world.told] == [("c", ("ann",))]


def test_more_chats_than_may_wait_drop_the_oldest_and_count_it() -> None:
    async def scenario(world: World) -> None:
        for number in range(5):
            world.table[f"c{number}"] = {"ann"}
            world.commit(f"c{number}")
        await asyncio.sleep(5)

    world = lived(scenario, max_chats=3)
    assert sorted(chat_id for _, chat_id, _, _ in world.told) == ["c2", "c3", "c4"]
    assert world.feed.counters["dropped"] == 2


def test_of_more_chats_than_may_wait_those_stay_that_were_told_last() -> None:
    async def scenario(world: World) -> None:
        for chat_id in ("busy", "quiet", "late"):
            world.table[chat_id] = {"ann"}
        for wait_s, chat_id in (
            (0.0, "busy"),
            (0.5, "busy"),
            (0.3, "quiet"),
            (0.1, "quiet"),
            (0.2, "busy"),
            (0.1, "late"),
        ):
            await asyncio.sleep(wait_s)
            world.commit(chat_id)
        await asyncio.sleep(3)

    world = lived(scenario, max_chats=2)
    # The busy one came first, but its interval began anew at 1.0.
    expected = [(0.0, "busy"), (0.8, "quiet"), (1.0, "busy"), (1.2, "late"), (2.0, "busy")]
    assert [(at, chat_id) for at, chat_id, *_ in world.told] == expected
    assert world.feed.counters["dropped"] == 1


def test_what_is_remembered_of_members_and_authors_is_bounded() -> None:
    async def scenario(world: World) -> None:
        for number in range(20):
            world.table[f"c{number}"] = {"ann"}
            world.commit(f"c{number}", by=f"u{number}")
        await asyncio.sleep(3)

    world = lived(scenario, open_to_all=True, cached_audiences=4, authors_chats=3)
    assert len(world.feed._audiences._known) == 4
    assert world.feed._authors is not None
    assert list(world.feed._authors._chats) == ["c17", "c18", "c19"]
    assert not world.feed._lanes


@pytest.mark.parametrize(
    ("trouble", "counted"),
    [(StoreUnavailable("away"), "unavailable"), (AnnouncementLost("away"), "lost"), (ZeroDivisionError(), "failed")],
)
def test_what_goes_wrong_is_counted_and_the_next_event_is_told(trouble: Exception, counted: str) -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann"}
        (world.refusals if isinstance(trouble, AnnouncementLost) else world.troubles).append(trouble)
        world.commit()
        await asyncio.sleep(0.5)
        world.commit()
        await asyncio.sleep(3)

    world = lived(scenario)
    assert world.seqs_told() == [2]
    assert world.feed.counters[counted] == 1


def test_before_there_is_an_announcer_and_after_the_end_nothing_is_kept() -> None:
    async def main() -> None:
        world = World()
        world.table["c"] = {"ann"}
        idle = ActivityNotifier(world, open_to_all=True)
        idle.committed(world.elsewhere(), "ann")
        assert not idle._lanes
        world.commit()
        await world.feed.close()
        world.commit()
        await asyncio.sleep(3)
        assert not world.told
        assert not world.feed._lanes

    run_in_virtual_time(main())
