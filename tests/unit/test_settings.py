from __future__ import annotations

from pathlib import Path

import pytest

from roomcast.observability.logs import LogOptions
from roomcast.settings import RedisSettings, Settings, SettingsError, read_settings

SECRET = "a secret of more than thirty-two bytes"


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read_settings({}) == Settings()


def test_the_guides_names_are_read() -> None:
    settings = read_settings(
        {
            "PORT": "4001",
            "API_PORT": " 4000 ",
            "ALLOWED_ORIGINS": "http://localhost:3000, https://Chat.Example ,",
            "API_URL": "http://api:3000/",
            "GATEWAY_URL": "https://chat.example/gw/",
            "ROOMCAST_SECRET": SECRET,
            "ROOMCAST_DATA": "/srv/chat",
            "ROOMCAST_RESPONDER": "none",
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": "json",
            "TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.1",
        }
    )
    assert (settings.gateway_port, settings.api_port) == (4001, 4000)
    assert settings.allowed_origins == ("http://localhost:3000", "https://chat.example")
    assert (settings.api_url, settings.gateway_url) == ("http://api:3000", "https://chat.example/gw")
    assert settings.auth is not None
    assert settings.data_dir == Path("/srv/chat")
    assert settings.responder == "none"
    assert settings.logs == LogOptions("debug", "json")
    assert settings.trusted_proxies == ("10.0.0.0/8", "127.0.0.1")


@pytest.mark.parametrize(("value", "origins"), [("", ()), (" , ", ()), ("*", ("*",))])
def test_origins_that_are_set_but_empty_refuse_all(value, origins) -> None:
    assert read_settings({"ALLOWED_ORIGINS": value}).allowed_origins == origins


@pytest.mark.parametrize(
    "origin",
    [
        "localhost:3000",
        "http://",
        "http://a/",
        "http://a/path",
        "ftp://a",
        "null",
        "http://a:port",
        "http://a b",
        "http://*",
        "https://*.example.com",
        "http://user@a",
    ],
)
def test_what_is_no_origin_is_refused(origin) -> None:
    with pytest.raises(SettingsError, match=r"^ALLOWED_ORIGINS has"):
        read_settings({"ALLOWED_ORIGINS": f"http://localhost:3000,{origin}"})


@pytest.mark.parametrize("name", ["PORT", "API_PORT"])
@pytest.mark.parametrize("value", ["0", "65536", "-1", "3000.5", "abc", "٣٠٠٠", "9" * 5000])
def test_what_is_no_port_is_refused(name, value) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is"):
        read_settings({name: value})


def test_a_link_that_kubernetes_made_is_explained() -> None:
    with pytest.raises(SettingsError, match="enableServiceLinks"):
        read_settings({"API_PORT": "tcp://10.0.0.1:3000"})


def test_the_guides_names_say_where_redis_is() -> None:
    redis = read_settings({"REDIS_HOST": "cache", "REDIS_PORT": "6380", "REDIS_PASSWORD": "hidden"}).redis
    assert redis == RedisSettings(addresses=(("cache", 6380),), password="hidden")
    assert "hidden" not in repr(redis)
    assert read_settings({"REDIS_HOST": "cache"}).redis == RedisSettings(addresses=(("cache", 6379),))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache", RedisSettings(addresses=(("cache", 6379),))),
        ("redis://:p%40ss@[::1]:7000/2", RedisSettings(addresses=(("::1", 7000),), password="p@ss", db=2)),
        ("rediss://u:p@cache", RedisSettings(addresses=(("cache", 6379),), username="u", password="p", tls=True)),
        ("redis+cluster://a:1,b:2", RedisSettings(addresses=(("a", 1), ("b", 2)), cluster=True)),
        (
            "redis+sentinel://:p@a:1,b/mymaster/3",
            RedisSettings(addresses=(("a", 1), ("b", 6379)), sentinel_master="mymaster", password="p", db=3),
        ),
    ],
)
def test_a_redis_url_names_a_server_a_cluster_or_sentinels(url, expected) -> None:
    assert read_settings({"REDIS_URL": url, "REDIS_HOST": "ignored"}).redis == expected


@pytest.mark.parametrize(
    "url",
    [
        "redis",
        "http://u:hidden@cache",
        "redis://u:hidden@",
        "redis://u:hidden@a,b",
        "redis://u:hidden@cache/x",
        "redis://u:hidden@cache/1/2",
        "redis://u:hidden@cache:0",
        "redis://u:hidden@cache:99999",
        "redis+cluster://u:hidden@cache/1",
        "redis+sentinel://u:hidden@cache",
        "redis+other://u:hidden@cache",
    ],
)
def test_a_wrong_redis_url_is_refused_without_its_password(url) -> None:
    with pytest.raises(SettingsError, match="REDIS_URL") as refused:
        read_settings({"REDIS_URL": url})
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:hidden@cache:6379?db=3",
        "redis://u:hidden@cache/3?db=3",
        "redis://u:hidden@cache?",
        "redis://u:hidden?@cache",
        "rediss://u:hidden@cache/0?ssl_cert_reqs=none",
        "redis+cluster://u:hidden@a:1,b:2?timeout=1",
        "redis+sentinel://u:hidden@a:1/mymaster?db=3",
    ],
)
def test_a_query_in_a_redis_url_is_refused_and_the_text_says_what_to_do(url) -> None:
    with pytest.raises(SettingsError, match=r"^REDIS_URL .*redis://host:port/3") as refused:
        read_settings({"REDIS_URL": url})
    assert "hidden" not in str(refused.value)


