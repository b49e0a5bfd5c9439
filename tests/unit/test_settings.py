from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path

import pytest

from roomcast import settings as settings_module
from roomcast.chat.policies.additions import AdditionLimits
from roomcast.chat.policies.rates import RateLimits
from roomcast.observability.logs import LogOptions
from roomcast.redis_client import RedisAddress, RedisOptions, RedisTls
from roomcast.setting_values import SettingsError
from roomcast.settings import SECRETS, VARIABLES, Settings, misspelt, read_settings

SECRET = "a secret of more than thirty-two bytes"


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read_settings({}) == Settings()


def test_every_variable_is_read() -> None:
    settings = read_settings(
        {
            "ROOMCAST_HOST": " 0.0.0.0 ",
            "ROOMCAST_INSECURE": "on",
            "ROOMCAST_ONE_PORT": "ON",
            "ROOMCAST_GATEWAY_PROCESSES": "4",
            "PORT": "4001",
            "API_PORT": " 4000 ",
            "ALLOWED_ORIGINS": "http://localhost:3000, https://Chat.Example ,",
            "API_URL": "http://api:3000/",
            "GATEWAY_URL": "https://chat.example",
            "ROOMCAST_SECRET": SECRET,
            "ROOMCAST_DATA": "/srv/chat",
            "ROOMCAST_RESPONDER": "none",
            "ROOMCAST_WORKER": "off",
            "ROOMCAST_WORKER_TURNS": " 4 ",
            "ROOMCAST_ADD_LIMIT_SAME_USER": "0",
            "ROOMCAST_ADD_LIMIT_ALL_USERS": " 500 ",
            "ROOMCAST_LIMIT_CHAT_MESSAGES": "0",
            "ROOMCAST_LIMIT_BYTES": "999999999",
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": "json",
            "TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.1",
            "ROOMCAST_WEBHOOK_NETWORKS": "10.0.0.0/8, ::1",
            "ROOMCAST_WEBHOOK_GIVE_UP_S": "60",
            "ROOMCAST_URL": "https://host/chat/",
            "ROOMCAST_TOKEN": "secret-4",
        }
    )
    assert (settings.host, settings.insecure, settings.one_port, settings.gateway_processes) == (
        "0.0.0.0",
        True,
        True,
        4,
    )
    assert (settings.gateway_port, settings.api_port) == (4001, 4000)
    assert (settings.webhook_networks, settings.webhook_give_up_s) == (
        (ip_network("10.0.0.0/8"), ip_network("::1")),
        60,
    )
    assert settings.allowed_origins == ("http://localhost:3000", "https://chat.example")
    assert (settings.api_url, settings.gateway_url) == ("http://api:3000", "https://chat.example")
    assert settings.auth is not None
    assert settings.data_dir == Path("/srv/chat")
    assert settings.responders == ()
    assert (settings.worker, settings.worker_turns) == (False, 4)
    assert settings.additions == AdditionLimits(same_user=0, all_users=500)
    assert settings.rate_limits == RateLimits(chat_messages=0, bytes=999_999_999)
    assert settings.logs == LogOptions("debug", "json")
    assert settings.trusted_proxies == ("10.0.0.0/8", "127.0.0.1")
    assert (settings.url, settings.token) == ("https://host/chat", "secret-4")
    assert "secret-4" not in repr(settings)


@pytest.mark.parametrize(("value", "origins"), [("", ()), (" , ", ()), ("*", ("*",))])
def test_an_empty_list_of_origins_rejects_all(value, origins) -> None:
    assert read_settings({"ALLOWED_ORIGINS": value}).allowed_origins == origins


@pytest.mark.parametrize(
    "origin",
    [
        "localhost:3000",
        "http://",
        "http://a/",
        "http://a/path",
        "http://a:65536",
        "http://[::g]",
        "null",
        "http://a:port",
        "http://a b",
        "http://*",
        "https://*.example.com",
        "http://user@a",
    ],
)
def test_an_invalid_origin_is_rejected(origin) -> None:
    with pytest.raises(SettingsError, match=r"^ALLOWED_ORIGINS contains"):
        read_settings({"ALLOWED_ORIGINS": f"http://localhost:3000,{origin}"})


