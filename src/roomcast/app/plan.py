"""What to start: the settings and the command line, checked together, before anything is opened or bound.

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
    Listening,
    listening,
    on_port,
    websocket_sources,
)
from roomcast.auth.tokens import AuthOptions
from roomcast.gateway.service import GatewayOptions
from roomcast.realtime.options import ServeOptions, ServerOptions
from roomcast.settings import (
    DEFAULT_API_PORT,
    DEFAULT_GATEWAY_PORT,
    DEFAULT_ORIGINS,
    MAX_PORT,
    RedisSettings,
    ResponderName,
    Settings,
    SettingsError,
    check_port,
)

DATABASE_NAME: Final = "roomcast.db"
#: Ctrl-C ends everything within 5 s; this is for clients and requests, what is left for the parts behind them.
DRAIN_LIMIT_S: Final = 2.5


@dataclass(frozen=True, slots=True)
class Internal:
    """A process's internal address: for machines, not for people.

    Attributes:
        host: What is bound, and what the others are told; None: the address of this machine that faces Redis.
        port: 0: any free one.
    """

    host: str | None
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one process is to be: everything, or the API with its worker, or the gateway alone.

    Attributes:
        where: What is listened on.
        api_port: None: there is no API here.
        gateway_port: None: there is no gateway here. With one port for both it is the API's.
        database: The embedded database's file; None where there is none.
        database_url: PostgreSQL's address, in its place. Not shown: it may hold a password.
        redis: What connects the replicas; None: one process is all there is.
        internal: Where readiness and metrics are told, and other gateways reach this one; None: nowhere.
        workers: Gateway processes on the gateway's port.
        guide_ingress: Whether the gateway takes the guide's ``PUBLISH chat:events``; it comes over Redis.
        auth: None: authentication is off.
        insecure: Authentication is off, and other machines reach this one.
        responder: What answers in new chats.
        api: Options of the API.
        gateway: Options of the gateway.
        serve: Options of the process.
        api_url: Where a gateway alone asks for admission.
    """

    where: Listening
    api_port: int | None
    gateway_port: int | None
    database: Path | None
    auth: AuthOptions | None = field(repr=False)
    insecure: bool
    responder: ResponderName = "demo"
    api: ApiOptions = field(default_factory=ApiOptions)
    gateway: GatewayOptions = field(default_factory=GatewayOptions)
    serve: ServeOptions = field(default_factory=ServeOptions)
    api_url: str | None = None
    database_url: str | None = field(default=None, repr=False)
    redis: RedisSettings | None = None
    internal: Internal | None = None
    workers: int = 1
    guide_ingress: bool = True

    def worker(self, number: int) -> Plan:
        """What one of the workers is to be: each has an internal address of its own."""
        if self.internal is None or not self.internal.port:
            return self
        return replace(self, internal=replace(self.internal, port=self.internal.port + number))

    @property
    def page_urls(self) -> tuple[str, ...]:
        """Where the page is."""
        return () if self.api_port is None else self.where.urls(self.api_port)

    @property
    def gateway_urls(self) -> tuple[str, ...]:
        """Where the gateway is."""
        return () if self.gateway_port is None else self.where.urls(self.gateway_port)

    @property
    def one_port(self) -> bool:
        """Whether the gateway is on the API's port."""
        return self.api_port is not None and self.gateway_port == self.api_port


