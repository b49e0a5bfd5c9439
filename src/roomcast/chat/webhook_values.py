"""The values of webhooks. Times are milliseconds since 1970.

Layer: chat.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from roomcast.chat.model import StoredEvent
from roomcast.contract.tenants import tenant_of


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWebhook:
    """A webhook.

    Attributes:
        id: Generated.
        tenant: Whose events it receives.
        url: Where they are sent.
        events: The types that are sent; None: all.
        chats: The ids of the chats whose events are sent; None: all of the tenant.
        active: Whether events are sent.
        disabled: Why the server ended that.
        secret: The key of the signatures.
        old_secret: The key before the last rotation.
        old_until: Until when requests are signed with it, too.
        position: Events up to this one of the feed are sent, or stored as waiting or dead.
        since: Earlier events are not sent.
        generation: Grows with each claim and each change; a write with an earlier one has no effect.
        created_at: When it was created.
    """

    id: str
    tenant: str
    url: str
    events: frozenset[str] | None
    chats: frozenset[str] | None
    active: bool = True
    disabled: str | None = None
    secret: bytes = field(repr=False)
    old_secret: bytes | None = field(default=None, repr=False)
    old_until: int = 0
    position: int = 0
    since: int = 0
    generation: int = 0
    created_at: int

    def wants(self, event: StoredEvent) -> bool:
        """Whether an event is sent."""
        return (
            tenant_of(event.chat_id) == self.tenant
            and (self.chats is None or event.chat_id in self.chats)
            and (self.events is None or event.type in self.events)
            and event.created_at.timestamp() * 1_000 >= self.since
        )

    def keys(self, now: int) -> list[bytes]:
        """The keys that sign a request."""
        return [self.secret] if self.old_secret is None or now >= self.old_until else [self.secret, self.old_secret]


@dataclass(frozen=True, slots=True)
class WebhookState:
    """A webhook, and how many of its events wait or are dead."""

    webhook: StoredWebhook
    waiting: int
    dead: int


@dataclass(frozen=True, slots=True)
class WebhookClaim:
    """The right to send for a webhook, until its lease ends or its generation grows."""

    webhook_id: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """An event that a webhook has not received.

    Attributes:
        position: Its position among the events of all chats.
        chat_id: Its chat.
        seq: Its seq.
        attempts: How often it was tried.
        tried_at: When it was tried first.
        next_at: When it is tried next; None: it is dead.
        dead_at: Since when it is dead.
        status: The HTTP status of the last response.
        error: What was wrong.
    """

    position: int
    chat_id: str
    seq: int
    attempts: int = 0
    tried_at: int | None = None
    next_at: int | None
    dead_at: int | None = None
    status: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PlacedEvent:
    """An event, and its position among the events of all chats."""

    position: int
    event: StoredEvent


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of one request.

    Attributes:
        status: The HTTP status; None: there was no response.
        error: What was wrong; None: the receiver has the event.
        retry_after_s: When the receiver wants the next attempt.
    """

    status: int | None = None
    error: str | None = None
    retry_after_s: float | None = None


def event_id(epoch: str, chat_id: str, seq: int) -> str:
    """The header ``webhook-id`` of an event: the same for each attempt and each webhook.

    A seq is used again after a restore from a backup, but in another epoch.
    """
    key = json.dumps([epoch, chat_id, seq]).encode()
    return f"msg_{hashlib.sha256(key).hexdigest()[:32]}"