def test_origins_are_read_as_browsers_send_them() -> None:
    value = "https://Chat.Example:443, capacitor://localhost, http://[0:0::1]:3000, https://chat.example"
    assert read_settings({"ALLOWED_ORIGINS": value}).allowed_origins == (
        "https://chat.example",
        "capacitor://localhost",
        "http://[::1]:3000",
    )


@pytest.mark.parametrize(
    ("value", "hosts"),
    [(None, None), ("", None), ("Chat.Example, [::1],10.0.0.7", ("chat.example", "[::1]", "10.0.0.7"))],
)
def test_allowed_hosts_are_names_without_ports(value, hosts) -> None:
    assert read_settings({} if value is None else {"ALLOWED_HOSTS": value}).allowed_hosts == hosts


@pytest.mark.parametrize("host", ["chat.example:3000", "https://chat.example", "::1", "*", "a b"])
def test_an_invalid_host_is_rejected(host) -> None:
    with pytest.raises(SettingsError, match=r"^ALLOWED_HOSTS contains .*without a port"):
        read_settings({"ALLOWED_HOSTS": host})


def test_the_url_of_the_gateway_may_have_a_path() -> None:
    assert read_settings({"GATEWAY_URL": "https://chat.example/"}).gateway_url == "https://chat.example"
    assert read_settings({"GATEWAY_URL": "https://chat.example/gw/"}).gateway_url == "https://chat.example/gw"


@pytest.mark.parametrize(("value", "expected"), [("", None), (" /chat\n", "/chat"), ("/a/b-1.2_~", "/a/b-1.2_~")])
def test_a_base_path_has_segments_that_need_no_escapes(value, expected) -> None:
    assert read_settings({"ROOMCAST_BASE_PATH": value}).base_path == expected


@pytest.mark.parametrize(
    "value",
    [
        *("chat", "/", "/chat/", "//evil", "/a//b", "/..", "/a/../b", "/a/.", "/ä", "/a b", "/a%20b", "/<b>", '/"'),
        *("/a?b", "/a#b", "/a\r\nb", "https://chat.example/chat", "/" + "a" * 128),
    ],
)
def test_an_invalid_base_path_is_rejected(value) -> None:
    with pytest.raises(SettingsError, match=r"^ROOMCAST_BASE_PATH is .*expected a path such as /chat"):
        read_settings({"ROOMCAST_BASE_PATH": value})


@pytest.mark.parametrize("value", ["/api", "/api/v1", "/c", "/socket.io", "/assets/x", "/health"])
def test_a_base_path_that_begins_like_a_path_of_roomcast_is_rejected(value) -> None:
    # Since paths are accepted without the base path, too, /c/c/1 could be a chat or a chat's page below /c.
    with pytest.raises(SettingsError, match=r"^ROOMCAST_BASE_PATH is .*choose another one"):
        read_settings({"ROOMCAST_BASE_PATH": value})


@pytest.mark.parametrize("name", ["PORT", "API_PORT"])
@pytest.mark.parametrize("value", ["0", "65536", "-1", "3000.5", "abc", "٣٠٠٠", "9" * 5000])
def test_an_invalid_port_is_rejected(name, value) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is"):
        read_settings({name: value})


def test_a_service_link_of_kubernetes_is_explained() -> None:
    with pytest.raises(SettingsError, match="enableServiceLinks"):
        read_settings({"API_PORT": "tcp://10.0.0.1:3000"})


