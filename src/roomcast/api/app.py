"""The API as one ASGI application.

Layer: api.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from fastapi import FastAPI, Request
from starlette.middleware import Middleware
from starlette.responses import Response

from roomcast import __version__
from roomcast.api.middleware import BodyRules, HostCheck
from roomcast.api.options import ApiOptions
from roomcast.api.page import StaticPage
from roomcast.api.problems import MEDIA_TYPE, install_problems, problem_response
from roomcast.api.routes import router
from roomcast.api.services import ApiServices
from roomcast.chat.errors import (
    ChatError,
    ChatExists,
    ChatNotFound,
    NotAllowed,
    NotAMember,
    StoreUnavailable,
)
from roomcast.contract.errors import ErrorCode

logger = logging.getLogger(__name__)

#: What each error of the domain is over HTTP.
_ANSWERS: Final[dict[type[ChatError], tuple[int, ErrorCode]]] = {
    ChatNotFound: (404, ErrorCode.CHAT_NOT_FOUND),
    NotAMember: (403, ErrorCode.FORBIDDEN),
    NotAllowed: (403, ErrorCode.FORBIDDEN),
    ChatExists: (409, ErrorCode.CHAT_EXISTS),
}


async def _on_chat_error(_request: Request, error: Exception) -> Response:
    found = _ANSWERS.get(type(error)) if isinstance(error, ChatError) else None
    if found is None:
        raise error
    status, code = found
    return problem_response(status, str(error), code=code)


async def _on_unavailable(request: Request, error: Exception) -> Response:
    logger.error("the store is unavailable: %s", error, extra={"path": request.scope["path"]})
    return problem_response(
        503,
        "the database did not answer; repeat with the same clientMsgId and nothing is sent twice",
        headers={"Retry-After": "1"},
    )


class _Api(FastAPI):
    """Describes errors with the media type that they have."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI 3.1 document."""
        if self.openapi_schema is None:
            for path in super().openapi()["paths"].values():
                for operation in path.values():
                    content = operation["responses"]["default"]["content"]
                    content[MEDIA_TYPE] = content.pop("application/json")
        return super().openapi()


def create_api(services: ApiServices, options: ApiOptions | None = None) -> FastAPI:
    """The REST API and the chat page.

    It owns nothing that has to be started or stopped: whoever made the services does that.

    Args:
        services: What it runs on.
        options: See there.
    """
    options = options or ApiOptions()
    middleware = [Middleware(BodyRules, limit_bytes=options.max_body_bytes)]
    if options.allowed_hosts is not None:
        middleware.insert(0, Middleware(HostCheck, hosts=options.allowed_hosts))
    app = _Api(
        title="Roomcast",
        version=__version__,
        summary="Chats and messages: an ordered, durable log.",
        # Their pages load scripts from a foreign host; the document itself is at /openapi.json.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        middleware=middleware,
    )
    app.state.services = services
    app.state.options = options
    install_problems(app)
    app.add_exception_handler(ChatError, _on_chat_error)
    app.add_exception_handler(StoreUnavailable, _on_unavailable)
    app.include_router(router)
    # Behind the routes, and not a route: so a wrong method on one of them stays a 405.
    app.router.default = StaticPage(options.page_directory, options.connect_sources)
    return app
