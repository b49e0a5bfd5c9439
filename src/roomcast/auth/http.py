"""Requests to an identity provider, with limits of time and size.

Layer: auth.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import httpx

#: What a failed request raises; `TimeoutError` is an `OSError`.
FAILURES: Final = (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL)


class LimitedHttp:
    """Sends requests.

    Args:
        time_limit_s: Time limit for a request with its response.
        max_bytes: Longest response that is read.
    """

    def __init__(self, time_limit_s: float, max_bytes: int) -> None:
        self._time_limit_s = time_limit_s
        self._max_bytes = max_bytes
        self._ssl: ssl.SSLContext | None = None

    async def fetch(
        self, url: str, form: Mapping[str, str] | None = None, login: tuple[str, str] | None = None
    ) -> bytes:
        """The body of a response with status 200.

        Args:
            url: The URL.
            form: The form to POST; None: GET.
            login: User name and password.

        Raises:
            OSError, ValueError, httpx.HTTPError: there is no such response; see `FAILURES`.
        """
        if self._ssl is None:
            # Reading the certificates of the authorities takes 20 ms.
            self._ssl = await asyncio.to_thread(httpx.create_ssl_context, trust_env=False)
        # Only `settings` reads the environment. A redirect could lead to another host. A compressed response could
        # expand without bound.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with (
            asyncio.timeout(self._time_limit_s),
            httpx.AsyncClient(verify=self._ssl, trust_env=False, follow_redirects=False) as client,
            client.stream("GET" if form is None else "POST", url, headers=headers, data=form, auth=login) as response,
        ):
            if response.status_code != HTTPStatus.OK:
                raise ValueError(f"status {response.status_code}")
            content = b""
            async for part in response.aiter_raw():
                content += part
                if len(content) > self._max_bytes:
                    raise ValueError(f"more than {self._max_bytes} bytes")
            return content
