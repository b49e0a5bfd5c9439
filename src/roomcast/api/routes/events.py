"""The routes for other applications: they store events of their own in chats, and read the events of all chats.

Layer: api. Source: docs/integration.md.
"""

from __future__ import annotations

import base64
import json
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.responses import Response

from roomcast.api.callers import CurrentCaller, EventsCaller, require_service
from roomcast.api.routes.messages import DIGITS, PROBLEMS, as_json, services_of, trace_of
from roomcast.chat.delivery.encoding import event_item
from roomcast.contract import rest
from roomcast.contract.cursor import Cursor

MAX_FEED_PAGE: Final = 500
MAX_WAIT_S: Final = 20

event_router = APIRouter(responses=PROBLEMS, tags=["integration"])


@event_router.post("/api/events", response_model=rest.PublishedEvents)
async def publish_events(request: Request, _caller: EventsCaller, command: rest.PublishEvents) -> Response:
    """Store events of an application in chats. The response is sent after the commit; a repeat stores nothing."""
    published = await services_of(request).writer.custom_events.publish(command.events, trace_of(request))
    return as_json(rest.PublishedEvents(events=published))


@event_router.get("/api/events", response_model=rest.FeedPage)
async def read_feed(
    request: Request,
    caller: CurrentCaller,
    cursor: Annotated[str | None, Query(max_length=512)] = None,
    limit: Annotated[int, Field(ge=1, le=MAX_FEED_PAGE), DIGITS] = 100,
    wait: Annotated[int, Field(ge=0, le=MAX_WAIT_S), DIGITS] = 0,
) -> Response:
    """Read the events of all chats of the tenant after a cursor, for services. If there are none, wait for some."""
    require_service(caller)
    after = None if cursor is None else decode_cursor(cursor, ("query", "cursor"))
    read, more = await services_of(request).feed.read(caller.tenant, after, limit, wait)
    return as_json(
        b'{"events":[%b],"cursor":%b,"more":%b,"reset":%b}'
        % (
            b",".join(map(event_item, read.events)),
            json.dumps(encode_cursor(read.cursor)).encode(),
            b"true" if more else b"false",
            b"true" if read.reset else b"false",
        )
    )


def encode_cursor(cursor: Cursor) -> str:
    """A cursor as clients keep it."""
    return base64.urlsafe_b64encode(cursor.model_dump_json().encode()).decode().rstrip("=")


def decode_cursor(text: str, place: tuple[str, str]) -> Cursor:
    """Decode the cursor of a page.

    Args:
        text: As in an earlier page.
        place: Where the request has it, for the error.

    Raises:
        RequestValidationError: it is invalid.
    """
    try:
        return Cursor.model_validate_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:  # also of base64 and Pydantic
        raise invalid_cursor(place) from None


def invalid_cursor(place: tuple[str, str]) -> RequestValidationError:
    """The error of a cursor that cannot be used."""
    return RequestValidationError(
        [{"type": "cursor", "loc": place, "msg": "Use the cursor of a page of GET /api/events"}]
    )
