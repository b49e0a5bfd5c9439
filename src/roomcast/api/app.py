"""The ASGI application of the API.

Layer: api.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from roomcast import __version__
from roomcast.api.dialects import agui_routes, ai_sdk, ai_sdk_socket, probe
from roomcast.api.dialects.sending import OpenStreams
from roomcast.api.direct import direct_admissions, direct_send
from roomcast.api.durations import Key, RequestDurations, empty_durations
from roomcast.api.links import add_links
from roomcast.api.middleware import Checks, RequestChecks
from roomcast.api.options import ApiOptions
from roomcast.api.page import StaticPage
from roomcast.api.problems import MEDIA_TYPE, install_problems, problem_response, rate_problem
from roomcast.api.routes.audit import audit_router
from roomcast.api.routes.chats import chat_router
from roomcast.api.routes.events import event_router
from roomcast.api.routes.files import file_router
from roomcast.api.routes.internal import internal_router
from roomcast.api.routes.marks import mark_router
from roomcast.api.routes.members import member_router
from roomcast.api.routes.messages import router as public_router
from roomcast.api.routes.notifications import notification_router
from roomcast.api.routes.personal import personal_router
from roomcast.api.routes.reads import read_router
from roomcast.api.routes.reports import report_router
from roomcast.api.routes.search import search_router
from roomcast.api.routes.sessions import session_router
from roomcast.api.routes.sign_in import sign_in_router
from roomcast.api.routes.turns import turn_router
from roomcast.api.routes.webhooks import webhook_router
from roomcast.api.services import ApiServices
from roomcast.chat.errors import (
    AdditionLimitReached,
    AnswerActive,
    Banned,
    ChatArchived,
    ChatError,
    ChatExists,
    ChatNotFound,
    DeliveryNotFound,
    EmptyMessage,
    ErasureNotFound,
    ExportBusy,
    FileLimitReached,
    FileNotFound,
    FilesUnavailable,
    FileTooLarge,
    FileTypeRefused,
    InviteNotFound,
    LastOwner,
    MemberNotFound,
    MessageNotFound,
    MessageRefused,
    ModerationUnavailable,
    Muted,
    NotAllowed,
    NotAMember,
    PushRefused,
    QuotaReached,
    RateLimitReached,
    RightMissing,
    StoreUnavailable,
    TooManyEntries,
    TooManyMarks,
    TooManyWebhooks,
    TurnNotFound,
    UnknownResponder,
    WebhookNotFound,
)
from roomcast.contract.errors import ErrorCode
from roomcast.histogram import Histogram
from roomcast.observability.logs import LIMITED
from roomcast.realtime.options import ANY_ORIGIN

logger = logging.getLogger(__name__)

#: Shortest time in seconds between two log lines about an unavailable database.
_LOG_EVERY_S: Final = 1.0

#: HTTP status and error code of each error of the domain.
_STATUSES: Final[dict[type[ChatError], tuple[int, ErrorCode]]] = {
    ChatNotFound: (404, ErrorCode.CHAT_NOT_FOUND),
    NotAMember: (403, ErrorCode.FORBIDDEN),
    NotAllowed: (403, ErrorCode.FORBIDDEN),
    RightMissing: (403, ErrorCode.FORBIDDEN),
    Muted: (403, ErrorCode.MUTED),
    Banned: (403, ErrorCode.BANNED),
    LastOwner: (409, ErrorCode.LAST_OWNER),
    MemberNotFound: (404, ErrorCode.MEMBER_NOT_FOUND),
    InviteNotFound: (404, ErrorCode.INVITE_NOT_FOUND),
    TooManyEntries: (409, ErrorCode.TOO_MANY_ENTRIES),
    ChatExists: (409, ErrorCode.CHAT_EXISTS),
    PushRefused: (422, ErrorCode.INVALID),
    UnknownResponder: (422, ErrorCode.INVALID),
    MessageNotFound: (404, ErrorCode.MESSAGE_NOT_FOUND),
    TurnNotFound: (404, ErrorCode.TURN_NOT_FOUND),
    FileNotFound: (404, ErrorCode.FILE_NOT_FOUND),
    EmptyMessage: (422, ErrorCode.INVALID),
    FileTooLarge: (413, ErrorCode.TOO_LARGE),
    FileTypeRefused: (415, ErrorCode.FILE_TYPE),
    FileLimitReached: (409, ErrorCode.FILE_LIMIT),
    FilesUnavailable: (503, ErrorCode.UNAVAILABLE),
    TooManyMarks: (409, ErrorCode.TOO_MANY_MARKS),
    AnswerActive: (409, ErrorCode.ANSWER_ACTIVE),
    MessageRefused: (422, ErrorCode.MESSAGE_REFUSED),
    ModerationUnavailable: (503, ErrorCode.UNAVAILABLE),
    ChatArchived: (409, ErrorCode.CHAT_ARCHIVED),
    WebhookNotFound: (404, ErrorCode.WEBHOOK_NOT_FOUND),
    DeliveryNotFound: (404, ErrorCode.WEBHOOK_NOT_FOUND),
    TooManyWebhooks: (409, ErrorCode.TOO_MANY_ENTRIES),
    ErasureNotFound: (404, ErrorCode.NOT_FOUND),
    ExportBusy: (503, ErrorCode.UNAVAILABLE),
}


async def _on_chat_error(_request: Request, error: Exception) -> Response:
    found = _STATUSES.get(type(error)) if isinstance(error, ChatError) else None
    if found is None:
        raise error
    status, code = found
    headers = {"Retry-After": "1"} if code in {ErrorCode.ANSWER_ACTIVE, ErrorCode.UNAVAILABLE} else None
    return problem_response(status, str(error), code=code, headers=headers)


async def _on_addition_limit(_request: Request, error: Exception) -> Response:
    if not isinstance(error, AdditionLimitReached):
        raise TypeError(f"not a limit of additions: {error!r}")
    headers = {"Retry-After": str(error.retry_after_s)}
    return problem_response(429, str(error), code=ErrorCode.ADDITION_LIMIT, headers=headers)


async def _on_quota(_request: Request, error: Exception) -> Response:
    if not isinstance(error, QuotaReached):
        raise TypeError(f"not a quota: {error!r}")
    headers = {"Retry-After": str(error.retry_after_s)}
    return problem_response(429, str(error), code=ErrorCode.QUOTA_REACHED, limit=error.limit, headers=headers)


async def _on_rate_limit(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RateLimitReached):
        raise TypeError(f"not a rate limit: {error!r}")
    return await rate_problem(error)


async def _on_unavailable(request: Request, error: Exception) -> Response:
    # Every request fails meanwhile.
    if time.monotonic() - request.app.state.unavailable_logged_at >= _LOG_EVERY_S:
        request.app.state.unavailable_logged_at = time.monotonic()
        logger.error("database unavailable: %s", error, extra={"path": request.scope["path"]})
    return problem_response(
        503,
        "the database is unavailable; repeat the request (a message with the same clientMsgId is stored once)",
        headers={"Retry-After": "1"},
    )


async def _on_wrong_method(routers: Sequence[APIRouter], request: Request, _error: Exception) -> Response:
    # Starlette names the methods of one route only, and paths have one route per method.
    path = request.scope["path"]
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    allowed = {method for route in routes if route.path_regex.match(path) for method in route.methods or ()}
    names = ", ".join(sorted(allowed | {"HEAD"} if "GET" in allowed else allowed))
    return problem_response(405, f"this path accepts {names}", headers={"Allow": names})


def _logging_refused_origins(app: ASGIApp, allowed: Collection[str]) -> ASGIApp:
    """Log each preflight request of a page that may not call the API; a page of the API's own origin sends none."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            preflight = origin is not None and "access-control-request-method" in headers
            if preflight and origin not in allowed and ANY_ORIGIN not in allowed:
                logger.info(
                    "preflight refused", extra={"origin": origin, "setting": "ALLOWED_ORIGINS", LIMITED: "origin"}
                )
        await app(scope, receive, send)

    return serve


