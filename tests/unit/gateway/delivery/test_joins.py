from __future__ import annotations

import asyncio

import pytest

from roomcast.chat.ports import LogEntry
from roomcast.contract.errors import ErrorCode
from roomcast.eventlog.memory import MemoryLogOptions
from roomcast.gateway.delivery.chat_feed import FeedOptions
from roomcast.gateway.delivery.feeds import Feeds
from roomcast.gateway.delivery.joins import JoinOptions, JoinRefused, Joins
from roomcast.gateway.delivery.replay import ReplayLimits
from roomcast.gateway.ports import Cursor
from roomcast.gateway.rooms import chat_room
from support.gateway_model import Database, LocalRooms, UnreliableLog, entry
from support.virtual_time import run_in_virtual_time


class World:
    def __init__(self, options: JoinOptions | None = None, log_options: MemoryLogOptions | None = None) -> None:
        self.log = UnreliableLog(options=log_options)
        self.database = Database(self.log, seed_entries=1_000)
        self.rooms = LocalRooms()
        self.feeds = Feeds(self.log, self.database, self.rooms, FeedOptions(linger_s=1.0))
        self.joins = Joins(self.feeds, self.database, options)

    async def commit(self, count: int = 1) -> None:
        for _ in range(count):
            self.database.commit("a")
        await self.database.publish("a")

    async def join(self, socket, seq: int | None = None, *, epoch: str = "e1", user: str | None = None):
        since = None if seq is None else Cursor(epoch=epoch, seq=seq)
        return await self.joins.join(socket, "a", user, since)


def test_a_join_without_a_cursor_replays_nothing_and_acks_the_seq_before_the_first_live_event() -> None:
    async def main() -> None:
        world = World()
        await world.commit(3)
        socket = world.rooms.socket()
        ack = await world.join(socket)
        assert ack.model_dump() == {"ok": True, "chatId": "a", "epoch": "e1", "seq": 3, "recovered": True}
        await world.commit()
        assert socket.seqs() == [4]

    run_in_virtual_time(main())


def test_a_join_replays_exactly_the_events_after_the_cursor() -> None:
    async def main() -> None:
        world = World()
        await world.commit(5)
        socket = world.rooms.socket()
        ack = await world.join(socket, 2)
        assert (ack.seq, ack.recovered, socket.seqs()) == (5, True, [3, 4, 5])

    run_in_virtual_time(main())


def test_events_between_the_read_and_the_room_are_neither_lost_nor_sent_twice() -> None:
    async def main() -> None:
        world = World()
        await world.commit(3)
        socket = world.rooms.socket()
        real = world.log.read

        async def read_then_append(*args):
            found = await real(*args)
            await world.commit(2)
            return found

        world.log.read = read_then_append
        ack = await world.join(socket, 1)
        assert (ack.seq, socket.seqs()) == (5, [2, 3, 4, 5])
        await world.commit()
        assert socket.seqs() == [2, 3, 4, 5, 6]

    run_in_virtual_time(main())


def count_reads(world: World) -> list[int]:
    """The ``after`` of each read of the log from now on."""
    reads: list[int] = []
    real = world.log.read

    async def read(chat_id, epoch, after, limit):
        reads.append(after)
        await asyncio.sleep(0.01)
        return await real(chat_id, epoch, after, limit)

    world.log.read = read
    return reads


def test_clients_that_return_together_share_one_read_and_each_receives_what_it_missed() -> None:
    async def main() -> None:
        world = World()
        await world.commit(9)
        reads = count_reads(world)
        sockets = [world.rooms.socket() for _ in range(50)]
        joining = [asyncio.create_task(world.join(socket, 4)) for socket in sockets]
        await asyncio.sleep(0.005)
        await world.commit(2)  # during the read
        for ack in await asyncio.gather(*joining):
            assert (ack.seq, ack.recovered) == (11, True)
        await world.commit()
        later = [(after, world.rooms.socket()) for after in (4, 8, 11)]
        for after, socket in later:
            assert (await world.join(socket, after)).recovered
        assert reads == [4]
        await world.commit()
        for after, socket in [*((4, socket) for socket in sockets), *later]:
            assert socket.seqs() == list(range(after + 1, 14))
        first, second = (socket.events[0] for socket in sockets[:2])
        assert first is second  # encoded once

    run_in_virtual_time(main())


def test_clients_that_missed_different_events_each_receive_their_own() -> None:
    async def main() -> None:
        world = World()
        await world.commit(20)
        count_reads(world)
        sockets = [(after, world.rooms.socket()) for after in (15, 3, 7, 19, 0, 20)]
        acks = await asyncio.gather(*(world.join(socket, after) for after, socket in sockets))
        assert all(ack.recovered for ack in acks)
        for after, socket in sockets:
            assert socket.seqs() == list(range(after + 1, 21))

    run_in_virtual_time(main())


