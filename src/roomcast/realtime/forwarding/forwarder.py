"""Requests for a session that another node has: forwarded there, and taken here.

Polls and posts are sent on as HTTP requests. A websocket that wants to take a session over becomes a `Pipe`: its
handshake is sent on, and from then on bytes go both ways unread. The owner treats either as if the client had come to
it: it makes all the checks; that of the origin is made here, too.

A node believes a forwarded request only by its own secret, which stands in the directory, and only on its internal
address.

Layer: realtime. Source: RFC 9110 §7.6.1 for the fields that belong to one hop.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from roomcast.realtime.core.nodes import Directory, DirectoryUnavailable, NodeAddress
from roomcast.realtime.forwarding.connection_pool import CONNECT_LIMIT_S, NodeAway, NodeConnections
from roomcast.realtime.forwarding.pipe import Pipe
from roomcast.wire.engineio_http import TransportName
from roomcast.wire.engineio_refusals import HttpError, RequestRefused

if TYPE_CHECKING:
    from uvicorn.server import ServerState

    from roomcast.realtime.core.engine import Engine
    from roomcast.realtime.core.request import EngineRequest

logger = logging.getLogger(__name__)

Header = tuple[bytes, bytes]

_SECRET: Final = b"x-roomcast-forward"
_CLIENT: Final = b"x-roomcast-client"
_SECURE: Final = b"x-roomcast-secure"
_OURS: Final = frozenset({_SECRET, _CLIENT, _SECURE})
_ONE_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"upgrade"}
    | {b"transfer-encoding", b"content-length", b"expect"}
)
#: The answering server of this node sets its own.
_SET_HERE: Final = frozenset({b"date", b"server"})

#: The owner answers a poll within the heartbeat; beyond that and this it is stuck.
_SPARE_S: Final = 5.0


class NotForwarded(Exception):
    """The request could not be sent on: answer 503. ``cause`` is a short constant, fit for a label."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class ForwardedAnswer:
    """What the owner answered.

    Attributes:
        status: HTTP status.
        headers: Without those of the hop between the nodes.
        body: In full.
    """

    status: int
    headers: list[Header]
    body: bytes


