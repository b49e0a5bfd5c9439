"""A process's internal address: readiness and metrics, and for other gateways the way to its sessions.

Layer: app.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from roomcast.app.addresses import LOOPBACK_HOST, WILDCARDS
from roomcast.app.plan import Internal
from roomcast.observability.http import PlainApp, Route
from roomcast.realtime import Site
from roomcast.realtime.core.nodes import NodeAddress
from roomcast.realtime.forwarding.forwarder import NodeAuthenticator
from roomcast.realtime.transports.application import Application, InternalApplication

if TYPE_CHECKING:
    from roomcast.app.cluster import Cluster
    from roomcast.realtime.forwarding.redis_directory import RedisDirectory

_SECRET_BYTES: Final = 24


class InternalSite:
    """What is served there.

    Args:
        internal: Where.
        routes: What it answers to everybody.
    """

    def __init__(self, internal: Internal, routes: Mapping[str, Route]) -> None:
        self._internal = internal
        self._plain = PlainApp(routes)
        # Until the way to Redis is known, which tells the address that faces it.
        self._site = Site(self._plain, internal.host or LOOPBACK_HOST, internal.port)
        self._known_as = self._site.host
        self._directory: RedisDirectory | None = None
        self._secret = secrets.token_urlsafe(_SECRET_BYTES)

    def face(self, cluster: Cluster) -> None:
        """Be where other machines look for this one, if no address was chosen."""
        if self._internal.host is None:
            self._site = Site(self._plain, cluster.own_host(), self._internal.port)

    def admit_nodes(self, application: Application, cluster: Cluster, directory: RedisDirectory) -> None:
        """Let the other gateways reach this one's sessions, too; `face` has been called."""
        host = self._site.host
        entrance = InternalApplication(application, NodeAuthenticator(self._secret), self._plain)
        self._site = Site(entrance, host, self._internal.port)
        # Bound everywhere, it is still at one address that the others find it.
        self._known_as = cluster.own_host() if host in WILDCARDS else host
        self._directory = directory

    @property
    def site(self) -> Site:
        """To be served."""
        return self._site

    def bound(self, port: int) -> None:
        """It answers on this port: the other gateways are told, soon."""
        if self._directory is not None:
            self._directory.announce(NodeAddress(self._known_as, port, self._secret))
