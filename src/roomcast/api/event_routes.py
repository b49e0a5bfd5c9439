"""The routes for other applications: they store events of their own in chats.

Layer: api. Source: docs/integration.md.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from roomcast.api.callers import EventsCaller
from roomcast.api.routes import PROBLEMS, as_json, services_of, trace_of
from roomcast.contract import rest

event_router = APIRouter(responses=PROBLEMS, tags=["integration"])


@event_router.post("/api/events", response_model=rest.PublishedEvents)
async def publish_events(request: Request, _caller: EventsCaller, command: rest.PublishEvents) -> Response:
    """Store events of an application in chats. The response is sent after the commit; a repeat stores nothing."""
    published = await services_of(request).writer.custom_events.publish(command.events, trace_of(request))
    return as_json(rest.PublishedEvents(events=published))
