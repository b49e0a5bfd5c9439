"""The configuration of one process: settings and command line, checked together before anything is opened or bound.

Layer: app.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from roomcast.api.options import ApiOptions
from roomcast.app.addresses import (
    LOOPBACK_HOST,
    LOOPBACK_NAMES,
    WILDCARDS,
    ListenHost,
    listen_host,
)
from roomcast.gateway.service import GatewayOptions
from roomcast.realtime.options import ServeOptions, ServerOptions
from roomcast.setting_values import MAX_PORT, SettingsError, check_base_path, check_host, check_port, check_text
from roomcast.settings import (
    DEFAULT_API_INTERNAL_PORT,
    DEFAULT_API_PORT,
    DEFAULT_GATEWAY_PORT,
    DEFAULT_ORIGINS,
    Settings,
)

DATABASE_NAME: Final = "roomcast.db"
#: Seconds to disconnect clients and finish requests, out of the 5 s within which Ctrl-C ends a process.
DRAIN_LIMIT_S: Final = 2.5


@dataclass(frozen=True, slots=True)
class InternalAddress:
    """The address that serves readiness, metrics, and requests of gateways. It is not for users.

    Attributes:
        host: Address to bind and to announce; None: the address of this machine on its route to Redis.
        port: Port to bind; 0: any free port.
    """

    host: str | None
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessConfig:
    """The configuration of one process: `roomcast up`, `api`, `worker` or `gateway`.

    Attributes:
        settings: The settings from the environment.
        listen: The addresses to bind.
        base_path: Path below which a proxy serves page, API and gateway: ``/chat``, or empty.
        api_port: Port of the API; None: the process has no API.
        gateway_port: Port of the gateway; None: the process has no gateway. Equal to ``api_port`` with ``--one-port``.
        database: An SQLite file, or the URL of PostgreSQL, which may contain a password; None: no database.
        internal: The internal address; None: the process has none.
        workers: Number of gateway processes on ``gateway_port``.
        api: Options of the API.
        gateway: Options of the gateway.
    """

    settings: Settings
    listen: ListenHost
    base_path: str = ""
    api_port: int | None = None
    gateway_port: int | None = None
    database: Path | str | None = field(default=None, repr=False)
    internal: InternalAddress | None = None
    workers: int = 1
    api: ApiOptions = field(default_factory=ApiOptions)
    gateway: GatewayOptions = field(default_factory=GatewayOptions)

    def for_worker(self, number: int) -> ProcessConfig:
        """The configuration of one worker process. Each worker process has its own internal port."""
        if self.internal is None or not self.internal.port:
            return self
        return replace(self, internal=replace(self.internal, port=self.internal.port + number))

    @property
    def service(self) -> str:
        """The name of the process in traces."""
        kinds = [kind for kind, port in (("api", self.api_port), ("gateway", self.gateway_port)) if port is not None]
        return "roomcast" if len(kinds) > 1 else f"roomcast-{kinds[0] if kinds else 'worker'}"

    @property
    def page_urls(self) -> tuple[str, ...]:
        """The URLs of the chat page."""
        return () if self.api_port is None else self._urls(self.api_port, "/" if self.base_path else "")

    @property
    def gateway_urls(self) -> tuple[str, ...]:
        """The URLs of the gateway."""
        return () if self.gateway_port is None else self._urls(self.gateway_port)

    def _urls(self, port: int, end: str = "") -> tuple[str, ...]:
        return tuple(f"{url}{self.base_path}{end}" for url in self.listen.urls(port))

    @property
    def one_port(self) -> bool:
        """Whether the gateway is served on the port of the API."""
        return self.api_port is not None and self.gateway_port == self.api_port

    @property
    def serve(self) -> ServeOptions:
        """Options of the HTTP server."""
        settings = self.settings
        return ServeOptions(
            trusted_proxies=settings.trusted_proxies,
            base_path=self.base_path,
            unready_s=settings.unready_s,
            drain_limit_s=DRAIN_LIMIT_S if settings.drain_s is None else settings.drain_s,
        )


def up_config(
    settings: Settings,
    *,
    host: str | None = None,
    api_port: int | None = None,
    gateway_port: int | None = None,
    one_port: bool = False,
    base_path: str | None = None,
    data: Path | None = None,
    insecure: bool = False,
) -> ProcessConfig:
    """The configuration of API, worker and gateway in one process.

    Raises:
        SettingsError: the configuration is unsafe or contradictory.
    """
    listen = _listen(settings, host, insecure=insecure)
    one_port = one_port or settings.one_port
    if one_port:
        # A platform that assigns one port passes it as PORT.
        api = check_port("--api-port", api_port or settings.api_port or settings.gateway_port or DEFAULT_API_PORT)
        gateway = api
    else:
        api = check_port("--api-port", api_port or settings.api_port or DEFAULT_API_PORT)
        gateway = check_port("--gateway-port", gateway_port or settings.gateway_port or DEFAULT_GATEWAY_PORT)
        if api == gateway:
            raise SettingsError(
                "--gateway-port", f"is {gateway}, which is also the API's port; use --one-port to share one port"
            )
    return ProcessConfig(
        settings=settings,
        listen=listen,
        base_path=_base_path(settings, base_path),
        api_port=api,
        gateway_port=gateway,
        database=database_location(settings, data),
        internal=_internal(settings, listen),
        api=_api_options(settings, listen, None if one_port else gateway),
        gateway=_gateway_options(settings, listen, page_port=api),
    )


def api_config(
    settings: Settings,
    *,
    host: str | None = None,
    api_port: int | None = None,
    base_path: str | None = None,
    data: Path | None = None,
    insecure: bool = False,
) -> ProcessConfig:
    """The configuration of API and worker without a gateway.

    Raises:
        SettingsError: the configuration is unsafe or contradictory.
    """
    listen = _listen(settings, host, insecure=insecure)
    port = check_port("--api-port", api_port or settings.api_port or DEFAULT_API_PORT)
    return ProcessConfig(
        settings=settings,
        listen=listen,
        base_path=_base_path(settings, base_path),
        api_port=port,
        database=database_location(settings, data),
        internal=_internal(settings, listen, DEFAULT_API_INTERNAL_PORT),
        api=_api_options(settings, listen, settings.gateway_port or DEFAULT_GATEWAY_PORT),
    )


def gateway_config(
    settings: Settings,
    *,
    host: str | None = None,
    port: int | None = None,
    base_path: str | None = None,
    insecure: bool = False,
    workers: int | None = None,
) -> ProcessConfig:
    """The configuration of a gateway alone, in one process or several.

    Raises:
        SettingsError: the configuration is unsafe or contradictory.
    """
    listen = _listen(settings, host, insecure=insecure)
    if settings.auth is not None and settings.api_url is None:
        raise SettingsError("API_URL", "is required with ROOMCAST_SECRET: only the API knows the members of a chat")
    if settings.api_url is not None and settings.redis is None:
        raise SettingsError(
            "API_URL",
            "is set but Redis is not, and chat events reach a gateway over Redis only: set REDIS_HOST or REDIS_URL,"
            " or run `roomcast up`, which has the API and the gateway in one process",
        )
    workers = workers or settings.gateway_processes
    _check_workers(settings, workers)
    return ProcessConfig(
        settings=settings,
        listen=listen,
        base_path=_base_path(settings, base_path),
        gateway_port=check_port("--port", port or settings.gateway_port or DEFAULT_GATEWAY_PORT),
        internal=_internal(settings, listen),
        workers=workers,
        gateway=_gateway_options(settings, listen),
    )


def worker_config(settings: Settings) -> ProcessConfig:
    """The configuration of a worker alone.

    Raises:
        SettingsError: the database is not PostgreSQL, or the configuration is contradictory.
    """
    if not isinstance(settings.database, str):
        raise SettingsError(
            "DATABASE_URL",
            "names no PostgreSQL database, and an SQLite database belongs to one process: set it to postgresql://…,"
            " or run `roomcast up`, which has API and worker in one process",
        )
    # It serves its internal address only.
    listen = listen_host(LOOPBACK_HOST)
    internal = _internal(settings, listen)
    if internal is not None and settings.redis is not None:
        internal = replace(internal, host=settings.internal_host)
    return ProcessConfig(settings=settings, listen=listen, database=settings.database, internal=internal)


def database_location(settings: Settings, data: Path | None) -> Path | str:
    """The database: a file in ``--data``, else ``DATABASE_URL``, else a file in ``ROOMCAST_DATA``.

    Returns:
        The path of an SQLite file, or the URL of PostgreSQL.

    Raises:
        SettingsError: ``--data`` and a ``DATABASE_URL`` of PostgreSQL are both given.
    """
    if data is None:
        return settings.database or settings.data_dir / DATABASE_NAME
    if isinstance(settings.database, str):
        raise SettingsError("--data", "and DATABASE_URL both name a database: give one of them")
    check_text("--data", str(data))
    return data / DATABASE_NAME


def _listen(settings: Settings, given: str | None, *, insecure: bool) -> ListenHost:
    name = "--host" if given is not None or settings.host is None else "ROOMCAST_HOST"
    host = given if given is not None else settings.host or LOOPBACK_HOST
    listen = listen_host(check_host(name, host))
    if not listen.loopback and settings.auth is None and not (insecure or settings.insecure):
        raise SettingsError(
            f"{name} {host}",
            "accepts connections from other machines while authentication is off: set ROOMCAST_SECRET"
            " (`openssl rand -hex 32`), or pass --insecure (ROOMCAST_INSECURE=on) to let every client read and write"
            " every chat",
        )
    return listen


def _base_path(settings: Settings, given: str | None) -> str:
    return settings.base_path or "" if given is None else check_base_path("--base-path", given)


def _allowed_hosts(settings: Settings, listen: ListenHost) -> tuple[str, ...] | None:
    if settings.allowed_hosts is not None or settings.auth is not None or not listen.loopback:
        return settings.allowed_hosts
    # Without authentication the Host header is the only protection against DNS rebinding.
    return tuple(dict.fromkeys((*LOOPBACK_NAMES, *listen.names)))


def _api_options(settings: Settings, listen: ListenHost, gateway_port: int | None) -> ApiOptions:
    """Options of the API. ``gateway_port`` None: the gateway is on the port of the API."""
    return ApiOptions(
        gateway_url=settings.gateway_url,
        gateway_port=gateway_port,
        allowed_hosts=_allowed_hosts(settings, listen),
        allowed_origins=settings.allowed_origins or (),
    )


def _gateway_options(settings: Settings, listen: ListenHost, page_port: int | None = None) -> GatewayOptions:
    """Options of the gateway. ``page_port``: the port on which this process serves the page."""
    origins, ports = settings.allowed_origins, list[int]()
    if origins is None:
        origins, ports = (DEFAULT_ORIGINS, ports) if page_port is None else ((), [page_port])
    server = ServerOptions(
        cors_allowed_origins=origins, cors_same_host_ports=tuple(ports), allowed_hosts=_allowed_hosts(settings, listen)
    )
    return GatewayOptions(server=server, auth=settings.auth, open_limits=settings.open_limits)


def _check_workers(settings: Settings, workers: int) -> None:
    if workers == 1:
        return
    name = "--workers or ROOMCAST_GATEWAY_PROCESSES"
    if not hasattr(os, "fork") or not hasattr(socket, "SO_REUSEPORT"):
        raise SettingsError(name, f"is {workers}, but processes cannot share a port on this system: start one worker")
    if settings.redis is None:
        raise SettingsError(
            name,
            f"is {workers}, but without Redis the workers do not receive each other's messages:"
            " set REDIS_HOST or REDIS_URL, or start one worker",
        )
    if settings.internal_port is not None and settings.internal_port + workers - 1 > MAX_PORT:
        raise SettingsError(
            "ROOMCAST_INTERNAL_PORT",
            f"is {settings.internal_port}: {workers} workers use one port each, and the last would be above {MAX_PORT}",
        )


def _internal(settings: Settings, listen: ListenHost, default_port: int = 0) -> InternalAddress | None:
    """A process with Redis always has an internal address; any other process has one if a port is configured."""
    host, port = settings.internal_host, settings.internal_port
    if port is None and settings.redis is None:
        if host is not None:
            raise SettingsError(
                "ROOMCAST_INTERNAL_HOST",
                f"is {host!r}, but only a process with Redis chooses a port by itself: set ROOMCAST_INTERNAL_PORT, too",
            )
        return None
    if host is None:
        # If the process accepts connections from this machine only, the other gateways run on this machine, too.
        local = listen.loopback or settings.redis is None
        host = LOOPBACK_HOST if local else next((bind for bind in listen.bind if bind not in WILDCARDS), None)
    return InternalAddress(host, default_port if port is None else port)
