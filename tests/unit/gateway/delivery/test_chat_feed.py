from __future__ import annotations

import asyncio

import pytest

from roomcast.chat.ports import Head, LogUnavailable
from roomcast.gateway.delivery.chat_feed import EpochDiffers, FeedBehind, FeedOptions
from roomcast.gateway.delivery.feeds import Feeds
from roomcast.gateway.delivery.replay import ReplayLimits
from support.gateway_model import Database, FeedWorld, LocalRooms, UnreliableLog, entry
from support.virtual_time import run_in_virtual_time


def test_appended_entries_are_broadcast_in_order() -> None:
    async def main() -> None:
        world = FeedWorld()
        await world.follow()
        await world.commit(3)
        assert world.socket.seqs() == [1, 2, 3]

    run_in_virtual_time(main())


def test_entries_from_before_the_feed_are_not_broadcast() -> None:
    async def main() -> None:
        world = FeedWorld()
        await world.commit(3)
        feed = await world.follow()
        assert feed.position == Head("e1", 3)
        await world.commit()
        assert world.socket.seqs() == [4]

    run_in_virtual_time(main())


def test_of_a_thousand_events_none_is_lost_doubled_or_swapped() -> None:
    async def main() -> None:
        world = FeedWorld()
        await world.follow()
        for count in (1, 2, 7, 40) * 20:
            await world.commit(count)
        assert world.socket.seqs() == list(range(1, 1_001))

    run_in_virtual_time(main())


def test_an_entry_that_is_delivered_twice_is_broadcast_once() -> None:
    async def main() -> None:
        world = FeedWorld()
        feed = await world.follow()
        await world.commit(2)
        feed._on_entries("e1", [entry(1), entry(2)])
        assert world.socket.seqs() == [1, 2]

    run_in_virtual_time(main())


def test_a_lost_delivery_is_read_from_the_log_before_the_next_one_is_emitted() -> None:
    async def main() -> None:
        world = FeedWorld()
        await world.follow()
        await world.commit()
        world.log.drops_deliveries = True
        await world.commit(2)
        world.log.drops_deliveries = False
        await world.commit()
        await asyncio.sleep(0.01)
        assert world.socket.seqs() == [1, 2, 3, 4]
        assert world.names == ["new-msg"] * 4
        assert (world.feeds.counters.gaps, world.feeds.counters.resyncs) == ({"bridged": 1}, 0)

    run_in_virtual_time(main())


def test_a_gap_that_cannot_be_filled_delays_the_room_until_the_limit_then_resyncs_it() -> None:
    async def main() -> None:
        world = FeedWorld(FeedOptions(gap_limit_s=0.25))
        feed = await world.follow()
        await world.commit()
        world.log.available = world.database.available = False
        feed._on_entries("e1", [entry(5), entry(6)])
        await asyncio.sleep(0.24)
        assert world.names == ["new-msg"]
        await asyncio.sleep(0.02)
        assert world.socket.frames[1:] == [("resync", {"chatId": "a", "epoch": "e1", "seq": 6, "reset": False})]
        feed._on_entries("e1", [entry(7)])
        assert world.names == ["new-msg", "resync", "new-msg"]
        assert feed.complete_after == 6
        assert (world.feeds.counters.gaps, world.feeds.counters.resyncs) == ({"open": 1}, 1)

    run_in_virtual_time(main())


def test_a_gap_in_a_log_that_lost_its_past_is_filled_by_the_relay() -> None:
    async def main() -> None:
        world = FeedWorld()
        await world.follow()
        await world.commit()
        world.log.drops_deliveries = True
        await world.commit(3)
        world.log.drop("a")
        world.log.drops_deliveries = False
        await world.commit()
        await asyncio.sleep(0.3)
        assert world.socket.seqs() == [1, 2, 3, 4, 5]

    run_in_virtual_time(main())


