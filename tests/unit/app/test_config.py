from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from roomcast.app.config import InternalAddress, api_config, gateway_config, up_config, worker_config
from roomcast.auth.options import AuthOptions
from roomcast.redis_client import RedisAddress, RedisOptions
from roomcast.setting_values import SettingsError
from roomcast.settings import Settings

AUTH = AuthOptions("a secret of more than thirty-two bytes")
REDIS = RedisOptions(addresses=(RedisAddress("127.0.0.1", 6379),))
PAGES = ("http://localhost:3000", "http://127.0.0.1:3000")


def test_up_accepts_the_pages_that_it_serves() -> None:
    config = up_config(Settings(), host="127.0.0.1")
    assert config.page_urls == PAGES
    server = config.gateway.server
    assert (server.cors_allowed_origins, server.cors_same_host_ports) == ((), (3000,))
    assert config.gateway_urls == ("http://localhost:3001", "http://127.0.0.1:3001")
    assert (config.api.gateway_url, config.api.gateway_port) == (None, 3001)


@pytest.mark.parametrize("origins", [(), ("https://chat.example",)])
def test_configured_origins_replace_the_default(origins) -> None:
    settings = Settings(allowed_origins=origins)
    server = up_config(settings, host="127.0.0.1").gateway.server
    assert (server.cors_allowed_origins, server.cors_same_host_ports) == (origins, ())
    assert api_config(settings, host="127.0.0.1").api.allowed_origins == origins
    assert gateway_config(settings, host="127.0.0.1").gateway.server.cors_allowed_origins == origins


def test_the_gateway_alone_accepts_the_origin_of_the_guide() -> None:
    assert gateway_config(Settings(), host="127.0.0.1").gateway.server.cors_allowed_origins == (
        "http://localhost:3000",
    )


@pytest.mark.parametrize(
    ("settings", "options", "port"),
    [
        (Settings(), {}, 3000),
        (Settings(gateway_port=8080), {}, 8080),
        (Settings(gateway_port=8080, api_port=9090), {}, 9090),
        (Settings(gateway_port=8080, api_port=9090), {"api_port": 7070}, 7070),
    ],
)
def test_one_port_is_the_port_of_the_api_or_the_port_that_a_platform_assigns(settings, options, port) -> None:
    config = up_config(settings, host="127.0.0.1", one_port=True, **options)
    assert (config.api_port, config.gateway_port, config.api.gateway_port) == (port, port, None)
    assert config.one_port
    assert config.gateway_urls == config.page_urls


def test_an_api_alone_announces_no_gateway() -> None:
    config = api_config(Settings(), host="127.0.0.1")
    assert (config.page_urls, config.gateway_urls, config.one_port) == (PAGES, (), False)
    assert config.api.gateway_port == 3001


def test_options_take_precedence_over_the_environment() -> None:
    config = up_config(Settings(gateway_port=1, api_port=2), host="127.0.0.1", api_port=4000, gateway_port=4001)
    assert (config.api_port, config.gateway_port) == (4000, 4001)


def test_pages_connect_to_the_configured_url_of_the_gateway() -> None:
    config = up_config(Settings(gateway_url="https://gw.example"), host="127.0.0.1")
    assert config.api.gateway_url == "https://gw.example"


@pytest.mark.parametrize("make", [up_config, api_config, gateway_config])
def test_without_authentication_only_loopback_clients_and_host_names_are_accepted(make) -> None:
    config = make(Settings(), host="127.0.0.1")
    names = ("localhost", "127.0.0.1", "[::1]")
    assert names in {config.api.allowed_hosts, config.gateway.server.allowed_hosts}
    assert config.listen.loopback
    with pytest.raises(SettingsError):
        make(Settings(), host="0.0.0.0")
    assert make(Settings(), host="0.0.0.0", insecure=True).listen.bind == ("0.0.0.0",)


def test_without_authentication_the_host_that_is_bound_is_accepted() -> None:
    assert "127.0.0.2" in (up_config(Settings(), host="127.0.0.2").api.allowed_hosts or ())


