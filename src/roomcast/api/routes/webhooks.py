"""The routes of webhooks, for service tokens with the scope `admin`.

Layer: api. Source: docs/webhooks.md.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from roomcast.api.callers import AdminCaller
from roomcast.api.routes.events import decode_cursor, encode_cursor, invalid_cursor
from roomcast.api.routes.messages import DEFAULT_PAGE, PROBLEMS, PageLimit, SeqParam, as_json, services_of
from roomcast.chat.use_cases.webhooks import Webhooks
from roomcast.chat.webhook_values import Undelivered, WebhookState, event_id
from roomcast.contract import webhooks as contract
from roomcast.contract.cursor import Cursor
from roomcast.wire.standard_webhooks import encode_secret

webhook_router = APIRouter(prefix="/api/webhooks", responses=PROBLEMS, tags=["webhooks"])


@webhook_router.post("", response_model=contract.WebhookWithSecret, status_code=201)
async def create_webhook(request: Request, caller: AdminCaller, command: contract.NewWebhook) -> Response:
    """Create a webhook, which receives the events from now on. Only this response has its secret."""
    state, key = await _webhooks(request).create(caller.tenant, command)
    return as_json(_with_secret(state, key), 201)


@webhook_router.get("", response_model=contract.WebhookList)
async def list_webhooks(request: Request, caller: AdminCaller) -> Response:
    """List the webhooks of the tenant, the oldest first."""
    states = await _webhooks(request).list(caller.tenant)
    return as_json(contract.WebhookList(webhooks=[_body(state) for state in states]))


@webhook_router.get("/{webhook_id}", response_model=contract.Webhook)
async def read_webhook(request: Request, caller: AdminCaller, webhook_id: contract.WebhookId) -> Response:
    """Read a webhook."""
    return as_json(_body(await _webhooks(request).read(caller.tenant, webhook_id)))


@webhook_router.patch("/{webhook_id}", response_model=contract.Webhook)
async def change_webhook(
    request: Request, caller: AdminCaller, webhook_id: contract.WebhookId, command: contract.ChangeWebhook
) -> Response:
    """Change a webhook. Requests that are being sent meanwhile may still be those of before."""
    return as_json(_body(await _webhooks(request).change(caller.tenant, webhook_id, command)))


@webhook_router.delete("/{webhook_id}", status_code=204)
async def delete_webhook(request: Request, caller: AdminCaller, webhook_id: contract.WebhookId) -> Response:
    """Delete a webhook, and what it has not received."""
    await _webhooks(request).delete(caller.tenant, webhook_id)
    return Response(status_code=204)


@webhook_router.post("/{webhook_id}/secret", response_model=contract.WebhookWithSecret)
async def rotate_webhook_secret(request: Request, caller: AdminCaller, webhook_id: contract.WebhookId) -> Response:
    """Replace the secret. For 24 hours, requests are signed with the old one, too."""
    return as_json(_with_secret(*await _webhooks(request).rotate(caller.tenant, webhook_id)))


@webhook_router.post("/{webhook_id}/test", response_model=contract.TestedWebhook)
async def test_webhook(request: Request, caller: AdminCaller, webhook_id: contract.WebhookId) -> Response:
    """Send an event of the type `ping`, once, and return the outcome."""
    attempt, duration_s = await _webhooks(request).test(caller.tenant, webhook_id)
    return as_json(
        contract.TestedWebhook(
            delivered=attempt.error is None,
            status=attempt.status,
            error=attempt.error,
            duration_ms=int(duration_s * 1_000),
        )
    )


@webhook_router.get("/{webhook_id}/deliveries", response_model=contract.WebhookDeliveries)
async def list_webhook_deliveries(
    request: Request,
    caller: AdminCaller,
    webhook_id: contract.WebhookId,
    state: Literal["waiting", "dead"] = "dead",
    after: SeqParam = 0,
    limit: PageLimit = DEFAULT_PAGE,
) -> Response:
    """List the events that a webhook has not received, the oldest first. The next page has `after` of the last id."""
    found = await _webhooks(request).undelivered(
        caller.tenant, webhook_id, dead=state == "dead", after=after, limit=limit
    )
    return as_json(contract.WebhookDeliveries(deliveries=[_delivery(item, epoch) for item, epoch in found]))


@webhook_router.post("/{webhook_id}/replay", response_model=contract.Webhook)
async def replay_webhook(
    request: Request, caller: AdminCaller, webhook_id: contract.WebhookId, command: contract.ReplayWebhook
) -> Response:
    """Try dead events again: all, or one; or send all events since a cursor again."""
    webhooks = _webhooks(request)
    if command.since is None:
        return as_json(_body(await webhooks.replay_dead(caller.tenant, webhook_id, command.delivery_id)))
    place = ("body", "since")
    state = await webhooks.replay_since(caller.tenant, webhook_id, decode_cursor(command.since, place))
    if state is None:
        raise invalid_cursor(place)
    return as_json(_body(state))


def _webhooks(request: Request) -> Webhooks:
    webhooks = services_of(request).webhooks
    if webhooks is None:
        raise HTTPException(404, "this server has no webhooks")
    return webhooks


def _fields(state: WebhookState) -> dict[str, Any]:
    webhook = state.webhook
    return {
        "id": webhook.id,
        "url": webhook.url,
        "events": None if webhook.events is None else sorted(webhook.events),
        "chats": None if webhook.chats is None else sorted(webhook.chats),
        "active": webhook.active,
        "disabled": webhook.disabled,
        "created_at": _maybe_time(webhook.created_at),
        "waiting": state.waiting,
        "dead": state.dead,
    }


def _body(state: WebhookState) -> contract.Webhook:
    return contract.Webhook(**_fields(state))


def _with_secret(state: WebhookState, key: bytes) -> contract.WebhookWithSecret:
    return contract.WebhookWithSecret(**_fields(state), secret=encode_secret(key))


def _delivery(item: Undelivered, epoch: str) -> contract.WebhookDelivery:
    return contract.WebhookDelivery(
        id=item.position,
        event_id=event_id(epoch, item.chat_id, item.seq),
        chat_id=item.chat_id,
        seq=item.seq,
        state="waiting" if item.dead_at is None else "dead",
        attempts=item.attempts,
        next_attempt_at=_maybe_time(item.next_at),
        dead_at=_maybe_time(item.dead_at),
        status=item.status,
        error=item.error,
        cursor=encode_cursor(Cursor(epoch=epoch, seq=item.position - 1)),
    )


def _maybe_time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1_000, UTC)