def plan_up(
    settings: Settings,
    *,
    host: str,
    api_port: int | None = None,
    gateway_port: int | None = None,
    one_port: bool = False,
    data: Path | None = None,
    insecure: bool = False,
) -> Plan:
    """Everything in one process.

    Raises:
        SettingsError: it would be unsafe, or cannot work.
    """
    where = _where(settings, host, insecure=insecure)
    if one_port:
        # A platform that gives one port calls it PORT.
        api = check_port("--api-port", api_port or settings.api_port or settings.gateway_port or DEFAULT_API_PORT)
        gateway = api
    else:
        api = check_port("--api-port", api_port or settings.api_port or DEFAULT_API_PORT)
        gateway = check_port("--gateway-port", gateway_port or settings.gateway_port or DEFAULT_GATEWAY_PORT)
        if api == gateway:
            raise SettingsError("--gateway-port", f"is {gateway}, the API's port too; use --one-port for that")
    pages = where.urls(api)
    origins = pages if settings.allowed_origins is None else settings.allowed_origins
    hosts = _hosts(settings, where)
    return Plan(
        where=where,
        api_port=api,
        gateway_port=gateway,
        database=_database(settings, data),
        database_url=_database_url(settings, data),
        redis=settings.redis,
        internal=_internal(settings, where),
        guide_ingress=settings.guide_ingress,
        auth=settings.auth,
        insecure=settings.auth is None and not where.loopback,
        responder=settings.responder,
        api=ApiOptions(
            gateway_url=settings.gateway_url,
            gateway_port=None if one_port else gateway,
            allowed_hosts=hosts,
            connect_sources=_connect_sources(settings, pages, None if one_port else gateway),
        ),
        gateway=_gateway(settings, origins, hosts),
        serve=_serve(settings),
    )


def plan_api(
    settings: Settings, *, host: str, api_port: int | None = None, data: Path | None = None, insecure: bool = False
) -> Plan:
    """The API, the page and the worker, without a gateway.

    Raises:
        SettingsError: it would be unsafe, or cannot work.
    """
    where = _where(settings, host, insecure=insecure)
    port = check_port("--api-port", api_port or settings.api_port or DEFAULT_API_PORT)
    gateway_port = settings.gateway_port or DEFAULT_GATEWAY_PORT
    return Plan(
        where=where,
        api_port=port,
        gateway_port=None,
        database=_database(settings, data),
        database_url=_database_url(settings, data),
        redis=settings.redis,
        internal=_internal(settings, where, gateway=False),
        guide_ingress=settings.guide_ingress,
        auth=settings.auth,
        insecure=settings.auth is None and not where.loopback,
        responder=settings.responder,
        api=ApiOptions(
            gateway_url=settings.gateway_url,
            gateway_port=gateway_port,
            allowed_hosts=_hosts(settings, where),
            connect_sources=_connect_sources(settings, where.urls(port), gateway_port),
        ),
        serve=_serve(settings),
    )


def plan_gateway(
    settings: Settings, *, host: str, port: int | None = None, insecure: bool = False, workers: int = 1
) -> Plan:
    """The gateway alone, in one process or several.

    Raises:
        SettingsError: it would be unsafe, or cannot work.
    """
    where = _where(settings, host, insecure=insecure)
    if settings.auth is not None and settings.api_url is None:
        raise SettingsError("API_URL", "is needed with ROOMCAST_SECRET: the API knows who belongs to which chat")
    if settings.api_url is not None and settings.redis is None:
        raise SettingsError(
            "API_URL",
            "is set but Redis is not, and chat events reach a gateway over Redis only: set REDIS_HOST or REDIS_URL,"
            " or run `roomcast up`, which has the API and the gateway in one process",
        )
    _check_workers(settings, workers)
    origins = DEFAULT_ORIGINS if settings.allowed_origins is None else settings.allowed_origins
    return Plan(
        where=where,
        api_port=None,
        gateway_port=check_port("--port", port or settings.gateway_port or DEFAULT_GATEWAY_PORT),
        database=None,
        redis=settings.redis,
        internal=_internal(settings, where),
        workers=workers,
        guide_ingress=settings.guide_ingress,
        auth=settings.auth,
        insecure=settings.auth is None and not where.loopback,
        gateway=_gateway(settings, origins, _hosts(settings, where)),
        serve=_serve(settings),
        api_url=settings.api_url,
    )


