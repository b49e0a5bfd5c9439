"""The routes for the data of one user: its export, and its erasure.

Layer: api.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic.alias_generators import to_camel
from starlette.responses import Response, StreamingResponse

from roomcast.api.callers import AdminCaller, OwnCaller
from roomcast.api.routes.messages import PROBLEMS, as_json, services_of
from roomcast.chat.ports import Erasure
from roomcast.contract import rest
from roomcast.contract.tenants import local_id, qualify
from roomcast.contract.text import UserId

personal_router = APIRouter(responses=PROBLEMS, tags=["personal data"])
ErasureId = Annotated[str, Path(pattern="^erased-[0-9a-f]{16}$")]


@personal_router.get(
    "/api/users/{user_id:path}/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {}}, "description": "One JSON object per line"}},
)
async def export_user(request: Request, caller: OwnCaller, user_id: UserId) -> Response:
    """Read all data of a user, one JSON object per line; the last line is `{"table":"end"}`.

    Requires the token of the user, or a service token (`admin`).
    """
    rows = services_of(request).personal.export(caller, user_id)
    headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="export.ndjson"'}
    return StreamingResponse(_lines(rows), headers=headers, media_type="application/x-ndjson")


async def _lines(rows: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    async for row in rows:
        yield json.dumps({to_camel(name): value for name, value in row.items()}, ensure_ascii=False).encode() + b"\n"
    yield b'{"table":"end"}\n'


@personal_router.delete("/api/users/{user_id:path}/data", status_code=202, response_model=rest.Erasure)
async def erase_user(request: Request, caller: AdminCaller, user_id: UserId) -> Response:
    """End the sessions of a user, and begin the erasure of its data. Requires a service token (`admin`)."""
    return as_json(_body(await services_of(request).personal.request(caller, user_id)), 202)


@personal_router.get("/api/erasures/{erasure_id}", response_model=rest.Erasure)
async def read_erasure(request: Request, caller: AdminCaller, erasure_id: ErasureId) -> Response:
    """Read the progress of an erasure. Requires a service token (`admin`)."""
    return as_json(_body(await services_of(request).personal.erasure(qualify(caller.tenant, erasure_id))))


def _body(erasure: Erasure) -> rest.Erasure:
    return rest.Erasure(
        id=local_id(erasure.id),
        requested_at=erasure.requested_at,
        done_at=erasure.done_at,
        erased=erasure.erased,
    )
