"""Forwards requests for sessions of other nodes, and authenticates the requests that other nodes forward.

Polls and posts are forwarded as HTTP requests. A websocket that upgrades such a session becomes a `Pipe`: its handshake
is forwarded, and then bytes are copied both ways. The owner treats both like requests of its own clients and makes all
checks; this node checks the origin as well.

A node accepts forwarded requests only on its internal address, with the secret that it has put in the directory.

Layer: realtime.forwarding. Source: RFC 9110 §7.6.1 for hop-by-hop fields.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from roomcast.realtime.cluster.nodes import (
    Directory,
    DirectoryUnavailable,
    ForwardedAnswer,
    Header,
    NodeAddress,
    NotForwarded,
)
from roomcast.realtime.core.observer import Observer
from roomcast.realtime.forwarding.connection_pool import CONNECT_LIMIT_S, NodeConnectionPool, NodeUnreachable
from roomcast.realtime.forwarding.pipe import Pipe
from roomcast.realtime.options import ServerOptions
from roomcast.realtime.requests.request import ClientView, EngineRequest
from roomcast.wire.engineio_http import TransportName
from roomcast.wire.engineio_refusals import HttpError, RequestRefused

logger = logging.getLogger(__name__)

_SECRET: Final = b"x-roomcast-forward"
_CLIENT: Final = b"x-roomcast-client"
_SECURE: Final = b"x-roomcast-secure"
_INTERNAL: Final = frozenset({_SECRET, _CLIENT, _SECURE})
_HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-authorization", b"proxy-connection", b"te", b"trailer", b"upgrade"}
    | {b"transfer-encoding", b"content-length", b"expect"}
)
#: The HTTP server of this node sets its own.
_SET_BY_SERVER: Final = frozenset({b"date", b"server", b"x-content-type-options"})

#: The owner answers a poll within one heartbeat; this much later it counts as out of reach.
_ANSWER_MARGIN_S: Final = 5.0


class NodeAuthenticator:
    """Authenticates forwarded requests on a node's internal address; replaces `TrustedProxies` there.

    Args:
        secret: The node's secret in the directory.
    """

    forwarded = True

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def client(self, _peer: str | None, _secure: bool, headers: Sequence[Header]) -> ClientView:
        """The client's address, and whether it uses TLS, as reported by the other node.

        Host and path of the request are already those that the client has sent.

        Raises:
            RequestRefused: the request does not carry the node's secret.
        """
        found = {name: value for name, value in headers if name in _INTERNAL}
        if not hmac.compare_digest(found.get(_SECRET, b""), self._secret):
            raise RequestRefused(HttpError.FORBIDDEN, "not from a node")
        return ClientView(found.get(_CLIENT, b"").decode("latin-1") or None, found.get(_SECURE) == b"1")


class Forwarder:
    """Forwards requests to the nodes that own their sessions (`SessionForwarder`).

    Args:
        directory: Finds the nodes.
        options: For the limits and the heartbeat.
        observer: Notified of refused handshakes.

    Attributes:
        max_forwards: Maximum number of polls and posts at once.
        pipes: Websockets that are piped to other nodes now.
        forwarded: Polls and posts that other nodes have answered so far.
    """

    def __init__(self, directory: Directory, options: ServerOptions, observer: Observer) -> None:
        self._directory = directory
        self._options = options
        self._observer = observer
        self._connections = NodeConnectionPool()
        self._requests: set[asyncio.Task[ForwardedAnswer]] = set()
        self._sending = 0
        self.max_forwards = options.max_forwards
        self._dials: set[asyncio.Task[None]] = set()
        self.pipes: set[Pipe] = set()
        self.forwarded = 0

    async def close(self) -> None:
        """See `SessionForwarder`."""
        for pipe in list(self.pipes):
            pipe.abort()
        under_way = [*self._dials, *self._requests]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._connections.close()

    # -- polls and posts ----------------------------------------------------------------------------------------------

    def request(self, node_id: str, request: EngineRequest, body: bytes) -> asyncio.Task[ForwardedAnswer]:
        """See `SessionForwarder`."""
        task = asyncio.create_task(self._request(node_id, request, body), name="forward-request")
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        return task

    @property
    def endings(self) -> list[Callable[[], object]]:
        """See `SessionForwarder`."""
        return [*(pipe.shutdown for pipe in self.pipes), *(task.cancel for task in self._requests)]

    async def _request(self, node_id: str, request: EngineRequest, body: bytes) -> ForwardedAnswer:
        options = self._options
        node = await self._find(node_id)
        # Count the slot after the look-up, so that unknown ids cannot exhaust it.
        if self._sending >= self.max_forwards:
            raise NotForwarded("forwards")
        self._sending += 1
        try:
            async with asyncio.timeout(options.ping_interval_s + options.ping_timeout_s + _ANSWER_MARGIN_S):
                answer = await self._send(node, request, body)
        except TimeoutError:
            raise NotForwarded("node-timeout") from None
        except NodeUnreachable as error:
            logger.info("node does not accept forwarded requests: %s", error, extra={"node": node_id})
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
            raise RequestRefused(HttpError.UNKNOWN_SID, "unknown node")
        return node

    async def _send(self, node: NodeAddress, request: EngineRequest, body: bytes) -> ForwardedAnswer:
        headers = _forwarded_headers(node, request, _HOP_BY_HOP)
        # The body is passed on as received: the client decompresses what the owner has compressed.
        status, answered, content = await self._connections.request(
            node, request.method, _target(request), headers, body
        )
        dropped = _HOP_BY_HOP | _SET_BY_SERVER
        kept = [(name.lower(), value) for name, value in answered if name.lower() not in dropped]
        return ForwardedAnswer(status, kept, content)

    # -- websockets ---------------------------------------------------------------------------------------------------

    def pipe(self, node_id: str, request: EngineRequest, transport: asyncio.Transport, connections: set[Any]) -> None:
        """See `SessionForwarder`."""
        stall_limit_s = self._options.ping_interval_s + self._options.ping_timeout_s
        pipe = Pipe(transport, connections, self.pipes.discard, stall_limit_s=stall_limit_s)
        self.pipes.add(pipe)
        dial = asyncio.create_task(self._dial(pipe, node_id, request), name="forward-websocket")
        self._dials.add(dial)
        dial.add_done_callback(self._dials.discard)

    async def _dial(self, pipe: Pipe, node_id: str, request: EngineRequest) -> None:
        try:
            node = await self._find(node_id)
            head = _head(node, request)
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await asyncio.get_running_loop().create_connection(pipe.owner_side, node.host, node.port)
        except RequestRefused as refused:
            self._refuse(pipe, request, HTTPStatus(refused.status), refused.cause)
        except NotForwarded as failure:
            self._refuse(pipe, request, HTTPStatus.SERVICE_UNAVAILABLE, failure.cause)
        except (OSError, TimeoutError) as error:
            logger.info("node does not accept forwarded requests: %r", error, extra={"node": node_id})
            self._refuse(pipe, request, HTTPStatus.SERVICE_UNAVAILABLE, "node-away")
        except Exception:
            # For example an invalid host name. The pipe must end here: its client is not being read.
            logger.exception("websocket cannot be forwarded", extra={"node": node_id})
            self._refuse(pipe, request, HTTPStatus.SERVICE_UNAVAILABLE, "node-away")
        else:
            pipe.begin(head)

    def _refuse(self, pipe: Pipe, request: EngineRequest, status: HTTPStatus, cause: str) -> None:
        self._observer.handshake_refused(request.address, request.user_agent, TransportName.WEBSOCKET, cause)
        pipe.refuse(status)


def _forwarded_headers(node: NodeAddress, request: EngineRequest, dropped: frozenset[bytes]) -> list[Header]:
    """The client's headers without ``dropped`` and without forged internal headers, plus the internal headers."""
    kept = [(name, value) for name, value in request.headers if name not in dropped and name not in _INTERNAL]
    if dropped:
        listed = b",".join(value for name, value in request.headers if name == b"connection")
        named = {name.strip().lower() for name in listed.split(b",")}
        kept = [(name, value) for name, value in kept if name not in named]
    address = (request.address or "").encode("latin-1")
    secure = b"1" if request.secure else b"0"
    return [*kept, (_SECRET, node.secret.encode()), (_CLIENT, address), (_SECURE, secure)]


def _head(node: NodeAddress, request: EngineRequest) -> bytes:
    """The forwarded websocket handshake. The upgrade is between client and owner, so no header is dropped."""
    lines = [b"%b: %b" % header for header in _forwarded_headers(node, request, frozenset())]
    return b"\r\n".join([b"GET %b HTTP/1.1" % _target(request), *lines, b"", b""])


def _target(request: EngineRequest) -> bytes:
    return f"{quote(request.path)}?{request.query_string}".encode("latin-1")