def test_a_shared_replay_ends_with_its_time_its_limits_and_its_epoch() -> None:
    async def main() -> None:
        world = World(JoinOptions(replay=ReplayLimits(max_entries=10)))
        await world.commit(10)
        reads = count_reads(world)
        holder = world.rooms.socket()
        assert (await world.join(holder, 0)).recovered
        assert (await world.join(world.rooms.socket(), 5)).recovered
        assert reads == [0]
        await asyncio.sleep(FeedOptions().tail_s)
        assert (await world.join(world.rooms.socket(), 0)).recovered
        assert reads == [0, 0]
        await world.commit()  # the eleventh: more than a replay may have
        assert not (await world.join(world.rooms.socket(), 0)).recovered
        assert (await world.join(world.rooms.socket(), 5)).recovered
        assert reads == [0, 0, 5]
        world.database.restore(lose=3)
        await world.commit(2)
        returned = world.rooms.socket()
        ack = await world.join(returned, 8, epoch="e1")
        assert (ack.epoch, ack.recovered, returned.seqs()) == ("e2", True, [9, 10])
        assert reads == [0, 0, 5, 8]

    run_in_virtual_time(main())


def test_a_large_replay_is_shared_for_less_time_than_a_small_one() -> None:
    async def main() -> None:
        world = World()
        text = b"x" * 32_768
        world.database._entry = lambda _chat, seq, _epoch: LogEntry(
            seq, b'["new-msg",{"seq":%d,"text":"%b"}]' % (seq, text)
        )
        await world.commit(8)
        reads = count_reads(world)
        for pause_s in (0.0, FeedOptions().tail_s / 8, FeedOptions().tail_s / 4):
            await asyncio.sleep(pause_s)
            assert (await world.join(world.rooms.socket(), 0)).recovered
        assert reads == [0, 0]

    run_in_virtual_time(main())


def test_a_client_that_missed_little_is_recovered_while_the_replay_of_another_reaches_its_limit() -> None:
    async def main() -> None:
        world = World(JoinOptions(replay=ReplayLimits(max_entries=10)))
        await world.commit(10)
        await world.join(world.rooms.socket())
        real = world.log.read
        commits: list[asyncio.Task[None]] = []

        async def read(chat_id, epoch, after, limit):
            found = await real(chat_id, epoch, after, limit)
            await asyncio.sleep(0.02 if after == 8 else 0.01)
            if after == 8 and not commits:
                # The event arrives after the end of this read, and before the join continues.
                commits.append(asyncio.create_task(world.commit()))
            return found

        world.log.read = read
        far, near = world.rooms.socket(), world.rooms.socket()
        acks = await asyncio.gather(world.join(far, 0), world.join(near, 8))
        assert [(ack.seq, ack.recovered) for ack in acks] == [(10, True), (11, True)]
        assert (far.seqs(), near.seqs()) == (list(range(1, 12)), [9, 10, 11])

    run_in_virtual_time(main())


def test_a_failed_read_refuses_the_joins_that_share_it_and_the_next_ones_read_again() -> None:
    async def main() -> None:
        world = World()
        await world.commit(5)
        await world.join(world.rooms.socket())
        reads = count_reads(world)
        joining = [asyncio.create_task(world.join(world.rooms.socket(), 2)) for _ in range(3)]
        await asyncio.sleep(0.005)
        world.log.available = False
        for refused in await asyncio.gather(*joining, return_exceptions=True):
            assert isinstance(refused, JoinRefused)
            assert refused.code is ErrorCode.UNAVAILABLE
        world.log.available = True
        assert (await world.join(world.rooms.socket(), 2)).recovered
        assert reads == [2, 2]

    run_in_virtual_time(main())


def test_entries_beyond_the_feeds_position_are_not_replayed_but_emitted_to_the_room() -> None:
    async def main() -> None:
        world = World()
        await world.commit(2)
        holder = world.rooms.socket()
        await world.join(holder)
        world.log.drops_deliveries = True
        world.database.commit("a")
        # The delivery of 3 is lost, and the admission was made before it.
        real = world.database.admit

        async def admit_first(*args):
            admission = await real(*args)
            return type(admission)(type(admission.head)("e1", 2), admission.reset)

        await world.database.publish("a")
        world.database.admit = admit_first
        socket = world.rooms.socket()
        ack = await world.join(socket, 1)
        assert (ack.seq, socket.seqs()) == (2, [2])
        await world.feeds.sweep()
        await asyncio.sleep(0.1)
        assert socket.seqs() == [2, 3]
        assert holder.seqs() == [3]

    run_in_virtual_time(main())