def test_a_fragment_in_a_redis_url_is_refused() -> None:
    with pytest.raises(SettingsError, match="REDIS_URL"):
        read_settings({"REDIS_URL": "redis://cache:6379#3"})


def test_a_wrong_redis_host_is_refused() -> None:
    with pytest.raises(SettingsError, match="REDIS_HOST"):
        read_settings({"REDIS_HOST": "redis://cache"})


@pytest.mark.parametrize("url", ["postgres://u:hidden@db/chat", "postgresql://u:hidden@db/chat"])
def test_postgresql_is_named_by_its_url_which_is_not_shown(url) -> None:
    settings = read_settings({"DATABASE_URL": url})
    assert (settings.database_url, settings.database_path) == (url, None)
    assert "hidden" not in repr(settings)


def test_what_kubernetes_sets_for_a_redis_service_is_no_redis() -> None:
    assert read_settings({"REDIS_PORT": "tcp://10.0.0.1:6379", "REDIS_HOST": ""}) == Settings()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///chat.db", Path("chat.db")),
        ("sqlite:////srv/chat.db", Path("/srv/chat.db")),
        ("sqlite:///chat.db?mode=rw", Path("chat.db")),
    ],
)
def test_a_sqlite_url_names_the_file(url, path) -> None:
    assert read_settings({"DATABASE_URL": url}).database_path == path


@pytest.mark.parametrize(
    "url",
    [
        "sqlite+aiosqlite:///chat.db",
        "mysql://u:hidden@db/chat",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "hidden",
    ],
)
def test_other_databases_are_refused_without_showing_their_password(url) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings({"DATABASE_URL": url})
    assert refused.value.variable == "DATABASE_URL"
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("secret", ["", "   ", "short", "x" * 31])
def test_a_secret_that_is_empty_or_weak_does_not_turn_authentication_off(secret) -> None:
    with pytest.raises(SettingsError, match=r"^ROOMCAST_SECRET"):
        read_settings({"ROOMCAST_SECRET": secret})


def test_secrets_are_shown_nowhere() -> None:
    settings = read_settings({"ROOMCAST_SECRET": SECRET})
    assert SECRET not in repr(settings)
    assert SECRET not in repr(settings.auth)
    with pytest.raises(SettingsError) as refused:
        read_settings({"ROOMCAST_SECRET": "weak-but-secret"})
    assert "weak-but-secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["API_URL", "GATEWAY_URL"])
@pytest.mark.parametrize(
    "value", ["api:3000", "ftp://api", "http://", "http://api:99999", "http://api?x=1", "http://[::1", "http://api#x"]
)
def test_what_is_no_address_is_refused(name, value) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is"):
        read_settings({name: value})


def test_a_password_in_an_address_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings({"API_URL": "http://user:hidden@api"})
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("LOG_LEVEL", "loud"), ("LOG_FORMAT", "xml"), ("ROOMCAST_RESPONDER", "gpt"), ("TRUSTED_PROXIES", "proxy")],
)
def test_a_wrong_choice_says_what_there_is(name, value) -> None:
    with pytest.raises(SettingsError, match=f"^{name} .*it takes"):
        read_settings({name: value})


@pytest.mark.parametrize(
    "environ",
    [{"PORT": "a\nb"}, {"ALLOWED_ORIGINS": "http://a\x1b[31m"}, {"LOG_LEVEL": "a\r\nb"}, {"API_URL": "http://a\nb"}],
)
def test_an_error_is_one_line_whatever_the_value(environ) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(environ)
    assert str(refused.value).isprintable()


def test_the_internal_address_and_the_times_of_the_end_are_read() -> None:
    environ = {
        "ROOMCAST_INTERNAL_HOST": "10.0.0.1",
        "ROOMCAST_INTERNAL_PORT": "9100",
        "ROOMCAST_UNREADY_S": "5",
        "ROOMCAST_DRAIN_S": "0.5",
    }
    settings = read_settings(environ)
    assert (settings.internal_host, settings.internal_port) == ("10.0.0.1", 9100)
    assert (settings.unready_s, settings.drain_s) == (5.0, 0.5)
    nothing = read_settings({})
    assert (nothing.internal_host, nothing.internal_port, nothing.unready_s, nothing.drain_s) == (None, None, 0.0, None)


@pytest.mark.parametrize("name", ["ROOMCAST_UNREADY_S", "ROOMCAST_DRAIN_S"])
@pytest.mark.parametrize("value", ["-1", "x", "1e3", "3601", "٣", "inf"])
def test_times_that_are_none_are_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read_settings({name: value})


@pytest.mark.parametrize("value", ["http://host", "a b", "host/path"])
def test_an_internal_host_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="ROOMCAST_INTERNAL_HOST"):
        read_settings({"ROOMCAST_INTERNAL_HOST": value})
