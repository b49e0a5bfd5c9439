"""Sends requests to addresses that others choose.

Layer: outgoing. Source: OWASP, "Server-Side Request Forgery Prevention".
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import httpcore
import httpx

from roomcast.outgoing.addresses import Network
from roomcast.outgoing.connections import AddressRefused, GuardedBackend

#: Bytes of a response body that are read, so that its connection can be used again. A longer one ends the connection.
_MAX_BODY_BYTES: Final = 16_384
_KEEP_ALIVE_S: Final = 30.0
_MAX_IDLE: Final = 64
_FAILURES: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    ssl.SSLError,
    OSError,
    # A URL or a name that is invalid.
    UnicodeError,
    ValueError,
    TypeError,
)


class RequestFailed(Exception):
    """There is no response; the text says why."""


class Answer(NamedTuple):
    """A response without its body.

    Attributes:
        status: The HTTP status.
        retry_after: The header ``Retry-After``; empty without one.
    """

    status: int
    retry_after: str


class GuardedClient:
    """An HTTP client. Redirects are not followed, and no proxy is used. The caller limits the concurrent requests.

    Args:
        networks: Permitted besides the public Internet, also without TLS.
        setting: The variable that names them, for errors.
        timeout_s: Time limit of a request, from the resolution of the name to the end of the response.
    """

    def __init__(self, networks: Sequence[Network], setting: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._backends = {tls: GuardedBackend(networks, setting, only=not tls) for tls in (True, False)}
        context = httpx.create_ssl_context(trust_env=False)
        self._pools = {
            tls: httpcore.AsyncConnectionPool(
                ssl_context=context,
                max_connections=None,
                max_keepalive_connections=_MAX_IDLE,
                keepalive_expiry=_KEEP_ALIVE_S,
                network_backend=backend,
            )
            for tls, backend in self._backends.items()
        }

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a body.

        Raises:
            AddressRefused: the host has no permitted address.
            RequestFailed: there is no response.
        """
        answer: Answer | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                pool = self._pools[url[:6].lower() == "https:"]
                # A compressed response could expand without bound.
                sent = {"Content-Length": str(len(body)), "Accept-Encoding": "identity", **headers}
                async with pool.stream("POST", url, headers=list(sent.items()), content=body) as response:
                    named = (value for name, value in response.headers if name.lower() == b"retry-after")
                    answer = Answer(response.status, next(named, b"").decode("latin-1"))
                    read = 0
                    async for part in response.aiter_stream():
                        read += len(part)
                        if read > _MAX_BODY_BYTES:
                            break
        except AddressRefused:
            raise
        except (TimeoutError, *_FAILURES) as error:
            if answer is not None:
                return answer  # only the body was not read
            late = isinstance(error, TimeoutError)
            said = f"no response within {self._timeout_s:g} s" if late else str(error)
            raise RequestFailed(said or type(error).__name__) from None
        return answer

    async def close(self) -> None:
        """Close the connections."""
        for pool in self._pools.values():
            await pool.aclose()
        for backend in self._backends.values():
            backend.close()