def test_the_variables_of_the_guide_configure_redis() -> None:
    redis = read_settings({"REDIS_HOST": "cache", "REDIS_PORT": "6380", "REDIS_PASSWORD": "hidden"}).redis
    assert redis == RedisOptions(addresses=(RedisAddress("cache", 6380),), password="hidden")
    assert "hidden" not in repr(redis)
    assert read_settings({"REDIS_HOST": "cache"}).redis == RedisOptions(addresses=(RedisAddress("cache", 6379),))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache", RedisOptions(addresses=(RedisAddress("cache", 6379),))),
        ("redis://:p%40ss@[::1]:7000/2", RedisOptions(addresses=(RedisAddress("::1", 7000),), password="p@ss", db=2)),
        (
            "rediss://u:p@cache",
            RedisOptions(addresses=(RedisAddress("cache", 6379),), username="u", password="p", tls=RedisTls()),
        ),
        ("redis+cluster://a:1,b:2", RedisOptions(addresses=(RedisAddress("a", 1), RedisAddress("b", 2)), cluster=True)),
        (
            "redis+sentinel://:p@a:1,b/mymaster/3",
            RedisOptions(
                addresses=(RedisAddress("a", 1), RedisAddress("b", 6379)),
                sentinel_master="mymaster",
                password="p",
                db=3,
            ),
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
def test_the_error_of_an_invalid_redis_url_hides_the_password(url) -> None:
    with pytest.raises(SettingsError, match="REDIS_URL") as rejected:
        read_settings({"REDIS_URL": url})
    assert "hidden" not in str(rejected.value)


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
def test_the_error_of_a_query_in_a_redis_url_says_what_to_do(url) -> None:
    with pytest.raises(SettingsError, match=r"^REDIS_URL .*redis://host:port/3") as rejected:
        read_settings({"REDIS_URL": url})
    assert "hidden" not in str(rejected.value)


def test_a_fragment_in_a_redis_url_is_rejected() -> None:
    with pytest.raises(SettingsError, match="REDIS_URL"):
        read_settings({"REDIS_URL": "redis://cache:6379#3"})


def test_an_invalid_redis_host_is_rejected() -> None:
    with pytest.raises(SettingsError, match="REDIS_HOST"):
        read_settings({"REDIS_HOST": "redis://cache"})


@pytest.mark.parametrize("url", ["postgres://u:hidden@db/chat", "postgresql://u:hidden@db/chat"])
def test_the_url_of_postgresql_is_read_and_not_shown(url) -> None:
    settings = read_settings({"DATABASE_URL": url})
    assert settings.database == url
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize(("username", "expected"), [({}, None), ({"REDIS_SENTINEL_USERNAME": "u"}, "u")])
def test_sentinels_have_a_login_of_their_own(username, expected) -> None:
    env = {"REDIS_URL": "redis+sentinel://a/m", "REDIS_SENTINEL_PASSWORD": "hidden\n", **username}
    redis = read_settings(env).redis
    assert redis is not None
    assert (redis.sentinel_username, redis.sentinel_password, redis.password) == (expected, "hidden", None)
    assert "hidden" not in repr(redis)


@pytest.mark.parametrize(
    "env",
    [
        {"REDIS_SENTINEL_PASSWORD": "hidden"},
        {"REDIS_SENTINEL_PASSWORD": "hidden", "REDIS_HOST": "cache"},
        {"REDIS_SENTINEL_PASSWORD": "hidden", "REDIS_URL": "redis+cluster://a"},
        {"REDIS_SENTINEL_USERNAME": "u", "REDIS_URL": "redis+sentinel://a/m"},
    ],
)
def test_a_sentinel_login_that_would_be_ignored_is_rejected(env) -> None:
    with pytest.raises(SettingsError, match=r"^REDIS_SENTINEL_") as rejected:
        read_settings(env)
    assert "hidden" not in str(rejected.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_HOST", "a..b"),
        ("REDIS_URL", "redis://a..b"),
        ("API_URL", "http://a..b"),
        ("ROOMCAST_INTERNAL_HOST", "a..b"),
        ("DATABASE_URL", "postgresql://u:p@a..b:5432/name"),
        ("DATABASE_URL", "sqlite:///\udcff.db"),
        ("ROOMCAST_SECRET", "\udcff" * 40),
        ("ROOMCAST_DATA", "\udcff"),
        ("REDIS_PASSWORD", "\udcff"),
        ("ALLOWED_ORIGINS", "\udcff"),
    ],
)
def test_a_host_that_no_resolver_accepts_and_bytes_that_are_not_utf_8_are_rejected(name, value) -> None:
    with pytest.raises(SettingsError, match=f"^{name} (contains an invalid host name|is not valid UTF-8)$"):
        read_settings({name: value})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h1:5432,[::1]:5433,10.0.0.1/name",
        "postgresql:///name",
        "postgresql://%2Fvar%2Frun%2Fa%2Fdirectory%2Fwith%2Fa%2Fname%2Flonger%2Fthan%2Fsixty-three%2Fcharacters/name",
    ],
)
def test_every_form_of_hosts_in_a_url_of_postgresql_is_accepted(url) -> None:
    assert read_settings({"DATABASE_URL": url}).database == url


