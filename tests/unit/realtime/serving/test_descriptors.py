from __future__ import annotations

import pytest
from uvicorn.server import ServerState

from roomcast.realtime import Server, ServerOptions
from roomcast.realtime.serving.descriptors import ClientConnections, DescriptorLimits, limit_engines


class Connection:
    def __init__(self) -> None:
        self.evicted = False

    def evict(self) -> None:
        self.evicted = True


@pytest.mark.parametrize("max_forwards", [0, 5_000])
@pytest.mark.parametrize("open_files", [32, 256, 1_024, 20_000, 1_048_576])
def test_descriptors_stay_free_for_everything_but_clients(open_files: int, max_forwards: int) -> None:
    limits = DescriptorLimits.of(open_files, max_forwards)
    assert 0 < limits.websockets < limits.connections < open_files - limits.forwards
    assert limits.websockets >= open_files // 4
    assert open_files - limits.connections - limits.forwards >= min(64, open_files // 4)
    assert limits.forwards <= max_forwards
    assert 0 < limits.burst <= open_files - limits.forwards - limits.connections


def test_the_servers_of_a_process_share_its_descriptors() -> None:
    servers = [Server(ServerOptions(max_connections=10**9)) for _ in range(2)]
    limits = limit_engines([server.engine for server in servers])
    assert limits is not None
    assert [server.engine.max_connections for server in servers] == [limits.websockets // 2] * 2
    small = Server(ServerOptions(max_connections=10))
    limit_engines([small.engine])
    assert small.engine.max_connections == 10


LIMITS = DescriptorLimits(open_files=100, websockets=5, connections=7, forwards=0, burst=1)


def with_open(limits: DescriptorLimits | None, count: int) -> tuple[ClientConnections, list[Connection]]:
    """Connections that are open and busy, of two sites."""
    connections, states, opened = ClientConnections(limits), [ServerState(), ServerState()], []
    for state in states:
        connections.count_site(state)
    for index in range(count):
        connection = Connection()
        states[index % 2].connections.add(connection)  # type: ignore[arg-type]
        assert connections.admit(connection)
        connections.busy(connection)
        opened.append(connection)
    return connections, opened


def test_below_the_limits_no_connection_is_closed_and_websockets_are_accepted() -> None:
    connections, opened = with_open(LIMITS, 5)
    connections.idle(opened[0])
    connections.stalled(opened[1])
    assert connections.admit(Connection())
    assert connections.allows_websocket()
    assert not any(connection.evicted for connection in opened)


def test_a_websocket_is_refused_when_connections_in_use_take_its_share_but_idle_ones_do_not_count() -> None:
    connections, opened = with_open(LIMITS, 6)
    assert not connections.allows_websocket()
    connections.idle(opened[0])
    assert connections.allows_websocket()
    connections.busy(opened[0])
    connections.stalled(opened[0])
    assert connections.allows_websocket()


def test_above_the_first_limit_the_connection_that_is_idle_for_longest_is_closed() -> None:
    connections, opened = with_open(LIMITS, 6)
    connections.stalled(opened[0])
    for index in (3, 2, 4):
        connections.idle(opened[index])
    connections.stalled(opened[3])  # it sends its next request
    assert connections.admit(Connection())
    assert [index for index, connection in enumerate(opened) if connection.evicted] == [2]


def test_above_the_second_limit_a_client_that_does_not_finish_its_request_is_closed_and_then_503_is_sent() -> None:
    connections, opened = with_open(LIMITS, 7)
    connections.stalled(opened[1])
    assert connections.admit(Connection())
    assert not opened[1].evicted
    connections, opened = with_open(LIMITS, 8 - 1)
    late = Connection()
    connections.count_site(state := ServerState())
    state.connections.add(late)  # type: ignore[arg-type]
    assert not connections.admit(late)
    connections.stalled(opened[1])
    assert connections.admit(late)
    assert [index for index, connection in enumerate(opened) if connection.evicted] == [1]


def test_without_a_limit_of_the_system_every_connection_is_accepted() -> None:
    connections, opened = with_open(None, 20)
    connections.idle(opened[0])
    assert connections.admit(Connection())
    assert connections.allows_websocket()
    assert not opened[0].evicted
