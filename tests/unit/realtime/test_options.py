from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from roomcast.realtime import CookieOptions, ServeOptions, ServerOptions


def test_defaults_match_node() -> None:
    options = ServerOptions()
    assert options.path == "/socket.io/"
    assert (options.ping_interval_s, options.ping_timeout_s, options.upgrade_timeout_s) == (25, 20, 10)
    assert (options.max_payload_bytes, options.max_attachments) == (1_000_000, 10)
    assert options.cors_allowed_origins == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "socket.io"},
        {"transports": ()},
        {"ping_interval_s": 0},
        {"outbox_limit_bytes": -1},
        {"cors_allowed_origins": ("chat.example",)},
        {"cors_allowed_origins": ("https://chat.example/",)},
    ],
)
def test_invalid_options_are_rejected(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        ServerOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["transports", "cors_allowed_origins", "allowed_hosts", "namespaces"])
def test_a_string_is_not_taken_for_a_sequence_of_its_letters(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} is the string"):
        ServerOptions(**{name: "polling"})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="trusted_proxies"):
        ServeOptions(trusted_proxies="127.0.0.1")  # type: ignore[arg-type]


def test_options_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        ServerOptions().path = "/x"  # type: ignore[misc]


def test_limits_and_timeouts_carry_the_values_of_the_options() -> None:
    options = ServerOptions(max_payload_bytes=5, max_attachments=2, ping_timeout_s=3)
    assert (options.limits().max_payload_bytes, options.limits().max_attachments) == (5, 2)
    assert options.timeouts().ping_timeout_s == 3


def test_a_cookie_has_the_attributes_of_its_options() -> None:
    assert CookieOptions().header("x") == "io=x; Path=/; HttpOnly; SameSite=Lax"
    everything = CookieOptions(
        name="sid", path="/chat", http_only=False, same_site="none", secure=True, domain="chat.example", max_age_s=60
    )
    assert everything.header("x") == "sid=x; Max-Age=60; Domain=chat.example; Path=/chat; Secure; SameSite=None"
    assert CookieOptions(path=None, same_site=None, http_only=False).header("x") == "io=x"


@pytest.mark.parametrize("options", [{"name": "a b"}, {"path": "/;x"}, {"domain": "a\r\nb"}])
def test_a_cookie_cannot_split_its_header(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="cookie"):
        CookieOptions(**options)  # type: ignore[arg-type]
