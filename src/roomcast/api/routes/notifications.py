"""The routes for what notifies users, and for the devices that receive pushes.

Layer: api. Source: docs/notifications.md.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from roomcast.api.callers import CurrentCaller
from roomcast.api.routes.messages import PROBLEMS, ActingUser, as_json, services_of
from roomcast.chat.model import Notifications
from roomcast.contract import rest
from roomcast.contract.text import ChatId, PushEndpoint

notification_router = APIRouter(responses=PROBLEMS, tags=["notifications"])


def _body(found: Notifications) -> rest.ChatNotifications:
    return rest.ChatNotifications(level=found.level or "default", muted_until=found.muted_until)


@notification_router.get("/api/chats/{chat_id}/notifications", response_model=rest.ChatNotifications)
async def read_chat_notifications(
    request: Request, caller: CurrentCaller, chat_id: ChatId, user_id: ActingUser = None
) -> Response:
    """Read what notifies the user of a chat."""
    return as_json(_body(await services_of(request).preferences.read(caller, chat_id, user_id)))


@notification_router.patch("/api/chats/{chat_id}/notifications", response_model=rest.ChatNotifications)
async def change_chat_notifications(
    request: Request,
    caller: CurrentCaller,
    chat_id: ChatId,
    command: rest.ChangeNotifications,
    user_id: ActingUser = None,
) -> Response:
    """Change what notifies the user of a chat, on all devices."""
    preferences = services_of(request).preferences
    return as_json(_body(await preferences.change(caller, chat_id, command.level, command.muted_for, user_id)))


@notification_router.get("/api/notifications", response_model=rest.NotificationDefault)
async def read_notification_default(request: Request, caller: CurrentCaller, user_id: ActingUser = None) -> Response:
    """Read what notifies the user of chats without a setting."""
    level = await services_of(request).preferences.default(caller, user_id)
    return as_json(rest.NotificationDefault(level=level))


@notification_router.put("/api/notifications", status_code=204)
async def set_notification_default(
    request: Request, caller: CurrentCaller, command: rest.SetNotificationDefault, user_id: ActingUser = None
) -> Response:
    """Set what notifies the user of chats without a setting."""
    await services_of(request).preferences.set_default(caller, command.level, user_id)
    return Response(status_code=204)


@notification_router.put("/api/push/devices", status_code=204)
async def add_push_device(
    request: Request, caller: CurrentCaller, command: rest.PushSubscription, user_id: ActingUser = None
) -> Response:
    """Send pushes for the user to a device; a repeat changes nothing."""
    keys = command.keys
    await services_of(request).devices.add(caller, command.endpoint, keys.p256dh, keys.auth, user_id)
    return Response(status_code=204)


@notification_router.delete("/api/push/devices", status_code=204)
async def remove_push_device(
    request: Request,
    caller: CurrentCaller,
    endpoint: Annotated[PushEndpoint, Query()],
    user_id: ActingUser = None,
) -> Response:
    """Send no more pushes for the user to a device."""
    await services_of(request).devices.remove(caller, endpoint, user_id)
    return Response(status_code=204)
