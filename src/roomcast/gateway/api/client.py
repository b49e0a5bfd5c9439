"""Questions of a gateway of its own to the API: bounded in time, and told apart from answers that say no.

Layer: gateway.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httpx

from roomcast.auth.tokens import TokenIssuer
from roomcast.gateway.ports import ApiUnavailable

logger = logging.getLogger(__name__)

#: Who a gateway is to the API.
SERVICE_NAME: Final = "gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiClientOptions:
    """Where the API is and how long it may take.

    Attributes:
        url: ``API_URL``.
        timeout_s: Time for one answer: below what a joining client waits for.
        connect_timeout_s: Time to connect.
        max_connections: At once.
        token_ttl_s: Lifetime of the service token; renewed when half of it is over.
    """

    url: str
    timeout_s: float = 2.5
    connect_timeout_s: float = 1.0
    max_connections: int = 50
    token_ttl_s: float = 600.0


class ApiClient:
    """Asks the API as a service.

    Args:
        options: See there.
        issuer: Makes service tokens; None: authentication is off.
        transport: Another way to the API than TCP.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        options: ApiClientOptions,
        issuer: TokenIssuer | None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._issuer = issuer
        self._clock = clock
        # httpx looks through all that wait whenever one is served: in a storm of joins that is all it would do.
        self._slots = asyncio.Semaphore(options.max_connections)
        self._token: str | None = None
        self._renew_at = 0.0
        self._http = httpx.AsyncClient(
            base_url=options.url,
            timeout=httpx.Timeout(options.timeout_s, connect=options.connect_timeout_s),
            limits=httpx.Limits(
                max_connections=options.max_connections, max_keepalive_connections=options.max_connections
            ),
            transport=transport,
            # The environment is read in one place, and it names no proxy for this.
            trust_env=False,
        )

    async def close(self) -> None:
        """End its connections."""
        await self._http.aclose()

    async def get(self, path: str, params: Mapping[str, str | int]) -> httpx.Response:
        """GET; an answer below 500 that is no refusal of this gateway itself.

        Raises:
            ApiUnavailable: there is none.
        """
        return await self._ask("GET", path, params=params)

    async def post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """POST a JSON body; see `get`."""
        return await self._ask("POST", path, json=body)

    async def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            async with asyncio.timeout(self._options.timeout_s), self._slots:
                answer = await self._http.request(method, path, headers=self._headers(), **content)
        except (httpx.HTTPError, TimeoutError) as error:
            raise ApiUnavailable(f"{self._options.url} does not answer: {error!r}") from error
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            # Ours to mend, not the client's: the two were started with different secrets.
            logger.error("the API does not take this gateway's token: do both have the same ROOMCAST_SECRET?")
        if answer.status_code in _NO_ANSWER or answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ApiUnavailable(f"{self._options.url} answered {answer.status_code} to {method} {path}")
        return answer

    def _headers(self) -> dict[str, str]:
        if self._issuer is None:
            return {}
        now = self._clock()
        if self._token is None or now >= self._renew_at:
            self._token = self._issuer.issue(SERVICE_NAME, ttl_s=self._options.token_ttl_s, service=True)
            self._renew_at = now + self._options.token_ttl_s / 2
        return {"Authorization": f"Bearer {self._token}"}


_NO_ANSWER: Final = frozenset(
    {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.MISDIRECTED_REQUEST}
)