def test_a_gap_that_only_the_events_table_can_fill_is_filled_by_the_relay() -> None:
    async def main() -> None:
        world = FeedWorld()
        feed = await world.follow()
        await world.commit()
        await world.commit(4, publish=False)
        feed._on_entries("e1", [entry(5)])  # Redis refused to store the events, and one was received first
        await asyncio.sleep(0.3)
        assert world.socket.seqs() == [1, 2, 3, 4, 5]
        assert world.feeds.counters.resyncs == 0

    run_in_virtual_time(main())


def test_a_new_epoch_resets_the_room() -> None:
    async def main() -> None:
        world = FeedWorld()
        feed = await world.follow()
        await world.commit(5)
        world.database.restore(lose=3)
        await world.commit()
        assert world.socket.frames[5:] == [("resync", {"chatId": "a", "epoch": "e2", "seq": 3, "reset": True})]
        assert feed.position == Head("e2", 3)
        await world.commit()
        assert world.socket.frames[6][1]["seq"] == 4

    run_in_virtual_time(main())


def test_an_entry_of_an_unknown_version_is_a_resync() -> None:
    async def main() -> None:
        world = FeedWorld()
        feed = await world.follow()
        feed._on_entries("e1", [entry(1), entry(2, version=99), entry(3)])
        assert world.names == ["new-msg", "resync", "new-msg"]
        assert world.socket.frames[1][1]["seq"] == 2
        assert feed.position == Head("e1", 3)

    run_in_virtual_time(main())


def test_entries_that_are_delivered_while_the_head_is_read_are_not_lost() -> None:
    async def main() -> None:
        world = FeedWorld()
        real_head = world.log.head

        async def head_while_appending(chat_id: str):
            found = await real_head(chat_id)
            world.log.head = real_head
            await world.commit(2)
            return found

        await world.commit()
        world.log.head = head_while_appending
        await world.feeds.acquire("a")
        await asyncio.sleep(0.1)
        assert world.socket.seqs() == [2, 3]

    run_in_virtual_time(main())


def test_waiting_for_a_chat_without_a_log_requests_a_publish() -> None:
    async def main() -> None:
        world = FeedWorld()
        await world.commit(30, publish=False)
        feed = await world.follow()
        assert feed.position == Head("e1", 30)

    run_in_virtual_time(main())


def test_an_empty_chat_needs_no_log() -> None:
    async def main() -> None:
        world = FeedWorld()
        world.database.available = False
        feed = await world.follow()
        assert feed.position == Head("e1", 0)

    run_in_virtual_time(main())


def test_a_log_that_stays_behind_fails_the_wait_after_the_limit() -> None:
    async def main() -> None:
        world = FeedWorld(FeedOptions(catch_up_limit_s=3.0))
        await world.commit(2)
        world.database.available = False
        feed = await world.feeds.acquire("a")
        began = asyncio.get_running_loop().time()
        with pytest.raises(FeedBehind):
            await feed.wait_for(Head("e1", 5))
        assert asyncio.get_running_loop().time() - began == pytest.approx(3.0, abs=0.01)

    run_in_virtual_time(main())


def test_a_log_of_another_epoch_fails_the_wait_after_a_publish() -> None:
    async def main() -> None:
        world = FeedWorld()
        await world.commit(2)
        feed = await world.feeds.acquire("a")
        with pytest.raises(EpochDiffers):
            await feed.wait_for(Head("e0", 1))

    run_in_virtual_time(main())


def test_a_gap_is_retried_with_doubling_pauses() -> None:
    async def main() -> None:
        world = FeedWorld(FeedOptions(gap_limit_s=0.25, retry_s=0.05))
        feed = await world.follow()
        loop = asyncio.get_running_loop()
        began = loop.time()
        reads: list[float] = []

        async def fail(*_asked: object) -> None:
            reads.append(round(loop.time() - began, 3))
            raise LogUnavailable

        world.log.read = fail  # type: ignore[method-assign,assignment]  # the outage
        feed._on_entries("e1", [entry(5)])
        await asyncio.sleep(1)
        assert reads == [0.0, 0.025, 0.075, 0.175]
        assert world.names == ["resync"]

    run_in_virtual_time(main())


