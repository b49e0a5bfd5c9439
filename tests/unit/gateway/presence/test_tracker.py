"""Presence over several gateways, in virtual time: which events are sent, when, and to which members."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomcast.gateway.presence.signals import PresenceSignal
from roomcast.gateway.presence.tracker import PresenceOptions
from support.gateway_model import ClientSocket
from support.presence_model import (
    CHAT,
    OFFLINE_SENT_S,
    OPTIONS,
    SETTLED_S,
    PresenceCluster,
    PresenceGateway,
    online_users,
    run,
)
from support.virtual_time import run_in_virtual_time


def test_a_new_subscriber_is_sent_a_snapshot_and_members_a_delta() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        ann = await here.join("ann")
        await asyncio.sleep(SETTLED_S)
        ben = await there.join("ben")
        await asyncio.sleep(SETTLED_S)
        assert ann.frames == [
            ("presence", {"chatId": CHAT, "online": ["ann"], "offline": [], "reset": True}),
            ("presence", {"chatId": CHAT, "online": ["ben"], "offline": [], "reset": False}),
        ]
        assert ben.frames == [("presence", {"chatId": CHAT, "online": ["ann", "ben"], "offline": [], "reset": True})]

    run(scenario)


def test_a_user_is_online_until_the_last_device_leaves() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        watcher = await there.join("zoe")
        devices = [await here.join("ann"), await here.join("ann")]
        elsewhere = await there.join("ann")
        await asyncio.sleep(OFFLINE_SENT_S)
        received = len(watcher.frames)
        here.cut(devices[0])
        there.cut(elsewhere)
        await asyncio.sleep(OFFLINE_SENT_S)
        assert len(watcher.frames) == received
        assert online_users(watcher) == {"ann", "zoe"}
        here.cut(devices[1])
        await asyncio.sleep(OFFLINE_SENT_S)
        assert watcher.frames[received:] == [
            ("presence", {"chatId": CHAT, "online": [], "offline": ["ann"], "reset": False})
        ]

    run(scenario)


def test_a_reload_or_a_reconnect_to_another_gateway_sends_no_event() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        watchers = [await here.join("zoe"), await there.join("zoe")]
        at, ann = here, await here.join("ann")
        await asyncio.sleep(OFFLINE_SENT_S)
        received = [len(watcher.frames) for watcher in watchers]
        for after in (here, there, here):
            at.cut(ann)
            await asyncio.sleep(OPTIONS.offline_after_s - 1)
            at, ann = after, await after.join("ann")
            await asyncio.sleep(OFFLINE_SENT_S)
        assert [len(watcher.frames) for watcher in watchers] == received

    run(scenario)


def test_users_of_a_killed_gateway_are_sent_as_offline_once() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there, third = cluster.gateway(), cluster.gateway(), cluster.gateway()
        watchers = [await here.join("zoe"), await third.join("yan")]
        for user in ("ann", "ben"):
            await there.join(user)
        await here.join("ben")
        await asyncio.sleep(SETTLED_S)
        assert [online_users(watcher) for watcher in watchers] == [{"ann", "ben", "yan", "zoe"}] * 2
        there.die()
        await asyncio.sleep(OFFLINE_SENT_S)
        assert [online_users(watcher) for watcher in watchers] == [{"ben", "yan", "zoe"}] * 2
        for watcher in watchers:
            gone = [event["offline"] for _, event in watcher.frames if event["offline"]]
            assert gone == [["ann"]]
        late = await here.join("late")
        await asyncio.sleep(SETTLED_S)
        assert online_users(late) == {"ben", "late", "yan", "zoe"}

    run(scenario)


def test_entries_of_a_killed_gateway_are_ignored_and_evicted_when_a_chat_is_followed_again() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        there = cluster.gateway()
        await there.join("ann")
        await asyncio.sleep(SETTLED_S)
        there.die()
        assert cluster.entries == {CHAT: {there.node_id: {"ann"}}}
        here = cluster.gateway()
        ben = await here.join("ben")
        await asyncio.sleep(SETTLED_S)
        assert online_users(ben) == {"ben"}
        assert there.node_id not in cluster.entries[CHAT]

    run(scenario)


def test_gateways_add_their_users_again_after_the_board_lost_them() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        await here.join("ann")
        await asyncio.sleep(SETTLED_S)
        cluster.lose_data()
        here.presence.sweep_soon()
        await asyncio.sleep(SETTLED_S)
        ben = await there.join("ben")
        await asyncio.sleep(SETTLED_S)
        assert online_users(ben) == {"ann", "ben"}

    run(scenario)


def test_own_users_are_sent_while_board_and_signals_are_down_and_all_gateways_agree_afterwards() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        ann, ben = await here.join("ann"), await there.join("ben")
        await asyncio.sleep(SETTLED_S)
        cluster.board_down = True
        cluster.log.available = False
        cleo = await here.join("cleo", socket=here.rooms.socket())
        await asyncio.sleep(OFFLINE_SENT_S)
        assert online_users(ann) == online_users(cleo) == {"ann", "ben", "cleo"}
        assert online_users(ben) == {"ann", "ben"}
        cluster.board_down = False
        cluster.log.available = True
        here.presence.sweep_soon()
        there.presence.sweep_soon()
        await asyncio.sleep(OFFLINE_SENT_S + OPTIONS.sweep_s)
        assert online_users(ann) == online_users(ben) == online_users(cleo) == {"ann", "ben", "cleo"}

    run(scenario)


def test_an_anonymous_socket_sees_the_others_and_is_not_seen() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here = cluster.gateway()
        anonymous = await here.join(None)
        await here.join("ann")
        await asyncio.sleep(SETTLED_S)
        assert online_users(anonymous) == {"ann"}
        here.presence.identify(anonymous.sid, "late")
        await asyncio.sleep(SETTLED_S)
        assert online_users(anonymous) == {"ann", "late"}
        here.presence.identify(anonymous.sid, "other")
        await asyncio.sleep(OFFLINE_SENT_S)
        assert online_users(anonymous) == {"ann", "other"}
        assert here.presence.user_of(anonymous.sid) == "other"

    run(scenario)


def test_a_user_that_leaves_before_the_flush_is_never_sent() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here = cluster.gateway()
        watcher = await here.join("zoe")
        await asyncio.sleep(SETTLED_S)
        received = len(watcher.frames)
        here.presence._options = PresenceOptions(offline_after_s=0.01)
        here.leave(await here.join("ann"))
        await asyncio.sleep(OFFLINE_SENT_S)
        assert len(watcher.frames) == received

    run(scenario)


def test_no_state_is_kept_of_a_chat_without_members() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        sockets = [await here.join(user) for user in ("ann", "ben", None)]
        await asyncio.sleep(SETTLED_S)
        for socket in sockets:
            here.cut(socket)
        await asyncio.sleep(OFFLINE_SENT_S)
        assert len(here.presence) == 0
        assert not here.presence._user_of_socket
        assert not here.presence._chats_of_socket
        assert cluster.entries == {}
        # A signal does not create any.
        there.signals.send_soon(CHAT, PresenceSignal.model_construct(node=there.node_id, entered=("x",)))
        await asyncio.sleep(SETTLED_S)
        assert len(here.presence) == 0

    run(scenario)


def test_a_thousand_members_cost_each_a_few_events() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here = cluster.gateway()
        sockets = [await here.join(f"user {number:04}") for number in range(1_200)]
        await asyncio.sleep(SETTLED_S)
        assert all(len(socket.frames) == 1 for socket in sockets)
        (_, event) = sockets[0].frames[0]
        assert len(event["online"]) == OPTIONS.max_listed
        for socket in sockets[1:]:
            here.cut(socket)
        await asyncio.sleep(OFFLINE_SENT_S)
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
def test_a_malformed_signal_is_counted_and_ignored(payload: bytes) -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here = cluster.gateway()
        ann = await here.join("ann")
        await asyncio.sleep(SETTLED_S)
        received = len(ann.frames)
        await cluster.log.signal(CHAT, payload)
        await asyncio.sleep(SETTLED_S)
        assert (here.signals.counters["malformed"], len(ann.frames)) == (1, received)

    run(scenario)


def test_users_of_an_unlisted_gateway_expire() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here = cluster.gateway()
        ann = await here.join("ann")
        await asyncio.sleep(SETTLED_S)
        await cluster.log.signal(CHAT, b'{"v":1,"type":"moved","node":"invented","entered":["ghost"]}')
        await asyncio.sleep(SETTLED_S)
        assert online_users(ann) == {"ann", "ghost"}
        await asyncio.sleep(OPTIONS.new_node_s + OPTIONS.node_check_s + OPTIONS.offline_after_s + SETTLED_S)
        assert online_users(ann) == {"ann"}
        await asyncio.sleep(OFFLINE_SENT_S)
        assert not here.presence._sync._new_nodes

    run(scenario)


class RandomFaults:
    """Three gateways with random joins, departures, losses, outages and one crash."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.cluster = PresenceCluster(random)
        self.gateways = [self.cluster.gateway() for _ in range(3)]
        self.sockets: list[tuple[PresenceGateway, ClientSocket, str]] = []

    async def step(self) -> None:
        match self.random.choice(
            ("join", "join", "join", "cut", "cut", "wait", "drop signals", "board down", "lose data", "die")
        ):
            case "join":
                gateway, user = self.random.choice(self.gateways), self.random.choice("abcde")
                self.sockets.append((gateway, await gateway.join(user), user))
            case "cut" if self.sockets:
                gateway, socket, _ = self.sockets.pop(self.random.randrange(len(self.sockets)))
                gateway.cut(socket)
            case "drop signals":
                self.cluster.log.drops_deliveries = not self.cluster.log.drops_deliveries
            case "board down":
                self.cluster.board_down = not self.cluster.board_down
            case "lose data":
                self.cluster.lose_data()
            case "die" if len(self.gateways) == 3 and self.random.random() < 0.3:
                died = self.gateways.pop(self.random.randrange(3))
                died.die()
                self.sockets = [entry for entry in self.sockets if entry[0] is not died]
            case _:
                await asyncio.sleep(self.random.choice((0.01, 0.2, 2.0, 5.0)))

    async def heal(self) -> None:
        self.cluster.log.drops_deliveries = self.cluster.board_down = False
        for gateway in self.gateways:
            gateway.presence.sweep_soon()
        # Users that left while both signal and board were lost are held first.
        await asyncio.sleep(OPTIONS.hold_s + OPTIONS.sweep_s + OFFLINE_SENT_S)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_after_any_faults_all_clients_see_exactly_the_users_that_are_online(seed: int) -> None:
    async def main() -> None:
        faults = RandomFaults(Random(seed))
        for gateway in faults.gateways:
            faults.sockets.append((gateway, await gateway.join("zoe"), "zoe"))
        for _ in range(faults.random.randrange(5, 40)):
            await faults.step()
        await faults.heal()
        truth = {user for _, _, user in faults.sockets}
        for gateway, socket, _ in faults.sockets:
            assert online_users(socket) == truth, gateway.node_id
        received = [len(socket.frames) for _, socket, _ in faults.sockets]
        await asyncio.sleep(3 * OPTIONS.sweep_s)
        assert [len(socket.frames) for _, socket, _ in faults.sockets] == received
        await asyncio.gather(*(gateway.end() for gateway in faults.gateways))

    run_in_virtual_time(main())