class _Api(FastAPI):
    """FastAPI behind the checks of requests, and with the media type of problem details in its OpenAPI document.

    Attributes:
        entry: The outermost application, around `serve`.
    """

    entry: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        await self.entry(scope, receive, send)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a checked request by the routes. The outermost part of Starlette's stack logs and answers 500."""
        await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI 3.1 document."""
        if self.openapi_schema is None:
            document = super().openapi()
            for path in document["paths"].values():
                for operation in path.values():
                    content = operation["responses"]["default"]["content"]
                    content[MEDIA_TYPE] = content.pop("application/json")
            add_links(document)
        return super().openapi()


def create_api(services: ApiServices, options: ApiOptions | None = None) -> FastAPI:
    """Create the REST API with the chat page. It has no lifespan of its own: the caller starts and stops ``services``.

    Args:
        services: The use cases behind the routes.
        options: Options of the API; None: the defaults.
    """
    options = options or ApiOptions()
    dialects = (ai_sdk.router, ai_sdk_socket.router, agui_routes.router, probe.router)
    sign_in = () if services.sign_in is None else (sign_in_router,)
    own = (
        public_router,
        chat_router,
        turn_router,
        mark_router,
        file_router,
        member_router,
        read_router,
        notification_router,
        event_router,
        search_router,
        session_router,
        audit_router,
        webhook_router,
        personal_router,
        report_router,
    )
    app = _application(services, options, *own, *sign_in, *dialects, public=True)
    app.state.streams = OpenStreams()
    app.state.unknown_sockets = ai_sdk_socket.UnknownSockets()
    # The router's default instead of a route for every path, which would answer a wrong method with 404 instead of 405.
    app.router.default = StaticPage(options)
    return app


def create_internal_api(
    services: ApiServices, options: ApiOptions | None = None, durations: dict[Key, Histogram] | None = None
) -> FastAPI:
    """Create the application for gateways, for an internal address; arguments as for `create_api`.

    Args:
        services: The use cases behind the routes.
        options: Options of the API; None: the defaults.
        durations: Receives the durations of requests, too; None: the application has its own.
    """
    return _application(services, options or ApiOptions(), internal_router, public=False, durations=durations)


def _application(
    services: ApiServices,
    options: ApiOptions,
    *routers: APIRouter,
    public: bool,
    durations: dict[Key, Histogram] | None = None,
) -> FastAPI:
    durations = {} if durations is None else durations
    durations.update(empty_durations(route for router in routers for route in router.routes))
    app = _Api(
        title="Roomcast",
        version=__version__,
        summary="Chats and messages: an ordered, durable log.",
        openapi_url="/openapi.json" if public else None,
        # `RequestSpans` traces requests. FastAPI's own spans contain the path and the query.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        # FastAPI's interactive pages load scripts from another host. /openapi.json is still served.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.services = services
    app.state.options = options
    app.state.durations = durations
    app.state.unavailable_logged_at = float("-inf")
    install_problems(app)
    app.add_exception_handler(405, partial(_on_wrong_method, routers))
    app.add_exception_handler(ChatError, _on_chat_error)
    app.add_exception_handler(AdditionLimitReached, _on_addition_limit)
    app.add_exception_handler(QuotaReached, _on_quota)
    app.add_exception_handler(RateLimitReached, _on_rate_limit)
    app.add_exception_handler(StoreUnavailable, _on_unavailable)
    for router in routers:
        app.include_router(router)
    # Gateways check the API every few seconds, without a trace.
    limiter = services.limiter if public else None
    checks = Checks(options.allowed_hosts, services.tracer, begins_traces=public, limiter=limiter)
    direct = direct_send if public else direct_admissions
    routes = direct(app.serve, app.router, services)
    app.entry = _with_cors(RequestChecks(routes, RequestDurations(durations), checks), options.allowed_origins)
    return app


def _with_cors(app: ASGIApp, origins: Collection[str]) -> ASGIApp:
    if origins:
        app = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=("Authorization", "Content-Type", "traceparent", "X-Request-Id"),
            expose_headers=("Retry-After", "X-Request-Id"),
        )
    return _logging_refused_origins(app, origins)
