"""The API over httpx without a network, on a complete back end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from roomcast.api.app import create_api
from roomcast.api.options import ApiOptions
from roomcast.api.services import ApiServices
from roomcast.auth.ended_sessions import EndedSessions
from roomcast.auth.options import AuthOptions
from roomcast.auth.scopes import ServiceScope
from roomcast.auth.tokens import TokenIssuer, TokenVerifier
from roomcast.chat.answers.following import TurnFollower
from roomcast.chat.files.options import FileOptions
from roomcast.chat.files.use_cases import Files
from roomcast.chat.notifications.endpoints import EndpointRules
from roomcast.chat.notifications.preferences import Devices, Preferences
from roomcast.chat.ports import SystemClock, Tracer
from roomcast.chat.use_cases.feed import Feed
from roomcast.chat.use_cases.moderation import Moderation
from roomcast.chat.use_cases.read_state import ReadState
from roomcast.chat.use_cases.searching import ChatSearch
from roomcast.chat.use_cases.sessions import Sessions
from roomcast.chat.use_cases.webhooks import Webhooks
from roomcast.chat.use_cases.writing import ChatWriter
from roomcast.contract.moderation import Review
from roomcast.eventlog.memory_streams import MemoryTurnStreams
from roomcast.files.contents import directory_contents
from roomcast.files.images import measure
from roomcast.files.thumbnails import Thumbnails
from roomcast.moderation.function import FunctionModerator
from roomcast.webhooks.http import HttpWebhookSender
from support.backend import Backend, open_backend, personal_data

AUTH = AuthOptions("s" * 32)


@asynccontextmanager
async def open_api(
    directory: Path,
    *,
    auth: bool = False,
    options: ApiOptions | None = None,
    responder: str | None = None,
    tracer: Tracer | None = None,
    push: EndpointRules | None = None,
    files: FileOptions | None = None,
    moderate: Callable[[Review], Awaitable[object]] | None = None,
    create: Callable[[ApiServices, ApiOptions | None], FastAPI] = create_api,
) -> AsyncIterator[tuple[httpx.AsyncClient, Backend]]:
    """A client of an API of its own."""
    async with open_backend(directory, responder=responder, tracer=tracer) as backend:
        ended = EndedSessions()
        sender = HttpWebhookSender([ip_network("127.0.0.0/8")])
        sessions = Sessions(backend.store.sessions, ended.add)
        stored = Files(
            backend.store.chats,
            backend.store.files,
            directory_contents(directory / "files"),
            measure,
            make_thumbnail=Thumbnails().make,
            options=files,
        )
        writer = backend.writer
        if moderate is not None:
            moderation = Moderation(FunctionModerator(moderate))
            writer = ChatWriter(backend.store.chats, backend.relay, moderation=moderation, files=stored.downloads)
        services = ApiServices(
            writer,
            backend.reader,
            backend.admissions,
            backend.turns,
            TurnFollower(backend.log, MemoryTurnStreams(backend.log), backend.store.chats, backend.store.turns),
            sessions,
            ReadState(backend.store.chats),
            Feed(backend.store.feed),
            ChatSearch(backend.store.chats, backend.store.search),
            Preferences(backend.store.chats),
            Devices(backend.store.pushes, push),
            TokenVerifier(AUTH, ended) if auth else None,
            default_responder=responder,
            tracer=tracer,
            webhooks=Webhooks(backend.store.webhooks, backend.store.feed, sender, SystemClock()),
            personal=personal_data(backend, sessions),
            files=stored,
        )
        transport = httpx.ASGITransport(app=create(services, options), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client, backend
        await sender.close()


def bearer(user_id: str, *, service: bool = False, scopes: Collection[ServiceScope] = ()) -> dict[str, str]:
    """The Authorization header of a caller. It outlasts any test run, since modules create theirs at import."""
    token = TokenIssuer(AUTH).issue(user_id, ttl_s=86_400, service=service, scopes=scopes)
    return {"Authorization": f"Bearer {token}"}


def problem(response: httpx.Response) -> dict[str, Any]:
    """The problem document (RFC 9457) of a response, whose shape is checked."""
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert set(body) >= {"type", "title", "status", "detail", "code"}
    assert body["status"] == response.status_code
    return body
