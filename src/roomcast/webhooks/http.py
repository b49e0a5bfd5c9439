"""Sends signed requests to webhooks.

Layer: webhooks. Source: the specification of Standard Webhooks; RFC 9110 §10.2.3 (``Retry-After``).
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpcore
import httpx

from roomcast import __version__
from roomcast.chat.webhook_values import Attempt, StoredWebhook
from roomcast.outgoing.addresses import Network
from roomcast.outgoing.connections import GuardedBackend
from roomcast.wire.standard_webhooks import sign

#: The specification recommends 15 to 30 s.
TIMEOUT_S: Final = 15.0
#: Bytes of a response body that are read, so that its connection can be used again. A longer one ends the connection.
_MAX_BODY_BYTES: Final = 16_384
_KEEP_ALIVE_S: Final = 30.0
_MAX_IDLE: Final = 64
_MAX_ERROR_CHARS: Final = 200
#: Longest pause that a receiver can ask for.
MAX_RETRY_AFTER_S: Final = 86_400.0
_FAILURES: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    ssl.SSLError,
    OSError,
    # An invalid name in a URL.
    UnicodeError,
    ValueError,
)


class HttpWebhookSender:
    """See `chat.ports.WebhookSender`. Redirects are not followed, and no proxy is used.

    Args:
        networks: Permitted besides the public Internet, also without TLS.
        timeout_s: Time limit of a request, from the resolution of the name to the status.
    """

    def __init__(self, networks: Sequence[Network] = (), timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._backends = {
            tls: GuardedBackend(networks, "ROOMCAST_WEBHOOK_NETWORKS", only=not tls) for tls in (True, False)
        }
        context = httpx.create_ssl_context(trust_env=False)
        self._pools = {
            tls: httpcore.AsyncConnectionPool(
                ssl_context=context,
                # The workers limit the requests of each webhook.
                max_connections=None,
                max_keepalive_connections=_MAX_IDLE,
                keepalive_expiry=_KEEP_ALIVE_S,
                network_backend=backend,
            )
            for tls, backend in self._backends.items()
        }

    async def send(self, webhook: StoredWebhook, message_id: str, body: bytes) -> Attempt:
        """See the port."""
        now = datetime.now(UTC).timestamp()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"roomcast/{__version__}",
            # A compressed response could expand without bound.
            "Accept-Encoding": "identity",
            **sign(webhook.keys(int(now * 1_000)), message_id, int(now), body),
        }
        attempt: Attempt | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                pool = self._pools[webhook.url.lower().startswith("https:")]
                async with pool.stream("POST", webhook.url, headers=list(headers.items()), content=body) as response:
                    attempt = _judge(response)
                    read = 0
                    async for part in response.aiter_stream():
                        read += len(part)
                        if read > _MAX_BODY_BYTES:
                            break
        except TimeoutError:
            return attempt or Attempt(error=f"no response within {self._timeout_s:g} s")
        except _FAILURES as error:
            # With a status, only the body was not read.
            return attempt or Attempt(error=(str(error) or type(error).__name__)[:_MAX_ERROR_CHARS])
        return attempt

    async def close(self) -> None:
        """Close the connections."""
        for pool in self._pools.values():
            await pool.aclose()
        for backend in self._backends.values():
            backend.close()


def _judge(response: httpcore.Response) -> Attempt:
    status = response.status
    if 200 <= status < 300:  # noqa: PLR2004
        return Attempt(status)
    given = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
    hint = "; redirects are not followed" if 300 <= status < 400 else ""  # noqa: PLR2004
    return Attempt(status, f"the receiver answered {status}{hint}", _retry_after_s(given.decode("latin-1").strip()))


def _retry_after_s(value: str) -> float | None:
    """The seconds in a ``Retry-After``: a number, or a date."""
    seconds: float | None = None
    if re.fullmatch(r"[0-9]{1,9}", value):
        seconds = float(value)
    elif value:
        with suppress(ValueError, TypeError, OverflowError):
            date = parsedate_to_datetime(value)
            seconds = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return None if seconds is None else min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
