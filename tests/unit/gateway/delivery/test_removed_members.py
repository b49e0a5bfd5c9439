"""A removed member receives nothing after the removal, whatever else fails."""

from __future__ import annotations

import asyncio

import pytest

from roomcast.contract.errors import ErrorCode
from roomcast.eventlog.memory import MemoryLogOptions
from roomcast.gateway.delivery.chat_feed import FeedOptions
from roomcast.gateway.delivery.feeds import Feeds
from roomcast.gateway.delivery.joins import JoinRefused, Joins
from roomcast.gateway.ports import Cursor
from support.gateway_model import ClientSocket, Database, LocalRooms, UnreliableLog
from support.virtual_time import run_in_virtual_time


class Gateway:
    """One gateway over a log and a database that may be shared with others."""

    def __init__(self, log: UnreliableLog, database: Database) -> None:
        self.rooms = LocalRooms()
        self.database = database
        self.feeds = Feeds(log, database, self.rooms, FeedOptions(linger_s=1.0))
        self.joins = Joins(self.feeds, database)

    async def join(self, user: str, seq: int | None = None) -> ClientSocket:
        socket = self.rooms.socket()
        await self.rejoin(socket, user, seq)
        return socket

    async def rejoin(self, socket: ClientSocket, user: str, seq: int | None = None) -> None:
        since = None if seq is None else Cursor(epoch="e1", seq=seq)
        await self.joins.join(socket, "a", user, since)


class World:
    def __init__(self, log_options: MemoryLogOptions | None = None) -> None:
        self.log = UnreliableLog(options=log_options)
        self.database = Database(self.log, seed_entries=1_000)
        self.database.members = {"ada", "bob"}
        self.database.caches_grants = True
        self.gateway = Gateway(self.log, self.database)

    async def commit(self, count: int = 1) -> None:
        for _ in range(count):
            self.database.commit("a")
        await self.database.publish("a")

    async def remove(self, user: str) -> None:
        self.database.remove("a", user)
        await self.database.publish("a")

    async def lose(self, count: int) -> None:
        """Commit events that the gateway's subscription loses and the log no longer has."""
        self.log.drops_deliveries = True
        await self.commit(count)
        self.log.drops_deliveries = False


async def refusal(join) -> ErrorCode:
    with pytest.raises(JoinRefused) as raised:
        await join
    return raised.value.code


def test_a_removed_member_cannot_rejoin_with_a_cached_admission_while_the_api_is_unavailable() -> None:
    async def main() -> None:
        world = World()
        await world.commit(2)
        bob = await world.gateway.join("bob")
        await world.remove("bob")
        world.database.available = False
        assert await refusal(world.gateway.rejoin(bob, "bob", 3)) is ErrorCode.UNAVAILABLE
        await world.commit()
        assert bob.seqs() == []

    run_in_virtual_time(main())


def test_a_cached_admission_is_checked_against_the_removals_that_the_log_has_since() -> None:
    async def main() -> None:
        world = World()
        await world.commit(2)
        # Both leave: the gateway no longer follows the chat, and its cache still admits them.
        for user in ("ada", "bob"):
            await world.gateway.joins.leave(await world.gateway.join(user), "a")
        await asyncio.sleep(2)
        await world.remove("bob")
        await world.commit()
        world.database.available = False
        assert await refusal(world.gateway.join("bob", 2)) is ErrorCode.UNAVAILABLE
        assert await refusal(world.gateway.join("bob")) is ErrorCode.UNAVAILABLE
        ada = await world.gateway.join("ada", 2)
        await world.commit()
        assert ada.seqs() == [4, 5]
        world.database.available = True
        assert await refusal(world.gateway.join("bob", 2)) is ErrorCode.FORBIDDEN

    run_in_virtual_time(main())


@pytest.mark.parametrize("seq", [None, 2])
def test_a_cached_admission_does_not_serve_where_the_log_cannot_show_the_events_since(seq) -> None:
    async def main() -> None:
        world = World(MemoryLogOptions(max_entries=10))
        await world.commit(2)
        await world.gateway.joins.leave(await world.gateway.join("ada"), "a")
        await asyncio.sleep(2)
        await world.commit(20)
        world.database.available = False
        assert await refusal(world.gateway.join("ada", seq)) is ErrorCode.UNAVAILABLE

    run_in_virtual_time(main())


@pytest.mark.parametrize("outage_s", [0, 70])
def test_after_a_resync_nothing_is_delivered_before_the_api_has_confirmed_the_members(outage_s) -> None:
    async def main() -> None:
        world = World(MemoryLogOptions(max_entries=10))
        await world.commit(1)
        ada, bob = await world.gateway.join("ada"), await world.gateway.join("bob")
        world.log.drops_deliveries = True
        await world.remove("bob")
        await world.commit(20)
        world.log.drops_deliveries = False
        world.database.available = outage_s == 0
        await world.commit()
        await asyncio.sleep(1)
        assert [name for name, _ in ada.frames if name == "resync"] == ["resync"]
        if outage_s:
            await world.commit(2)
            await asyncio.sleep(outage_s)
            assert (ada.seqs(), bob.seqs()) == ([], [])
            world.database.available = True
        else:
            await world.commit(2)
        await asyncio.sleep(6)
        assert (ada.seqs(), bob.seqs()) == ([24, 25], [])
        await world.commit()
        assert (ada.seqs(), bob.seqs()) == ([24, 25, 26], [])

    run_in_virtual_time(main())


def test_the_room_of_an_unauthenticated_chat_waits_for_no_confirmation() -> None:
    async def main() -> None:
        world = World(MemoryLogOptions(max_entries=10))
        world.database.members = None
        await world.commit(1)
        socket = world.gateway.rooms.socket()
        await world.gateway.joins.join(socket, "a", None, None)
        await world.lose(20)
        world.database.available = False
        await world.commit()
        await asyncio.sleep(1)
        await world.commit()
        assert socket.seqs()[-1] == 23

    run_in_virtual_time(main())


def test_signals_are_lost_while_the_members_are_being_confirmed() -> None:
    async def main() -> None:
        received: list[bytes] = []
        world = World(MemoryLogOptions(max_entries=10))
        world.gateway.feeds._signals = lambda _chat_id, payload: received.append(payload)
        await world.commit(1)
        await world.gateway.join("ada")
        await world.log.signal("a", b"1")
        await world.lose(20)
        world.database.available = False
        await world.commit()
        await asyncio.sleep(1)
        await world.log.signal("a", b"2")
        world.database.available = True
        await asyncio.sleep(6)
        await world.log.signal("a", b"3")
        assert received == [b"1", b"3"]

    run_in_virtual_time(main())
