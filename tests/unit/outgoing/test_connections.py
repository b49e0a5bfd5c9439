"""Which addresses outgoing requests may have."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network
from typing import Any

import httpcore
import pytest

from roomcast.outgoing.addresses import is_public
from roomcast.outgoing.connections import AddressRefused, GuardedBackend
from support.webhook_receiver import running_receiver


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.10", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "100.100.100.200", "192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255",
        "168.63.129.16", "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b:1::a00:1",
        "2002:7f00:1::", "2002:a00:1::", "::7f00:1", "::ffff:0:127.0.0.1", "fec0::1",
    ],
)  # fmt: skip
def test_an_address_of_a_private_network_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"],
)
async def test_every_spelling_of_an_address_of_this_machine_is_refused(host: str) -> None:
    async with running_receiver() as receiver:
        backend = GuardedBackend([], "NETWORKS")
        with pytest.raises((AddressRefused, httpcore.ConnectError)) as refused:
            await backend.connect_tcp(host.strip("[]"), receiver.port, 2.0)
        assert isinstance(refused.value, AddressRefused) or "cannot be resolved" in str(refused.value)
        backend.close()


async def test_a_name_is_connected_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look-up would give another address."""
    answers = iter(["127.0.0.1", "10.0.0.1"])

    def resolve(_host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with running_receiver() as receiver:
        backend = GuardedBackend([ip_network("127.0.0.0/8")], "NETWORKS", only=True)
        stream = await backend.connect_tcp("rebinding.example", receiver.port, 2.0)
        await stream.aclose()
        with pytest.raises(AddressRefused):
            await backend.connect_tcp("rebinding.example", receiver.port, 2.0)
        backend.close()


async def test_a_host_with_a_public_and_a_private_address_is_never_reached_at_the_private_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda _host, port, **_: [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.1", "10.0.0.1")
        ],
    )
    async with running_receiver() as receiver:
        backend = GuardedBackend([], "NETWORKS")
        with pytest.raises(AddressRefused):
            await backend.connect_tcp("both.example", receiver.port, 2.0)
        backend.close()
        assert receiver.requests == []


async def test_without_tls_only_the_permitted_networks_are_reached() -> None:
    backend = GuardedBackend([ip_network("10.0.0.0/8")], "NETWORKS", only=True)
    with pytest.raises(AddressRefused):
        await backend.connect_tcp("8.8.8.8", 80, 0.1)
    backend.close()
