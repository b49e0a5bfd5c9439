"""The gateway, put together: a Socket.IO server, its feeds, joins and handlers.

Layer: gateway.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from roomcast.auth.tokens import AuthOptions, TokenVerifier
from roomcast.chat.ports import EventLog
from roomcast.gateway.feed import FeedOptions
from roomcast.gateway.feeds import Feeds
from roomcast.gateway.handlers import Handlers
from roomcast.gateway.http import HealthApp
from roomcast.gateway.joins import JoinOptions, Joins
from roomcast.gateway.ports import ChatAdmission
from roomcast.realtime import Observer, Server, ServerOptions
from roomcast.realtime.adapters import Adapter
from roomcast.realtime.application import Application
from roomcast.realtime.proxies import ASGIApp


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions:
    """Options of one gateway.

    Attributes:
        server: Of its Socket.IO server.
        auth: How tokens are checked; None: authentication is off.
        feeds: Bounds of the feeds.
        joins: Bounds of joins.
    """

    server: ServerOptions = field(default_factory=ServerOptions)
    auth: AuthOptions | None = None
    feeds: FeedOptions = field(default_factory=FeedOptions)
    joins: JoinOptions = field(default_factory=JoinOptions)


class Gateway:
    """One gateway.

    Args:
        log: Where events come from.
        admission: Who may join what.
        options: See there.
        observer: Told of what happens to connections.
        adapter: The way to other Socket.IO servers on the same Redis; None: there are none.
    """

    def __init__(
        self,
        log: EventLog,
        admission: ChatAdmission,
        options: GatewayOptions | None = None,
        *,
        observer: Observer | None = None,
        adapter: Adapter | None = None,
    ) -> None:
        options = options or GatewayOptions()
        self.server = Server(options.server, observer=observer, adapter=adapter)
        self.feeds = Feeds(log, admission, self.server, options.feeds)
        self.joins = Joins(self.feeds, log, admission, options.joins)
        self._handlers = Handlers(
            self.server,
            self.joins,
            None if options.auth is None else TokenVerifier(options.auth),
            expiry_leeway_s=0.0 if options.auth is None else options.auth.leeway_s,
        )

    def asgi(self, fallback: ASGIApp | None = None) -> Application:
        """The application: Socket.IO on its path, elsewhere ``fallback``, or else `HealthApp`."""
        return self.server.asgi(fallback or HealthApp(lambda: self.server.connections))

    async def run(self) -> None:
        """Compare feeds with their logs until cancelled."""
        await self.feeds.run()

    async def close(self) -> None:
        """End the feeds; the sockets are closed by `roomcast.realtime.serve` before."""
        await self.feeds.close()
