from __future__ import annotations

import socket
from pathlib import Path

import pytest

from roomcast.app import addresses
from roomcast.app.addresses import listen_host


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST"])
@pytest.mark.parametrize("ipv6", [True, False])
def test_the_default_binds_the_loopback_of_both_families_if_ipv6_exists(monkeypatch, host, ipv6) -> None:
    monkeypatch.setattr(addresses, "_has_ipv6_loopback", lambda: ipv6)
    listen = listen_host(host)
    assert listen.bind == (("127.0.0.1", "::1") if ipv6 else ("127.0.0.1",))
    assert listen.urls(3000) == ("http://localhost:3000", "http://127.0.0.1:3000")
    assert listen.loopback


V4 = ("localhost", "127.0.0.1", "192.0.2.9", "192.0.2.7")
BOTH = ("localhost", "127.0.0.1", "[::1]", "192.0.2.9", "[2001:db8::9]", "192.0.2.7", "[2001:db8::7]")


@pytest.mark.parametrize(
    ("host", "ipv6", "names"),
    [("0.0.0.0", True, V4), ("::", True, BOTH), ("", True, BOTH), ("*", True, BOTH), ("::", False, V4)],
)
def test_a_wildcard_has_the_loopback_names_and_the_addresses_of_the_machine(monkeypatch, host, ipv6, names) -> None:
    outgoing = {socket.AF_INET: "192.0.2.9", socket.AF_INET6: "2001:db8::9"}
    own = {socket.AF_INET: ("127.0.1.1", "192.0.2.7"), socket.AF_INET6: ("::1", "fe80::1", "2001:db8::7")}
    monkeypatch.setattr(addresses, "_has_ipv6_loopback", lambda: ipv6)
    monkeypatch.setattr(addresses, "outgoing_address", outgoing.get)
    monkeypatch.setattr(socket, "gethostname", lambda: "box")
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_args, family, **_options: [(None, None, 0, "", (it, 0)) for it in own[family]]
    )
    listen = listen_host(host)
    assert listen.names == names
    assert listen.bind == (host if host == "0.0.0.0" else "",)  # IPv4 in any case: its addresses are in `names`
    assert not listen.loopback


@pytest.mark.skipif(not Path("/proc/net/route").exists(), reason="shows whether there is a default route")
def test_a_machine_whose_host_name_is_loopback_has_the_address_of_its_default_route(monkeypatch) -> None:
    # As Debian's /etc/hosts has it.
    found = [(None, None, 0, "", ("127.0.1.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)
    others = listen_host("0.0.0.0").names[2:]
    routes = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    assert bool(others) == any(route[1] == "00000000" for route in routes)
    for name in others:
        with socket.socket() as own:
            own.bind((name, 0))  # fails for an address of another machine


def test_a_machine_whose_host_name_does_not_resolve_has_the_loopback_names(monkeypatch) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise socket.gaierror("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(addresses, "outgoing_address", lambda _family: None)
    assert listen_host("0.0.0.0").names == ("localhost", "127.0.0.1")


@pytest.mark.parametrize(
    ("host", "url", "loopback"),
    [
        ("192.0.2.1", "http://192.0.2.1:3000", False),
        ("::1", "http://[::1]:3000", True),
        ("127.0.0.2", "http://127.0.0.2:3000", True),
        ("[::1]", "http://[::1]:3000", True),
        ("2001:db8::1", "http://[2001:db8::1]:3000", False),
        ("Chat.Example", "http://chat.example:3000", False),
    ],
)
def test_one_address_is_its_own_name(host, url, loopback) -> None:
    listen = listen_host(host)
    assert (listen.urls(3000), listen.loopback, listen.bind) == ((url,), loopback, (host.strip("[]"),))


def test_the_default_port_is_not_part_of_an_origin() -> None:
    assert listen_host("192.0.2.1").urls(80) == ("http://192.0.2.1",)
