"""Presence over several gateways, in virtual time: who is announced, when, and to whom."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomcast.gateway.presence.signals import PresenceSignal
from roomcast.gateway.presence.tracker import PresenceOptions
from support.gateway_model import ClientSocket
from support.presence_model import CHAT, LATER_S, OPTIONS, SOON_S, Cluster, Gateway, picture, run
from support.virtual_time import run_in_virtual_time


def test_who_joins_gets_the_whole_picture_and_the_others_a_change() -> None:
    async def scenario(cluster: Cluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        ann = await here.join("ann")
        await asyncio.sleep(SOON_S)
        ben = await there.join("ben")
        await asyncio.sleep(SOON_S)
        assert ann.frames == [
            ("presence", {"chatId": CHAT, "online": ["ann"], "offline": [], "reset": True}),
            ("presence", {"chatId": CHAT, "online": ["ben"], "offline": [], "reset": False}),
        ]
        assert ben.frames == [("presence", {"chatId": CHAT, "online": ["ann", "ben"], "offline": [], "reset": True})]

    run(scenario)


def test_several_devices_of_a_user_are_one() -> None:
    async def scenario(cluster: Cluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        watcher = await there.join("zoe")
        devices = [await here.join("ann"), await here.join("ann")]
        elsewhere = await there.join("ann")
        await asyncio.sleep(LATER_S)
        told = len(watcher.frames)
        here.cut(devices[0])
        there.cut(elsewhere)
        await asyncio.sleep(LATER_S)
        assert len(watcher.frames) == told
        assert picture(watcher) == {"ann", "zoe"}
        here.cut(devices[1])
        await asyncio.sleep(LATER_S)
        assert watcher.frames[told:] == [
            ("presence", {"chatId": CHAT, "online": [], "offline": ["ann"], "reset": False})
        ]

    run(scenario)


def test_a_reload_is_not_seen_nor_is_a_reconnect_to_another_gateway() -> None:
    async def scenario(cluster: Cluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        watchers = [await here.join("zoe"), await there.join("zoe")]
        at, ann = here, await here.join("ann")
        await asyncio.sleep(LATER_S)
        told = [len(watcher.frames) for watcher in watchers]
        for after in (here, there, here):
            at.cut(ann)
            await asyncio.sleep(OPTIONS.offline_after_s - 1)
            at, ann = after, await after.join("ann")
            await asyncio.sleep(LATER_S)
        assert [len(watcher.frames) for watcher in watchers] == told

    run(scenario)


def test_a_killed_gateway_takes_its_users_with_it_once() -> None:
    async def scenario(cluster: Cluster) -> None:
        here, there, third = cluster.gateway(), cluster.gateway(), cluster.gateway()
        watchers = [await here.join("zoe"), await third.join("yan")]
        for user in ("ann", "ben"):
            await there.join(user)
        await here.join("ben")
        await asyncio.sleep(SOON_S)
        assert [picture(watcher) for watcher in watchers] == [{"ann", "ben", "yan", "zoe"}] * 2
        there.die()
        await asyncio.sleep(LATER_S)
        assert [picture(watcher) for watcher in watchers] == [{"ben", "yan", "zoe"}] * 2
        for watcher in watchers:
            gone = [event["offline"] for _, event in watcher.frames if event["offline"]]
            assert gone == [["ann"]]
        late = await here.join("late")
        await asyncio.sleep(SOON_S)
        assert picture(late) == {"ben", "late", "yan", "zoe"}

    run(scenario)


def test_a_chat_that_is_followed_anew_passes_over_what_a_killed_gateway_left_on_the_board() -> None:
    async def scenario(cluster: Cluster) -> None:
        there = cluster.gateway()
        await there.join("ann")
        await asyncio.sleep(SOON_S)
        there.die()
        assert cluster.entries == {CHAT: {there.node_id: {"ann"}}}
        here = cluster.gateway()
        ben = await here.join("ben")
        await asyncio.sleep(SOON_S)
        assert picture(ben) == {"ben"}
        assert there.node_id not in cluster.entries[CHAT]

    run(scenario)


def test_a_board_that_forgets_is_written_again() -> None:
    async def scenario(cluster: Cluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        await here.join("ann")
        await asyncio.sleep(SOON_S)
        cluster.lose_data()
        here.presence.sweep_soon()
        await asyncio.sleep(SOON_S)
        ben = await there.join("ben")
        await asyncio.sleep(SOON_S)
        assert picture(ben) == {"ann", "ben"}

    run(scenario)


def test_while_the_board_and_the_signals_are_away_the_own_users_are_told_and_all_heals() -> None:
    async def scenario(cluster: Cluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        ann, ben = await here.join("ann"), await there.join("ben")
        await asyncio.sleep(SOON_S)
        cluster.away = True
        cluster.log.available = False
        cleo = await here.join("cleo", socket=here.rooms.socket())
        await asyncio.sleep(LATER_S)
        assert picture(ann) == picture(cleo) == {"ann", "ben", "cleo"}
        assert picture(ben) == {"ann", "ben"}
        cluster.away = False
        cluster.log.available = True
        here.presence.sweep_soon()
        there.presence.sweep_soon()
        await asyncio.sleep(LATER_S + OPTIONS.sweep_s)
        assert picture(ann) == picture(ben) == picture(cleo) == {"ann", "ben", "cleo"}

    run(scenario)


def test_who_never_said_who_they_are_sees_the_others_and_is_not_seen() -> None:
    async def scenario(cluster: Cluster) -> None:
        here = cluster.gateway()
        nobody = await here.join(None)
        await here.join("ann")
        await asyncio.sleep(SOON_S)
        assert picture(nobody) == {"ann"}
        here.presence.identify(nobody.sid, "late")
        await asyncio.sleep(SOON_S)
        assert picture(nobody) == {"ann", "late"}
        here.presence.identify(nobody.sid, "other")
        await asyncio.sleep(LATER_S)
        assert picture(nobody) == {"ann", "other"}
        assert here.presence.user_of(nobody.sid) == "other"

    run(scenario)


def test_who_left_before_anybody_was_told_is_never_mentioned() -> None:
    async def scenario(cluster: Cluster) -> None:
        here = cluster.gateway()
        watcher = await here.join("zoe")
        await asyncio.sleep(SOON_S)
        told = len(watcher.frames)
        here.presence._options = PresenceOptions(offline_after_s=0.01)
        here.leave(await here.join("ann"))
        await asyncio.sleep(LATER_S)
        assert len(watcher.frames) == told

    run(scenario)


def test_nothing_is_kept_of_a_chat_that_nobody_follows() -> None:
    async def scenario(cluster: Cluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        sockets = [await here.join(user) for user in ("ann", "ben", None)]
        await asyncio.sleep(SOON_S)
        for socket in sockets:
            here.cut(socket)
        await asyncio.sleep(LATER_S)
        assert len(here.presence) == 0
        assert not here.presence._user_of_socket
        assert not here.presence._chats_of_socket
        assert cluster.entries == {}
        # Nor is one begun by what others say.
        there.signals.send_soon(CHAT, PresenceSignal.model_construct(node=there.node_id, entered=("x",)))
        await asyncio.sleep(SOON_S)
        assert len(here.presence) == 0

    run(scenario)


def test_a_thousand_members_cost_each_a_few_events() -> None:
    async def scenario(cluster: Cluster) -> None:
        here = cluster.gateway()
        sockets = [await here.join(f"user {number:04}") for number in range(1_200)]
        await asyncio.sleep(SOON_S)
        assert all(len(socket.frames) == 1 for socket in sockets)
        (_, event) = sockets[0].frames[0]
        assert len(event["online"]) == OPTIONS.max_listed
        for socket in sockets[1:]:
            here.cut(socket)
        await asyncio.sleep(LATER_S)
        gone = [user for _, event in sockets[0].frames for user in event["offline"]]
        assert len(gone) == len(set(gone)) == 1_199

    run(scenario)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x80\x04pickle",
        b"[]",
        b'{"v":2,"type":"moved","node":"node-001","entered":["x"]}',
        b'{"v":1,"type":"other","node":"node-001"}',
        b'{"v":1,"type":"moved","node":"short","entered":["x"]}',
        b'{"v":1,"type":"moved","node":"node-001","entered":["\\u0000"]}',
        b'{"v":1,"type":"moved","node":"node-001","entered":"ann"}',
        b'{"v":1,"type":"wrote","node":"node-001","user":"ann","typing":"yes"}',
    ],
)
def test_a_signal_that_is_none_is_counted_and_changes_nothing(payload: bytes) -> None:
    async def scenario(cluster: Cluster) -> None:
        here = cluster.gateway()
        ann = await here.join("ann")
        await asyncio.sleep(SOON_S)
        told = len(ann.frames)
        await cluster.log.signal(CHAT, payload)
        await asyncio.sleep(SOON_S)
        assert (here.signals.counters["malformed"], len(ann.frames)) == (1, told)

    run(scenario)


def test_a_gateway_that_nobody_knows_is_believed_for_a_while_only() -> None:
    async def scenario(cluster: Cluster) -> None:
        here = cluster.gateway()
        ann = await here.join("ann")
        await asyncio.sleep(SOON_S)
        await cluster.log.signal(CHAT, b'{"v":1,"type":"moved","node":"invented","entered":["ghost"]}')
        await asyncio.sleep(SOON_S)
        assert picture(ann) == {"ann", "ghost"}
        await asyncio.sleep(OPTIONS.new_node_s + OPTIONS.node_check_s + OPTIONS.offline_after_s + SOON_S)
        assert picture(ann) == {"ann"}
        await asyncio.sleep(LATER_S)
        assert not here.presence._sync._new_nodes

    run(scenario)


class Chance:
    """Three gateways to which anything may happen."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.cluster = Cluster(random)
        self.gateways = [self.cluster.gateway() for _ in range(3)]
        self.sockets: list[tuple[Gateway, ClientSocket, str]] = []

    async def step(self) -> None:
        match self.random.choice(("join", "join", "join", "cut", "cut", "wait", "lose", "away", "forget", "die")):
            case "join":
                gateway, user = self.random.choice(self.gateways), self.random.choice("abcde")
                self.sockets.append((gateway, await gateway.join(user), user))
            case "cut" if self.sockets:
                gateway, socket, _ = self.sockets.pop(self.random.randrange(len(self.sockets)))
                gateway.cut(socket)
            case "lose":
                self.cluster.log.drops_deliveries = not self.cluster.log.drops_deliveries
            case "away":
                self.cluster.away = not self.cluster.away
            case "forget":
                self.cluster.lose_data()
            case "die" if len(self.gateways) == 3 and self.random.random() < 0.3:
                died = self.gateways.pop(self.random.randrange(3))
                died.die()
                self.sockets = [entry for entry in self.sockets if entry[0] is not died]
            case _:
                await asyncio.sleep(self.random.choice((0.01, 0.2, 2.0, 5.0)))

    async def heal(self) -> None:
        self.cluster.log.drops_deliveries = self.cluster.away = False
        for gateway in self.gateways:
            gateway.presence.sweep_soon()
        # Who left unheard while the board forgot everything, too, is doubted first.
        await asyncio.sleep(OPTIONS.hold_s + OPTIONS.sweep_s + LATER_S)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_whatever_happens_everybody_ends_with_the_same_picture_and_it_is_true(seed: int) -> None:
    async def main() -> None:
        world = Chance(Random(seed))
        for gateway in world.gateways:
            world.sockets.append((gateway, await gateway.join("zoe"), "zoe"))
        for _ in range(world.random.randrange(5, 40)):
            await world.step()
        await world.heal()
        truth = {user for _, _, user in world.sockets}
        for gateway, socket, _ in world.sockets:
            assert picture(socket) == truth, gateway.node_id
        told = [len(socket.frames) for _, socket, _ in world.sockets]
        await asyncio.sleep(3 * OPTIONS.sweep_s)
        assert [len(socket.frames) for _, socket, _ in world.sockets] == told
        await asyncio.gather(*(gateway.end() for gateway in world.gateways))

    run_in_virtual_time(main())
