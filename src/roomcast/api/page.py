"""The chat page: the files that the web build made, with the headers that a page of strangers' text needs.

Hashed assets may be kept for ever, the document never. A link to a chat is the page itself; so is what nobody knows, as
a 404, so that people are told in their language and programs (a client on the wrong port) by the status. Where nothing
is built, a plain text says what to do.

Layer: api. Source: W3C Content Security Policy 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from roomcast.api.options import PAGE_DIRECTORY
from roomcast.api.problems import problem_response

#: Where the page shows a chat; see web/apps/chat/src/routing/route.ts.
CHATS: Final = "/c/"
NOT_BUILT: Final = """Roomcast is running, but the chat page is not built.

In a checkout: `make run` builds it. The API is here all the same: /api/chats, /openapi.json.
"""


def content_security_policy(connect_sources: Sequence[str]) -> str:
    """The page's policy.

    Args:
        connect_sources: Origins beside its own that the page talks to: the gateway's, as http(s) and ws(s).
    """
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            "manifest-src 'self'",
            " ".join(("connect-src 'self'", *connect_sources)),
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


class StaticPage:
    """An ASGI app that serves the page's files.

    Args:
        directory: Where index.html and assets/ are.
        connect_sources: See `content_security_policy`.
    """

    def __init__(self, directory: Path = PAGE_DIRECTORY, connect_sources: Sequence[str] = ()) -> None:
        self._directory = directory.resolve()
        self._headers = {
            "Content-Security-Policy": content_security_policy(connect_sources),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file, the page or a problem; websockets are the gateway's."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})  # not accepted: 403
            return
        response = self._answer(scope["method"], scope["path"])
        await response(scope, receive, send)

    def _answer(self, method: str, path: str) -> Response:
        if method not in {"GET", "HEAD"}:
            return problem_response(405, "the page is only read", headers={"Allow": "GET, HEAD"})
        if path == "/api" or path.startswith("/api/"):
            return problem_response(404, "there is nothing at this path")
        file = self._file(path)
        if file is None and path.startswith("/assets/"):
            return problem_response(404, "there is no such file; reload the page")
        status = 200
        if file is None:
            file = self._directory / "index.html"
            if not file.is_file():
                return PlainTextResponse(NOT_BUILT, 200, headers=self._headers)
            status = 200 if path == "/" or path.startswith(CHATS) else 404
        kept = "public, max-age=31536000, immutable" if path.startswith("/assets/") else "no-cache"
        return FileResponse(file, status, headers={**self._headers, "Cache-Control": kept})

    def _file(self, path: str) -> Path | None:
        """The file of a URL path; None if there is none inside the page's folder."""
        if "\0" in path or "\\" in path:
            return None
        try:
            found = (self._directory / path.lstrip("/")).resolve()
            return found if found.is_relative_to(self._directory) and found.is_file() else None
        except OSError:  # a name that is longer than any file's
            return None
