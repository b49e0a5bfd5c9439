"""Presence while Redis loses data, hangs or fails, and while gateways start and crash: no false event is sent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from roomcast.chat.ports import BoardSnapshot
from roomcast.presence.redis import RedisPresenceOptions
from support.gateway_model import ClientSocket
from support.presence_model import CHAT, OFFLINE_SENT_S, OPTIONS, SETTLED_S, PresenceCluster, online_users, run

#: The jitter of the sweeps is random; it decides which gateway compares with the board first.
REPETITIONS = range(10)
FEW_S = 2.0


def received_since(socket: ClientSocket, start: int) -> list[dict[str, Any]]:
    return [event for name, event in socket.frames[start:] if name == "presence"]


@pytest.mark.parametrize("after_s", [SETTLED_S, OFFLINE_SENT_S, OPTIONS.sweep_s + OFFLINE_SENT_S])
@pytest.mark.parametrize("_repetition", REPETITIONS)
def test_no_user_is_shown_as_gone_when_redis_loses_all_data(_repetition: int, after_s: float) -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        gateways = [cluster.gateway() for _ in range(3)]
        watchers = [await gateway.join(user) for gateway, user in zip(gateways, ("ann", "ben", None), strict=True)]
        await asyncio.sleep(after_s)
        received = [len(watcher.frames) for watcher in watchers]
        cluster.lose_data()
        await asyncio.sleep(4 * OPTIONS.sweep_s)
        assert [received_since(watcher, start) for watcher, start in zip(watchers, received, strict=True)] == [[]] * 3
        assert set(cluster.entries[CHAT]) == {gateways[0].node_id, gateways[1].node_id}

    run(scenario)


@pytest.mark.parametrize("_repetition", REPETITIONS)
def test_a_subscriber_right_after_a_data_loss_sees_all_users_after_the_next_sweeps(_repetition: int) -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        await here.join("ann")
        await asyncio.sleep(OPTIONS.sweep_s + OFFLINE_SENT_S)
        cluster.lose_data()
        ben = await there.join("ben")
        await asyncio.sleep(OPTIONS.sweep_s + FEW_S)
        assert online_users(ben) == {"ann", "ben"}

    run(scenario)


def test_a_departure_whose_signal_was_lost_is_found_by_the_next_sweep_if_the_board_lost_no_data() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        ann, ben = await here.join("ann"), await there.join("ben")
        await asyncio.sleep(2 * OPTIONS.sweep_s)
        cluster.log.drops_deliveries = True
        there.cut(ben)
        await asyncio.sleep(FEW_S)
        cluster.log.drops_deliveries = False
        await asyncio.sleep(OPTIONS.sweep_s + OPTIONS.offline_after_s + FEW_S)
        assert online_users(ann) == {"ann"}

    run(scenario)


def test_a_chat_for_which_the_board_fails_does_not_affect_others() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        cluster.failing_chats.add("failing")
        leaver = await here.join("ann", "failing")
        await here.join("zoe", "failing")
        await here.join("ann")
        await asyncio.sleep(SETTLED_S)
        here.leave(leaver, "failing")
        await asyncio.sleep(SETTLED_S)
        cluster.lose_data()
        for gateway in (here, there):
            gateway.presence.sweep_soon()
        await asyncio.sleep(SETTLED_S)
        ben = await there.join("ben")
        await asyncio.sleep(SETTLED_S)
        assert online_users(ben) == {"ann", "ben"}

    run(scenario)


def test_a_board_that_hangs_does_not_delay_events_about_own_users() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here = cluster.gateway()
        ann = await here.join("ann")
        await asyncio.sleep(SETTLED_S)
        cluster.board_down, cluster.answer_s = True, 2.0
        await here.join("ben")
        await asyncio.sleep(SETTLED_S)
        assert online_users(ann) == {"ann", "ben"}
        cleo = await here.join("cleo")
        await asyncio.sleep(SETTLED_S)
        assert online_users(ann) == online_users(cleo) == {"ann", "ben", "cleo"}

    run(scenario)


def test_the_snapshot_does_not_wait_for_a_board_that_hangs() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        await there.join("zoe")
        await asyncio.sleep(SETTLED_S)
        cluster.answer_s = 30.0
        ann = await here.join("ann")
        await asyncio.sleep(FEW_S)
        assert online_users(ann) == {"ann"}
        await asyncio.sleep(30)
        assert online_users(ann) == {"ann", "zoe"}

    run(scenario)


def test_after_an_outage_arrivals_and_departures_are_known_everywhere_within_seconds() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        ann, ben, dan = await here.join("ann"), await there.join("ben"), await here.join("dan")
        await asyncio.sleep(SETTLED_S)
        cluster.board_down, cluster.log.available = True, False
        here.cut(dan)
        cleo = await here.join("cleo")
        await asyncio.sleep(OFFLINE_SENT_S)
        cluster.board_down, cluster.log.available = False, True
        # `there` compares before `here` has shared its changes; it must not need its next sweep to learn them.
        there.presence.sweep_soon()
        await asyncio.sleep(0.01)
        here.presence.sweep_soon()
        await asyncio.sleep(OPTIONS.offline_after_s + FEW_S)
        assert online_users(ann) == online_users(ben) == online_users(cleo) == {"ann", "ben", "cleo"}

    run(scenario)


def test_a_signal_that_failed_is_sent_again_without_a_reconnect() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        ann = await here.join("ann")
        await there.join("ben")
        await asyncio.sleep(SETTLED_S)
        cluster.log.available = False
        await there.join("cleo")
        await asyncio.sleep(SETTLED_S)
        cluster.log.available = True
        await asyncio.sleep(FEW_S * 2)
        assert online_users(ann) == {"ann", "ben", "cleo"}

    run(scenario)


@pytest.mark.parametrize("after_ms", range(0, 22, 3))
def test_changes_while_a_chat_recovers_are_shared_without_extra_delay(after_ms: int) -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        ann, ben = await here.join("ann"), await there.join("ben")
        leaver = await here.join("leaver")
        await asyncio.sleep(SETTLED_S)
        cluster.board_down = True
        await here.join("cleo")
        await asyncio.sleep(SETTLED_S)
        cluster.board_down, cluster.answer_s = False, 0.005
        # The retry reads the board, writes it and sends a signal.
        await asyncio.sleep(OPTIONS.settle_s + OPTIONS.retry_s - SETTLED_S + after_ms / 1_000)
        here.cut(leaver)
        await here.join("dora")
        await asyncio.sleep(SETTLED_S)
        assert online_users(ben) == {"ann", "ben", "cleo", "dora", "leaver"}
        await asyncio.sleep(OPTIONS.offline_after_s)
        assert online_users(ann) == online_users(ben) == {"ann", "ben", "cleo", "dora"}

    run(scenario)


def test_a_user_that_arrives_right_after_a_retry_of_an_empty_chat_is_shared_at_once() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        ben = await there.join("ben")
        cluster.board_down = True
        stranger = await here.join(None)
        await here.join("ann", "another")
        await asyncio.sleep(OPTIONS.retry_s - 0.01)
        cluster.board_down, cluster.answer_s = False, 0.05
        here.leave(stranger)
        await asyncio.sleep(0.02)
        await here.join("ann")
        await asyncio.sleep(SETTLED_S)
        assert online_users(ben) == {"ann", "ben"}

    run(scenario)


def test_a_sweep_requested_during_a_sweep_compares_all_chats_again() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        ann, ben = await here.join("ann"), await there.join("ben")
        for number in range(200):
            await here.join("ann", f"chat-{number}")
        await asyncio.sleep(OPTIONS.sweep_s + FEW_S)
        cluster.answer_s = 0.05
        here.presence.sweep_soon()
        await asyncio.sleep(SETTLED_S)  # the chat is compared first
        cluster.log.drops_deliveries = True
        there.cut(ben)
        await asyncio.sleep(SETTLED_S)
        cluster.log.drops_deliveries, cluster.answer_s = False, 0.0
        here.presence.sweep_soon()
        await asyncio.sleep(OPTIONS.offline_after_s + SETTLED_S)
        assert online_users(ann) == {"ann"}

    run(scenario)


@pytest.mark.parametrize("whole", [True, False], ids=["all chats", "those that failed"])
def test_a_retry_that_comes_due_during_a_sweep_runs_after_it(*, whole: bool) -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        await here.join("ann")
        ben = await there.join("ben")
        for number in range(100):
            await here.join("ann", f"chat-{number}")
        await asyncio.sleep(OPTIONS.sweep_s + FEW_S)
        if not whole:
            cluster.board_down = True
            for chat_id in (CHAT, *(f"chat-{number}" for number in range(100))):
                await here.join("cleo", chat_id)
            await asyncio.sleep(OPTIONS.settle_s + OPTIONS.retry_s - 0.01)
            cluster.board_down = False
        cluster.answer_s = 0.1
        cluster.failing_chats.add(CHAT)
        if whole:
            here.presence.sweep_soon()
        await asyncio.sleep(SETTLED_S)
        cluster.failing_chats.clear()
        await here.join("dora")
        await asyncio.sleep(FEW_S)
        assert here.presence._retry_timer is None  # the retry came due
        assert "dora" not in (online_users(ben) or ())
        cluster.answer_s = 0.0
        await asyncio.sleep(FEW_S)
        assert "dora" in (online_users(ben) or ())

    run(scenario)


def test_slow_retries_do_not_postpone_the_full_sweep() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        ann, ben = await here.join("ann"), await there.join("ben")
        await asyncio.sleep(OPTIONS.sweep_s + FEW_S)
        cluster.failing_chats.add("failing")
        cluster.answer_s = 2 * OPTIONS.retry_s
        await here.join("ann", "failing")
        await asyncio.sleep(OFFLINE_SENT_S)
        cluster.log.drops_deliveries = True
        there.cut(ben)
        await asyncio.sleep(OFFLINE_SENT_S)
        cluster.log.drops_deliveries = False
        await asyncio.sleep(OPTIONS.sweep_s + OFFLINE_SENT_S)
        assert online_users(ann) == {"ann"}
        cluster.answer_s = 0.0

    run(scenario)


def test_chats_that_a_stopped_sweep_did_not_reach_are_compared_by_the_retry() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        for number in range(4 * OPTIONS.concurrency):
            await here.join("ann", f"chat-{number}")
        ann, ben = await here.join("ann"), await there.join("ben")
        await asyncio.sleep(OPTIONS.sweep_s + FEW_S)
        cluster.log.drops_deliveries = True
        there.cut(ben)
        await asyncio.sleep(SETTLED_S)
        cluster.log.drops_deliveries, cluster.board_down = False, True
        here.presence.sweep_soon()
        await asyncio.sleep(SETTLED_S)
        cluster.board_down = False
        await asyncio.sleep(OPTIONS.retry_s + OPTIONS.offline_after_s + SETTLED_S)
        assert online_users(ann) == {"ann"}

    run(scenario)


def test_users_of_a_gateway_that_was_suspended_longer_than_its_lease_come_back() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        ann = await here.join("ann")
        await there.join("ben")
        await asyncio.sleep(OPTIONS.sweep_s + OFFLINE_SENT_S)
        there.pause()
        await asyncio.sleep(OPTIONS.sweep_s + OFFLINE_SENT_S)
        assert online_users(ann) == {"ann"}
        there.resume()
        await asyncio.sleep(OPTIONS.sweep_s + FEW_S)
        assert online_users(ann) == {"ann", "ben"}

    run(scenario)


def test_a_dead_gateway_is_noticed_in_time_during_a_slow_sweep() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        ann = await here.join("ann")
        await there.join("ben")
        for number in range(200):
            await here.join("ann", f"chat-{number}")
        await asyncio.sleep(OFFLINE_SENT_S)
        cluster.answer_s = 5.0
        here.presence.sweep_soon()
        await asyncio.sleep(FEW_S)
        there.die()
        await asyncio.sleep(OFFLINE_SENT_S)
        assert online_users(ann) == {"ann"}
        cluster.answer_s = 0.0

    run(scenario)


def test_entries_of_a_killed_gateway_in_many_chats_do_not_slow_down_the_sweep() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        cluster.lookup_s = 0.5
        chats = [f"chat-{number}" for number in range(200)]
        for chat_id in chats:
            await here.join("ann", chat_id)
            await there.join("ben", chat_id)
        await asyncio.sleep(SETTLED_S)
        there.die()
        here.presence.sweep_soon()
        await asyncio.sleep(FEW_S)
        assert [chat_id for chat_id in chats if there.node_id in cluster.entries[chat_id]] == []

    run(scenario)


@pytest.mark.parametrize("_repetition", REPETITIONS)
def test_users_without_room_on_the_board_stay_online_until_they_leave(_repetition: int) -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        cluster.max_entries = 3
        ann, ben = await here.join("ann"), await there.join("ben")
        await here.join("cleo")
        await asyncio.sleep(SETTLED_S)
        zed, zoe = await there.join("zed"), await there.join("zoe")
        await asyncio.sleep(SETTLED_S)
        all_users = {"ann", "ben", "cleo", "zed", "zoe"}
        assert online_users(ann) == all_users
        received = len(ann.frames)
        await asyncio.sleep(10 * OPTIONS.sweep_s)
        assert received_since(ann, received) == []
        there.cut(zed)
        await asyncio.sleep(OPTIONS.offline_after_s + SETTLED_S)
        assert online_users(ann) == online_users(ben) == all_users - {"zed"}
        # There is room again, and the next sweep of `there` uses it.
        there.cut(ben)
        await asyncio.sleep(10 * OPTIONS.sweep_s)
        assert online_users(ann) == online_users(zoe) == all_users - {"zed", "ben"}
        assert [event["offline"] for event in received_since(ann, received)] == [["zed"], ["ben"]]
        assert cluster.entries[CHAT] == {here.node_id: {"ann", "cleo"}, there.node_id: {"zoe"}}

    run(scenario)


def test_a_subscriber_of_a_full_chat_sees_all_users_after_the_next_sweeps() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        cluster.max_entries = 1
        for user in ("ann", "zed"):
            await here.join(user)
        await asyncio.sleep(OPTIONS.sweep_s + FEW_S)
        late = await there.join("late")
        await asyncio.sleep(OPTIONS.sweep_s + FEW_S)
        assert online_users(late) == {"ann", "late", "zed"}

    run(scenario)


def test_users_without_room_stay_online_while_their_gateway_is_not_listed_yet() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        cluster.max_entries = 2
        cluster.unlisted.add(there.node_id)
        ann = await here.join("ann")
        await asyncio.sleep(SETTLED_S)
        await there.join("ben")
        await asyncio.sleep(SETTLED_S)
        await there.join("zed")
        await asyncio.sleep(SETTLED_S)
        here.presence.sweep_soon()
        await asyncio.sleep(OPTIONS.offline_after_s + SETTLED_S)
        assert online_users(ann) == {"ann", "ben", "zed"}

    run(scenario)


def test_a_departure_from_a_full_chat_whose_signal_was_lost_is_found_when_the_board_has_room() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        cluster.max_entries = 2
        ann = await here.join("ann")
        await there.join("ben")
        await asyncio.sleep(SETTLED_S)
        zed = await there.join("zed")
        await asyncio.sleep(SETTLED_S)
        cluster.log.drops_deliveries = True
        there.cut(zed)
        await asyncio.sleep(SETTLED_S)
        cluster.log.drops_deliveries = False
        await asyncio.sleep(RedisPresenceOptions().ttl_s + OPTIONS.sweep_s + OPTIONS.offline_after_s + FEW_S)
        assert online_users(ann) == {"ann", "ben"}

    run(scenario)


def test_forged_signals_cannot_fill_the_memory_of_a_gateway() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here = cluster.gateway()
        ann = await here.join("ann")
        await asyncio.sleep(SETTLED_S)
        for number in range(3_000):
            ghosts = [f"ghost {number}-{copy}" for copy in range(10)]
            signal = {"v": 1, "type": "moved", "node": f"{number:08}", "entered": ghosts}
            await cluster.log.signal(CHAT, json.dumps(signal).encode())
        await asyncio.sleep(SETTLED_S)
        online = online_users(ann)
        assert online is not None
        assert len(online) <= OPTIONS.max_entries + 1
        assert len({user.partition("-")[0] for user in online - {"ann"}}) == OPTIONS.max_new_nodes
        # Signals of real gateways are still applied.
        there = cluster.gateway()
        await asyncio.sleep(OPTIONS.new_node_s + OPTIONS.node_check_s + OPTIONS.offline_after_s + SETTLED_S)
        await there.join("ben")
        await asyncio.sleep(SETTLED_S)
        assert online_users(ann) == {"ann", "ben"}

    run(scenario)


def test_a_new_gateway_is_not_evicted_while_there_are_too_many_forged_ones() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        cluster.unlisted.add(there.node_id)
        ann = await here.join("ann")
        await asyncio.sleep(SETTLED_S)
        for number in range(OPTIONS.max_new_nodes):
            signal = {"v": 1, "type": "moved", "node": f"{number:08}", "entered": [f"ghost {number}"]}
            await cluster.log.signal(CHAT, json.dumps(signal).encode())
        await there.join("ben")
        await asyncio.sleep(SETTLED_S)
        here.presence.sweep_soon()
        await asyncio.sleep(SETTLED_S)
        assert cluster.entries[CHAT][there.node_id] == {"ben"}
        cluster.unlisted.clear()
        here.presence.sweep_soon()
        await asyncio.sleep(SETTLED_S)
        assert "ben" in (online_users(ann) or ())

    run(scenario)


def test_a_socket_that_leaves_and_returns_before_the_snapshot_is_sent_one_snapshot() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here = cluster.gateway()
        cluster.answer_s = 0.5
        socket = await here.join("ann")
        for _ in range(50):
            here.leave(socket)
            await here.join("ann", socket=socket)
        await asyncio.sleep(FEW_S)
        assert received_since(socket, 0) == [{"chatId": CHAT, "online": ["ann"], "offline": [], "reset": True}]

    run(scenario)


def test_a_long_outage_leaves_nothing_behind() -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here = cluster.gateway()
        await here.join("ann")
        for number in range(100):
            here.cut(await here.join("ann", f"chat-{number}"))
        await asyncio.sleep(SETTLED_S)
        cluster.board_down, cluster.log.available = True, False
        for number in range(3_000):
            here.cut(await here.join(f"visitor {number}", f"chat-{number % 100}"))
            if number % 100 == 0:
                await asyncio.sleep(SETTLED_S)
        await asyncio.sleep(4 * OPTIONS.sweep_s)
        assert len(here.presence) <= 101
        cluster.board_down, cluster.log.available = False, True
        here.presence.sweep_soon()
        await asyncio.sleep(2 * OPTIONS.sweep_s)
        assert len(here.presence) == 1
        assert cluster.entries == {CHAT: {here.node_id: {"ann"}}}

    run(scenario)


def test_an_unexpected_error_in_one_chat_does_not_stop_the_sweep(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(cluster: PresenceCluster) -> None:
        here, there = cluster.gateway(), cluster.gateway()
        for number in range(10):  # more than one batch, all before the chat under test
            await here.join("ann", f"chat-{number}")
        ann, ben = await here.join("ann"), await there.join("ben")
        await asyncio.sleep(2 * OPTIONS.sweep_s)
        board = here.presence._sync._board
        read_board = board.read

        async def fail_for_one(chat_id: str) -> BoardSnapshot:
            if chat_id == "chat-0":
                raise KeyError("not foreseen")
            return await read_board(chat_id)

        board.read = fail_for_one  # type: ignore[method-assign]  # the bug
        cluster.log.drops_deliveries = True
        there.cut(ben)
        await asyncio.sleep(2 * OPTIONS.sweep_s)
        assert online_users(ann) == {"ann"}

    run(scenario)
    assert "not foreseen" in caplog.text
