"""The servers that a process uses: the database, Redis, the collector of traces.

Each function raises `SettingsError` for an invalid value.

Layer: setting_groups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from roomcast.setting_values import LINE_END, SettingsError, check_host, read_choice, read_port, read_url

if TYPE_CHECKING:
    from roomcast.redis_client import RedisOptions

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