def test_the_variables_of_a_kubernetes_service_named_redis_are_ignored() -> None:
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
    assert read_settings({"DATABASE_URL": url}).database == path


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
def test_the_error_of_an_unsupported_database_hides_the_password(url) -> None:
    with pytest.raises(SettingsError, match=r"^DATABASE_URL ") as rejected:
        read_settings({"DATABASE_URL": url})
    assert "hidden" not in str(rejected.value)


@pytest.mark.parametrize("secret", ["", "   ", "short", "x" * 31])
def test_a_secret_that_is_empty_or_weak_does_not_turn_authentication_off(secret) -> None:
    with pytest.raises(SettingsError, match=r"^ROOMCAST_SECRET"):
        read_settings({"ROOMCAST_SECRET": secret})


def test_no_repr_and_no_error_shows_the_secret() -> None:
    settings = read_settings({"ROOMCAST_SECRET": SECRET})
    assert SECRET not in repr(settings)
    assert SECRET not in repr(settings.auth)
    with pytest.raises(SettingsError) as rejected:
        read_settings({"ROOMCAST_SECRET": "weak-but-secret"})
    assert "weak-but-secret" not in str(rejected.value)


@pytest.mark.parametrize("name", ["API_URL", "GATEWAY_URL"])
@pytest.mark.parametrize(
    "value", ["api:3000", "ftp://api", "http://", "http://api:99999", "http://api?x=1", "http://[::1", "http://api#x"]
)
def test_an_invalid_url_is_rejected(name, value) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is"):
        read_settings({name: value})


def test_the_error_of_a_password_in_a_url_hides_it() -> None:
    with pytest.raises(SettingsError) as rejected:
        read_settings({"API_URL": "http://user:hidden@api"})
    assert "hidden" not in str(rejected.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("ROOMCAST_RESPONDER", "gpt"),
        ("TRUSTED_PROXIES", "proxy"),
        *(("ROOMCAST_WEBHOOK_NETWORKS", value) for value in ("*", "localhost", "10.0.0.1/8")),
        *(("ROOMCAST_WEBHOOK_GIVE_UP_S", value) for value in ("0", "2592001")),
        ("ROOMCAST_WORKER", "maybe"),
        *(("ROOMCAST_WORKER_TURNS", value) for value in ("0", "-1", "10001", "٣", "1.5", "many")),
        *(("ROOMCAST_ADD_LIMIT_SAME_USER", value) for value in ("-1", "1_0", "+1", "٣", "1.5", "9" * 7)),
        # One chat may be created with more members: the answer would be 429 each time.
        *(("ROOMCAST_LIMIT_MESSAGES", value) for value in ("-1", "off", "1.5", "1000000000")),
        ("ROOMCAST_ADD_LIMIT_ALL_USERS", "255"),
        ("ROOMCAST_RETENTION_DAYS", "3651"),
        ("ROOMCAST_QUOTA_USER_TURNS", "-1"),
        ("ROOMCAST_QUOTA_WINDOW_S", "59"),
    ],
)
def test_the_error_of_an_invalid_choice_lists_the_choices(name, value) -> None:
    with pytest.raises(SettingsError, match=f"^{name} .*expected"):
        read_settings({name: value})


