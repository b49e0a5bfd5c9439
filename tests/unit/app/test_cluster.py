"""Under which address the other gateways are told to reach this one."""

from __future__ import annotations

import logging

import pytest

from roomcast.app import cluster
from roomcast.app.addresses import outgoing_address
from roomcast.app.cluster import Cluster
from roomcast.settings import RedisSettings

OUTSIDE = "192.0.2.9"
UNKNOWN = ("redis.invalid", 6379)


def test_a_redis_on_this_machine_means_loopback_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert Cluster(RedisSettings(addresses=(("127.0.0.1", 6379),))).own_host() == "127.0.0.1"
    assert "ROOMCAST_INTERNAL_HOST" in caplog.text


def test_the_address_that_faces_redis_is_that_of_the_first_that_is_known() -> None:
    # Nobody's (RFC 5737); picking a route to it sends nothing. Without a network there is none, and loopback is left.
    elsewhere = ("198.51.100.1", 6379)
    assert Cluster(RedisSettings(addresses=(UNKNOWN, elsewhere), cluster=True)).own_host() == (
        outgoing_address() or "127.0.0.1"
    )


@pytest.mark.parametrize(("outgoing", "told"), [(OUTSIDE, OUTSIDE), (None, "127.0.0.1")])
def test_a_redis_whose_name_is_not_known_yet_hides_nobody_on_loopback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, outgoing: str | None, told: str
) -> None:
    monkeypatch.setattr(cluster, "outgoing_address", lambda: outgoing)
    assert Cluster(RedisSettings(addresses=(UNKNOWN,))).own_host() == told
    assert told in caplog.text
    assert "ROOMCAST_INTERNAL_HOST" in caplog.text
