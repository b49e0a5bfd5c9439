"""The internal address of a process: readiness, metrics, requests of gateways to the API and to other gateways.

Layer: app.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from roomcast.app.addresses import LOOPBACK_HOST, WILDCARDS, address_facing, outgoing_address
from roomcast.app.config import InternalAddress
from roomcast.observability.http import PlainApp, Route
from roomcast.realtime import Site
from roomcast.realtime.cluster.nodes import NodeAddress
from roomcast.realtime.forwarding.forwarder import NodeAuthenticator
from roomcast.realtime.transports.application import Application, InternalApplication
from roomcast.realtime.transports.proxies import ASGIApp

if TYPE_CHECKING:
    from roomcast.realtime.forwarding.redis_directory import RedisDirectory
    from roomcast.redis_client import RedisOptions

logger = logging.getLogger(__name__)

_SECRET_BYTES: Final = 24


class InternalSite:
    """Builds the internal site, and announces its address to the other gateways.

    Args:
        address: The configured host and port.
        redis: How Redis is reached; None: the process uses no Redis.
        routes: Handlers by path. They need no authentication.

    Attributes:
        site: The site to serve.
    """

    def __init__(self, address: InternalAddress, redis: RedisOptions | None, routes: Mapping[str, Route]) -> None:
        self._redis = redis
        self._routes = routes
        self._plain = PlainApp(routes)
        self._directory: RedisDirectory | None = None
        self._announced_host = ""
        self._secret = secrets.token_urlsafe(_SECRET_BYTES)
        self.site = Site(self._plain, address.host or resolve_host(redis), address.port)

    def serve(self, api: ASGIApp) -> None:
        """Serve the API for gateways, too. Must be called before `accept_forwarded`."""
        self._plain = PlainApp(self._routes, api)
        self.site = Site(self._plain, self.site.host, self.site.port)

    def accept_forwarded(self, application: Application, directory: RedisDirectory) -> None:
        """Serve requests that other gateways forward, and announce this address once the site is bound."""
        internal = InternalApplication(application, NodeAuthenticator(self._secret), self._plain)
        self.site = Site(internal, self.site.host, self.site.port)
        # Another machine cannot connect to a wildcard address.
        self._announced_host = resolve_host(self._redis) if self.site.host in WILDCARDS else self.site.host
        self._directory = directory

    def bound(self, port: int) -> None:
        """Announce the address. Called when the site is served on ``port``."""
        logger.info("the internal address serves gateways and metrics", extra={"host": self.site.host, "port": port})
        if self._directory is not None:
            self._directory.announce(NodeAddress(self._announced_host, port, self._secret))


def resolve_host(redis: RedisOptions | None) -> str:
    """The address at which other gateways reach this machine: its own address on the route to Redis.

    If the host name of Redis does not resolve yet, for example while a platform is starting its services, this is the
    machine's address on the default route.
    """
    if redis is None:
        return LOOPBACK_HOST
    for host, port in redis.addresses:
        address = address_facing(host, port)
        if address is None:
            continue
        if ip_address(address).is_loopback:
            logger.info(
                "Redis is on this machine, so the internal address is reachable only from this machine;"
                " set ROOMCAST_INTERNAL_HOST to change that",
                extra={"host": address},
            )
        return address
    address = outgoing_address() or LOOPBACK_HOST
    logger.warning(
        "the host name of Redis does not resolve, or there is no route to it; set ROOMCAST_INTERNAL_HOST if other"
        " gateways cannot reach the internal address",
        extra={"host": address},
    )
    return address