@pytest.mark.parametrize(
    "environ",
    [{"PORT": "a\nb"}, {"ALLOWED_ORIGINS": "http://a\x1b[31m"}, {"LOG_LEVEL": "a\r\nb"}, {"API_URL": "http://a\nb"}],
)
def test_an_error_is_one_line_for_every_value(environ) -> None:
    with pytest.raises(SettingsError) as rejected:
        read_settings(environ)
    assert str(rejected.value).isprintable()


def test_the_internal_address_and_the_shutdown_times_are_read() -> None:
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
def test_an_invalid_duration_is_rejected_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read_settings({name: value})


@pytest.mark.parametrize("value", ["http://host", "a b", "host/path"])
def test_an_invalid_internal_host_is_rejected(value: str) -> None:
    with pytest.raises(SettingsError, match="ROOMCAST_INTERNAL_HOST"):
        read_settings({"ROOMCAST_INTERNAL_HOST": value})


def test_the_line_end_of_a_secret_file_is_not_part_of_the_secret() -> None:
    settings = read_settings({"ROOMCAST_SECRET": SECRET + "\n", "REDIS_HOST": "h", "REDIS_PASSWORD": " p \r\n"})
    assert settings.auth is not None
    assert settings.auth.secret == SECRET
    assert settings.redis is not None
    assert settings.redis.password == " p "


OPENAI = {"ROOMCAST_RESPONDER": "openai", "OPENAI_MODEL": "m"}


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("", ("demo",)),
        ("demo, my.bot:Team.answer ,demo", ("demo", "my.bot:Team.answer")),
        ("none", ()),
    ],
)
def test_responders_are_a_list_of_names(value, names) -> None:
    assert read_settings({"ROOMCAST_RESPONDER": value}).responders == names


def test_the_option_takes_precedence_over_the_variable() -> None:
    assert read_settings({"ROOMCAST_RESPONDER": "demo"}, "my:answer").responders == ("my:answer",)
    with pytest.raises(SettingsError, match="--responder has 'gpt'"):
        read_settings({}, "gpt")


@pytest.mark.parametrize(
    ("environ", "api", "url"),
    [
        ({"OPENAI_API_KEY": "k"}, "responses", "https://api.openai.com/v1"),
        ({"OPENAI_BASE_URL": "http://localhost:11434/v1/"}, "chat", "http://localhost:11434/v1"),
        ({"OPENAI_API_KEY": "k", "ROOMCAST_OPENAI_API": "chat"}, "chat", "https://api.openai.com/v1"),
    ],
)
def test_openai_uses_the_responses_api_and_compatible_servers_chat_completions(environ, api, url) -> None:
    options = read_settings({**OPENAI, **environ}).openai
    assert options is not None
    assert (options.model, options.api, options.base_url, options.api_key) == (
        "m",
        api,
        url,
        environ.get("OPENAI_API_KEY"),
    )


def test_keys_and_tokens_are_not_in_the_representation_of_the_settings() -> None:
    environ = {
        **OPENAI,
        "ROOMCAST_RESPONDER": "openai,agui,http",
        "OPENAI_API_KEY": "secret-1",
        "ROOMCAST_AGUI_URL": "http://a/agent",
        "ROOMCAST_AGUI_TOKEN": "secret-2",
        "ROOMCAST_HTTP_URL": "http://b/chat",
        "ROOMCAST_HTTP_TOKEN": "secret-3",
    }
    settings = read_settings(environ)
    assert settings.agui is not None
    assert settings.http is not None
    assert (settings.agui.token, settings.http.token) == ("secret-2", "secret-3")
    assert "secret-" not in repr(settings)


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"ROOMCAST_RESPONDER": "openai", "OPENAI_API_KEY": "k"}, "OPENAI_MODEL"),
        (OPENAI, "OPENAI_API_KEY"),
        ({**OPENAI, "OPENAI_API_KEY": "one\ntwo"}, "OPENAI_API_KEY"),
        ({**OPENAI, "OPENAI_API_KEY": "ключ"}, "OPENAI_API_KEY"),
        ({"ROOMCAST_RESPONDER": "agui"}, "ROOMCAST_AGUI_URL"),
        ({"ROOMCAST_RESPONDER": "demo,http"}, "ROOMCAST_HTTP_URL"),
        ({"ROOMCAST_RESPONDER": f"a:{'b' * 63}"}, "ROOMCAST_RESPONDER"),
        ({"ROOMCAST_TOKEN_BUDGET": "255"}, "ROOMCAST_TOKEN_BUDGET"),
    ],
)
def test_what_a_responder_lacks_is_named(environ, name) -> None:
    with pytest.raises(SettingsError, match=f"^{name} "):
        read_settings(environ)


