"""A pool of HTTP connections to other nodes.

The cost of a request does not depend on the number of busy connections: thousands are busy here, with pending polls.
httpx's pool scans all connections for each request, and keeps no idle ones once a hundred are busy.

Layer: realtime.forwarding.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final

import httpcore

from roomcast.realtime.cluster.nodes import Header, NodeAddress

#: Time limit for connecting to a node.
CONNECT_LIMIT_S: Final = 1.5
#: Below `ServeOptions.keep_alive_s`, so that the other node never closes an idle connection first.
_KEEP_ALIVE_S: Final = 30.0
#: Idle connections per node. A broadcast answers all pending polls at once, and they return within moments.
_MAX_IDLE: Final = 1_000
_EXPIRY_INTERVAL_S: Final = 5.0
#: A single message may exceed the outbox limit; no node sends a larger response than this.
_MAX_RESPONSE_BYTES: Final = 64 * 1024 * 1024
#: The last two: an invalid address in the directory, which fails at name resolution or at connecting.
_FAILURES: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.ConnectionNotAvailable,
    ValueError,
    ExceptionGroup,
)


class NodeUnreachable(Exception):
    """A node is out of reach, or its response is invalid; see the cause."""


class NodeConnectionPool:
    """The connections of one forwarder.

    Args:
        keep_alive_s: How long an idle connection is kept, rounded up to ``expiry_interval_s``.
        max_idle: Maximum number of idle connections per node.
        expiry_interval_s: Interval at which expired connections are closed.
        max_response_bytes: Largest response body.
    """

    def __init__(
        self,
        *,
        keep_alive_s: float = _KEEP_ALIVE_S,
        max_idle: int = _MAX_IDLE,
        expiry_interval_s: float = _EXPIRY_INTERVAL_S,
        max_response_bytes: int = _MAX_RESPONSE_BYTES,
    ) -> None:
        self._keep_alive_s = keep_alive_s
        self._max_idle = max_idle
        self._expiry_interval_s = expiry_interval_s
        self._max_response_bytes = max_response_bytes
        #: By host and port; the most recently used on the right.
        self._idle: dict[tuple[str, int], deque[httpcore.AsyncHTTPConnection]] = {}
        self._expiry: asyncio.Task[None] | None = None

    @property
    def idle(self) -> int:
        """The number of idle connections."""
        return sum(map(len, self._idle.values()))

    async def request(
        self, node: NodeAddress, method: str, target: bytes, headers: Iterable[Header], body: bytes
    ) -> tuple[int, list[Header], bytes]:
        """Send a request. Cancelling it closes the connection.

        Returns:
            Status, headers and body of the response; the body is not decompressed.

        Raises:
            NodeUnreachable: there is no valid response.
        """
        try:
            url = httpcore.URL(scheme=b"http", host=node.host.encode("ascii"), port=node.port, target=target)
            connection = await self._take(node, url.origin)
            try:
                answer = await self._exchange(connection, method, url, list(headers), body)
            except BaseException:
                await connection.aclose()
                raise
        except _FAILURES as error:
            raise NodeUnreachable(repr(error)) from error
        await self._give_back(node, connection)
        return answer

    async def close(self) -> None:
        """Close the idle connections; busy ones close with their requests. The pool can be used again."""
        expiry, self._expiry = self._expiry, None
        if expiry is not None:
            expiry.cancel()
            await asyncio.gather(expiry, return_exceptions=True)
        kept, self._idle = self._idle, {}
        for idle in kept.values():
            for connection in idle:
                await connection.aclose()

    async def _exchange(
        self,
        connection: httpcore.AsyncHTTPConnection,
        method: str,
        url: httpcore.URL,
        headers: list[Header],
        body: bytes,
    ) -> tuple[int, list[Header], bytes]:
        # The caller limits the total time.
        timeouts = {"timeout": {"connect": CONNECT_LIMIT_S}}
        async with connection.stream(method, url, headers=headers, content=body, extensions=timeouts) as answer:
            content = bytearray()
            async for part in answer.aiter_stream():
                content += part
                if len(content) > self._max_response_bytes:
                    raise NodeUnreachable(f"the response exceeds {self._max_response_bytes} bytes")
            return answer.status, answer.headers, bytes(content)

    async def _take(self, node: NodeAddress, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        idle = self._idle.get((node.host, node.port))
        while idle:
            connection = idle.pop()
            if not connection.has_expired():
                return connection
            await connection.aclose()
        return httpcore.AsyncHTTPConnection(origin, keepalive_expiry=self._keep_alive_s)

    async def _give_back(self, node: NodeAddress, connection: httpcore.AsyncHTTPConnection) -> None:
        kept = len(self._idle.get((node.host, node.port), ()))
        if not connection.is_idle() or kept >= self._max_idle:
            await connection.aclose()
            return
        self._idle.setdefault((node.host, node.port), deque()).append(connection)
        if self._expiry is None:
            self._expiry = asyncio.create_task(self._close_expired(), name="node-connections")

    async def _close_expired(self) -> None:
        """Close expired connections until none is left."""
        while self._idle:
            await asyncio.sleep(self._expiry_interval_s)
            for node, idle in list(self._idle.items()):
                while idle and idle[0].has_expired():
                    await idle.popleft().aclose()
                if not idle:
                    del self._idle[node]
        self._expiry = None
