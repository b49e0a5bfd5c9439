"""The settings of services beside Roomcast: the collector of traces, identity providers, the moderation hook."""

from __future__ import annotations

import pytest

from roomcast.auth.options import AuthOptions, ProviderOptions
from roomcast.setting_values import SettingsError
from roomcast.settings import read_settings
from support.key_server import pem

SECRET = "a secret of more than thirty-two bytes"

COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environ", "tracing"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "chat", "OTEL_TRACES_EXPORTER": "otlp"}, False),
        (COLLECTOR, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector/v1/traces"}, True),
        ({**COLLECTOR, "OTEL_SDK_DISABLED": "true"}, False),
        ({**COLLECTOR, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**COLLECTOR, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_SDK_DISABLED": "true"}, False),
        (
            {
                **COLLECTOR,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            True,
        ),
    ],
)
def test_traces_are_sent_if_a_collector_is_named_and_they_are_not_turned_off(environ, tracing) -> None:
    assert read_settings(environ).tracing is tracing


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratoi"),
    ],
)
def test_a_setting_of_traces_that_is_not_supported_is_named(name, value) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is '{value}'"):
        read_settings({**COLLECTOR, name: value})


PROVIDER = {
    "ROOMCAST_SECRET": SECRET,
    "ROOMCAST_JWT_ISSUER": "https://id.example/",
    "ROOMCAST_JWT_AUDIENCE": "chat, chat-mobile",
    "ROOMCAST_JWT_JWKS_URL": "https://id.example/keys?p=x",
}


def test_a_provider_is_read_from_the_environment_and_is_off_by_default(tmp_path) -> None:
    assert read_settings({"ROOMCAST_SECRET": SECRET}).auth == AuthOptions(SECRET)
    more = {
        "ROOMCAST_JWT_ALGORITHMS": "RS256,ES256",
        "ROOMCAST_JWT_USER_CLAIM": "email",
        "ROOMCAST_TOKEN_LEEWAY_S": "0",
    }
    auth = read_settings({**PROVIDER, **more}).auth
    assert auth is not None
    assert auth.leeway_s == 0
    assert auth.provider == ProviderOptions(
        issuer="https://id.example/",
        audiences=("chat", "chat-mobile"),
        algorithms=("RS256", "ES256"),
        jwks_url="https://id.example/keys?p=x",
        user_claim="email",
    )
    (tmp_path / "pem").write_text(pem("ES256-a"))
    file = {**PROVIDER, "ROOMCAST_JWT_JWKS_URL": "", "ROOMCAST_JWT_PUBLIC_KEY_FILE": str(tmp_path / "pem")}
    found = read_settings(file).auth
    assert found is not None
    assert found.provider is not None
    assert found.provider.public_keys == pem("ES256-a").strip()


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"ROOMCAST_SECRET": None}, "ROOMCAST_JWT_ISSUER"),
        ({"ROOMCAST_JWT_ISSUER": ""}, "ROOMCAST_JWT_ISSUER"),
        ({"ROOMCAST_JWT_ISSUER": "roomcast"}, "ROOMCAST_JWT_ISSUER"),
        ({"ROOMCAST_JWT_AUDIENCE": " , "}, "ROOMCAST_JWT_AUDIENCE"),
        ({"ROOMCAST_JWT_JWKS_URL": ""}, "ROOMCAST_JWT_JWKS_URL"),
        ({"ROOMCAST_JWT_JWKS_URL": "http://id.example/keys"}, "ROOMCAST_JWT_JWKS_URL"),
        ({"ROOMCAST_JWT_JWKS_URL": "https://user:password@id.example/keys"}, "ROOMCAST_JWT_JWKS_URL"),
        ({"ROOMCAST_JWT_ALGORITHMS": "RS256,none"}, "ROOMCAST_JWT_ALGORITHMS"),
        ({"ROOMCAST_JWT_ALGORITHMS": "HS256"}, "ROOMCAST_JWT_ALGORITHMS"),
        ({"ROOMCAST_JWT_SECRET": SECRET}, "ROOMCAST_JWT_JWKS_URL"),
        ({"ROOMCAST_JWT_JWKS_URL": "", "ROOMCAST_JWT_SECRET": "short"}, "ROOMCAST_JWT_SECRET"),
        ({"ROOMCAST_JWT_JWKS_URL": "", "ROOMCAST_JWT_PUBLIC_KEY": "no key"}, "ROOMCAST_JWT_PUBLIC_KEY"),
        ({"ROOMCAST_TOKEN_LEEWAY_S": "-1"}, "ROOMCAST_TOKEN_LEEWAY_S"),
    ],
)
def test_a_provider_whose_tokens_could_be_forged_is_refused(changes, name) -> None:
    environ = {key: value for key, value in {**PROVIDER, **changes}.items() if value is not None}
    with pytest.raises(SettingsError, match=f"^{name} ") as refused:
        read_settings(environ)
    assert "\n" not in str(refused.value)
    assert "password@" not in str(refused.value)