def test_the_list_of_variables_has_every_name_that_is_read() -> None:
    source = Path(settings_module.__file__).read_text()
    named = {name for name in re.findall(r'"([A-Z]+(?:_[A-Z]+)*)"', source) if name != "ROOMCAST"}
    assert named | {f"{name}_FILE" for name in SECRETS} == set(VARIABLES)
    assert len(VARIABLES) == len(set(VARIABLES))


@pytest.mark.parametrize("name", VARIABLES)
def test_the_page_of_the_configuration_explains_every_variable(name) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "configuration.md").read_text()
    if name.endswith("_FILE"):
        assert "`…_FILE`" in page
        name = name.removesuffix("_FILE")
    assert f"`{name}`" in page


@pytest.mark.parametrize("value", ["0", "65", "-1", "two", "1.5"])
def test_an_invalid_number_of_gateway_processes_is_rejected(value) -> None:
    with pytest.raises(SettingsError, match=r"^ROOMCAST_GATEWAY_PROCESSES is .*from 1 to 64"):
        read_settings({"ROOMCAST_GATEWAY_PROCESSES": value})


@pytest.mark.parametrize("name", ["ROOMCAST_INSECURE", "ROOMCAST_ONE_PORT"])
def test_a_flag_in_a_variable_is_on_or_off(name) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is 'yes'; expected one of: on, off"):
        read_settings({name: "yes"})


def test_secrets_are_read_from_files_without_their_last_newline(tmp_path) -> None:
    values = {
        "ROOMCAST_SECRET": SECRET,
        "DATABASE_URL": "postgresql://u:p@db/chat",
        "REDIS_URL": "redis+sentinel://:hidden@cache/master",
        "REDIS_SENTINEL_PASSWORD": " spaces count ",
        "OPENAI_API_KEY": "key",
        "ROOMCAST_AGUI_TOKEN": "agui",
        "ROOMCAST_HTTP_TOKEN": "http",
        "ROOMCAST_MODERATION_SECRET": "whsec_" + "a" * 32,
        "ROOMCAST_TOKEN": "token",
        "ROOMCAST_VAPID_KEY": "A" * 42 + "E",
    }
    plain = {
        "OPENAI_MODEL": "m",
        "ROOMCAST_AGUI_URL": "http://a",
        "ROOMCAST_HTTP_URL": "http://b",
        "ROOMCAST_MODERATION": "http://c",
        "ROOMCAST_RESPONDER": "openai,agui,http",
    }
    files = {}
    for name, value in values.items():
        (tmp_path / name).write_text(f"{value}\r\n")
        files[f"{name}_FILE"] = str(tmp_path / name)
    assert read_settings(plain | files) == read_settings(plain | values)
    assert set(values) | {
        "REDIS_PASSWORD",
        "ROOMCAST_JWT_SECRET",
        "ROOMCAST_JWT_PUBLIC_KEY",
        "ROOMCAST_OIDC_CLIENT_SECRET",
    } == set(SECRETS)


