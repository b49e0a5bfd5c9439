"""The host of the internal address."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from roomcast.app import internal_site
from roomcast.app.addresses import outgoing_address
from roomcast.app.config import ProcessConfig, api_config, gateway_config, up_config
from roomcast.app.errors import AppError
from roomcast.app.internal_site import resolve_host
from roomcast.app.process import connect_shared, running_process
from roomcast.redis_client import RedisAddress, RedisOptions
from roomcast.settings import Settings
from support.ports import free_port

# No server listens there; these tests need none.
REDIS = RedisOptions(addresses=(RedisAddress("127.0.0.1", 1),))
FACING_REDIS = "192.0.2.9"
UNRESOLVABLE = RedisAddress("redis.invalid", 6379)


async def internal_host(config: ProcessConfig) -> str | None:
    async with running_process(config, lambda: None) as process:
        await connect_shared(process)
        return None if process.internal is None else process.internal.site.host


@pytest.mark.parametrize(
    ("host", "given", "expected"),
    [
        ("0.0.0.0", {}, FACING_REDIS),
        ("192.0.2.7", {}, "192.0.2.7"),
        ("127.0.0.1", {}, "127.0.0.1"),
        ("127.0.0.1", {"internal_host": "10.0.0.1"}, "10.0.0.1"),
        ("127.0.0.1", {"internal_host": "0.0.0.0"}, "0.0.0.0"),
    ],
)
@pytest.mark.parametrize("make", [api_config, gateway_config, up_config])
async def test_with_redis_every_process_binds_the_configured_host_or_the_one_that_faces_redis(
    monkeypatch: pytest.MonkeyPatch, make: Any, host: str, given: dict[str, Any], expected: str
) -> None:
    monkeypatch.setattr(internal_site, "resolve_host", lambda _redis: FACING_REDIS)
    settings = Settings(redis=REDIS, internal_port=9100, **given)
    assert await internal_host(make(settings, host=host, insecure=True)) == expected


@pytest.mark.parametrize("make", [api_config, gateway_config, up_config])
async def test_without_redis_every_process_binds_the_configured_host_or_loopback(make: Any) -> None:
    for given, expected in (({}, "127.0.0.1"), ({"internal_host": "10.0.0.1"}, "10.0.0.1")):
        settings = Settings(internal_port=9100, **given)
        assert await internal_host(make(settings, host="0.0.0.0", insecure=True)) == expected


async def test_the_error_of_an_internal_address_that_cannot_be_bound_names_the_settings() -> None:
    # TEST-NET-1, RFC 5737: no host has it.
    config = gateway_config(Settings(internal_host="192.0.2.1", internal_port=free_port()), host="127.0.0.1")
    async with running_process(config, lambda: None) as process:
        with pytest.raises(AppError, match="ROOMCAST_INTERNAL_HOST and ROOMCAST_INTERNAL_PORT"):
            await process.serve([])


def test_a_redis_on_this_machine_means_loopback_which_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert resolve_host(RedisOptions(addresses=(RedisAddress("127.0.0.1", 6379),))) == "127.0.0.1"
    assert "ROOMCAST_INTERNAL_HOST" in caplog.text


def test_the_first_redis_address_that_resolves_decides() -> None:
    # Reserved for documentation (RFC 5737); selecting a route to it sends nothing. Without a network there is no route,
    # and loopback is left.
    outside = RedisAddress("198.51.100.1", 6379)
    redis = RedisOptions(addresses=(UNRESOLVABLE, outside), cluster=True)
    assert resolve_host(redis) == (outgoing_address() or "127.0.0.1")


@pytest.mark.parametrize(("outgoing", "expected"), [("192.0.2.9", "192.0.2.9"), (None, "127.0.0.1")])
def test_a_redis_that_does_not_resolve_yet_means_the_address_of_the_default_route(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, outgoing: str | None, expected: str
) -> None:
    monkeypatch.setattr(internal_site, "outgoing_address", lambda: outgoing)
    assert resolve_host(RedisOptions(addresses=(UNRESOLVABLE,))) == expected
    (record,) = caplog.records
    assert "ROOMCAST_INTERNAL_HOST" in record.message
    assert record.host == expected  # type: ignore[attr-defined]  # set by `extra`