SIGN_IN = {
    "ROOMCAST_SECRET": SECRET,
    "ROOMCAST_OIDC_ISSUER": "https://id.example/",
    "ROOMCAST_OIDC_CLIENT_ID": "chat",
    "ROOMCAST_PAGE_URL": "https://chat.example/chat/",
}


def test_the_sign_in_on_the_page_is_read_from_the_environment() -> None:
    assert read_settings({"ROOMCAST_SECRET": SECRET}).sign_in is None
    options = read_settings(
        {**SIGN_IN, "ROOMCAST_OIDC_CLIENT_SECRET": "s", "ROOMCAST_OIDC_USER_CLAIM": "email"}
    ).sign_in
    assert options is not None
    assert (options.issuer, options.client_id, options.user_claim) == ("https://id.example/", "chat", "email")
    assert options.redirect_url == "https://chat.example/chat/api/auth/callback"
    assert "client_secret" not in repr(options)


@pytest.mark.parametrize("name", SIGN_IN)
def test_an_incomplete_sign_in_names_the_missing_variable(name) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is not set"):
        read_settings({key: value for key, value in SIGN_IN.items() if key != name})


def test_an_issuer_without_tls_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^ROOMCAST_OIDC_ISSUER must begin with https"):
        read_settings({**SIGN_IN, "ROOMCAST_OIDC_ISSUER": "http://id.example"})


@pytest.mark.parametrize(
    ("changes", "variable"),
    [
        ({"ROOMCAST_MODERATION": "review"}, "ROOMCAST_MODERATION"),
        ({"ROOMCAST_MODERATION": "http://hook"}, "ROOMCAST_MODERATION_SECRET"),
        (
            {"ROOMCAST_MODERATION": "http://hook", "ROOMCAST_MODERATION_SECRET": "whsec_AAAA"},
            "ROOMCAST_MODERATION_SECRET",
        ),
        ({"ROOMCAST_MODERATION": "a:b", "ROOMCAST_MODERATION_AWAY": "maybe"}, "ROOMCAST_MODERATION_AWAY"),
        ({"ROOMCAST_MODERATION": "a:b", "ROOMCAST_MODERATION_ANSWERS": "maybe"}, "ROOMCAST_MODERATION_ANSWERS"),
    ],
)
def test_a_moderation_hook_that_cannot_be_used_is_an_error(changes, variable) -> None:
    with pytest.raises(SettingsError, match=f"^{variable} "):
        read_settings(changes)


def test_a_moderation_hook_has_a_deadline_and_refuses_while_it_is_away() -> None:
    options = read_settings({"ROOMCAST_MODERATION": "a:b"}).moderation
    assert options is not None
    assert (options.limits.when_away, options.limits.deadline_s) == ("refuse", 2.0)
