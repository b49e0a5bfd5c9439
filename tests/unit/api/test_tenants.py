"""Every route takes the ids of the caller's tenant."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from roomcast.api.app import create_api
from roomcast.api.options import ApiOptions
from roomcast.api.services import ApiServices
from roomcast.contract.tenants import QUALIFIED
from support.api_client import open_api

_NAMES = {"chat_id", "user_id", "actor_id", "member_id", "from", "author", "role_of"}


def _translates(annotation: object) -> bool:
    metadata = getattr(annotation, "__metadata__", ())
    return QUALIFIED in metadata or any(_translates(part) for part in typing.get_args(annotation))


def _routes(routes: Sequence[BaseRoute]) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        else:
            yield from _routes(getattr(getattr(route, "original_router", None), "routes", ()))


async def test_every_parameter_that_names_a_chat_or_a_user_translates(tmp_path: Path) -> None:
    apps: list[FastAPI] = []

    def create(services: ApiServices, options: ApiOptions | None) -> FastAPI:
        apps.append(create_api(services, options))
        return apps[0]

    async with open_api(tmp_path, create=create):
        routes = list(_routes(apps[0].routes))
    assert sum("{chat_id}" in route.path for route in routes) > 5
    forgotten = [
        f"{route.path}: {field.name}"
        for route in routes
        for field in (*route.dependant.path_params, *route.dependant.query_params)
        if field.name in _NAMES
        and QUALIFIED not in field.field_info.metadata
        and not _translates(field.field_info.annotation)
    ]
    assert not forgotten, f"use ChatId, UserId or NewUserId of contract/text.py: {forgotten}"
