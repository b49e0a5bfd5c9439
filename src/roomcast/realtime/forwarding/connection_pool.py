"""HTTP connections to other nodes, kept while they are idle.

A connection is looked at when it is taken or given back, never while it is busy: httpx's pool looks at all of them each
time, and keeps none as soon as a hundred are busy. Here thousands are, with polls that wait.

Layer: realtime.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final

import httpcore

from roomcast.realtime.core.nodes import NodeAddress

Header = tuple[bytes, bytes]

#: How long a node may take to be reached.
CONNECT_LIMIT_S: Final = 1.5
#: Below `ServeOptions.keep_alive_s`, so that it is never the other side that closes an idle connection.
_KEEP_ALIVE_S: Final = 30.0
#: Idle ones of one node. Whoever waits gets the same news at the same time, and polls again in the next moment.
_MAX_IDLE: Final = 1_000
_TIDY_S: Final = 5.0
#: A single message may be larger than an outbox; what is beyond this is no node's answer.
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
#: An address out of the directory that is none shows itself as the last two: while it is looked up, or dialled.
_FAILURES: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.ConnectionNotAvailable,
    ValueError,
    ExceptionGroup,
)


class NodeAway(Exception):
    """A node cannot be reached, or what it answers is no answer; its cause tells which."""


class NodeConnections:
    """The connections of one forwarder.

    Args:
        keep_alive_s: How long an idle one is kept, in steps of ``tidy_s``.
        max_idle: How many idle ones of one node are kept.
        tidy_s: How often the idle ones are looked through.
        max_answer_bytes: Largest body of an answer.
    """

    def __init__(
        self,
        *,
        keep_alive_s: float = _KEEP_ALIVE_S,
        max_idle: int = _MAX_IDLE,
        tidy_s: float = _TIDY_S,
        max_answer_bytes: int = _MAX_ANSWER_BYTES,
    ) -> None:
        self._keep_alive_s = keep_alive_s
        self._max_idle = max_idle
        self._tidy_s = tidy_s
        self._max_answer_bytes = max_answer_bytes
        #: By host and port, the latest on the right. No entry is empty for longer than ``tidy_s``.
        self._idle: dict[tuple[str, int], deque[httpcore.AsyncHTTPConnection]] = {}
        self._tidying: asyncio.Task[None] | None = None

    @property
    def idle(self) -> int:
        """How many are kept."""
        return sum(map(len, self._idle.values()))

    async def ask(
        self, node: NodeAddress, method: str, target: bytes, headers: Iterable[Header], body: bytes
    ) -> tuple[int, list[Header], bytes]:
        """Send a request; cancelling it closes the connection.

        Returns:
            Status, headers and body of the answer, the body as it came.

        Raises:
            NodeAway: there is none.
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
            raise NodeAway(repr(error)) from error
        await self._give_back(node, connection)
        return answer

    async def close(self) -> None:
        """Close those that are idle; those that are not end with their requests. It can be used again."""
        tidying, self._tidying = self._tidying, None
        if tidying is not None:
            tidying.cancel()
            await asyncio.gather(tidying, return_exceptions=True)
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
        # The whole is timed by the caller.
        timeouts = {"timeout": {"connect": CONNECT_LIMIT_S}}
        async with connection.stream(method, url, headers=headers, content=body, extensions=timeouts) as answer:
            content = bytearray()
            async for part in answer.aiter_stream():
                content += part
                if len(content) > self._max_answer_bytes:
                    raise NodeAway(f"its answer is larger than {self._max_answer_bytes} bytes")
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
        if self._tidying is None:
            self._tidying = asyncio.create_task(self._tidy(), name="node-connections")

    async def _tidy(self) -> None:
        """Close what has expired and forget nodes that nobody asks any more, as long as there is anything."""
        while self._idle:
            await asyncio.sleep(self._tidy_s)
            for node, idle in list(self._idle.items()):
                while idle and idle[0].has_expired():
                    await idle.popleft().aclose()
                if not idle:
                    del self._idle[node]
        self._tidying = None
