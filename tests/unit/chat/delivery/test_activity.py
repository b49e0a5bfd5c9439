from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from roomcast.chat.delivery.activity import ActivityNotifier, ActivityOptions, AnnouncementLost
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import StoredEvent, StoredMember
from roomcast.contract.events import ChatActivity, EventType, LastMessage
from support.backend import START
from support.virtual_time import run_in_virtual_time

ADDED, REMOVED, MESSAGE = EventType.MEMBER_ADDED, EventType.MEMBER_REMOVED, EventType.MESSAGE_CREATED


class World:
    """A notifier between a table of members and an announcer, which records each announcement with its time."""

    def __init__(self, *, open_to_all: bool = False, **options: Any) -> None:
        self.table: dict[str, set[str]] = {}
        self.lookups: list[str] = []
        self.announced: list[tuple[float, str, int, tuple[str, ...]]] = []
        self.activities: list[ChatActivity] = []
        self.seqs: dict[str, int] = {}
        self.store_errors: list[Exception] = []
        self.announcer_errors: list[Exception] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.notifier = ActivityNotifier(self, open_to_all=open_to_all, options=ActivityOptions(**options))
        self.notifier.announce_through(self)

    async def members(self, chat_id: str, limit: int) -> Sequence[StoredMember]:
        """The store's query."""
        self.lookups.append(chat_id)
        users = sorted(self.table.get(chat_id, ()))
        await self.answering.wait()
        if self.store_errors:
            raise self.store_errors.pop()
        return [StoredMember(user_id, START) for user_id in users[:limit]]

    async def announce(self, user_ids: Sequence[str], activity: ChatActivity) -> None:
        """The announcer's method."""
        if self.announcer_errors:
            raise self.announcer_errors.pop()
        now = round(asyncio.get_running_loop().time(), 3)
        self.announced.append((now, activity.chat_id, activity.seq, tuple(user_ids)))
        self.activities.append(activity)

    def commit_elsewhere(self, chat_id: str = "c", type_: EventType = MESSAGE, user_id: str = "") -> StoredEvent:
        """Commit an event in another process."""
        if type_ is ADDED:
            self.table.setdefault(chat_id, set()).add(user_id)
        elif type_ is REMOVED:
            self.table[chat_id].discard(user_id)
        seq = self.seqs[chat_id] = self.seqs.get(chat_id, 0) + 1
        return StoredEvent(chat_id, seq, "e", type_, b"{}", START)

    def commit(
        self, chat_id: str = "c", actor_id: str | None = "ann", type_: EventType = MESSAGE, user_id: str = ""
    ) -> StoredEvent:
        event = self.commit_elsewhere(chat_id, type_, user_id)
        self.notifier.committed(event, actor_id)
        return event

    def announced_seqs(self) -> list[int]:
        return [seq for _, _, seq, _ in self.announced]


def run_scenario(scenario: Callable[[World], Coroutine[Any, Any, None]], **options: Any) -> World:
    async def main() -> World:
        world = World(**options)
        await scenario(world)
        await world.notifier.close()
        return world

    return run_in_virtual_time(main())


def test_every_member_including_the_author_is_notified_at_once() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann", "bob"}
        world.commit(actor_id="ann")
        await asyncio.sleep(5)

    world = run_scenario(scenario)
    assert world.announced == [(0.0, "c", 1, ("ann", "bob"))]
    message = LastMessage(epoch="e", seq=1, user_id="ann", time=START)
    activity = ChatActivity(chat_id="c", epoch="e", seq=1, user_id="ann", time=START, last_message=message)
    assert world.activities == [activity]


def test_a_burst_is_announced_once_a_second_and_its_last_event_last() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann"}
        for _ in range(200):
            world.commit()
            await asyncio.sleep(0.01)
        await asyncio.sleep(5)

    world = run_scenario(scenario)
    times = [at for at, *_ in world.announced]
    assert times == [0.0, 1.0, 2.0]
    assert world.announced_seqs()[0] == 1
    assert world.announced_seqs()[-1] == 200
    assert world.notifier.counters == {"announced": 3, "coalesced": 197, "curtailed": 0}
    assert world.lookups == ["c"]