@pytest.mark.parametrize("auth", [None, AUTH])
def test_configured_hosts_replace_the_default(auth) -> None:
    config = up_config(Settings(auth=auth, allowed_hosts=("chat.example",)), host="127.0.0.1")
    assert config.api.allowed_hosts == config.gateway.server.allowed_hosts == ("chat.example",)


@pytest.mark.parametrize("make", [up_config, api_config, gateway_config])
def test_with_a_secret_every_address_and_host_name_is_accepted(make) -> None:
    config = make(Settings(auth=AUTH, api_url="http://api", redis=REDIS), host="0.0.0.0")
    assert (config.listen.bind, config.api.allowed_hosts, config.gateway.server.allowed_hosts) == (
        ("0.0.0.0",),
        None,
        None,
    )


def test_a_gateway_with_a_secret_requires_the_url_of_the_api() -> None:
    with pytest.raises(SettingsError, match=r"^API_URL"):
        gateway_config(Settings(auth=AUTH), host="127.0.0.1")


def test_a_gateway_beside_an_api_needs_redis() -> None:
    beside_an_api = Settings(api_url="http://api")
    with pytest.raises(SettingsError, match=r"^API_URL .*REDIS_HOST or REDIS_URL.*`roomcast up`"):
        gateway_config(beside_an_api, host="127.0.0.1")
    assert gateway_config(replace(beside_an_api, redis=REDIS), host="127.0.0.1").settings.api_url == "http://api"
    assert gateway_config(Settings(), host="127.0.0.1").settings.redis is None


@pytest.mark.parametrize(
    ("settings", "data", "path"),
    [
        (Settings(), None, Path("data/roomcast.db")),
        (Settings(data_dir=Path("x")), None, Path("x/roomcast.db")),
        (Settings(data_dir=Path("x"), database=Path("y.db")), None, Path("y.db")),
        (Settings(database=Path("y.db")), Path("z"), Path("z/roomcast.db")),
    ],
)
def test_the_most_specific_setting_names_the_database(settings, data, path) -> None:
    assert up_config(settings, host="127.0.0.1", data=data).database == path


def test_no_config_shows_the_secret() -> None:
    assert AUTH.secret not in repr(up_config(Settings(auth=AUTH), host="127.0.0.1"))


def test_a_data_directory_together_with_postgresql_is_rejected() -> None:
    settings = Settings(database="postgresql://u:hidden@db/chat")
    assert up_config(settings, host="127.0.0.1").database == settings.database
    with pytest.raises(SettingsError, match=r"--data and DATABASE_URL") as refused:
        up_config(settings, host="127.0.0.1", data=Path("x"))
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
def test_a_gateway_with_redis_has_an_internal_address_no_wider_than_its_public_one(host, settings, internal) -> None:
    config = gateway_config(Settings(redis=REDIS, **settings), host=host, insecure=True)
    assert config.internal is not None
    assert (config.internal.host, config.internal.port) == internal


def test_without_redis_an_internal_port_adds_an_internal_address() -> None:
    assert gateway_config(Settings(), host="127.0.0.1").internal is None
    for config in (
        api_config(Settings(internal_port=9100), host="127.0.0.1"),
        up_config(Settings(internal_port=9100), host="127.0.0.1"),
    ):
        assert config.internal is not None
        assert (config.internal.host, config.internal.port) == ("127.0.0.1", 9100)


def test_an_api_with_redis_has_an_internal_address_whose_port_gateways_know() -> None:
    assert api_config(Settings(), host="127.0.0.1").internal is None
    for host, address in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", None)):
        internal = api_config(Settings(redis=REDIS), host=host, insecure=True).internal
        assert internal is not None
        assert (internal.host, internal.port) == (address, 3002)
    config = api_config(Settings(redis=REDIS, internal_port=9100), host="192.0.2.7", insecure=True)
    assert config.internal is not None
    assert (config.internal.host, config.internal.port) == ("192.0.2.7", 9100)


