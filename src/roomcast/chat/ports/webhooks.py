"""Webhooks in the database, and the HTTP client that sends to them.

Layer: chat. Contract suite: tests/contract/test_webhooks.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Protocol

from roomcast.chat.model import StoredEvent
from roomcast.chat.webhook_values import (
    Attempt,
    PlacedEvent,
    StoredWebhook,
    Undelivered,
    WebhookClaim,
    WebhookState,
)


class WebhookStore(Protocol):
    """The webhooks of all tenants. Every method may raise `StoreUnavailable`.

    A claimed webhook has a lease and a generation, as an AI turn has. Every change by `change` or `replay` raises the
    generation and ends the lease, so that the webhook is claimed again as it is then. A write with a claim of an
    earlier generation raises `WebhookLost` and writes nothing.
    """

    async def create(self, webhook: StoredWebhook, limit: int) -> None:
        """Store a webhook, which begins at the end of the feed.

        Raises:
            TooManyWebhooks: the tenant has ``limit`` webhooks.
        """

    async def list(self, tenant: str) -> Sequence[WebhookState]:
        """The webhooks of a tenant, the oldest first."""

    async def webhook(self, tenant: str, webhook_id: str) -> WebhookState | None:
        """One of them; None: it has no such webhook."""

    async def change(self, tenant: str, webhook_id: str, values: dict[str, Any]) -> bool:
        """Set fields of a `StoredWebhook`, and say whether there is such a webhook."""

    async def delete(self, tenant: str, webhook_id: str) -> bool:
        """Delete a webhook with what it has not received, and say whether there was one."""

    async def undelivered(
        self, webhook_id: str, *, dead: bool, after: int, limit: int
    ) -> Sequence[tuple[Undelivered, str]]:
        """What a webhook has not received, by position, each with the epoch of the event."""

    async def replay_dead(self, tenant: str, webhook_id: str, position: int | None, now: int) -> int:
        """Make dead events wait again, and return their number; ``position``: only that one."""

    async def replay_since(self, tenant: str, webhook_id: str, position: int) -> None:
        """Go back to a position; a later one has no effect. Waiting and dead events after it are sent by that."""

    async def claim(self, now: datetime, lease_until: datetime) -> StoredWebhook | None:
        """Claim an active webhook without a lease, and raise its generation; None: there is none.

        A lease that ends more than two leases after ``now`` is from before a clock was set back, and has ended too.
        """

    async def renew(self, claims: Collection[WebhookClaim], lease_until: datetime) -> frozenset[WebhookClaim]:
        """Set the end of the leases, and return the claims that are void."""

    async def release(self, claims: Collection[WebhookClaim]) -> None:
        """End leases, so that the webhooks can be claimed at once."""

    async def head(self) -> int:
        """The last position of the feed."""

    async def after(self, position: int, limit: int) -> Sequence[PlacedEvent]:
        """Events of all tenants after a position, ascending."""

    async def event(self, chat_id: str, seq: int) -> StoredEvent | None:
        """One event; None: it was erased with its chat."""

    async def waiting(self, webhook_id: str, limit: int, *, after: int = 0) -> Sequence[Undelivered]:
        """The events that wait, at positions after ``after``, by position."""

    async def save(
        self,
        claim: WebhookClaim,
        position: int | None = None,
        *,
        changed: Sequence[Undelivered] = (),
        done: Sequence[int] = (),
    ) -> None:
        """Write progress in one transaction, which a power failure may undo.

        Args:
            claim: Of the webhook.
            position: Up to where the feed is read; None: as before.
            changed: Events that wait or are dead. Those that are dead since `KEEP_DEAD_S` are deleted.
            done: The positions of events that wait no longer.

        Raises:
            WebhookLost: the claim is void.
        """

    async def disable(self, claim: WebhookClaim, reason: str) -> None:
        """Send nothing more.

        Raises:
            WebhookLost: the claim is void.
        """


class WebhookSender(Protocol):
    """Sends signed requests."""

    async def send(self, webhook: StoredWebhook, message_id: str, body: bytes) -> Attempt:
        """Send one request, within a time limit. Never raises for a fault of the receiver or of the network."""