@pytest.mark.parametrize(("missed", "recovered"), [(10, True), (11, False)])
def test_a_replay_is_bounded_in_events_and_never_partial(missed, recovered) -> None:
    async def main() -> None:
        world = World(JoinOptions(replay=ReplayLimits(max_entries=10)))
        await world.commit(missed)
        socket = world.rooms.socket()
        ack = await world.join(socket, 0)
        assert (ack.recovered, len(socket.seqs())) == (recovered, missed if recovered else 0)
        assert ack.seq == missed

    run_in_virtual_time(main())


def test_a_replay_is_bounded_in_bytes() -> None:
    async def main() -> None:
        world = World()
        await world.commit(10)
        size = len((await world.log.inner.read("a", "e1", 0, 1)).entries[0].args) * 10
        for limit, recovered in ((size + 1, True), (size - 10, False)):
            joins = Joins(world.feeds, world.database, JoinOptions(replay=ReplayLimits(max_bytes=limit)))
            ack = await joins.join(world.rooms.socket(), "a", None, Cursor(epoch="e1", seq=0))
            assert ack.recovered is recovered

    run_in_virtual_time(main())


def test_a_trimmed_log_is_acked_as_not_recovered() -> None:
    async def main() -> None:
        world = World(log_options=MemoryLogOptions(max_entries=3))
        await world.commit(5)
        socket = world.rooms.socket()
        ack = await world.join(socket, 1)
        assert (ack.recovered, ack.seq, socket.seqs()) == (False, 5, [])
        await world.commit()
        assert socket.seqs() == [6]

    run_in_virtual_time(main())


def test_a_cursor_of_another_history_resets() -> None:
    async def main() -> None:
        world = World()
        await world.commit(5)
        world.database.restore(lose=2)
        await world.commit(2)
        socket = world.rooms.socket()
        ack = await world.join(socket, 5)
        assert (ack.epoch, ack.seq, ack.recovered, ack.reset, socket.frames) == ("e2", 5, False, True, [])

    run_in_virtual_time(main())


def test_a_cursor_of_an_earlier_epoch_of_this_history_is_valid() -> None:
    async def main() -> None:
        world = World()
        await world.commit(5)
        world.database.restore(lose=0)
        socket = world.rooms.socket()
        ack = await world.join(socket, 3)
        assert (ack.epoch, ack.recovered, ack.reset, socket.seqs()) == ("e2", True, False, [4, 5])

    run_in_virtual_time(main())


def test_joining_twice_sends_nothing_twice() -> None:
    async def main() -> None:
        world = World()
        await world.commit(3)
        socket = world.rooms.socket()
        first, second = await asyncio.gather(world.join(socket, 1), world.join(socket, 1))
        assert (first.recovered, second.recovered, socket.seqs()) == (True, True, [2, 3])
        await world.commit()
        assert socket.seqs() == [2, 3, 4]
        world.joins.drop(socket.sid)
        await asyncio.sleep(2)
        assert len(world.feeds) == 0

    run_in_virtual_time(main())


def test_a_repeated_join_with_an_older_cursor_than_the_first_is_not_recovered() -> None:
    async def main() -> None:
        world = World()
        await world.commit(3)
        socket = world.rooms.socket()
        await world.join(socket)
        assert (await world.join(socket, 3)).recovered is True
        assert (await world.join(socket, 2)).recovered is False

    run_in_virtual_time(main())


def test_a_repeated_join_with_a_cursor_before_a_resync_is_not_recovered() -> None:
    async def main() -> None:
        world = World()
        socket = world.rooms.socket()
        await world.join(socket)
        feed = await world.feeds.acquire("a")
        world.log.available = world.database.available = False
        world.database.heads["a"] = 5
        world.database.written_in["a"] = [0] * 5
        feed._on_entries("e1", [entry(5)])
        await asyncio.sleep(0.3)
        assert socket.frames[-1][0] == "resync"
        world.log.available = world.database.available = True
        assert (await world.join(socket, 0)).recovered is False
        assert (await world.join(socket, 5)).recovered is True

    run_in_virtual_time(main())


def test_leave_ends_the_join_before_it() -> None:
    async def main() -> None:
        world = World()
        await world.commit(2)
        socket = world.rooms.socket()
        joining = asyncio.create_task(world.join(socket, 0))
        leaving = asyncio.create_task(world.joins.leave(socket, "a"))
        ack = await joining
        await leaving
        assert ack.seq == 2
        await world.commit()
        assert socket.seqs() == [1, 2]
        assert len(world.joins._sockets) == 0

    run_in_virtual_time(main())