def test_an_unknown_version_in_a_gap_does_not_end_the_gap() -> None:
    async def main() -> None:
        world = FeedWorld(FeedOptions(batch_entries=1))
        await world.follow()
        world.log.drops_deliveries = True
        await world.log.append("a", "e1", [entry(1, version=99), entry(2), entry(3)])
        world.database.heads["a"] = 3
        await world.feeds.sweep()
        await asyncio.sleep(1)
        assert world.names == ["resync", "new-msg", "new-msg"]
        assert world.socket.seqs() == [2, 3]

    run_in_virtual_time(main())


def test_a_wait_ends_as_soon_as_another_one_has_read_the_head() -> None:
    async def main() -> None:
        world = FeedWorld()
        await world.commit(2, publish=False)
        feed = await world.feeds.acquire("a")
        world.database.available = False
        waiting = asyncio.create_task(feed.wait_for(Head("e1", 2)))
        await asyncio.sleep(0.8)  # the next read is at 1.55 s
        world.log.drops_deliveries = True
        await world.database.publish("a")
        await feed.wait_for(Head("e1", 2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert waiting.done()
        await waiting

    run_in_virtual_time(main())


def test_a_feed_at_the_logs_head_requests_no_publish() -> None:
    async def main() -> None:
        world = FeedWorld()
        await world.commit(2)
        await world.follow()
        await world.feeds.sweep()
        assert world.database.publish_requests == 0

    run_in_virtual_time(main())


def test_the_sweep_of_an_empty_chat_requests_no_publish() -> None:
    async def main() -> None:
        world = FeedWorld()
        await world.follow()
        await world.feeds.sweep()
        assert world.database.publish_requests == 0

    run_in_virtual_time(main())


def test_a_replay_leaves_no_recording() -> None:
    async def main() -> None:
        world = FeedWorld()
        await world.commit(2)
        feed = await world.follow()
        replay = await feed.replay(0, ReplayLimits())
        assert replay is not None
        assert [found.seq for found in replay] == [1, 2]
        assert feed._recordings == []

    run_in_virtual_time(main())


def test_signals_are_passed_on_until_the_feed_is_closed() -> None:
    async def main() -> None:
        signals: list[tuple[str, bytes]] = []
        log = UnreliableLog()
        feeds = Feeds(
            log, Database(log), LocalRooms(), signals=lambda chat_id, payload: signals.append((chat_id, payload))
        )
        feed = await feeds.acquire("a")
        await log.signal("a", b"typing")
        await feeds.close()
        feed._on_signal(b"late")
        assert signals == [("a", b"typing")]

    run_in_virtual_time(main())


def test_a_wait_for_events_that_the_relay_is_publishing_requests_no_publish() -> None:
    async def main() -> None:
        world = FeedWorld()
        await world.commit(2)
        feed = await world.follow()
        await world.commit(publish=False)
        waiting = asyncio.create_task(feed.wait_for(Head("e1", 3)))
        await asyncio.sleep(0.01)
        await world.database.publish("a")
        await waiting
        assert world.database.publish_requests == 0

    run_in_virtual_time(main())


def test_a_wait_reads_the_head_with_doubling_pauses() -> None:
    async def main() -> None:
        world = FeedWorld(FeedOptions(catch_up_limit_s=1.0, retry_s=0.05))
        feed = await world.follow()
        loop = asyncio.get_running_loop()
        began = loop.time()
        reads: list[float] = []
        real_head = world.log.head

        async def head(chat_id: str) -> Head | None:
            reads.append(round(loop.time() - began, 3))
            return await real_head(chat_id)

        world.log.head = head  # type: ignore[method-assign]  # records
        with pytest.raises(FeedBehind):
            await feed.wait_for(Head("e1", 5))
        assert sorted(set(reads)) == [0.0, 0.05, 0.15, 0.35, 0.75]

    run_in_virtual_time(main())