class Gate:
    """Takes forwarded requests on a node's internal address; in the place of `TrustedProxies`.

    Args:
        secret: As it stands in the directory.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def client(self, _peer: str | None, _secure: bool, headers: Iterable[Header]) -> tuple[str | None, bool]:
        """The client's address and whether it came by TLS, as the other node saw it.

        Raises:
            RequestRefused: it was no node that sent this.
        """
        found = {name: value for name, value in headers if name in _OURS}
        if not hmac.compare_digest(found.get(_SECRET, b""), self._secret):
            raise RequestRefused(HttpError.FORBIDDEN, "not from a node")
        return found.get(_CLIENT, b"").decode("latin-1") or None, found.get(_SECURE) == b"1"


class Forwarder:
    """Sends requests on to the nodes that have their sessions.

    Args:
        directory: Where those are.
        engine: Whose requests they are, for its limits and clocks.

    Attributes:
        pipes: Websockets that are piped to other nodes now.
        forwarded: Polls and posts that were answered by another node so far.
    """

    def __init__(self, directory: Directory, engine: Engine) -> None:
        self._directory = directory
        self._engine = engine
        self._connections = NodeConnections()
        self._requests: set[asyncio.Task[ForwardedAnswer]] = set()
        self._sending = 0
        self._dials: set[asyncio.Task[None]] = set()
        self.pipes: set[Pipe] = set()
        self.forwarded = 0

    async def close(self) -> None:
        """End its requests, pipes and connections. It can be used again."""
        for pipe in list(self.pipes):
            pipe.abort()
        under_way = [*self._dials, *self._requests]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._connections.close()

    # -- polls and posts ----------------------------------------------------------------------------------------------

    def request(self, node_id: str, request: EngineRequest, body: bytes) -> asyncio.Task[ForwardedAnswer]:
        """Have the owner answer a request. Cancelling it hangs up on the owner, as the client or a drain did here.

        The task raises:
            RequestRefused: there is no such node, and so no such session.
            NotForwarded: the owner cannot be reached, or did not answer in time.
        """
        task = asyncio.create_task(self._request(node_id, request, body), name="forward-request")
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        return task

    @property
    def endings(self) -> list[Callable[[], object]]:
        """What ends each pipe, and each request under way, for a drain: their clients come back elsewhere."""
        return [*(pipe.shutdown for pipe in self.pipes), *(task.cancel for task in self._requests)]

    async def _request(self, node_id: str, request: EngineRequest, body: bytes) -> ForwardedAnswer:
        options = self._engine.options
        node = await self._find(node_id)
        # Only now: who asks for a node that there never was takes nobody's place.
        if self._sending >= options.max_forwards:
            raise NotForwarded("forwards")
        self._sending += 1
        try:
            async with asyncio.timeout(options.ping_interval_s + options.ping_timeout_s + _SPARE_S):
                answer = await self._send(node, request, body)
        except TimeoutError:
            raise NotForwarded("node-timeout") from None
        except NodeAway as error:
            logger.info("a node does not take what is forwarded: %s", error, extra={"node": node_id})
            raise NotForwarded("node-away") from error
        finally:
            self._sending -= 1
        self.forwarded += 1
        return answer

    async def _find(self, node_id: str) -> NodeAddress:
        try:
            node = await self._directory.look_up(node_id)
        except DirectoryUnavailable:
            raise NotForwarded("directory-away") from None
        if node is None:
            raise RequestRefused(HttpError.UNKNOWN_SID, "its node is gone")
        return node

    async def _send(self, node: NodeAddress, request: EngineRequest, body: bytes) -> ForwardedAnswer:
        headers = _onward(node, request, _ONE_HOP)
        # The body of the answer stays as it came: what the owner compressed is for the client to unpack.
        status, answered, content = await self._connections.ask(node, request.method, _target(request), headers, body)
        dropped = _ONE_HOP | _SET_HERE
        kept = [(name.lower(), value) for name, value in answered if name.lower() not in dropped]
        return ForwardedAnswer(status, kept, content)

    # -- websockets ---------------------------------------------------------------------------------------------------

    def pipe(
        self, node_id: str, request: EngineRequest, transport: asyncio.Transport, server_state: ServerState
    ) -> None:
        """Join a client's transport to the owner, in the background; from here on it is this object's business.

        Args:
            node_id: The owner.
            request: The websocket handshake.
            transport: The client's; nothing was written to it.
            server_state: Where the server keeps its connections.
        """
        options = self._engine.options
        stall_limit_s = options.ping_interval_s + options.ping_timeout_s
        pipe = Pipe(transport, server_state, self.pipes.discard, stall_limit_s=stall_limit_s)
        self.pipes.add(pipe)
        dial = asyncio.create_task(self._dial(pipe, node_id, request), name="forward-websocket")
        self._dials.add(dial)
        dial.add_done_callback(self._dials.discard)

    async def _dial(self, pipe: Pipe, node_id: str, request: EngineRequest) -> None:
        try:
            node = await self._find(node_id)
            head = _head(node, request)
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await self._engine.loop.create_connection(pipe.owner_end, node.host, node.port)
        except RequestRefused as refused:
            self._refuse(pipe, request, HTTPStatus(refused.status), refused.cause)
        except NotForwarded as failure:
            self._refuse(pipe, request, HTTPStatus.SERVICE_UNAVAILABLE, failure.cause)
        except (OSError, TimeoutError) as error:
            logger.info("a node does not take what is forwarded: %r", error, extra={"node": node_id})
            self._refuse(pipe, request, HTTPStatus.SERVICE_UNAVAILABLE, "node-away")
        except Exception:
            # A host that is none, for one. Nobody else would end the pipe: its client is not read.
            logger.exception("a websocket cannot be sent on", extra={"node": node_id})
            self._refuse(pipe, request, HTTPStatus.SERVICE_UNAVAILABLE, "node-away")
        else:
            pipe.begin(head)

    def _refuse(self, pipe: Pipe, request: EngineRequest, status: HTTPStatus, cause: str) -> None:
        self._engine.observer.handshake_refused(request.address, TransportName.WEBSOCKET, cause)
        pipe.refuse(status)


def _onward(node: NodeAddress, request: EngineRequest, dropped: frozenset[bytes]) -> list[Header]:
    """The client's headers, less those of its hop and what it wrote in our name, and ours."""
    kept = [(name, value) for name, value in request.headers if name not in dropped and name not in _OURS]
    if dropped:
        listed = b",".join(value for name, value in request.headers if name == b"connection")
        named = {name.strip().lower() for name in listed.split(b",")}
        kept = [(name, value) for name, value in kept if name not in named]
    address = (request.address or "").encode("latin-1")
    secure = b"1" if request.secure else b"0"
    return [*kept, (_SECRET, node.secret.encode()), (_CLIENT, address), (_SECURE, secure)]


def _head(node: NodeAddress, request: EngineRequest) -> bytes:
    """A websocket handshake as it is sent on; the upgrade is between client and owner, so that no field is dropped."""
    lines = [b"%b: %b" % header for header in _onward(node, request, frozenset())]
    return b"\r\n".join([b"GET %b HTTP/1.1" % _target(request), *lines, b"", b""])


def _target(request: EngineRequest) -> bytes:
    return f"{quote(request.path)}?{request.query_string}".encode("latin-1")