def test_the_password_of_the_guides_redis_is_read_from_a_file(tmp_path) -> None:
    (tmp_path / "password").write_text("hidden\n")
    redis = read_settings({"REDIS_HOST": "cache", "REDIS_PASSWORD_FILE": str(tmp_path / "password")}).redis
    assert redis is not None
    assert redis.password == "hidden"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "which cannot be read: No such file or directory"),
        (b"", "which is empty"),
        (b" \n", "which is empty"),
        (b"\xff" * 40, "which is not valid UTF-8"),
        (b"a" * 40 + b"\0", "which contains a zero byte"),
        (b"a" * 65_537, "which has more than 65536 bytes and is no secret"),
    ],
)
def test_an_unusable_secret_file_is_named_with_its_variable(tmp_path, content, problem) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read_settings({"ROOMCAST_SECRET_FILE": str(path)})
    assert str(caught.value) == f"ROOMCAST_SECRET_FILE names {path}, {problem}"


def test_a_directory_or_an_empty_path_is_no_secret_file(tmp_path) -> None:
    with pytest.raises(SettingsError, match="which cannot be read: Is a directory"):
        read_settings({"REDIS_URL_FILE": str(tmp_path)})
    with pytest.raises(SettingsError, match=r"^ROOMCAST_SECRET_FILE is empty"):
        read_settings({"ROOMCAST_SECRET_FILE": ""})


def test_a_secret_and_its_file_together_are_an_error(tmp_path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    with pytest.raises(SettingsError, match=r"^ROOMCAST_SECRET_FILE and ROOMCAST_SECRET are both set"):
        read_settings({"ROOMCAST_SECRET": SECRET, "ROOMCAST_SECRET_FILE": str(tmp_path / "secret")})


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ROOMCAST_SECRT", "ROOMCAST_SECRET"),
        ("ROOMCAST_SECRET_FIEL", "ROOMCAST_SECRET_FILE"),
        ("ROOMCAST_WORKERS", "ROOMCAST_WORKER"),
        ("ROOMCAST_ALOWED_ORIGINS", "ALLOWED_ORIGINS"),
        ("ROOMCAST_DATA_DIR", "ROOMCAST_DATA"),
        ("ROOMCAST_INTERNALPORT", "ROOMCAST_INTERNAL_PORT"),
        ("REDIS_PASSWORT", "REDIS_PASSWORD"),
        ("ALLOWED_ORIGIN", "ALLOWED_ORIGINS"),
        ("OPENAI_APIKEY", "OPENAI_API_KEY"),
        ("DATABASE_URI", "DATABASE_URL"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_nearest_right_one(name, nearest) -> None:
    (line,) = misspelt({name: "value"})
    assert line == f"{name} is no setting of Roomcast and has no effect: did you mean {nearest}?"


def test_an_unknown_variable_that_resembles_none_is_a_warning_so_that_a_rollback_works() -> None:
    (line,) = misspelt({"ROOMCAST_ZZZZ_OF_THE_NEXT_VERSION": "1"})
    assert "no setting of this version" in line
    assert read_settings({"ROOMCAST_ZZZZ_OF_THE_NEXT_VERSION": "1"}) == Settings()


def test_variables_of_kubernetes_and_of_other_programs_are_no_misspellings() -> None:
    links = {
        "ROOMCAST_API_SERVICE_HOST": "10.0.0.1",
        "ROOMCAST_API_SERVICE_PORT": "3000",
        "ROOMCAST_API_SERVICE_PORT_HTTP": "3000",
        "ROOMCAST_GATEWAY_PORT": "tcp://10.0.0.1:3001",
        "ROOMCAST_GATEWAY_PORT_3001_TCP": "tcp://10.0.0.1:3001",
        "ROOMCAST_GATEWAY_PORT_3001_TCP_ADDR": "10.0.0.1",
        "ROOMCAST_GATEWAY_PORT_3001_TCP_PORT": "3001",
        "ROOMCAST_GATEWAY_PORT_3001_TCP_PROTO": "tcp",
        "REDIS_PORT": "tcp://10.0.0.2:6379",
        "REDIS_PORT_6379_TCP": "tcp://10.0.0.2:6379",
        "REDIS_SERVICE_HOST": "10.0.0.2",
        "OPENAI_ORG_ID": "org",
        "DATABASE_POOL_SIZE": "5",
        "PATH": "/bin",
        "PORTS": "1",
    }
    assert misspelt(links) == ()
    assert read_settings(links) == Settings()
