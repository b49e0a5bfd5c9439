"""The contract of `cluster.commands.Adapter`, over every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from roomcast.realtime import EncodedEvent
from roomcast.realtime.adapters.memory import MemoryAdapter, MemoryBus
from roomcast.realtime.adapters.redis import RedisAdapter
from roomcast.realtime.cluster.commands import Adapter, Broadcast, Command, Disconnect, Join, Leave, Selection
from roomcast.redis_client import RedisAddress, RedisOptions
from support.recording_node import RecordingNode
from support.redis_server import RedisServer, running
from support.waiting import until

settled = partial(until, limit_s=5)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    directory: Path = tmp_path_factory.mktemp("redis")
    with running(RedisServer(directory)) as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def new_adapter(request: pytest.FixtureRequest) -> Callable[[], Adapter]:
    """A function that makes adapters of one cluster."""
    if request.param == "memory":
        bus = MemoryBus()
        return lambda: MemoryAdapter(bus)
    port = request.getfixturevalue("redis_server").port
    return lambda: RedisAdapter(RedisOptions(addresses=(RedisAddress("127.0.0.1", port),)))


async def cluster(new_adapter: Callable[[], Adapter], size: int) -> tuple[list[Adapter], list[RecordingNode]]:
    adapters, nodes = [], []
    for _ in range(size):
        adapter, node = new_adapter(), RecordingNode()
        adapter.bind(node)
        await adapter.start()
        adapters.append(adapter)
        nodes.append(node)
    return adapters, nodes


def leave(number: int) -> Command:
    return Leave(Selection("/", (str(number),)), ("r",))


async def test_a_command_reaches_every_other_node_once_and_not_its_own(new_adapter: Callable[[], Adapter]) -> None:
    adapters, nodes = await cluster(new_adapter, 3)
    adapters[0].publish(leave(1))
    await settled(lambda: nodes[1].commands and nodes[2].commands)
    assert [node.commands for node in nodes] == [[], [leave(1)], [leave(1)]]
    for adapter in adapters:
        await adapter.stop()


async def test_the_commands_of_a_node_arrive_in_their_order(new_adapter: Callable[[], Adapter]) -> None:
    adapters, nodes = await cluster(new_adapter, 2)
    for number in range(100):
        adapters[0].publish(leave(number))
    await settled(lambda: len(nodes[1].commands) == 100)
    assert nodes[1].commands == [leave(number) for number in range(100)]
    for adapter in adapters:
        await adapter.stop()


@pytest.mark.parametrize(
    "command",
    [
        Join(Selection("/x", None, ("a",)), ("r", "s")),
        Leave(Selection("/", ("a", "b")), ("r",)),
        Disconnect(Selection("/", ("sid",))),
        Disconnect(Selection("/", None, ("sid",)), close=True),
    ],
)
async def test_every_part_of_a_command_arrives(new_adapter: Callable[[], Adapter], command: Command) -> None:
    adapters, nodes = await cluster(new_adapter, 2)
    adapters[0].publish(command)
    await settled(lambda: nodes[1].commands)
    assert nodes[1].commands == [command]
    for adapter in adapters:
        await adapter.stop()


async def test_an_event_arrives_with_its_binary_parts(new_adapter: Callable[[], Adapter]) -> None:
    adapters, nodes = await cluster(new_adapter, 2)
    sent = Broadcast(Selection("/", ("r",), ("s",)), EncodedEvent.from_args("file", {"data": b"\x00\xff"}), True)
    adapters[0].publish(sent)
    await settled(lambda: nodes[1].commands)
    (got,) = nodes[1].commands
    assert isinstance(got, Broadcast)
    assert (got.to, got.volatile) == (sent.to, True)
    assert got.message.message("/").frames == sent.message.message("/").frames
    for adapter in adapters:
        await adapter.stop()


async def test_an_empty_selection_reaches_no_socket(new_adapter: Callable[[], Adapter]) -> None:
    adapters, nodes = await cluster(new_adapter, 2)
    adapters[0].publish(Broadcast(Selection("/", ()), EncodedEvent.from_args("e")))
    adapters[0].publish(leave(1))
    await settled(lambda: nodes[1].commands)
    # An adapter may deliver the command, but not with a selection of all sockets.
    assert all(not isinstance(command, Broadcast) or command.to.rooms == () for command in nodes[1].commands)
    for adapter in adapters:
        await adapter.stop()


async def test_a_namespace_is_received_from_its_first_socket_on_until_its_last(
    new_adapter: Callable[[], Adapter],
) -> None:
    adapters, nodes = await cluster(new_adapter, 2)
    command = Leave(Selection("/invented[a]*", ("r",)), ("r",))
    adapters[1].serve("/invented[a]*")
    adapters[1].serve("/invented[a]*")
    async with asyncio.timeout(5):
        while not nodes[1].commands:
            adapters[0].publish(command)
            await asyncio.sleep(0.001)
    assert set(nodes[1].commands) == {command}
    adapters[1].unserve("/invented[a]*")
    adapters[1].unserve("/invented[a]*")
    for adapter in adapters:
        await adapter.stop()


async def test_a_stopped_node_receives_and_publishes_nothing(new_adapter: Callable[[], Adapter]) -> None:
    adapters, nodes = await cluster(new_adapter, 3)
    await adapters[1].stop()
    await adapters[1].stop()
    adapters[1].publish(leave(1))
    adapters[0].publish(leave(2))
    await settled(lambda: nodes[2].commands)
    assert nodes[1].commands == []
    assert nodes[2].commands == [leave(2)]
    await adapters[1].start()
    await adapters[1].start()
    adapters[0].publish(leave(3))
    await settled(lambda: nodes[1].commands)
    assert nodes[1].commands == [leave(3)]
    for adapter in adapters:
        await adapter.stop()