@pytest.mark.parametrize("make", [api_config, up_config, gateway_config])
def test_an_internal_host_without_a_port_is_rejected_where_no_port_is_chosen(make) -> None:
    with pytest.raises(SettingsError, match=r"^ROOMCAST_INTERNAL_HOST .*ROOMCAST_INTERNAL_PORT"):
        make(Settings(internal_host="10.0.0.1"), host="127.0.0.1")


@pytest.mark.parametrize("make", [up_config, gateway_config])
def test_a_gateway_with_redis_chooses_the_port_of_an_internal_host(make) -> None:
    config = make(Settings(redis=REDIS, internal_host="10.0.0.1"), host="127.0.0.1")
    assert (config.internal.host, config.internal.port) == ("10.0.0.1", 0)


@pytest.mark.parametrize("database", [None, Path("roomcast.db")])
def test_a_worker_needs_a_database_that_processes_can_share(database) -> None:
    with pytest.raises(SettingsError, match=r"^DATABASE_URL .*postgresql://"):
        worker_config(Settings(database=database))


def test_a_worker_serves_its_internal_address_only() -> None:
    settings = Settings(database="postgresql://db/roomcast")
    assert worker_config(settings).internal is None
    config = worker_config(replace(settings, redis=REDIS))
    # The address of this machine on its route to Redis.
    assert config.internal == InternalAddress(None, 0)
    assert (config.page_urls, config.gateway_urls) == ((), ())
    config = worker_config(replace(settings, redis=REDIS, internal_host="10.0.0.1", internal_port=9100))
    assert config.internal == InternalAddress("10.0.0.1", 9100)


def test_workers_require_redis_and_each_has_an_internal_port_of_its_own() -> None:
    with pytest.raises(SettingsError, match="without Redis"):
        gateway_config(Settings(), host="127.0.0.1", workers=2)
    with pytest.raises(SettingsError, match="one port each"):
        gateway_config(Settings(redis=REDIS, internal_port=65_535), host="127.0.0.1", workers=2)
    config = gateway_config(Settings(redis=REDIS, internal_port=9100), host="127.0.0.1", workers=3)
    ports = [config.for_worker(number).internal for number in range(3)]
    assert [internal.port for internal in ports if internal is not None] == [9100, 9101, 9102]
    config = gateway_config(Settings(redis=REDIS), host="127.0.0.1", workers=2)
    assert config.for_worker(1) == config


def test_the_shutdown_times_come_from_the_settings() -> None:
    assert gateway_config(Settings(), host="127.0.0.1").serve.drain_limit_s == 2.5
    config = gateway_config(Settings(unready_s=5.0, drain_s=30.0), host="127.0.0.1")
    assert (config.serve.unready_s, config.serve.drain_limit_s) == (5.0, 30.0)


def test_variables_have_the_effect_of_the_options_and_options_take_precedence() -> None:
    settings = Settings(host="192.0.2.1", insecure=True, one_port=True, gateway_processes=3, redis=REDIS)
    config = up_config(settings)
    assert (config.listen.bind, config.one_port) == (("192.0.2.1",), True)
    assert api_config(settings).listen.bind == ("192.0.2.1",)
    assert gateway_config(settings).workers == 3
    config = gateway_config(settings, host="192.0.2.2", workers=2)
    assert (config.listen.bind, config.workers) == (("192.0.2.2",), 2)
    assert gateway_config(settings, workers=1).workers == 1
    assert up_config(Settings()).listen.loopback


@pytest.mark.parametrize("make", [up_config, api_config, gateway_config])
def test_the_option_of_the_base_path_takes_precedence_over_the_variable_and_is_checked(make) -> None:
    settings = Settings(base_path="/chat")
    assert [make(Settings()).serve.base_path, make(settings).serve.base_path] == ["", "/chat"]
    assert [make(settings, base_path=path).serve.base_path for path in ("/other", "")] == ["/other", ""]
    with pytest.raises(SettingsError, match=r"^--base-path is '/chat/'"):
        make(settings, base_path="/chat/")


def test_the_printed_urls_have_the_base_path() -> None:
    config = up_config(Settings(base_path="/chat"))
    assert config.page_urls == tuple(f"{page}/chat/" for page in PAGES)
    assert config.gateway_urls[0] == "http://localhost:3001/chat"
