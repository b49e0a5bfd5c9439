"""Request and response bodies of the routes for webhooks, and what a webhook receives.

Layer: contract. Source: https://www.standardwebhooks.com; docs/webhooks.md.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from roomcast.contract.events import EventType
from roomcast.contract.model import Input, Output
from roomcast.contract.text import MAX_ID_CHARS, MAX_SEQ, TURN_ID, WHOLE, ChatId, Seq, Timestamp, url_pattern

#: Chats that one webhook may be limited to.
MAX_CHATS: Final = 100
MAX_URL_CHARS: Final = 2_048
#: The type of the event of a test.
PING: Final = "ping"


_URL: Final = url_pattern("https?")


def _receiver(url: str) -> str:
    """Check a URL, whose host is checked at each connection attempt."""
    try:
        parts = urlsplit(url)
        if parts.netloc.startswith("["):
            ip_address(parts.hostname or "")
    except ValueError:
        raise ValueError("must be https://host[:port]/path") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("must contain no user name and no password: verify the signature instead")
    if re.search(_URL, url) is None:
        raise ValueError("must be https://host[:port]/path")
    return url


WebhookId = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_ID_CHARS, pattern=TURN_ID)]
WebhookUrl = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=MAX_URL_CHARS, pattern=r"^[!-~]+$"),
    AfterValidator(_receiver),
    Field(json_schema_extra={"pattern": _URL}),
]
EventNames = Annotated[
    list[Annotated[EventType, Field(strict=False)]], Field(min_length=1, max_length=len(EventType) * 2)
]
Chats = Annotated[list[ChatId], Field(min_length=1, max_length=MAX_CHATS)]


class NewWebhook(Input):
    """The body of ``POST /api/webhooks``.

    Attributes:
        url: Receives the events: ``https://``.
        events: The types of the events that are sent; null: all.
        chats: The chats whose events are sent; null: all of the tenant.
    """

    url: WebhookUrl
    events: EventNames | None = None
    chats: Chats | None = None


class ChangeWebhook(Input):
    """The body of ``PATCH /api/webhooks/{id}``. Fields that are left out stay as they are.

    Attributes:
        url: As in `NewWebhook`, like the next two.
        active: False: nothing is sent. Events that happen meanwhile are sent once it is true again.
    """

    url: WebhookUrl = ""
    events: EventNames | None = None
    chats: Chats | None = None
    active: bool = True


class Webhook(Output):
    """A webhook.

    Attributes:
        id: Generated.
        url: As in `NewWebhook`, like the next two.
        active: Whether events are sent.
        disabled: Why it is not active: ``gone``, the receiver answered 410; null: a request said so, or it is active.
        created_at: Events since then are sent.
        waiting: Events that were tried and will be tried again, and those behind them in their chats.
        dead: Events that are not tried any more. They are kept for 30 days.
    """

    id: str
    url: str
    events: list[str] | None
    chats: list[ChatId] | None
    active: bool
    disabled: Literal["gone"] | None
    created_at: Timestamp
    waiting: int
    dead: int


class WebhookWithSecret(Webhook):
    """A webhook with its secret, which no other response contains.

    Attributes:
        secret: ``whsec_…``, for the receiver.
    """

    secret: str


class WebhookList(Output):
    """The response of ``GET /api/webhooks``."""

    webhooks: list[Webhook]


class WebhookDelivery(Output):
    """An event that a webhook has not received yet.

    Attributes:
        id: Its position among the events of all chats.
        event_id: The header ``webhook-id`` of each attempt.
        chat_id: The chat of the event.
        seq: Its seq.
        state: ``waiting``: it will be tried; ``dead``: it will not.
        attempts: How often it was tried.
        next_attempt_at: When it is tried next, unless an earlier event of its chat waits; null if it is dead.
        dead_at: Since when it is dead.
        status: The HTTP status of the last response; null if there was none.
        error: What was wrong at the last attempt; null before the first.
        cursor: Begins a replay with this event.
    """

    id: Seq
    event_id: str
    chat_id: ChatId
    seq: Seq
    state: Literal["waiting", "dead"]
    attempts: int
    next_attempt_at: Timestamp | None
    dead_at: Timestamp | None
    status: int | None
    error: str | None
    cursor: str


class WebhookDeliveries(Output):
    """One page of deliveries. The next page has ``after`` of the last one."""

    deliveries: list[WebhookDelivery]


class ReplayWebhook(Input):
    """The body of ``POST /api/webhooks/{id}/replay``: without a field, all dead events are tried again.

    Attributes:
        delivery_id: The only dead event to try again.
        since: All events after this cursor of ``GET /api/events`` are sent again.
    """

    delivery_id: Annotated[int, Field(ge=1, le=MAX_SEQ), WHOLE] | None = None
    since: Annotated[str, StringConstraints(max_length=512)] | None = None


class TestedWebhook(Output):
    """The outcome of a test.

    Attributes:
        delivered: Whether the receiver answered with 200 to 299.
        status: The HTTP status; null if there was no response.
        error: What was wrong.
        duration_ms: Time until the response.
    """

    delivered: bool
    status: int | None
    error: str | None
    duration_ms: int