def test_after_an_interval_without_events_the_next_one_is_announced_at_once() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann"}
        world.commit()
        await asyncio.sleep(1.5)
        world.commit()
        await asyncio.sleep(0.1)

    assert [at for at, *_ in run_scenario(scenario).announced] == [0.0, 1.5]


def test_chats_do_not_wait_for_each_other() -> None:
    async def scenario(world: World) -> None:
        for number in range(50):
            world.table[f"c{number}"] = {"ann"}
            world.commit(f"c{number}")
        await asyncio.sleep(0.5)

    assert len(run_scenario(scenario).announced) == 50


def test_an_older_event_that_is_reported_late_does_not_replace_a_newer_one() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann"}
        world.commit()
        late = world.commit_elsewhere()
        world.commit()
        world.notifier.committed(late, "ann")
        await asyncio.sleep(3)

    assert run_scenario(scenario).announced_seqs() == [3]


def last_messages(world: World) -> list[tuple[int, int | None]]:
    """The seq of each announcement, and the seq of its message."""
    return [(it.seq, None if it.last_message is None else it.last_message.seq) for it in world.activities]


def test_an_addition_is_announced_without_a_message() -> None:
    async def scenario(world: World) -> None:
        world.commit(type_=ADDED, user_id="bob")
        await asyncio.sleep(5)

    assert last_messages(run_scenario(scenario)) == [(1, None)]


@pytest.mark.parametrize("reported_late", [False, True])
def test_an_addition_in_the_same_interval_does_not_hide_a_message(*, reported_late: bool) -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann"}
        world.commit()
        await asyncio.sleep(0.5)
        events = [world.commit_elsewhere(), world.commit_elsewhere(type_=ADDED, user_id="bob")]
        for event in reversed(events) if reported_late else events:
            world.notifier.committed(event, "ann")
        await asyncio.sleep(5)

    assert last_messages(run_scenario(scenario)) == [(1, 1), (3, 2)]


def test_an_added_user_is_notified_and_a_removed_one_is_not() -> None:
    async def scenario(world: World) -> None:
        world.commit(type_=ADDED, user_id="ann")
        await asyncio.sleep(2)
        world.commit(type_=ADDED, user_id="bob")
        await asyncio.sleep(2)
        world.commit(type_=REMOVED, user_id="bob")
        await asyncio.sleep(2)
        world.commit()
        await asyncio.sleep(2)

    world = run_scenario(scenario)
    assert [(seq, users) for _, _, seq, users in world.announced] == [(1, ("ann",)), (2, ("ann", "bob")), (4, ("ann",))]


def test_a_member_removed_by_another_process_is_not_notified_of_later_events() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann", "bob"}
        world.commit()
        await asyncio.sleep(2)
        world.commit_elsewhere(type_=REMOVED, user_id="bob")
        world.commit()
        await asyncio.sleep(2)
        world.commit()
        await asyncio.sleep(2)

    world = run_scenario(scenario)
    assert [(seq, users) for _, _, seq, users in world.announced] == [(1, ("ann", "bob")), (3, ("ann",)), (4, ("ann",))]
    assert len(world.lookups) == 2  # an event without a gap needs no query


def test_a_removal_during_the_member_query_is_not_missed() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann", "bob"}
        world.answering.clear()
        world.commit()
        await asyncio.sleep(0.1)
        world.commit(type_=REMOVED, user_id="bob")
        world.commit()
        world.answering.set()
        await asyncio.sleep(3)

    world = run_scenario(scenario)
    assert [(seq, users) for _, _, seq, users in world.announced] == [(1, ("ann", "bob")), (3, ("ann",))]


