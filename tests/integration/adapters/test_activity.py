"""``chat-activity`` from a process without clients, to this package's servers and Node's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from roomcast.app.redis_services import RedisServices
from roomcast.chat.delivery.activity import AnnouncementLost
from roomcast.contract.events import ChatActivity
from roomcast.gateway.announcing import RoomAnnouncer
from roomcast.realtime.adapters.redis import RedisAdapter
from roomcast.realtime.cluster.commands import Broadcast
from roomcast.redis_client import RedisAddress, RedisOptions
from support.ports import free_port
from support.recording_node import RecordingNode
from support.redis_topology import redis_cluster

TIME = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


def activity(seq: int) -> ChatActivity:
    return ChatActivity(chat_id="c", epoch="e", seq=seq, user_id="ann", time=TIME, last_message=None)


async def test_users_of_node_and_of_this_package_are_notified_once_each(cluster: Any) -> None:
    clients = {}
    for server, rooms in (("node", ["user:ann"]), ("a", ["user:ann", "user:ben"]), ("b", ["user:ben"]), ("node", [])):
        client = clients[server, *rooms] = await cluster.client(server)
        for ack, room in enumerate(rooms):
            await client.websocket.send(f"42{ack}" + json.dumps(["join", room]))
            assert (await client.packet()).ack_id == ack
    settings = RedisOptions(addresses=(RedisAddress("127.0.0.1", cluster.redis.port),))
    users = ["ann", "ben", *(f"user-{number}" for number in range(498))]
    async with RedisServices(settings) as redis:
        emitter = redis.emitter()
        await RoomAnnouncer(emitter).announce(users, activity(7))
        await emitter.emit("end")
    expected = ["chat-activity", activity(7).model_dump(mode="json")]
    for (_server, *rooms), client in clients.items():
        assert await client.until("end") == ([expected] if rooms else [])


async def test_servers_at_every_node_of_a_redis_cluster_are_notified(tmp_path: Path, until: Any) -> None:
    with redis_cluster(tmp_path, replicas=False) as nodes:
        listeners = []
        for server in nodes.servers:
            adapter, node = (
                RedisAdapter(RedisOptions(addresses=(RedisAddress("127.0.0.1", server.port),))),
                RecordingNode(),
            )
            adapter.bind(node)
            await adapter.start()
            listeners.append((adapter, node))
        try:
            settings = RedisOptions(addresses=(RedisAddress("127.0.0.1", nodes.servers[0].port),), cluster=True)
            async with RedisServices(settings) as redis:
                emitter = redis.emitter()
                for seq in range(5):
                    await RoomAnnouncer(emitter).announce(["ann", "ben"], activity(seq))
            await until(lambda: all(len(node.commands) == 5 for _, node in listeners))
        finally:
            for adapter, _ in listeners:
                await adapter.stop()
        for _, node in listeners:
            assert all(isinstance(command, Broadcast) for command in node.commands)
            assert {command.to.rooms for command in node.commands} == {("user:ann", "user:ben")}


async def test_without_redis_a_notification_raises_an_error() -> None:
    async with RedisServices(RedisOptions(addresses=(RedisAddress("127.0.0.1", free_port()),))) as redis:
        emitter = redis.emitter()
        with pytest.raises(AnnouncementLost):
            await RoomAnnouncer(emitter).announce(["ann"], activity(1))
