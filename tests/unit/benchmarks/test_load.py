"""The load generator counts: a missing or repeated delivery ends the run."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from load import PING, Client, Swarm, client_frame

FRAME = b"x" * 200


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Swarm, list[socket.socket]]]:
    """Two clients, and the server side of their connections."""
    ends = [socket.socketpair() for _ in range(2)]
    monkeypatch.setattr(Client, "__init__", lambda client, sock: setattr(client, "socket", sock))
    swarm = Swarm([Client(here) for here, _ in ends])  # type: ignore[arg-type]  # see above
    yield swarm, [there for _, there in ends]
    swarm.close()
    for _, there in ends:
        there.close()


def receive(servers: tuple[Swarm, list[socket.socket]], *sent: bytes) -> None:
    swarm, ends = servers
    for end, data in zip(ends, sent, strict=True):
        end.sendall(data)
    swarm.receive_each(2, len(FRAME), 0.0)


def test_a_round_ends_when_each_client_has_its_frames_and_pings_are_answered(
    servers: tuple[Swarm, list[socket.socket]],
) -> None:
    receive(servers, FRAME + PING + FRAME, FRAME * 2)
    assert servers[1][0].recv(100) == client_frame("3")


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        ((FRAME * 2, FRAME), TimeoutError),
        ((FRAME * 2, FRAME * 3), AssertionError),
        # The right number in total.
        ((FRAME, FRAME * 3), AssertionError),
        ((FRAME * 2, FRAME * 2 + b"zz"), TimeoutError),
    ],
)
def test_a_missing_or_repeated_delivery_ends_the_run(
    servers: tuple[Swarm, list[socket.socket]], sent: tuple[bytes, bytes], error: type[Exception]
) -> None:
    with pytest.raises(error):
        receive(servers, *sent)
