from __future__ import annotations

import asyncio

import pytest

from roomcast.chat.ports import Head, LogUnavailable
from roomcast.eventlog.memory import MemoryLogOptions
from roomcast.gateway.feed import EpochDiffers, FeedBehind, FeedOptions, chat_room
from roomcast.gateway.feeds import Feeds
from support.gateway_model import Database, LocalRooms, UnreliableLog, entry
from support.virtual_time import run_in_virtual_time


class World:
    """One gateway's feeds over a log and a database, and one socket in the room of chat ``a``."""

    def __init__(self, options: FeedOptions | None = None, log_options: MemoryLogOptions | None = None) -> None:
        self.log = UnreliableLog(options=log_options)
        self.database = Database(self.log)
        self.rooms = LocalRooms()
        self.feeds = Feeds(self.log, self.database, self.rooms, options)
        self.socket = self.rooms.socket()
        self.socket.join(chat_room("a"))

    async def commit(self, count: int = 1, *, publish: bool = True) -> None:
        for _ in range(count):
            self.database.commit("a")
        if publish:
            await self.database.publish("a")

    async def follow(self):
        feed = await self.feeds.hold("a")
        await feed.reach(Head(self.database.epoch, self.database.heads["a"]))
        return feed

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.socket.frames]


def test_what_is_appended_is_broadcast_in_order() -> None:
    async def main() -> None:
        world = World()
        await world.follow()
        await world.commit(3)
        assert world.socket.seqs() == [1, 2, 3]

    run_in_virtual_time(main())


def test_what_lies_before_the_feed_is_not_broadcast() -> None:
    async def main() -> None:
        world = World()
        await world.commit(3)
        feed = await world.follow()
        assert feed.position == Head("e1", 3)
        await world.commit()
        assert world.socket.seqs() == [4]

    run_in_virtual_time(main())


def test_an_entry_that_comes_twice_is_broadcast_once() -> None:
    async def main() -> None:
        world = World()
        feed = await world.follow()
        await world.commit(2)
        feed._take("e1", [entry(1), entry(2)])
        assert world.socket.seqs() == [1, 2]

    run_in_virtual_time(main())


def test_a_lost_delivery_is_read_from_the_log_before_the_next_one_is_emitted() -> None:
    async def main() -> None:
        world = World()
        await world.follow()
        await world.commit()
        world.log.losing = True
        await world.commit(2)
        world.log.losing = False
        await world.commit()
        await asyncio.sleep(0.01)
        assert world.socket.seqs() == [1, 2, 3, 4]
        assert world.names == ["new-msg"] * 4

    run_in_virtual_time(main())


def test_a_lost_last_delivery_is_found_by_the_sweep() -> None:
    async def main() -> None:
        world = World(FeedOptions(sweep_s=30.0))
        await world.follow()
        world.log.losing = True
        await world.commit(2)
        sweeping = asyncio.create_task(world.feeds.run())
        await asyncio.sleep(30)
        assert world.socket.seqs() == [1, 2]
        sweeping.cancel()

    run_in_virtual_time(main())


def test_a_gap_that_cannot_be_bridged_holds_the_room_up_for_the_limit_and_is_told() -> None:
    async def main() -> None:
        world = World(FeedOptions(gap_limit_s=0.25))
        feed = await world.follow()
        await world.commit()
        world.log.available = world.database.available = False
        feed._take("e1", [entry(5), entry(6)])
        await asyncio.sleep(0.24)
        assert world.names == ["new-msg"]
        await asyncio.sleep(0.02)
        assert world.socket.frames[1:] == [("resync", {"chatId": "a", "epoch": "e1", "seq": 6, "reset": False})]
        feed._take("e1", [entry(7)])
        assert world.names == ["new-msg", "resync", "new-msg"]
        assert feed.covered_after == 6

    run_in_virtual_time(main())


def test_a_gap_in_a_log_that_lost_its_past_is_filled_by_the_relay() -> None:
    async def main() -> None:
        world = World()
        await world.follow()
        await world.commit()
        world.log.losing = True
        await world.commit(3)
        world.log.drop("a")
        world.log.losing = False
        await world.commit()
        await asyncio.sleep(0.3)
        assert world.socket.seqs() == [1, 2, 3, 4, 5]

    run_in_virtual_time(main())


def test_a_new_epoch_resets_the_room() -> None:
    async def main() -> None:
        world = World()
        feed = await world.follow()
        await world.commit(5)
        world.database.restore(lose=3)
        await world.commit()
        assert world.socket.frames[5:] == [("resync", {"chatId": "a", "epoch": "e2", "seq": 3, "reset": True})]
        assert feed.position == Head("e2", 3)
        await world.commit()
        assert world.socket.frames[6][1]["seq"] == 4

    run_in_virtual_time(main())


