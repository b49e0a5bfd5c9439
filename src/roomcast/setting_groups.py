"""Settings that consist of several variables: identity, servers, responders. Single values: `setting_values`.

Each function raises `SettingsError` for an invalid value.

Layer: setting_groups. May import: setting_values, auth, redis_client, responders.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from roomcast.auth.errors import InvalidOptions, WeakSecret
from roomcast.auth.options import DEFAULT_LEEWAY_S, AuthOptions, ProviderOptions, is_safe_url
from roomcast.responders.options import OPENAI_URL, EndpointOptions, OpenAiApi, OpenAiOptions
from roomcast.setting_values import (
    LINE_END,
    SettingsError,
    check_host,
    check_url,
    read_choice,
    read_port,
    read_seconds,
    read_token,
    read_url,
    split_items,
)

if TYPE_CHECKING:
    from roomcast.auth.open_id import OpenIdOptions
    from roomcast.redis_client import RedisOptions

#: The responders that `roomcast` has; others are ``module:name``.
RESPONDERS: Final = ("demo", "openai", "agui", "http")
#: A function of the user's own module.
OWN_FUNCTION: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*")
_MAX_RESPONDER_CHARS: Final = 64
_POSTGRES: Final = frozenset({"postgres", "postgresql"})
#: The SDK would record all traces for any other name.
_SAMPLERS: Final = (
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
    "always_on",
    "always_off",
    "traceidratio",
)


def read_auth(environ: Mapping[str, str]) -> AuthOptions | None:
    """Which tokens are accepted; None: authentication is off."""
    secret = environ.get("ROOMCAST_SECRET")
    if secret is None:
        if name := next((name for name in _PROVIDER if environ.get(name, "").strip()), None):
            raise SettingsError(name, "is set without ROOMCAST_SECRET, which turns authentication on: set both")
        return None
    secret = secret.rstrip(LINE_END)
    if not secret.strip():
        # An empty secret is a deployment error, and must not turn authentication off.
        raise SettingsError("ROOMCAST_SECRET", "is empty; set 32 bytes or more, or unset it")
    try:
        leeway_s = read_seconds(environ, "ROOMCAST_TOKEN_LEEWAY_S")
        return AuthOptions(secret, DEFAULT_LEEWAY_S if leeway_s is None else leeway_s, _provider(environ))
    except WeakSecret as error:
        problem = f"is too weak: {error}; create one with `openssl rand -hex 32`"
        raise SettingsError("ROOMCAST_SECRET", problem) from None


#: The variable of each field of `ProviderOptions`.
_PROVIDER_FIELDS: Final = {
    "issuer": "ROOMCAST_JWT_ISSUER",
    "audiences": "ROOMCAST_JWT_AUDIENCE",
    "algorithms": "ROOMCAST_JWT_ALGORITHMS",
    "secret": "ROOMCAST_JWT_SECRET",
    "public_keys": "ROOMCAST_JWT_PUBLIC_KEY",
    "jwks_url": "ROOMCAST_JWT_JWKS_URL",
    "user_claim": "ROOMCAST_JWT_USER_CLAIM",
    "name_claim": "ROOMCAST_JWT_NAME_CLAIM",
    "scope_claim": "ROOMCAST_JWT_SCOPE_CLAIM",
    "tenant_claim": "ROOMCAST_JWT_TENANT_CLAIM",
}
_PROVIDER: Final = tuple(_PROVIDER_FIELDS.values())


def _provider(environ: Mapping[str, str]) -> ProviderOptions | None:
    values = {name: environ.get(name, "").strip() for name in _PROVIDER}
    if not any(values.values()):
        return None
    if url := values["ROOMCAST_JWT_JWKS_URL"]:
        check_url("ROOMCAST_JWT_JWKS_URL", url, query=True)
    from roomcast.auth.keys import fixed_keys  # loads `cryptography`

    try:
        options = ProviderOptions(
            issuer=values["ROOMCAST_JWT_ISSUER"],
            audiences=split_items(values["ROOMCAST_JWT_AUDIENCE"]),
            algorithms=split_items(values["ROOMCAST_JWT_ALGORITHMS"]),
            secret=environ.get("ROOMCAST_JWT_SECRET", "").rstrip(LINE_END) or None,
            public_keys=values["ROOMCAST_JWT_PUBLIC_KEY"] or None,
            jwks_url=values["ROOMCAST_JWT_JWKS_URL"] or None,
            user_claim=values["ROOMCAST_JWT_USER_CLAIM"] or "sub",
            name_claim=values["ROOMCAST_JWT_NAME_CLAIM"] or "name",
            scope_claim=values["ROOMCAST_JWT_SCOPE_CLAIM"] or None,
            tenant_claim=values["ROOMCAST_JWT_TENANT_CLAIM"] or None,
        )
        if options.jwks_url is None:
            fixed_keys(options)
    except InvalidOptions as error:
        raise SettingsError(_PROVIDER_FIELDS[error.option], error.problem) from None
    return options


def read_sign_in(environ: Mapping[str, str]) -> OpenIdOptions | None:
    """The sign-in on the page by OpenID Connect; None: the page has none."""
    names = ("ROOMCAST_OIDC_ISSUER", "ROOMCAST_OIDC_CLIENT_ID", "ROOMCAST_PAGE_URL")
    values = [environ.get(name, "").strip() for name in names]
    if not any(values) and not environ.get("ROOMCAST_OIDC_CLIENT_SECRET"):
        return None
    for name, value in zip((*names, "ROOMCAST_SECRET"), (*values, environ.get("ROOMCAST_SECRET", "")), strict=True):
        if not value.strip():
            raise SettingsError(name, "is not set; the sign-in on the page needs it")
    issuer, client_id, page_url = values
    check_url(names[0], issuer)
    if not is_safe_url(issuer):
        raise SettingsError(names[0], "must begin with https://; http:// is accepted on loopback only")
    from roomcast.auth.open_id import OpenIdOptions

    return OpenIdOptions(
        issuer=issuer,
        client_id=client_id,
        client_secret=environ.get("ROOMCAST_OIDC_CLIENT_SECRET", "").rstrip(LINE_END) or None,
        page_url=check_url(names[2], page_url),
        user_claim=environ.get("ROOMCAST_OIDC_USER_CLAIM", "").strip() or "sub",
        tenant_claim=environ.get("ROOMCAST_OIDC_TENANT_CLAIM", "").strip() or None,
    )


def read_database(environ: Mapping[str, str]) -> Path | str | None:
    """The file of SQLite, or the URL of PostgreSQL; None: a file in the directory of the data."""
    value = environ.get("DATABASE_URL", "").strip()
    if not value:
        return None
    scheme, separator, rest = value.partition("://")
    if scheme.partition("+")[0].lower() in _POSTGRES:
        for place in re.split(r"[/?]", rest)[0].rpartition("@")[2].split(","):
            if "%" not in place:  # not the directory of a Unix socket
                check_host("DATABASE_URL", place.partition(":")[0])
        return value
    path = rest.partition("?")[0].removeprefix("/")
    if scheme.lower() != "sqlite" or not separator or not rest.startswith("/") or not path or path == ":memory:":
        # The value may contain a password, so the error message does not repeat it.
        raise SettingsError(
            "DATABASE_URL",
            "is invalid; expected postgresql://user:password@host/name, sqlite:///relative/path.db"
            " or sqlite:////absolute/path.db",
        )
    return Path(path)


def read_redis(environ: Mapping[str, str]) -> RedisOptions | None:
    """None: no Redis."""
    # REDIS_PORT alone is ignored: Kubernetes sets it in every pod of a namespace with a service named redis.
    url = environ.get("REDIS_URL", "").strip()
    options = _redis_url(url) if url else _redis_host(environ)
    password = environ.get("REDIS_SENTINEL_PASSWORD", "").rstrip(LINE_END)
    username = environ.get("REDIS_SENTINEL_USERNAME", "").strip()
    if username and not password:
        raise SettingsError("REDIS_SENTINEL_USERNAME", "is set without REDIS_SENTINEL_PASSWORD: set both")
    if not password:
        return options
    if options is None or options.sentinel_master is None:
        raise SettingsError("REDIS_SENTINEL_PASSWORD", "is set, but REDIS_URL names no sentinels (redis+sentinel://…)")
    return replace(options, sentinel_username=username or None, sentinel_password=password)


def _redis_url(url: str) -> RedisOptions:
    # Imported here: a process without Redis does not load redis-py.
    from roomcast.redis_client.url import parse_url

    try:
        return parse_url(url)
    except ValueError as error:
        raise SettingsError("REDIS_URL", str(error)) from None


def _redis_host(environ: Mapping[str, str]) -> RedisOptions | None:
    host = environ.get("REDIS_HOST", "").strip()
    if not host:
        return None
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", host):
        raise SettingsError("REDIS_HOST", f"is {host!r}; expected one host name or address (REDIS_URL takes several)")
    check_host("REDIS_HOST", host)
    from roomcast.redis_client import RedisAddress, RedisOptions
    from roomcast.redis_client.url import DEFAULT_PORT

    port = read_port(environ, "REDIS_PORT") or DEFAULT_PORT
    return RedisOptions(
        addresses=(RedisAddress(host, port),), password=environ.get("REDIS_PASSWORD", "").rstrip(LINE_END) or None
    )


def read_tracing(environ: Mapping[str, str]) -> bool:
    """Whether traces are exported. OpenTelemetry's SDK reads the details."""
    urls = (read_url(environ, "OTEL_EXPORTER_OTLP_ENDPOINT"), read_url(environ, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
    exporter = read_choice(environ, "OTEL_TRACES_EXPORTER", ("otlp", "none"), "otlp")
    disabled = read_choice(environ, "OTEL_SDK_DISABLED", ("true", "false"), "false") == "true"
    if disabled or exporter == "none" or not any(urls):
        return False
    read_choice(environ, "OTEL_TRACES_SAMPLER", _SAMPLERS, _SAMPLERS[0])
    own = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
    read_choice(
        environ, own if environ.get(own) else "OTEL_EXPORTER_OTLP_PROTOCOL", ("http/protobuf",), "http/protobuf"
    )
    return True


def read_responders(environ: Mapping[str, str], given: str | None) -> tuple[str, ...]:
    """The names of the responders: of the option ``--responder`` if it is given; empty: ``none``."""
    name = "ROOMCAST_RESPONDER" if given is None else "--responder"
    value = environ.get(name, "") if given is None else given
    names = split_items(value) or ("demo",)
    if names == ("none",):
        return ()
    for responder in names:
        if responder not in RESPONDERS and not OWN_FUNCTION.fullmatch(responder):
            expected = f"{', '.join(RESPONDERS)}, module:name of a function of yours, or none alone"
            raise SettingsError(name, f"has {responder!r}; expected a list of: {expected}")
        if len(responder) > _MAX_RESPONDER_CHARS:
            raise SettingsError(name, f"has a name of more than {_MAX_RESPONDER_CHARS} characters: {responder!r}")
    return tuple(dict.fromkeys(names))


def read_openai(environ: Mapping[str, str]) -> OpenAiOptions:
    """For the responder ``openai``."""
    url = read_url(environ, "OPENAI_BASE_URL")
    key = read_token(environ, "OPENAI_API_KEY")
    model = environ.get("OPENAI_MODEL", "").strip()
    if not model:
        raise SettingsError("OPENAI_MODEL", "is not set; set the name of the model that the responder openai uses")
    if url is None and key is None:
        raise SettingsError("OPENAI_API_KEY", "is not set; set it, or OPENAI_BASE_URL for a server that needs no key")
    # Few compatible servers have the Responses API.
    default: OpenAiApi = "responses" if url is None else "chat"
    api = read_choice(environ, "ROOMCAST_OPENAI_API", get_args(OpenAiApi), default)
    return OpenAiOptions(model=model, base_url=url or OPENAI_URL, api_key=key, api=api)


def read_endpoint(environ: Mapping[str, str], url_name: str, token_name: str) -> EndpointOptions:
    """The URL and the token of a responder."""
    url = read_url(environ, url_name)
    if url is None:
        raise SettingsError(url_name, "is not set; set the URL that this responder of ROOMCAST_RESPONDER calls")
    return EndpointOptions(url=url, token=read_token(environ, token_name))
