from __future__ import annotations

from typing import Any

import pytest

from roomcast.realtime import ServerOptions
from roomcast.realtime.requests.origins import OriginPolicy

OWN = ("https://chat.example", "http://localhost:3000")


def policy(**options: Any) -> OriginPolicy:
    return OriginPolicy(ServerOptions(**options))


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://chat.example", True),
        ("http://localhost:3000", True),
        ("http://chat.example", False),
        # Browsers never send a default port or capitals.
        ("https://chat.example:443", False),
        ("https://chat.example.evil", False),
        ("https://evil-chat.example", False),
        ("https://evil.example/https://chat.example", False),
        ("HTTPS://CHAT.EXAMPLE", False),
        ("http://localhost:3001", False),
        ("null", False),
        ("", False),
        (None, True),
    ],
)
def test_listed_origins_are_matched_exactly(origin: str | None, allowed: bool) -> None:
    assert policy(cors_allowed_origins=OWN).allows_origin(origin, "api.example", secure=False) is allowed


@pytest.mark.parametrize(
    ("origin", "host", "secure", "allowed"),
    [
        ("http://a.example:3001", "a.example:3001", False, True),
        ("http://a.example:3001", "A.example:3001", False, True),
        ("https://a.example", "a.example", False, True),
        ("https://a.example", "a.example", True, True),
        ("http://a.example", "a.example", True, False),
        ("http://a.example:3000", "a.example:3001", False, False),
        ("ftp://a.example", "a.example", False, False),
        ("http://a.example", None, False, False),
        ("null", "null", False, False),
    ],
)
def test_the_servers_own_origin_may_always_connect(origin: str, host: str | None, secure: bool, allowed: bool) -> None:
    assert policy().allows_origin(origin, host, secure=secure) is allowed


@pytest.mark.parametrize(
    ("origin", "host", "secure", "allowed"),
    [
        ("http://a.example:3000", "a.example:3001", False, True),
        ("http://A.example:3000", "a.EXAMPLE:3001", False, True),
        ("http://[::1]:3000", "[::1]:3001", False, True),
        ("http://a.example", "a.example:3001", False, True),  # port 80
        ("https://a.example:3000", "a.example:3001", False, True),
        ("http://a.example:3000", "a.example:3001", True, False),
        ("http://b.example:3000", "a.example:3001", False, False),
        ("http://a.example:3002", "a.example:3001", False, False),
        ("http://a.example:03000", "a.example:3001", False, False),
        ("https://a.example", "a.example:3001", False, False),
        ("app://a.example:3000", "a.example:3001", False, False),
        ("http://a.example:3000", None, False, False),
    ],
)
def test_pages_on_a_listed_port_of_the_same_host_may_connect(
    origin: str, host: str | None, secure: bool, allowed: bool
) -> None:
    same_host = policy(cors_same_host_ports=(3000, 80))
    assert same_host.allows_origin(origin, host, secure=secure) is allowed


@pytest.mark.parametrize(
    ("listed", "sent"),
    [
        ("https://Chat.Example:443", "https://chat.example"),
        ("http://chat.example:80", "http://chat.example"),
        ("http://chat.example:0443", "http://chat.example:443"),
        ("http://[0:0::1]:3000", "http://[::1]:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("tauri://localhost", "tauri://localhost"),
    ],
)
def test_a_listed_origin_matches_in_every_spelling_what_browsers_send(listed: str, sent: str) -> None:
    assert policy(cors_allowed_origins=(listed,)).allows_origin(sent, "api.example", secure=False)


def test_an_empty_list_refuses_every_other_origin() -> None:
    assert not policy(cors_allowed_origins=()).allows_origin("https://chat.example", "api.example", secure=False)


def test_any_origin_must_be_explicit_and_never_carries_credentials() -> None:
    any_origin = policy(cors_allowed_origins=("*",))
    assert any_origin.allows_origin("https://any.example", "x", secure=False)
    assert any_origin.cors_headers("https://any.example", "x", secure=False) == [(b"access-control-allow-origin", b"*")]


def test_cors_headers_name_the_origin_only_if_it_is_allowed() -> None:
    listed = policy(cors_allowed_origins=OWN)
    assert dict(listed.cors_headers(OWN[0], "x", secure=False)) == {
        b"vary": b"Origin",
        b"access-control-allow-origin": OWN[0].encode(),
        b"access-control-allow-credentials": b"true",
    }
    assert listed.cors_headers("https://evil.example", "x", secure=False) == [(b"vary", b"Origin")]
    assert listed.cors_headers(None, "x", secure=False) == []
    bare = policy(cors_allowed_origins=OWN, cors_credentials=False)
    assert b"access-control-allow-credentials" not in dict(bare.cors_headers(OWN[0], "x", secure=False))


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("LOCALHOST:3001", True),
        ("[::1]:3001", True),
        ("[::1]", True),
        ("localhost.evil.example", False),
        ("evil.example", False),
        ("", False),
        (None, False),
    ],
)
def test_hosts_are_matched_without_their_port(host: str | None, allowed: bool) -> None:
    assert policy(allowed_hosts=("localhost", "[::1]")).allows_host(host) is allowed


def test_every_host_is_answered_unless_hosts_are_listed() -> None:
    assert policy().allows_host(None)
    assert policy().allows_host("any.example")
