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
from urllib.parse import unquote, urlsplit

from roomcast.auth.tokens import AuthOptions, WeakSecret
from roomcast.observability.logs import LogFormat, LogLevel, LogOptions
from roomcast.realtime.options import ANY_ORIGIN

DEFAULT_GATEWAY_PORT: Final = 3001
DEFAULT_API_PORT: Final = 3000
#: The guide's default.
DEFAULT_ORIGINS: Final = ("http://localhost:3000",)
DEFAULT_DATA_DIR: Final = Path("data")
DEFAULT_REDIS_PORT: Final = 6379
MAX_PORT: Final = 65_535
#: Longer than any platform waits for a process that it has asked to end.
MAX_WAIT_S: Final = 3_600.0

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
class RedisSettings:
    """Where Redis is: the guide's ``REDIS_HOST``, ``REDIS_PORT`` and ``REDIS_PASSWORD``, or ``REDIS_URL``.

    Attributes:
        addresses: The server; with ``sentinel_master`` the sentinels; with ``cluster`` some nodes.
        sentinel_master: Name under which the sentinels know the master.
        cluster: Whether it is a Redis Cluster.
        username: ACL user.
        password: Its password.
        db: Number of the database.
        tls: Whether the connection is encrypted; the server's certificate is checked.
    """

    addresses: tuple[tuple[str, int], ...]
    sentinel_master: str | None = None
    cluster: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    tls: bool = False


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
        database_url: A ``DATABASE_URL`` that names PostgreSQL; it wins over both. Not shown: it may hold a password.
        redis: None: one process is all there is.
        internal_host: ``ROOMCAST_INTERNAL_HOST``: where machines, not people, reach this process.
        internal_port: ``ROOMCAST_INTERNAL_PORT``; None: any free one for a gateway with Redis, and none elsewhere.
        unready_s: ``ROOMCAST_UNREADY_S``: time between being unready and closing, on SIGTERM.
        drain_s: ``ROOMCAST_DRAIN_S``: time for closing.
        guide_ingress: ``ROOMCAST_INGRESS``: whether gateways take the guide's ``PUBLISH chat:events``. Off where the
            guide's own Node pods share the Redis, since they broadcast it themselves.
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
    database_url: str | None = field(default=None, repr=False)
    redis: RedisSettings | None = None
    internal_host: str | None = None
    internal_port: int | None = None
    unready_s: float = 0.0
    drain_s: float | None = None
    guide_ingress: bool = True
    auth: AuthOptions | None = field(default=None, repr=False)
    responder: ResponderName = "demo"
    logs: LogOptions = field(default_factory=LogOptions)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the environment.

    Raises:
        SettingsError: a value is wrong, or this release cannot do what is asked for.
    """
    return Settings(
        gateway_port=_port(environ, "PORT"),
        api_port=_port(environ, "API_PORT"),
        allowed_origins=_origins(environ, "ALLOWED_ORIGINS"),
        trusted_proxies=_proxies(environ, "TRUSTED_PROXIES"),
        api_url=_url(environ, "API_URL"),
        gateway_url=_url(environ, "GATEWAY_URL"),
        data_dir=Path(environ.get("ROOMCAST_DATA") or DEFAULT_DATA_DIR),
        database_path=_database_path(environ),
        database_url=_database_url(environ),
        redis=_redis(environ),
        internal_host=_host(environ, "ROOMCAST_INTERNAL_HOST"),
        internal_port=_port(environ, "ROOMCAST_INTERNAL_PORT"),
        unready_s=_seconds(environ, "ROOMCAST_UNREADY_S") or 0.0,
        drain_s=_seconds(environ, "ROOMCAST_DRAIN_S"),
        guide_ingress=_choice(environ, "ROOMCAST_INGRESS", ("on", "off"), "on") == "on",
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


def _redis(environ: Mapping[str, str]) -> RedisSettings | None:
    # REDIS_PORT alone says nothing: Kubernetes sets it in every pod beside a service called redis.
    url = environ.get("REDIS_URL", "").strip()
    if url:
        return _redis_url(url)
    host = environ.get("REDIS_HOST", "").strip()
    if not host:
        return None
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", host):
        raise SettingsError("REDIS_HOST", f"is {host!r}; it takes one host name or address (REDIS_URL takes several)")
    port = _port(environ, "REDIS_PORT") or DEFAULT_REDIS_PORT
    return RedisSettings(addresses=((host, port),), password=environ.get("REDIS_PASSWORD") or None)


_REDIS_HINT: Final = (
    "takes redis[s]://[user:password@]host[:port][/db], redis[s]+cluster://host:port,host:port"
    " or redis[s]+sentinel://host:port,host:port/master[/db]"
)
_REDIS_QUERY_HINT: Final = (
    "takes no ?option or #fragment: the database is a path (redis://host:port/3), TLS is rediss:// and always checks"
    " the certificate; in a password ? is written %3F and # is written %23"
)


def _redis_url(url: str) -> RedisSettings:
    # The value may hold a password: no message repeats it.
    scheme, separator, rest = url.partition("://")
    transport, _, kind = scheme.lower().partition("+")
    if not separator or transport not in {"redis", "rediss"} or kind not in {"", "cluster", "sentinel"}:
        raise SettingsError("REDIS_URL", _REDIS_HINT)
    if "?" in rest or "#" in rest:
        raise SettingsError("REDIS_URL", _REDIS_QUERY_HINT)
    place, _, path = rest.partition("/")
    login, at, hosts = place.rpartition("@")
    username, _, password = login.partition(":")
    parts = [unquote(part) for part in path.split("/") if part]
    master = parts.pop(0) if kind == "sentinel" and parts else None
    number = parts.pop(0) if parts else "0"
    addresses = tuple(_redis_address(item) for item in hosts.split(","))
    wanted = {"": len(addresses) == 1, "cluster": number == "0", "sentinel": master is not None}
    if parts or not number.isascii() or not number.isdigit() or not wanted[kind]:
        raise SettingsError("REDIS_URL", _REDIS_HINT)
    return RedisSettings(
        addresses=addresses,
        sentinel_master=master,
        cluster=kind == "cluster",
        username=unquote(username) or None if at else None,
        password=unquote(password) or None if at else None,
        db=int(number[:4]),
        tls=transport == "rediss",
    )


def _redis_address(item: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{item}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not host.isprintable():
        raise SettingsError("REDIS_URL", _REDIS_HINT)
    return host, DEFAULT_REDIS_PORT if port is None else check_port("REDIS_URL's port", port)


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


def _seconds(environ: Mapping[str, str], name: str) -> float | None:
    value = environ.get(name, "").strip()
    if not value:
        return None
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", value) or float(value) > MAX_WAIT_S:
        raise SettingsError(name, f"is {value!r}; it takes seconds, from 0 to {MAX_WAIT_S:.0f}")
    return float(value)


def _host(environ: Mapping[str, str], name: str) -> str | None:
    value = environ.get(name, "").strip()
    if value and not re.fullmatch(r"[A-Za-z0-9._:-]+", value):
        raise SettingsError(name, f"is {value!r}; it takes one host name or address")
    return value or None


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


_POSTGRES: Final = frozenset({"postgres", "postgresql"})


def _database_url(environ: Mapping[str, str]) -> str | None:
    value = environ.get("DATABASE_URL", "").strip()
    return value if value.partition("://")[0].partition("+")[0].lower() in _POSTGRES else None


def _database_path(environ: Mapping[str, str]) -> Path | None:
    value = environ.get("DATABASE_URL", "").strip()
    if not value or _database_url(environ) is not None:
        return None
    scheme, separator, rest = value.partition("://")
    # The value may hold a password: no message repeats it.
    path = rest.partition("?")[0].removeprefix("/")
    if scheme.lower() != "sqlite" or not separator or not rest.startswith("/") or not path or path == ":memory:":
        raise SettingsError(
            "DATABASE_URL",
            "takes postgresql://user:password@host/name, sqlite:///relative/path.db or sqlite:////absolute/path.db",
        )
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
