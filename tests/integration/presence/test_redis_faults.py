"""Presence of three gateways over a real Redis that loses data, restarts or hangs, and with a full board."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager

from roomcast.eventlog.redis import RedisEventLog
from roomcast.gateway.presence.signals import Signals
from roomcast.gateway.presence.tracker import PresenceOptions, PresenceTracker
from roomcast.gateway.rooms import chat_room
from roomcast.presence.redis import RedisPresenceBoard, RedisPresenceOptions
from roomcast.redis_client import Commands, RedisAddress, RedisOptions
from support.gateway_model import ClientSocket, LocalRooms
from support.presence_model import CHAT, online_users
from support.redis_server import RedisServer
from support.waiting import until

OPTIONS = PresenceOptions(
    settle_s=0.01,
    offline_after_s=0.3,
    node_check_s=0.05,
    sweep_s=0.5,
    hold_s=2.0,
    retry_s=0.1,
    new_node_s=0.5,
)
KEY = f"roomcast:{{{CHAT}}}:here"
LIMIT_S = 10.0


class RedisPresenceGateway:
    """Presence of one gateway, with its own connections to Redis."""

    def __init__(self, node_id: str, up: set[str], log: RedisEventLog, commands: Commands, max_entries: int) -> None:
        self.node_id = node_id
        self._up = up
        up.add(node_id)
        self.rooms = LocalRooms()
        self.signals = Signals(log, node_id)
        self.board = RedisPresenceBoard(commands, node_id, RedisPresenceOptions(max_entries=max_entries))
        self.presence = PresenceTracker(self.rooms, self.board, self, self.signals, OPTIONS)
        self.running = asyncio.create_task(self.presence.run())
        log.on_reconnect(self.presence.sweep_soon)

    def alive(self) -> Collection[str]:
        return self._up

    async def is_alive(self, node_id: str) -> bool:
        return node_id in self._up

    def join(self, user: str) -> ClientSocket:
        socket = self.rooms.socket()
        self.presence.identify(socket.sid, user)
        socket.join(chat_room(CHAT))
        self.presence.entered(socket, CHAT)
        return socket

    def cut(self, socket: ClientSocket) -> None:
        self.rooms.cut(socket)
        self.presence.left(socket.sid, CHAT)
        self.presence.disconnected(socket.sid)

    async def end(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.presence.close()
        await self.signals.close()


@asynccontextmanager
async def three_gateways(
    redis: RedisServer, max_entries: int = OPTIONS.max_entries, command_timeout_s: float = 0.5
) -> AsyncIterator[list[RedisPresenceGateway]]:
    options = RedisOptions(
        addresses=(RedisAddress("127.0.0.1", redis.port),),
        command_timeout_s=command_timeout_s,
        probe_interval_s=0.2,
        probe_timeout_s=0.5,
    )
    up: set[str] = set()
    async with AsyncExitStack() as stack:
        gateways: list[RedisPresenceGateway] = []
        for number in range(3):
            log = await stack.enter_async_context(RedisEventLog(options))
            commands = Commands(options)
            stack.push_async_callback(commands.close)
            gateway = RedisPresenceGateway(f"node-{number:03}", up, log, commands, max_entries)
            stack.push_async_callback(gateway.end)
            await log.subscribe(CHAT, lambda _epoch, _entries: None, lambda p, g=gateway: g.signals.take(CHAT, p))  # type: ignore[misc]  # bound per iteration
            gateways.append(gateway)
        yield gateways


async def all_see(sockets: Collection[ClientSocket], users: set[str]) -> None:
    await until(lambda: all(online_users(socket) == users for socket in sockets), limit_s=LIMIT_S)


def entries_on_board(redis: RedisServer) -> int:
    fields = int(redis.command("HLEN", KEY)[1:])
    return max(0, fields - 1)  # one field holds the epoch


async def test_after_a_flushall_gateways_send_no_event_and_add_their_entries_again(redis: RedisServer) -> None:
    async with three_gateways(redis) as gateways:
        sockets = [gateway.join(user) for gateway, user in zip(gateways, ("ann", "ben", "cleo"), strict=True)]
        await all_see(sockets, {"ann", "ben", "cleo"})
        for _ in range(3):
            await until(lambda: entries_on_board(redis) == 3)
            received = [len(socket.frames) for socket in sockets]
            doubts = [gateway.presence.counters["doubts"] for gateway in gateways]
            redis.command("FLUSHALL")
            await until(lambda: entries_on_board(redis) == 3)
            # Otherwise no gateway read the board while users were missing from it, and this round tested nothing.
            assert doubts != [gateway.presence.counters["doubts"] for gateway in gateways]
            late = gateways[0].join("dan")
            await all_see([*sockets, late], {"ann", "ben", "cleo", "dan"})
            gateways[0].cut(late)
            await all_see(sockets, {"ann", "ben", "cleo"})
            for socket, start in zip(sockets, received, strict=True):
                assert [event["offline"] for _, event in socket.frames[start:] if event["offline"]] == [["dan"]]


async def test_changes_while_redis_is_down_reach_every_gateway_after_its_restart(redis: RedisServer) -> None:
    async with three_gateways(redis) as gateways:
        ann, ben, cleo = (gateway.join(user) for gateway, user in zip(gateways, ("ann", "ben", "cleo"), strict=True))
        dan = gateways[1].join("dan")
        await all_see([ann, ben, cleo, dan], {"ann", "ben", "cleo", "dan"})
        redis.kill()
        gateways[1].cut(dan)
        eve = gateways[2].join("eve")
        # Members on the same gateway are notified immediately, the others after the restart.
        await all_see([ben], {"ann", "ben", "cleo"})
        await all_see([cleo, eve], {"ann", "ben", "cleo", "eve", "dan"})
        redis.start()
        await all_see([ann, ben, cleo, eve], {"ann", "ben", "cleo", "eve"})
        for socket in (ann, ben, cleo, eve):
            assert {user for _, event in socket.frames for user in event["offline"]} <= {"dan"}


async def test_a_redis_that_hangs_does_not_delay_events_about_users_of_the_same_gateway(redis: RedisServer) -> None:
    command_timeout_s = 2.0
    async with three_gateways(redis, command_timeout_s=command_timeout_s) as gateways:
        ann, ben = gateways[0].join("ann"), gateways[1].join("ben")
        await all_see([ann, ben], {"ann", "ben"})
        redis.pause()
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(3):
            late = gateways[0].join(f"late {number}")
            await all_see([ann, late], {"ann", "ben", *(f"late {n}" for n in range(number + 1))})
        took_s = loop.time() - began
        redis.resume()
        assert took_s < command_timeout_s * 0.8  # all three joins took less than one command timeout
        await all_see([ann, ben], {"ann", "ben", "late 0", "late 1", "late 2"})


async def test_users_of_a_dead_gateway_are_reported_offline_once(redis: RedisServer) -> None:
    async with three_gateways(redis) as gateways:
        sockets = [gateway.join("ann") for gateway in gateways[:2]]
        gateways[2].join("ben")
        gateways[2].join("ann")
        await all_see(sockets, {"ann", "ben"})
        await until(lambda: entries_on_board(redis) == 4)
        gateways[2].running.cancel()
        gateways[0]._up.discard(gateways[2].node_id)
        await all_see(sockets, {"ann"})
        await until(lambda: entries_on_board(redis) == 2)
        for socket in sockets:
            assert [event["offline"] for _, event in socket.frames if event["offline"]] == [["ben"]]


async def test_users_that_do_not_fit_on_the_board_stay_online_until_they_leave(redis: RedisServer) -> None:
    async with three_gateways(redis, max_entries=3) as gateways:
        users = ("ann", "ben", "cleo", "dan", "eve", "fay")
        sockets: list[ClientSocket] = []
        for number, user in enumerate(users):
            sockets.append(gateways[number % 3].join(user))
            await all_see(sockets, set(users[: number + 1]))
        received = [len(socket.frames) for socket in sockets]

        async def every_gateway_reads_the_board(times: int) -> None:
            # After each read, a gateway tries again to add the users that the board refused.
            refused = [gateway.board.counters["refused"] for gateway in gateways]
            for gateway, before in zip(gateways, refused, strict=True):
                await until(lambda g=gateway, b=before: g.board.counters["refused"] >= b + times, limit_s=LIMIT_S)  # type: ignore[misc]  # bound per iteration

        await every_gateway_reads_the_board(5)  # longer than `offline_after_s`
        assert entries_on_board(redis) == 3
        assert [len(socket.frames) for socket in sockets] == received
        gateways[0].cut(sockets[0])
        gateways[2].cut(sockets[5])
        await all_see(sockets[1:5], {"ben", "cleo", "dan", "eve"})
        await until(lambda: entries_on_board(redis) == 3)
        await all_see(sockets[1:5], {"ben", "cleo", "dan", "eve"})
        for socket, start in zip(sockets[1:5], received[1:5], strict=True):
            gone = [user for _, event in socket.frames[start:] for user in event["offline"]]
            assert sorted(gone) == ["ann", "fay"]