def test_an_entry_of_an_unknown_version_is_told_and_not_sent() -> None:
    async def main() -> None:
        world = World()
        feed = await world.follow()
        feed._take("e1", [entry(1), entry(2, version=99), entry(3)])
        assert world.names == ["new-msg", "resync", "new-msg"]
        assert world.socket.frames[1][1]["seq"] == 2
        assert feed.position == Head("e1", 3)

    run_in_virtual_time(main())


def test_what_arrives_while_the_head_is_asked_for_is_not_lost() -> None:
    async def main() -> None:
        world = World()
        real_head = world.log.head

        async def head_while_appending(chat_id: str):
            found = await real_head(chat_id)
            world.log.head = real_head
            await world.commit(2)
            return found

        await world.commit()
        world.log.head = head_while_appending
        feed = await world.feeds.hold("a")
        await feed.reach(Head("e1", 3))
        assert world.socket.seqs() == [2, 3]

    run_in_virtual_time(main())


def test_reaching_nudges_the_relay_of_a_chat_without_a_log() -> None:
    async def main() -> None:
        world = World()
        await world.commit(30, publish=False)
        feed = await world.follow()
        assert feed.position == Head("e1", 30)

    run_in_virtual_time(main())


def test_an_empty_chat_needs_no_log() -> None:
    async def main() -> None:
        world = World()
        world.database.available = False
        feed = await world.follow()
        assert feed.position == Head("e1", 0)

    run_in_virtual_time(main())


def test_a_log_that_stays_behind_is_said_after_the_limit() -> None:
    async def main() -> None:
        world = World(FeedOptions(reach_limit_s=3.0))
        await world.commit(2)
        world.database.available = False
        feed = await world.feeds.hold("a")
        began = asyncio.get_running_loop().time()
        with pytest.raises(FeedBehind):
            await feed.reach(Head("e1", 5))
        assert asyncio.get_running_loop().time() - began == pytest.approx(3.0, abs=0.01)

    run_in_virtual_time(main())


def test_a_log_of_another_epoch_is_said_after_a_nudge() -> None:
    async def main() -> None:
        world = World()
        await world.commit(2)
        feed = await world.feeds.hold("a")
        with pytest.raises(EpochDiffers):
            await feed.reach(Head("e0", 1))

    run_in_virtual_time(main())


def test_holders_share_one_subscription_which_outlives_them_for_a_moment() -> None:
    async def main() -> None:
        world = World(FeedOptions(linger_s=5.0))
        first, second = await asyncio.gather(world.feeds.hold("a"), world.feeds.hold("a"))
        assert first is second
        assert world.log.subscriptions == 1
        world.feeds.release(first)
        world.feeds.release(first)
        await asyncio.sleep(4.9)
        assert await world.feeds.hold("a") is first
        await asyncio.sleep(5)
        assert world.log.subscriptions == 1
        world.feeds.release(first)
        await asyncio.sleep(5.1)
        assert (world.log.subscriptions, len(world.feeds)) == (0, 0)

    run_in_virtual_time(main())


def test_a_log_out_of_reach_fails_every_waiting_join_and_the_next_one_tries_anew() -> None:
    async def main() -> None:
        world = World()
        world.log.available = False
        outcomes = await asyncio.gather(world.feeds.hold("a"), world.feeds.hold("a"), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [LogUnavailable, LogUnavailable]
        assert len(world.feeds) == 0
        world.log.available = True
        assert (await world.feeds.hold("a")).position is None
        await world.feeds.close()
        assert world.log.subscriptions == 0

    run_in_virtual_time(main())


def test_one_cancelled_join_does_not_take_the_opening_from_another() -> None:
    async def main() -> None:
        world = World()
        gate = asyncio.Event()
        real = world.log.subscribe

        async def slow(chat_id, sink):
            await gate.wait()
            return await real(chat_id, sink)

        world.log.subscribe = slow
        first = asyncio.create_task(world.feeds.hold("a"))
        second = asyncio.create_task(world.feeds.hold("a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        gate.set()
        feed = await second
        assert feed.holders == 1

    run_in_virtual_time(main())


def test_the_sweep_restores_a_log_that_was_lost() -> None:
    async def main() -> None:
        world = World()
        await world.follow()
        await world.commit(3)
        world.log.drop("a")
        await world.feeds.sweep()
        assert await world.log.head("a") == Head("e1", 3)
        assert world.socket.seqs() == [1, 2, 3]

    run_in_virtual_time(main())


def test_a_sweep_survives_a_log_out_of_reach() -> None:
    async def main() -> None:
        world = World()
        await world.follow()
        world.log.available = False
        await world.feeds.sweep()

    run_in_virtual_time(main())
