"""Kept connections to the API, for one request at a time each.

httpx takes 1.2 ms of CPU for a request, more than all else that a gateway does for a join.

Layer: gateway. Source: RFC 9112; responses are parsed by httptools.
"""

from __future__ import annotations

import asyncio
from typing import Final

import httptools
import httpx

#: Below `ServeOptions.keep_alive_s` and the time of common proxies: the other side never closes a connection first.
_KEEP_ALIVE_S: Final = 5.0
_MAX_RESPONSE_BYTES: Final = 1024 * 1024
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_FINAL_STATUS: Final = 200


class NoAnswer(Exception):
    """There is no valid response; the text says why."""


class Connections:
    """Posts JSON to one server. The caller limits the number of concurrent requests, and the time of each.

    Args:
        url: The server's base URL.
        connect_timeout_s: Time limit for connecting.
    """

    def __init__(self, url: str, connect_timeout_s: float) -> None:
        base = httpx.URL(url)
        self._address = (base.raw_host.decode("ascii"), base.port or _DEFAULT_PORTS[base.scheme])
        self._ssl = httpx.create_ssl_context(trust_env=False) if base.scheme == "https" else None
        self._path = base.raw_path.decode("ascii").rstrip("/")
        self._host = base.netloc.decode("ascii")
        self._connect_timeout_s = connect_timeout_s
        # The most recently used last.
        self._idle: list[_Connection] = []

    async def post(self, path: str, headers: str, body: bytes) -> tuple[int, bytes]:
        """Send a request, and return the status and the body of its response. Cancelling it closes its connection.

        Args:
            path: Below the base URL.
            headers: Further lines of the head, each with its end.
            body: JSON.

        Raises:
            NoAnswer: see there.
        """
        head = (
            f"POST {self._path}{path} HTTP/1.1\r\nhost: {self._host}\r\n{headers}"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        connection = self._take() or await self._connect()
        try:
            answer = await connection.exchange(head.encode("ascii") + body)
        except BaseException:
            connection.close()
            raise
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close the idle connections."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _take(self) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and now - connection.answered_at < _KEEP_ALIVE_S:
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        host, port = self._address
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection, host, port, ssl=self._ssl
                )
        except (OSError, ValueError) as error:  # TimeoutError, too; ValueError: a host name that cannot be encoded
            raise NoAnswer(f"cannot connect: {error!r}") from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection.

    Attributes:
        reusable: Whether the connection may carry another request.
        answered_at: When the last response ended, by the loop's clock.
    """

    def __init__(self) -> None:
        self.reusable = False
        self.answered_at = 0.0
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser: httptools.HttpResponseParser
        self._body = b""

    def exchange(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send a request; status and body of the response."""
        loop = asyncio.get_running_loop()
        self.reusable = False
        self._answer = loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        if self._transport.is_closing():
            self._fail("the connection was closed")
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        """Close the connection; the response in progress is lost."""
        self.reusable = False
        self._transport.abort()

    # -- asyncio ------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # always a stream transport
        """The connection is open."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Parse a part of the response; the server sends nothing else."""
        if self._answer is None or self._answer.done():
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.reusable = False  # the response may be complete, and this follows it
            self._fail(repr(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self.reusable = False
        self._fail(f"the connection was closed: {exc!r}")

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NoAnswer(reason))

    # -- httptools ----------------------------------------------------------------------------------------------------

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body, up to a limit."""
        self._body += body
        if len(self._body) > _MAX_RESPONSE_BYTES:
            self._fail(f"the response exceeds {_MAX_RESPONSE_BYTES} bytes")

    def on_message_complete(self) -> None:
        """The response is complete, unless it is an informational one (RFC 9110 §15.2)."""
        status = self._parser.get_status_code()
        if status < _FINAL_STATUS or self._answer is None or self._answer.done():
            return
        body, self._body = self._body, b""
        self.reusable = self._parser.should_keep_alive()
        self.answered_at = asyncio.get_running_loop().time()
        self._answer.set_result((status, body))
