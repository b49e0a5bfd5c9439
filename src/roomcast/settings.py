"""The settings: the only reader of the environment.

The names are the guide's where it has one (``PORT``, ``ALLOWED_ORIGINS``, ``REDIS_…``, ``DATABASE_URL``, ``API_URL``).
A wrong value is one `SettingsError` that names the variable; what this release cannot honour is refused, never ignored.

Layer: settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from roomcast.auth.tokens import AuthOptions, WeakSecret
from roomcast.observability.logs import LogFormat, LogLevel, LogOptions
from roomcast.realtime.options import ANY_ORIGIN

DEFAULT_GATEWAY_PORT: Final = 3001
DEFAULT_API_PORT: Final = 3000
#: The guide's default.
DEFAULT_ORIGINS: Final = ("http://localhost:3000",)
DEFAULT_DATA_DIR: Final = Path("data")
MAX_PORT: Final = 65_535

ResponderName = Literal["demo", "none"]
_Choice = TypeVar("_Choice", bound=str)

_ORIGIN: Final = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", re.IGNORECASE)


class SettingsError(Exception):
    """The configuration cannot be used; the text is one line that names what to change.

    Attributes:
        variable: The environment variable, or the option, that is wrong.
    """

    def __init__(self, variable: str, problem: str) -> None:
        super().__init__(f"{variable} {problem}")
        self.variable = variable


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says. None: it says nothing.

    Attributes:
        gateway_port: ``PORT``, the gateway's.
        api_port: ``API_PORT``.
        allowed_origins: ``ALLOWED_ORIGINS``; set but empty: no cross-origin page at all.
        trusted_proxies: ``TRUSTED_PROXIES``: addresses and networks whose forwarded headers are believed.
        api_url: ``API_URL``: where a gateway of its own asks for admission.
        gateway_url: ``GATEWAY_URL``: what browsers are to call the gateway, behind a proxy.
        data_dir: ``ROOMCAST_DATA``: where the embedded database lies.
        database_path: The file of a ``DATABASE_URL`` that names SQLite; it wins over ``data_dir``.
        auth: Made of ``ROOMCAST_SECRET``; None: authentication is off.
        responder: ``ROOMCAST_RESPONDER``: what answers in new chats.
        logs: ``LOG_LEVEL``, ``LOG_FORMAT``.
    """

    gateway_port: int | None = None
    api_port: int | None = None
    allowed_origins: tuple[str, ...] | None = None
    trusted_proxies: tuple[str, ...] = ()
    api_url: str | None = None
    gateway_url: str | None = None
    data_dir: Path = DEFAULT_DATA_DIR
    database_path: Path | None = None
    auth: AuthOptions | None = field(default=None, repr=False)
    responder: ResponderName = "demo"
    logs: LogOptions = field(default_factory=LogOptions)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the environment.

    Raises:
        SettingsError: a value is wrong, or this release cannot do what is asked for.
    """
    _refuse_redis(environ)
    return Settings(
        gateway_port=_port(environ, "PORT"),
        api_port=_port(environ, "API_PORT"),
        allowed_origins=_origins(environ, "ALLOWED_ORIGINS"),
        trusted_proxies=_proxies(environ, "TRUSTED_PROXIES"),
        api_url=_url(environ, "API_URL"),
        gateway_url=_url(environ, "GATEWAY_URL"),
        data_dir=Path(environ.get("ROOMCAST_DATA") or DEFAULT_DATA_DIR),
        database_path=_database(environ),
        auth=_auth(environ),
        responder=_choice(environ, "ROOMCAST_RESPONDER", get_args(ResponderName), "demo"),
        logs=LogOptions(
            level=_choice(environ, "LOG_LEVEL", get_args(LogLevel), "info"),
            format=_choice(environ, "LOG_FORMAT", get_args(LogFormat), "console"),
        ),
    )


def check_port(name: str, port: int) -> int:
    """A TCP port that can be announced, so not 0.

    Raises:
        SettingsError: it is none.
    """
    if not 1 <= port <= MAX_PORT:
        raise SettingsError(name, f"is {port}; a port is a number from 1 to {MAX_PORT}")
    return port


def _refuse_redis(environ: Mapping[str, str]) -> None:
    # REDIS_PORT alone says nothing: Kubernetes sets it in every pod beside a service called redis.
    for name in ("REDIS_URL", "REDIS_HOST"):
        if environ.get(name):
            raise SettingsError(
                name,
                "is set, but this release runs without Redis, as one process; ignoring it would lose messages between"
                f" replicas. Unset {name} to go on",
            )


def _port(environ: Mapping[str, str], name: str) -> int | None:
    value = environ.get(name, "").strip()
    if not value:
        return None
    if value.startswith("tcp://"):
        raise SettingsError(
            name, f"is {value!r}, a link that Kubernetes made of a service: set enableServiceLinks: false in the pod"
        )
    if not (value.isascii() and value.isdigit()):
        raise SettingsError(name, f"is {value!r}; a port is a number from 1 to {MAX_PORT}")
    return check_port(name, int(value[:10]))


def _origins(environ: Mapping[str, str], name: str) -> tuple[str, ...] | None:
    value = environ.get(name)
    if value is None:
        return None
    origins = _items(value)
    for origin in origins:
        if origin == ANY_ORIGIN:
            continue
        if not _ORIGIN.fullmatch(origin):
            raise SettingsError(name, f"has {origin!r}; an origin is http(s)://host[:port], without a path or slash")
    # Browsers write origins in lower case.
    return tuple(dict.fromkeys(origin.lower() for origin in origins))


def _proxies(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    proxies = _items(environ.get(name, ""))
    for proxy in proxies:
        if proxy == ANY_ORIGIN:
            continue
        try:
            ip_network(proxy)
        except ValueError:
            raise SettingsError(name, f"has {proxy!r}; it takes addresses, networks like 10.0.0.0/8, or *") from None
    return proxies


def _url(environ: Mapping[str, str], name: str) -> str | None:
    value = environ.get(name, "").strip()
    if not value:
        return None
    try:
        parts = urlsplit(value)
        # The parser passes over line ends.
        usable = value.isprintable() and parts.scheme in {"http", "https"} and bool(parts.hostname)
        usable = usable and (parts.port or 1) <= MAX_PORT
    except ValueError:
        usable = False
        parts = None
    if parts is not None and (parts.username or parts.password):
        raise SettingsError(name, "has a user or password in it, which would show up in logs and pages")
    if not usable or (parts is not None and (parts.query or parts.fragment)):
        raise SettingsError(name, f"is {value!r}; it takes http(s)://host[:port][/path]")
    return value.rstrip("/")


def _database(environ: Mapping[str, str]) -> Path | None:
    value = environ.get("DATABASE_URL", "").strip()
    if not value:
        return None
    scheme, separator, rest = value.partition("://")
    kind = scheme.partition("+")[0].lower()
    # The value may hold a password: no message repeats it.
    if kind in {"postgres", "postgresql"}:
        raise SettingsError(
            "DATABASE_URL", "names PostgreSQL, which this release does not have; unset it to use the embedded SQLite"
        )
    path = rest.partition("?")[0].removeprefix("/")
    if kind != "sqlite" or not separator or not rest.startswith("/") or not path or path == ":memory:":
        raise SettingsError("DATABASE_URL", "takes sqlite:///relative/path.db or sqlite:////absolute/path.db here")
    return Path(path)


def _auth(environ: Mapping[str, str]) -> AuthOptions | None:
    secret = environ.get("ROOMCAST_SECRET")
    if secret is None:
        return None
    if not secret.strip():
        # An empty secret is a mistake in a deployment, and must not turn authentication off.
        raise SettingsError("ROOMCAST_SECRET", "is empty; set 32 bytes or more, or unset it")
    try:
        return AuthOptions(secret)
    except WeakSecret as error:
        raise SettingsError("ROOMCAST_SECRET", f"is too weak: {error}; make one with `openssl rand -hex 32`") from None


def _choice(environ: Mapping[str, str], name: str, choices: tuple[_Choice, ...], default: _Choice) -> _Choice:
    value = environ.get(name, "").strip().lower() or default
    for choice in choices:
        if choice == value:
            return choice
    raise SettingsError(name, f"is {value!r}; it takes {', '.join(choices)}")


def _items(value: str) -> tuple[str, ...]:
    return tuple(item for part in value.split(",") if (item := part.strip()))