def database_place(settings: Settings, data: Path | None) -> tuple[Path | None, str | None]:
    """The database: a file of ``--data``, else what ``DATABASE_URL`` names, else a file of ``ROOMCAST_DATA``.

    Returns:
        The file and None, or None and PostgreSQL's URL.
    """
    return _database(settings, data), _database_url(settings, data)


def _where(settings: Settings, host: str, *, insecure: bool) -> Listening:
    where = listening(host)
    if not where.loopback and settings.auth is None and not insecure:
        raise SettingsError(
            f"--host {host}",
            "lets other machines in while authentication is off: set ROOMCAST_SECRET (`openssl rand -hex 32`),"
            " or give --insecure if everybody on that network may read and write every chat",
        )
    return where


def _hosts(settings: Settings, where: Listening) -> tuple[str, ...] | None:
    # Without authentication the name in the request is what keeps a rebound DNS name out.
    return LOOPBACK_NAMES if settings.auth is None and where.loopback else None


def _connect_sources(settings: Settings, pages: tuple[str, ...], gateway_port: int | None) -> tuple[str, ...]:
    """What the page's policy lets it connect to: the gateway, as the page at each of its addresses finds it."""
    if settings.gateway_url is not None:
        return websocket_sources((settings.gateway_url,))
    if gateway_port is None:
        return ()  # it is where the page is
    # The page may be known under names that only ALLOWED_ORIGINS tells.
    return websocket_sources(on_port((*pages, *(settings.allowed_origins or ())), gateway_port))


def _database_url(settings: Settings, data: Path | None) -> str | None:
    if settings.database_url is not None and data is not None:
        raise SettingsError("--data", "and DATABASE_URL both name a database: give one of them")
    return settings.database_url


def _database(settings: Settings, data: Path | None) -> Path | None:
    if data is not None:
        return data / DATABASE_NAME
    if settings.database_url is not None:
        return None
    return settings.database_path or settings.data_dir / DATABASE_NAME


def _check_workers(settings: Settings, workers: int) -> None:
    if workers == 1:
        return
    if not hasattr(os, "fork") or not hasattr(socket, "SO_REUSEPORT"):
        raise SettingsError("--workers", f"is {workers}; this system cannot share a port: start one gateway")
    if settings.redis is None:
        raise SettingsError(
            "--workers",
            f"is {workers}, and without Redis the workers would not see each other's messages:"
            " set REDIS_HOST or REDIS_URL, or start one worker",
        )
    if settings.internal_port is not None and settings.internal_port + workers - 1 > MAX_PORT:
        raise SettingsError("ROOMCAST_INTERNAL_PORT", f"is {settings.internal_port}: {workers} workers take one each")


def _internal(settings: Settings, where: Listening, *, gateway: bool = True) -> Internal | None:
    """The gateways of a cluster need one; any other process has one if it is given a port."""
    host, port = settings.internal_host, settings.internal_port
    if port is None and (settings.redis is None or not gateway):
        if host is not None:
            raise SettingsError(
                "ROOMCAST_INTERNAL_HOST",
                f"is {host!r}, but only a gateway with Redis chooses a port by itself: set ROOMCAST_INTERNAL_PORT, too",
            )
        return None
    if host is None:
        # Who lets only this machine in is reached by gateways of this machine only; without Redis nobody looks for it.
        here = where.loopback or settings.redis is None
        host = LOOPBACK_HOST if here else next((bind for bind in where.bind if bind not in WILDCARDS), None)
    return Internal(host, port or 0)


def _gateway(settings: Settings, origins: tuple[str, ...], hosts: tuple[str, ...] | None) -> GatewayOptions:
    return GatewayOptions(server=ServerOptions(cors_allowed_origins=origins, allowed_hosts=hosts), auth=settings.auth)


def _serve(settings: Settings) -> ServeOptions:
    drain_limit_s = DRAIN_LIMIT_S if settings.drain_s is None else settings.drain_s
    return ServeOptions(
        trusted_proxies=settings.trusted_proxies, unready_s=settings.unready_s, drain_limit_s=drain_limit_s
    )