def test_an_announcement_reaches_at_most_max_audience_members_and_counts_the_cut() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {f"u{number:02}" for number in range(30)}
        world.commit()
        await asyncio.sleep(1)

    world = run_scenario(scenario, max_audience=10)
    assert world.announced[0][3] == tuple(f"u{number:02}" for number in range(10))
    assert world.notifier.counters["curtailed"] == 1


def test_without_authentication_members_and_recent_authors_are_notified() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann"}
        for author in ("ann", "bob", None, "cleo", "dave"):
            world.commit(actor_id=author)
        world.commit("other", actor_id="eve")
        await asyncio.sleep(2)

    world = run_scenario(scenario, open_to_all=True, authors_per_chat=2)
    assert {chat_id: users for _, chat_id, _, users in world.announced} == {
        "c": ("ann", "cleo", "dave"),
        "other": ("eve",),
    }


def test_with_authentication_an_author_that_is_not_a_member_is_not_notified() -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann"}
        world.commit(actor_id="bob")
        world.commit("empty", actor_id="bob")
        await asyncio.sleep(2)

    world = run_scenario(scenario)
    assert [(chat_id, users) for _, chat_id, _, users in world.announced] == [("c", ("ann",))]


def test_beyond_max_chats_the_oldest_chats_are_dropped_and_counted() -> None:
    async def scenario(world: World) -> None:
        for number in range(5):
            world.table[f"c{number}"] = {"ann"}
            world.commit(f"c{number}")
        await asyncio.sleep(5)

    world = run_scenario(scenario, max_chats=3)
    assert sorted(chat_id for _, chat_id, _, _ in world.announced) == ["c2", "c3", "c4"]
    assert world.notifier.counters["dropped"] == 2


def test_beyond_max_chats_the_most_recently_announced_chats_stay() -> None:
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

    world = run_scenario(scenario, max_chats=2)
    # "busy" was announced first, but its interval started again at 1.0.
    expected = [(0.0, "busy"), (0.8, "quiet"), (1.0, "busy"), (1.2, "late"), (2.0, "busy")]
    assert [(at, chat_id) for at, chat_id, *_ in world.announced] == expected
    assert world.notifier.counters["dropped"] == 1


def test_cached_members_and_recent_authors_are_bounded() -> None:
    async def scenario(world: World) -> None:
        for number in range(20):
            world.table[f"c{number}"] = {"ann"}
            world.commit(f"c{number}", actor_id=f"u{number}")
        await asyncio.sleep(3)

    world = run_scenario(scenario, open_to_all=True, cached_audiences=4, authors_chats=3)
    assert len(world.notifier._members._entries) == 4
    assert world.notifier._authors is not None
    assert list(world.notifier._authors._chats) == ["c17", "c18", "c19"]
    assert not world.notifier._throttles


@pytest.mark.parametrize(
    ("error", "counted"),
    [(StoreUnavailable("away"), "unavailable"), (AnnouncementLost("away"), "lost"), (ZeroDivisionError(), "failed")],
)
def test_a_failure_is_counted_and_the_next_event_is_announced(error: Exception, counted: str) -> None:
    async def scenario(world: World) -> None:
        world.table["c"] = {"ann"}
        (world.announcer_errors if isinstance(error, AnnouncementLost) else world.store_errors).append(error)
        world.commit()
        await asyncio.sleep(0.5)
        world.commit()
        await asyncio.sleep(3)

    world = run_scenario(scenario)
    assert world.announced_seqs() == [2]
    assert world.notifier.counters[counted] == 1


def test_without_an_announcer_and_after_close_nothing_is_announced_or_kept() -> None:
    async def main() -> None:
        world = World()
        world.table["c"] = {"ann"}
        idle = ActivityNotifier(world, open_to_all=True)
        idle.committed(world.commit_elsewhere(), "ann")
        assert not idle._throttles
        world.commit()
        await world.notifier.close()
        world.commit()
        await asyncio.sleep(3)
        assert not world.announced
        assert not world.notifier._throttles

    run_in_virtual_time(main())
