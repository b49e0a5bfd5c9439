"""Sends one push.

Layer: push. Source: RFC 8030 (Web Push), for the headers and the statuses.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from roomcast.backoff import parse_retry_after
from roomcast.chat.notifications.endpoints import EndpointRules
from roomcast.chat.ports import Push, PushOutcome
from roomcast.outgoing.connections import AddressRefused
from roomcast.outgoing.requests import Answer, GuardedClient, RequestFailed
from roomcast.push.encryption import encrypt
from roomcast.push.vapid import Vapid, decode

#: Seconds for a request as a whole.
_LIMIT_S: Final = 10.0
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
        self._client = GuardedClient(rules.networks, "ROOMCAST_PUSH_NETWORKS", _LIMIT_S)

    async def send(self, push: Push) -> PushOutcome:
        """See the port."""
        device = push.device
        try:
            body = encrypt(push.payload, decode(device.p256dh), decode(device.auth))
        except ValueError as error:
            return PushOutcome("gone", detail=f"the keys of the device are invalid: {error}")
        headers = {
            "Authorization": self._vapid.authorization(device.endpoint),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(push.ttl_s),
            "Topic": push.topic,
            "Urgency": "high" if push.urgent else "normal",
        }
        try:
            return _outcome(await self._client.post(device.endpoint, headers, body))
        except AddressRefused as error:
            return PushOutcome("gone", detail=str(error))
        except RequestFailed as error:
            return PushOutcome("failed", detail=str(error))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _outcome(answer: Answer) -> PushOutcome:
    status = answer.status
    detail = f"status {status}"
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return PushOutcome("sent")
    if status in _GONE:
        return PushOutcome("gone", detail=detail)
    if status in _REPEATABLE or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return PushOutcome("failed", parse_retry_after(answer.retry_after, _MAX_RETRY_AFTER_S), detail)
    return PushOutcome("refused", detail=detail)
