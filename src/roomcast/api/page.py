"""The chat page: the files of the web build, with headers that protect against hostile chat text.

- Assets have a hash in their names and are cached for ever; the document is revalidated each time.
- The path of a chat returns the document. An unknown path returns it, too, with status 404: a person sees the page's
  own message, and a program sees the status.
- If the page is not built, a plain text explains how to build it.

Layer: api. Source: W3C Content Security Policy 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from roomcast.api.problems import problem_response

#: The build output of web/apps/chat.
PAGE_DIRECTORY: Final = Path(__file__).parent / "page"
#: Path prefix of a chat; see web/apps/chat/src/routing/route.ts.
CHATS: Final = "/c/"
NOT_BUILT: Final = """Roomcast is running, but the chat page is not built.

In a checkout, `make run` builds it. The API works without it: /api/chats, /openapi.json.
"""


def content_security_policy(connect_sources: Sequence[str]) -> str:
    """The Content-Security-Policy of the page.

    Args:
        connect_sources: Further origins that the page connects to: the gateway's, each as http(s) and as ws(s).
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
    """An ASGI application that serves the files of the page.

    Args:
        directory: The folder with index.html and assets/.
        connect_sources: See `content_security_policy`.
    """

    def __init__(self, directory: Path = PAGE_DIRECTORY, connect_sources: Sequence[str] = ()) -> None:
        self._directory = directory.resolve()
        self._headers = {
            "Content-Security-Policy": content_security_policy(connect_sources),
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file, the document or a problem. WebSockets are rejected: they belong to the gateway."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})  # a close before the accept becomes a 403
            return
        response = self._answer(scope["method"], scope["path"])
        await response(scope, receive, send)

    def _answer(self, method: str, path: str) -> Response:
        if path == "/api" or path.startswith("/api/"):
            return problem_response(404, "no endpoint has this path")
        if method not in {"GET", "HEAD"}:
            return problem_response(405, "the chat page accepts GET and HEAD only", headers={"Allow": "GET, HEAD"})
        file = self._file(path)
        if file is None and path.startswith("/assets/"):
            return problem_response(404, "no such file in this version; reload the page")
        status = 200
        if file is None:
            file = self._directory / "index.html"
            if not file.is_file():
                return PlainTextResponse(NOT_BUILT, 200, headers=self._headers)
            status = 200 if path == "/" or path.startswith(CHATS) else 404
        caching = "public, max-age=31536000, immutable" if path.startswith("/assets/") else "no-cache"
        return FileResponse(file, status, headers={**self._headers, "Cache-Control": caching})

    def _file(self, path: str) -> Path | None:
        """The file of a URL path; None: no such file inside the folder of the page."""
        if "\0" in path or "\\" in path:
            return None
        try:
            found = (self._directory / path.lstrip("/")).resolve()
            return found if found.is_relative_to(self._directory) and found.is_file() else None
        except OSError:  # the name is too long for a file
            return None
