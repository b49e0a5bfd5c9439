from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from roomcast.app.plan import plan_api, plan_gateway, plan_up
from roomcast.auth.tokens import AuthOptions
from roomcast.settings import RedisSettings, Settings, SettingsError

AUTH = AuthOptions("a secret of more than thirty-two bytes")
REDIS = RedisSettings(addresses=(("127.0.0.1", 6379),))
PAGES = ("http://localhost:3000", "http://127.0.0.1:3000")


def test_up_lets_in_exactly_the_pages_that_it_prints() -> None:
    plan = plan_up(Settings(), host="127.0.0.1")
    assert plan.page_urls == PAGES
    assert plan.gateway.server.cors_allowed_origins == PAGES
    assert plan.gateway_urls == ("http://localhost:3001", "http://127.0.0.1:3001")
    assert (plan.api.gateway_url, plan.api.gateway_port) == (None, 3001)
    assert set(plan.api.connect_sources) == {
        f"{scheme}://{host}:3001" for scheme in ("http", "ws") for host in ("localhost", "127.0.0.1")
    }


@pytest.mark.parametrize("origins", [(), ("https://chat.example",)])
def test_stated_origins_are_taken_as_they_are(origins) -> None:
    settings = Settings(allowed_origins=origins)
    assert plan_up(settings, host="127.0.0.1").gateway.server.cors_allowed_origins == origins
    assert plan_gateway(settings, host="127.0.0.1").gateway.server.cors_allowed_origins == origins


def test_the_gateway_alone_has_the_guides_origin() -> None:
    assert plan_gateway(Settings(), host="127.0.0.1").gateway.server.cors_allowed_origins == ("http://localhost:3000",)


@pytest.mark.parametrize(
    ("settings", "options", "port"),
    [
        (Settings(), {}, 3000),
        (Settings(gateway_port=8080), {}, 8080),
        (Settings(gateway_port=8080, api_port=9090), {}, 9090),
        (Settings(gateway_port=8080, api_port=9090), {"api_port": 7070}, 7070),
    ],
)
def test_one_port_is_the_apis_or_the_one_that_a_platform_gives(settings, options, port) -> None:
    plan = plan_up(settings, host="127.0.0.1", one_port=True, **options)
    assert (plan.api_port, plan.gateway_port, plan.api.gateway_port) == (port, port, None)
    assert plan.one_port
    assert plan.gateway_urls == plan.page_urls
    assert plan.api.connect_sources == ()


def test_an_api_alone_announces_no_gateway() -> None:
    plan = plan_api(Settings(), host="127.0.0.1")
    assert (plan.page_urls, plan.gateway_urls, plan.one_port) == (PAGES, (), False)
    assert plan.api.gateway_port == 3001


def test_options_win_over_the_environment() -> None:
    plan = plan_up(Settings(gateway_port=1, api_port=2), host="127.0.0.1", api_port=4000, gateway_port=4001)
    assert (plan.api_port, plan.gateway_port) == (4000, 4001)


def test_a_public_address_of_the_gateway_is_what_pages_are_told() -> None:
    plan = plan_up(Settings(gateway_url="https://gw.example"), host="127.0.0.1")
    assert plan.api.gateway_url == "https://gw.example"
    assert plan.api.connect_sources == ("https://gw.example", "wss://gw.example")


@pytest.mark.parametrize("plan", [plan_up, plan_api])
def test_a_page_under_a_name_of_the_allowed_origins_may_connect_to_the_gateway_there(plan) -> None:
    made = plan(Settings(allowed_origins=("https://chat.example",)), host="127.0.0.1")
    assert {"ws://localhost:3001", "https://chat.example:3001", "wss://chat.example:3001"} <= set(
        made.api.connect_sources
    )


@pytest.mark.parametrize("plan", [plan_up, plan_api, plan_gateway])
def test_without_authentication_only_this_machine_is_let_in_by_its_own_names(plan) -> None:
    made = plan(Settings(), host="127.0.0.1")
    names = ("localhost", "127.0.0.1", "[::1]")
    assert names in {made.api.allowed_hosts, made.gateway.server.allowed_hosts}
    assert not made.insecure
    with pytest.raises(SettingsError):
        plan(Settings(), host="0.0.0.0")
    assert plan(Settings(), host="0.0.0.0", insecure=True).insecure


@pytest.mark.parametrize("plan", [plan_up, plan_api, plan_gateway])
def test_with_a_secret_every_address_and_name_is_served(plan) -> None:
    made = plan(Settings(auth=AUTH, api_url="http://api", redis=REDIS), host="0.0.0.0")
    assert (made.insecure, made.api.allowed_hosts, made.gateway.server.allowed_hosts) == (False, None, None)


def test_a_gateway_with_a_secret_needs_to_know_the_api() -> None:
    with pytest.raises(SettingsError, match=r"^API_URL"):
        plan_gateway(Settings(auth=AUTH), host="127.0.0.1")


