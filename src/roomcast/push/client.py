"""Sends one push.

Layer: push. Source: RFC 8030 (Web Push), for the headers and the statuses.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

import httpcore

from roomcast.chat.notifications.endpoints import EndpointRules
from roomcast.chat.ports import Push, PushOutcome
from roomcast.outgoing.connections import AddressRefused, GuardedBackend
from roomcast.push.encryption import encrypt
from roomcast.push.vapid import Vapid, decode

#: Seconds for a request as a whole.
_LIMIT_S: Final = 10.0
#: A longer response is not read.
_MAX_RESPONSE_BYTES: Final = 16_384
_MAX_IDLE: Final = 64
_IDLE_S: Final = 30.0
_FAILURES: Final = (TimeoutError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)
_GONE: Final = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
#: The push service would accept a repeat.
_REPEATABLE: Final = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
#: Longest pause in seconds that a push service may ask for.
_MAX_RETRY_AFTER_S: Final = 60.0


class WebPushClient:
    """Sends pushes.

    Args:
        vapid: Signs the requests.
        rules: Which addresses are accepted.
    """

    def __init__(self, vapid: Vapid, rules: EndpointRules) -> None:
        self._vapid = vapid
        self._network = GuardedBackend(rules.networks, "ROOMCAST_PUSH_NETWORKS")
        self._http = httpcore.AsyncConnectionPool(
            # The queues limit the requests of each push service.
            network_backend=self._network,
            max_connections=None,
            max_keepalive_connections=_MAX_IDLE,
            keepalive_expiry=_IDLE_S,
        )

    async def send(self, push: Push) -> PushOutcome:
        """See the port."""
        device = push.device
        try:
            body = encrypt(push.payload, decode(device.p256dh), decode(device.auth))
        except ValueError as error:
            return PushOutcome("gone", detail=f"the keys of the device are invalid: {error}")
        headers: dict[bytes | str, bytes | str] = {
            "Authorization": self._vapid.authorization(device.endpoint),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(body)),
            "TTL": str(push.ttl_s),
            "Topic": push.topic,
            "Urgency": "high" if push.urgent else "normal",
        }
        try:
            async with (
                asyncio.timeout(_LIMIT_S),
                self._http.stream("POST", device.endpoint, headers=headers, content=body) as response,
            ):
                size = 0
                async for part in response.aiter_stream():
                    size += len(part)
                    if size > _MAX_RESPONSE_BYTES:
                        break
        except AddressRefused as error:
            return PushOutcome("gone", detail=str(error))
        except (OSError, *_FAILURES) as error:
            return PushOutcome("failed", detail=f"{type(error).__name__}: {error}")
        return _outcome(response)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        self._network.close()


def _outcome(response: httpcore.Response) -> PushOutcome:
    status = response.status
    detail = f"status {status}"
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return PushOutcome("sent")
    if status in _GONE:
        return PushOutcome("gone", detail=detail)
    if status in _REPEATABLE or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        given = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
        # A date is treated as absent.
        retry_after_s = min(float(given), _MAX_RETRY_AFTER_S) if given.isdigit() else None
        return PushOutcome("failed", retry_after_s, detail)
    return PushOutcome("refused", detail=detail)
