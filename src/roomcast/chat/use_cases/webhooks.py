"""The use cases of webhooks. The caller is a service, as the routes ensure.

Layer: chat. Source: docs/webhooks.md; docs/decisions/0021.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any, Final

from roomcast.chat.errors import DeliveryNotFound, WebhookNotFound
from roomcast.chat.ids import new_id
from roomcast.chat.ports import Clock, FeedStore, WebhookSender, WebhookStore
from roomcast.chat.webhook_values import Attempt, StoredWebhook, Undelivered, WebhookState
from roomcast.contract.cursor import Cursor
from roomcast.contract.text import format_time
from roomcast.contract.webhooks import PING, ChangeWebhook, NewWebhook

MAX_WEBHOOKS: Final = 32
KEY_BYTES: Final = 32
#: How long requests are signed with the old secret, too, after a rotation.
ROTATION_S: Final = 86_400
#: Clocks of the processes differ by less. Events of this time before the creation may be sent, too.
CLOCK_TOLERANCE_S: Final = 60


class Webhooks:
    """Manages the webhooks of tenants.

    Args:
        store: The database.
        feed: Checks cursors of ``GET /api/events``.
        sender: Sends tests.
        clock: Wall-clock time.
    """

    def __init__(self, store: WebhookStore, feed: FeedStore, sender: WebhookSender, clock: Clock) -> None:
        self._store = store
        self._feed = feed
        self._sender = sender
        self._clock = clock

    async def create(self, tenant: str, given: NewWebhook) -> tuple[WebhookState, bytes]:
        """Create a webhook; returned with its secret.

        Raises:
            TooManyWebhooks: the tenant has `MAX_WEBHOOKS`.
        """
        now = self._now()
        webhook = StoredWebhook(
            id=new_id(),
            tenant=tenant,
            url=given.url,
            events=None if given.events is None else frozenset(given.events),
            chats=None if given.chats is None else frozenset(given.chats),
            secret=secrets.token_bytes(KEY_BYTES),
            since=now - CLOCK_TOLERANCE_S * 1_000,
            created_at=now,
        )
        await self._store.create(webhook, MAX_WEBHOOKS)
        return WebhookState(webhook, 0, 0), webhook.secret

    async def list(self, tenant: str) -> Sequence[WebhookState]:
        """The webhooks of a tenant, the oldest first."""
        return await self._store.list(tenant)

    async def read(self, tenant: str, webhook_id: str) -> WebhookState:
        """One webhook.

        Raises:
            WebhookNotFound: the tenant has no such webhook.
        """
        state = await self._store.webhook(tenant, webhook_id)
        if state is None:
            raise WebhookNotFound(webhook_id)
        return state

    async def change(self, tenant: str, webhook_id: str, given: ChangeWebhook) -> WebhookState:
        """Change the given fields; errors as for `read`."""
        values: dict[str, Any] = {name: getattr(given, name) for name in given.model_fields_set}
        for name in ("events", "chats"):
            if values.get(name) is not None:
                values[name] = frozenset(values[name])
        if values.get("active"):
            values["disabled"] = None
        if values and not await self._store.change(tenant, webhook_id, values):
            raise WebhookNotFound(webhook_id)
        return await self.read(tenant, webhook_id)

    async def rotate(self, tenant: str, webhook_id: str) -> tuple[WebhookState, bytes]:
        """Replace the secret, and return the new one; errors as for `read`."""
        old = (await self.read(tenant, webhook_id)).webhook.secret
        key = secrets.token_bytes(KEY_BYTES)
        values = {"secret": key, "old_secret": old, "old_until": self._now() + ROTATION_S * 1_000}
        await self._store.change(tenant, webhook_id, values)
        return await self.read(tenant, webhook_id), key

    async def delete(self, tenant: str, webhook_id: str) -> None:
        """Delete a webhook; errors as for `read`."""
        if not await self._store.delete(tenant, webhook_id):
            raise WebhookNotFound(webhook_id)

    async def test(self, tenant: str, webhook_id: str) -> tuple[Attempt, float]:
        """Send a ``ping``, also if the webhook is not active; with its duration in seconds. Errors as for `read`."""
        webhook = (await self.read(tenant, webhook_id)).webhook
        data = {"webhookId": webhook.id, "time": format_time(self._clock.now())}
        body = json.dumps({"type": PING, "event": PING, "data": data}).encode()
        began = time.monotonic()
        attempt = await self._sender.send(webhook, f"msg_{new_id()}", body)
        return attempt, time.monotonic() - began

    async def undelivered(
        self, tenant: str, webhook_id: str, *, dead: bool, after: int, limit: int
    ) -> Sequence[tuple[Undelivered, str]]:
        """What a webhook has not received, by position, with the epochs; errors as for `read`."""
        await self.read(tenant, webhook_id)
        return await self._store.undelivered(webhook_id, dead=dead, after=after, limit=limit)

    async def replay_dead(self, tenant: str, webhook_id: str, position: int | None) -> WebhookState:
        """Try all dead events again, or the one with this position.

        Raises:
            WebhookNotFound: as for `read`.
            DeliveryNotFound: no dead event has this position.
        """
        await self.read(tenant, webhook_id)
        replayed = await self._store.replay_dead(tenant, webhook_id, position, self._now())
        if position is not None and not replayed:
            raise DeliveryNotFound(position)
        return await self.read(tenant, webhook_id)

    async def replay_since(self, tenant: str, webhook_id: str, cursor: Cursor) -> WebhookState | None:
        """Send all events after a cursor again; None: the cursor is of another history. Errors as for `read`."""
        await self.read(tenant, webhook_id)
        if (await self._feed.read(cursor, 1)).reset:
            return None
        await self._store.replay_since(tenant, webhook_id, cursor.seq)
        return await self.read(tenant, webhook_id)

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1_000)