def test_a_gateway_beside_an_api_needs_redis() -> None:
    beside_an_api = Settings(api_url="http://api")
    with pytest.raises(SettingsError, match=r"^API_URL .*REDIS_HOST or REDIS_URL.*`roomcast up`"):
        plan_gateway(beside_an_api, host="127.0.0.1")
    assert plan_gateway(replace(beside_an_api, redis=REDIS), host="127.0.0.1").api_url == "http://api"
    assert plan_gateway(Settings(), host="127.0.0.1").redis is None


@pytest.mark.parametrize(
    ("settings", "data", "path"),
    [
        (Settings(), None, Path("data/roomcast.db")),
        (Settings(data_dir=Path("x")), None, Path("x/roomcast.db")),
        (Settings(data_dir=Path("x"), database_path=Path("y.db")), None, Path("y.db")),
        (Settings(database_path=Path("y.db")), Path("z"), Path("z/roomcast.db")),
    ],
)
def test_the_database_is_where_the_nearest_setting_says(settings, data, path) -> None:
    assert plan_up(settings, host="127.0.0.1", data=data).database == path


def test_no_plan_shows_the_secret() -> None:
    assert AUTH.secret not in repr(plan_up(Settings(auth=AUTH), host="127.0.0.1"))


def test_a_data_directory_beside_postgresql_is_refused_since_one_would_be_ignored() -> None:
    settings = Settings(database_url="postgresql://u:hidden@db/chat")
    assert plan_up(settings, host="127.0.0.1").database_url == settings.database_url
    with pytest.raises(SettingsError, match=r"--data and DATABASE_URL") as refused:
        plan_up(settings, host="127.0.0.1", data=Path("x"))
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "settings", "internal"),
    [
        ("127.0.0.1", {}, ("127.0.0.1", 0)),
        ("192.0.2.7", {}, ("192.0.2.7", 0)),
        ("0.0.0.0", {}, (None, 0)),
        ("0.0.0.0", {"internal_host": "10.0.0.1", "internal_port": 9100}, ("10.0.0.1", 9100)),
    ],
)
def test_a_gateway_with_redis_has_an_internal_address_no_wider_than_its_own(host, settings, internal) -> None:
    plan = plan_gateway(Settings(redis=REDIS, **settings), host=host, insecure=True)
    assert plan.internal is not None
    assert (plan.internal.host, plan.internal.port) == internal


def test_without_redis_there_is_an_internal_address_if_it_is_asked_for() -> None:
    assert plan_gateway(Settings(), host="127.0.0.1").internal is None
    for plan in (
        plan_api(Settings(internal_port=9100), host="127.0.0.1"),
        plan_up(Settings(internal_port=9100), host="127.0.0.1"),
    ):
        assert plan.internal is not None
        assert (plan.internal.host, plan.internal.port) == ("127.0.0.1", 9100)


def test_an_api_beside_redis_has_an_internal_address_if_it_is_asked_for() -> None:
    assert plan_api(Settings(redis=REDIS), host="0.0.0.0", insecure=True).internal is None
    plan = plan_api(Settings(redis=REDIS, internal_port=9100), host="192.0.2.7", insecure=True)
    assert plan.internal is not None
    assert (plan.internal.host, plan.internal.port) == ("192.0.2.7", 9100)


@pytest.mark.parametrize(
    ("plan", "redis"), [(plan_api, REDIS), (plan_api, None), (plan_up, None), (plan_gateway, None)]
)
def test_an_internal_host_without_a_port_is_refused_where_no_port_is_chosen(plan, redis) -> None:
    with pytest.raises(SettingsError, match=r"^ROOMCAST_INTERNAL_HOST .*ROOMCAST_INTERNAL_PORT"):
        plan(Settings(redis=redis, internal_host="10.0.0.1"), host="127.0.0.1")


@pytest.mark.parametrize("plan", [plan_up, plan_gateway])
def test_an_internal_host_is_enough_for_a_gateway_with_redis(plan) -> None:
    made = plan(Settings(redis=REDIS, internal_host="10.0.0.1"), host="127.0.0.1")
    assert (made.internal.host, made.internal.port) == ("10.0.0.1", 0)


def test_workers_need_redis_and_each_has_an_internal_port_of_its_own() -> None:
    with pytest.raises(SettingsError, match="without Redis"):
        plan_gateway(Settings(), host="127.0.0.1", workers=2)
    with pytest.raises(SettingsError, match="take one each"):
        plan_gateway(Settings(redis=REDIS, internal_port=65_535), host="127.0.0.1", workers=2)
    plan = plan_gateway(Settings(redis=REDIS, internal_port=9100), host="127.0.0.1", workers=3)
    ports = [plan.worker(number).internal for number in range(3)]
    assert [internal.port for internal in ports if internal is not None] == [9100, 9101, 9102]
    plan = plan_gateway(Settings(redis=REDIS), host="127.0.0.1", workers=2)
    assert plan.worker(1) == plan


def test_the_times_of_the_end_are_the_settings() -> None:
    assert plan_gateway(Settings(), host="127.0.0.1").serve.drain_limit_s == 2.5
    plan = plan_gateway(Settings(unready_s=5.0, drain_s=30.0), host="127.0.0.1")
    assert (plan.serve.unready_s, plan.serve.drain_limit_s) == (5.0, 30.0)
