"""Sends signed requests to webhooks.

Layer: webhooks. Source: the specification of Standard Webhooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from roomcast import __version__
from roomcast.backoff import parse_retry_after
from roomcast.chat.webhook_values import Attempt, StoredWebhook
from roomcast.outgoing.addresses import Network
from roomcast.outgoing.connections import AddressRefused
from roomcast.outgoing.requests import Answer, GuardedClient, RequestFailed
from roomcast.wire.standard_webhooks import sign

#: The specification recommends 15 to 30 s.
TIMEOUT_S: Final = 15.0
_MAX_ERROR_CHARS: Final = 200


class HttpWebhookSender:
    """See `chat.ports.WebhookSender`.

    Args:
        networks: Permitted besides the public Internet, also without TLS.
        timeout_s: Time limit of a request.
    """

    def __init__(self, networks: Sequence[Network] = (), timeout_s: float = TIMEOUT_S) -> None:
        self._client = GuardedClient(networks, "ROOMCAST_WEBHOOK_NETWORKS", timeout_s)

    async def send(self, webhook: StoredWebhook, message_id: str, body: bytes) -> Attempt:
        """See the port."""
        now = datetime.now(UTC).timestamp()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"roomcast/{__version__}",
            **sign(webhook.keys(int(now * 1_000)), message_id, int(now), body),
        }
        try:
            return _judge(await self._client.post(webhook.url, headers, body))
        except (AddressRefused, RequestFailed) as error:
            return Attempt(error=str(error)[:_MAX_ERROR_CHARS])

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _judge(answer: Answer) -> Attempt:
    status = answer.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Attempt(status)
    redirects = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
    hint = "; redirects are not followed" if redirects else ""
    pause_s = parse_retry_after(answer.retry_after)
    return Attempt(status, f"the receiver answered {status}{hint}", pause_s)
