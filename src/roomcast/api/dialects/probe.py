"""``GET /api/ai/probe``: a stream with a pause, by which `roomcast doctor` finds a proxy that holds streams back.

Layer: api.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from roomcast.api.callers import CurrentCaller
from roomcast.api.dialects.sending import EventStream

_PAUSE_S: Final = 1.0

router = APIRouter(include_in_schema=False)


@router.get("/api/ai/probe")
async def probe(request: Request, _caller: CurrentCaller) -> Response:
    """Begin a stream, and end it after a second."""
    return EventStream(request.app.state.streams, _pause())


async def _pause() -> AsyncGenerator[Mapping[str, Any] | None]:
    await asyncio.sleep(_PAUSE_S)
    yield None
