"""HTTP requests of a gateway to the main API, each within a time limit.

Layer: gateway.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol

from roomcast.auth.tokens import TokenIssuer
from roomcast.gateway.api.connections import Connections, NoAnswer
from roomcast.gateway.ports import ApiRefused, ApiUnavailable

logger = logging.getLogger(__name__)

#: The subject of the gateway's service tokens.
SERVICE_NAME: Final = "gateway"
#: Statuses below 500 that are about the gateway and not about the user in its request; raised as `ApiUnavailable`.
_UNAVAILABLE: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT})
_BOTH_SIDES: Final = "start the API and the gateway with the same ROOMCAST_SECRET, and set both clocks"
_ADDRESS: Final = "API_URL is not the internal address of the API: use its ROOMCAST_INTERNAL_PORT"
# The public address accepts ALLOWED_HOSTS only; the internal one of an API without authentication, loopback names only.
_HOST: Final = "the API does not accept the host in API_URL: use its internal address, with ROOMCAST_SECRET"
#: What to change for a status that waiting cannot mend; raised as `ApiRefused`.
_ADVICE: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: _BOTH_SIDES,
    HTTPStatus.FORBIDDEN: _BOTH_SIDES,
    HTTPStatus.NOT_FOUND: _ADDRESS,
    HTTPStatus.METHOD_NOT_ALLOWED: _ADDRESS,
    HTTPStatus.MOVED_PERMANENTLY: _ADDRESS,
    HTTPStatus.FOUND: _ADDRESS,
    HTTPStatus.PERMANENT_REDIRECT: _ADDRESS,
    HTTPStatus.MISDIRECTED_REQUEST: _HOST,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiClientOptions:
    """The API's address, and limits for requests to it.

    Attributes:
        url: Base URL of the API's internal address, from ``API_URL``.
        timeout_s: Time limit for one request and its response; less than a client's timeout for the ack of a join.
        connect_timeout_s: Time limit for connecting.
        max_connections: Maximum number of concurrent connections.
        token_ttl_s: Lifetime of a service token; `ApiClient` replaces it after half of that time.
    """

    url: str
    timeout_s: float = 2.5
    connect_timeout_s: float = 1.0
    max_connections: int = 50
    token_ttl_s: float = 600.0


class Http(Protocol):
    """What the client needs from `connections.Connections`."""

    async def post(self, path: str, headers: str, body: bytes) -> tuple[int, bytes]:
        """See `Connections.post`."""

    def close(self) -> None:
        """See `Connections.close`."""


class ApiClient:
    """Calls the API with a service token.

    Args:
        options: Address and limits.
        issuer: Issues service tokens; None: authentication is off.
        http: Replaces the connections, for tests.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        options: ApiClientOptions,
        issuer: TokenIssuer | None,
        *,
        http: Http | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._issuer = issuer
        self._clock = clock
        self._slots = asyncio.Semaphore(options.max_connections)
        self._token: str | None = None
        self._renew_at = 0.0
        self._refused: str | None = None
        self._http = http or Connections(options.url, options.connect_timeout_s)

    def close(self) -> None:
        """Close all idle connections."""
        self._http.close()

    async def post(self, path: str, body: Mapping[str, Any]) -> tuple[int, bytes]:
        """POST a JSON body.

        Returns:
            Status and body of a response with a status below 500 that is not about the gateway itself.

        Raises:
            ApiRefused: a setting is wrong; the text says what to change.
            ApiUnavailable: there was no such response within the time limit.
        """
        try:
            async with asyncio.timeout(self._options.timeout_s), self._slots:
                content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
                status, answer = await self._http.post(path, self._authorization(), content)
        except (NoAnswer, TimeoutError) as error:
            raise ApiUnavailable(f"{self._options.url} does not answer: {error!r}") from error
        if (advice := _ADVICE.get(status)) is not None:
            if advice != self._refused:
                logger.error("the API refuses this gateway: %s", advice)
            self._refused = advice
            raise ApiRefused(advice)
        self._refused = None
        if status in _UNAVAILABLE or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ApiUnavailable(f"{self._options.url} answered {status} to POST {path}")
        return status, answer

    def _authorization(self) -> str:
        if self._issuer is None:
            return ""
        now = self._clock()
        if self._token is None or now >= self._renew_at:
            self._token = self._issuer.issue(SERVICE_NAME, ttl_s=self._options.token_ttl_s, service=True)
            self._renew_at = now + self._options.token_ttl_s / 2
        return f"authorization: Bearer {self._token}\r\n"