def test_leaving_and_disconnecting_end_the_watch_on_the_membership() -> None:
    async def main() -> None:
        world = World()
        world.database.members = {"ada"}
        first, second = world.rooms.socket(), world.rooms.socket()
        for socket in (first, second):
            await world.join(socket, user="ada")
        await world.joins.leave(first, "a")
        assert list(world.feeds.memberships._kicks["a"]["ada"]) == [second.sid]
        world.joins.drop(second.sid)
        assert world.feeds.memberships._kicks == {}

    run_in_virtual_time(main())


def test_leaving_a_chat_that_was_not_joined_is_harmless() -> None:
    async def main() -> None:
        world = World()
        await world.joins.leave(world.rooms.socket(), "a")

    run_in_virtual_time(main())


def test_a_socket_that_disconnects_during_its_join_leaves_no_subscription() -> None:
    async def main() -> None:
        world = World()
        await world.commit(2)
        socket = world.rooms.socket()
        real = world.log.read

        async def read_then_go(*args):
            found = await real(*args)
            world.rooms.cut(socket)
            world.joins.drop(socket.sid)
            return found

        world.log.read = read_then_go
        with pytest.raises(JoinRefused):
            await world.join(socket, 0)
        assert world.rooms.members[chat_room("a")] == set()
        await asyncio.sleep(2)
        assert (len(world.joins._sockets), len(world.feeds)) == (0, 0)

    run_in_virtual_time(main())


def test_a_cancelled_join_leaves_no_subscription() -> None:
    async def main() -> None:
        world = World()
        await world.commit(2)
        gate = asyncio.Event()

        async def read_never(*_args):
            await gate.wait()

        world.log.read = read_never
        socket = world.rooms.socket()
        joining = asyncio.create_task(world.join(socket, 0))
        await asyncio.sleep(0.01)
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining
        await asyncio.sleep(2)
        assert (len(world.joins._sockets), len(world.feeds)) == (0, 0)

    run_in_virtual_time(main())


def test_a_user_who_is_no_longer_admitted_is_forbidden_and_leaves_the_room() -> None:
    async def main() -> None:
        world = World()
        world.database.members = {"ada"}
        socket = world.rooms.socket()
        await world.join(socket, user="ada")
        world.database.members = set()
        with pytest.raises(JoinRefused) as refused:
            await world.join(socket, user="ada")
        assert refused.value.code is ErrorCode.FORBIDDEN
        await world.commit()
        assert socket.frames == []

    run_in_virtual_time(main())


@pytest.mark.parametrize("broken", ["api", "log"])
def test_an_outage_of_api_or_log_is_unavailable_never_forbidden(broken) -> None:
    async def main() -> None:
        world = World()
        await world.commit()
        if broken == "api":
            world.database.available = False
        else:
            world.log.available = False
        with pytest.raises(JoinRefused) as refused:
            await world.join(world.rooms.socket(), 0)
        assert refused.value.code is ErrorCode.UNAVAILABLE
        await asyncio.sleep(2)
        assert (len(world.joins._sockets), len(world.feeds)) == (0, 0)

    run_in_virtual_time(main())


def test_a_join_whose_epoch_ends_during_the_replay_is_unavailable() -> None:
    async def main() -> None:
        world = World()
        await world.commit(3)
        socket = world.rooms.socket()
        real = world.log.read

        async def read_then_restore(*args):
            found = await real(*args)
            world.database.restore(lose=0)
            await world.database.publish("a")
            return found

        world.log.read = read_then_restore
        with pytest.raises(JoinRefused) as refused:
            await world.join(socket, 1)
        assert refused.value.code is ErrorCode.UNAVAILABLE
        assert socket.frames == []
        assert world.rooms.members[chat_room("a")] == set()

    run_in_virtual_time(main())


def test_one_socket_follows_a_bounded_number_of_chats() -> None:
    async def main() -> None:
        world = World(JoinOptions(max_chats_per_socket=2))
        socket = world.rooms.socket()
        for chat_id in ("a", "b"):
            await world.joins.join(socket, chat_id, None, None)
        with pytest.raises(JoinRefused) as refused:
            await world.joins.join(socket, "c", None, None)
        assert refused.value.code is ErrorCode.LIMIT_REACHED
        await world.joins.leave(socket, "a")
        await world.joins.join(socket, "c", None, None)

    run_in_virtual_time(main())


def test_one_join_asks_the_api_once() -> None:
    async def main() -> None:
        world = World()
        await world.commit(3)
        await world.join(world.rooms.socket(), 1)
        assert world.database.admissions == 1

    run_in_virtual_time(main())
