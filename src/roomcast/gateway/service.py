"""Composes one gateway: a Socket.IO server, its feeds, joins, presence and handlers.

Layer: gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from roomcast.auth.ended_sessions import EndedSessions
from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenVerifier
from roomcast.chat.ports import EventLog, LiveNodes, PresenceBoard, RateLimiter, Tracer, TurnStreams
from roomcast.gateway.connection_limits import OpenConnectionLimits
from roomcast.gateway.delivery.answers import LiveAnswers
from roomcast.gateway.delivery.chat_feed import FeedOptions
from roomcast.gateway.delivery.feeds import Feeds
from roomcast.gateway.delivery.joins import JoinOptions, Joins
from roomcast.gateway.delivery.resumes import Resumes
from roomcast.gateway.handlers import Handlers
from roomcast.gateway.http import health_app
from roomcast.gateway.ports import ChatAdmission
from roomcast.gateway.presence.signals import Signals
from roomcast.gateway.presence.tracker import PresenceOptions, PresenceTracker
from roomcast.gateway.presence.typing import TypingNotices
from roomcast.observability.http import Route
from roomcast.presence.memory import MemoryPresenceBoard, SingleNode
from roomcast.realtime import Observer, Server, ServerOptions
from roomcast.realtime.cluster.commands import Adapter
from roomcast.realtime.cluster.nodes import Directory
from roomcast.realtime.transports.application import Application
from roomcast.realtime.transports.proxies import ASGIApp

#: Clients send ids, cursors and a token; messages go to the API. Parsing a larger text would delay other clients.
MAX_PAYLOAD_BYTES: Final = 32_768


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions:
    """Options of one gateway.

    Attributes:
        server: The Socket.IO server.
        auth: How tokens are verified; None: authentication is off.
        feeds: Time limits of feeds.
        joins: Limits of joins.
        presence: Intervals and limits of presence.
        open_limits: How many connections may be open at once.
    """

    server: ServerOptions = field(default_factory=ServerOptions)
    auth: AuthOptions | None = None
    feeds: FeedOptions = field(default_factory=FeedOptions)
    joins: JoinOptions = field(default_factory=JoinOptions)
    presence: PresenceOptions = field(default_factory=PresenceOptions)
    open_limits: OpenConnectionLimits = field(default_factory=OpenConnectionLimits)


class Gateway:
    """One gateway.

    Args:
        log: The log of chat events.
        admission: Decides on joins, and stops turns.
        streams: The chunks of the answers that are being written.
        options: The gateway's options.
        observer: Receives the server's connection events.
        adapter: Connects to other Socket.IO servers on the same Redis; None: no other servers.
        directory: Finds sessions on other gateways; None: no other gateways.
        nodes: The gateways that are alive; None: this gateway only.
        board: Shares presence between gateways; None: presence is kept in this process.
        tracer: Records deliveries; None: tracing is off.
        ended: The access tokens that were ended before their expiry; None: none are.
        limiter: Limits connections and events of clients; None: no limit.
    """

    def __init__(
        self,
        log: EventLog,
        admission: ChatAdmission,
        streams: TurnStreams,
        options: GatewayOptions | None = None,
        *,
        observer: Observer | None = None,
        adapter: Adapter | None = None,
        directory: Directory | None = None,
        nodes: LiveNodes | None = None,
        board: PresenceBoard | None = None,
        tracer: Tracer | None = None,
        ended: EndedSessions | None = None,
        limiter: RateLimiter | None = None,
    ) -> None:
        options = options or GatewayOptions()
        nodes = nodes or SingleNode()
        # No event of the gateway takes binary data, so that clients cannot make it hold attachments.
        server_options = replace(
            options.server,
            max_attachments=0,
            max_payload_bytes=MAX_PAYLOAD_BYTES,
            # The chat's room and its room for streams, and the room of the user.
            max_rooms_per_socket=2 * options.joins.max_chats_per_socket + 1,
        )
        self.server = Server(server_options, observer=observer, adapter=adapter, directory=directory)
        self.signals = Signals(log, nodes.node_id)
        self.answers = LiveAnswers(self.server)
        self.feeds = Feeds(log, admission, self.server, options.feeds, self._take_signal, tracer)
        board = board or MemoryPresenceBoard(nodes.node_id)
        self.presence = PresenceTracker(self.server, board, nodes, self.signals, options.presence)
        typing = TypingNotices(
            self.server, self.presence, self.signals, nodes.node_id, is_silent=self.feeds.memberships.is_silent
        )
        self.joins = Joins(self.feeds, admission, options.joins, observers=(typing, self.presence))
        self.resumes = Resumes(streams, self.answers, self.joins)
        self._handlers = Handlers(
            self.server,
            self.joins,
            self.resumes,
            admission,
            self.presence,
            typing,
            None if options.auth is None else TokenVerifier(options.auth, ended),
            expiry_leeway_s=0.0 if options.auth is None else options.auth.leeway_s,
            limiter=limiter,
            open_limits=options.open_limits,
        )
        if ended is not None:
            ended.listen(self._handlers.close_ended_sessions)

    def asgi(self, fallback: ASGIApp | None = None, routes: Mapping[str, Route] | None = None) -> Application:
        """The ASGI application.

        Args:
            fallback: Serves every path except Socket.IO's; None: serve the health check and ``routes``.
            routes: Additional routes by path.
        """
        return self.server.asgi(fallback or health_app(lambda: self.server.connections, routes))

    def _take_signal(self, chat_id: str, payload: bytes) -> None:
        """Receive a signal of a chat; its first byte is its kind. Never raises."""
        match payload[:1]:
            case b"T":
                self.answers.take(chat_id, payload)
            case b"X":
                pass  # stops a turn, which is a worker's work
            case _:
                self.signals.take(chat_id, payload)

    def user_of(self, sid: str) -> str | None:
        """The user whose token a socket has presented; None: unknown."""
        return self._handlers.user_of(sid)

    async def run(self) -> None:
        """Sweep the feeds until cancelled. Run `PresenceTracker.run` concurrently."""
        await self.feeds.run()

    def sweep_soon(self) -> None:
        """Compare feeds and presence with Redis now: the connection was lost, and Redis may have lost data."""
        self.feeds.sweep_soon()
        self.presence.sweep_soon()

    async def close(self) -> None:
        """End presence and feeds. The sockets are already closed, by `roomcast.realtime.serve`."""
        await self.presence.close()
        await self.signals.close()
        await self.feeds.close()
