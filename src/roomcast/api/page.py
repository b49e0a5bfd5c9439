"""The chat page: the files of the web build, with headers that protect against hostile chat text.

- Assets have a hash in their names and are cached for ever; the document is revalidated each time, and sent again only
  if it has changed.
- The URLs in the document begin with ``./`` in the build, and here with the base path of the request.
- The path of a chat returns the document. An unknown path returns it, too, with status 404: a person sees the page's
  own message, and a program sees the status.
- The build puts compressed copies beside larger files (``.br``, ``.gz``), which are served to clients that accept them.
- If the page is not built, a plain text explains how to build it.

Layer: api. Source: W3C Content Security Policy 3; RFC 9110 §13.1.2 for ``If-None-Match``.
"""

from __future__ import annotations

import html
import mimetypes
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.staticfiles import NotModifiedResponse
from starlette.types import Receive, Scope, Send

from roomcast.api.middleware import host_name
from roomcast.api.options import ApiOptions
from roomcast.api.problems import problem_response

#: The build output of web/apps/chat.
PAGE_DIRECTORY: Final = Path(__file__).parent / "page"
#: Path prefix of a chat; see web/apps/chat/src/routing/route.ts.
CHATS: Final = "/c/"
#: An origin that can serve the page; other schemes are those of apps. Anything else would be injected into the policy.
_WEB_PAGE: Final = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]+)?|\*")
#: The beginnings of URLs in the document; see ``base`` in web/apps/chat/vite.config.ts.
_URL_OF_BUILD: Final = re.compile(rb'(?<=(?:.src|href)=")\./')
#: Suffixes of compressed copies by content coding, smallest files first; see web/apps/chat/compress.ts.
_CODINGS: Final = {"br": ".br", "gzip": ".gz"}
NOT_BUILT: Final = """Roomcast is running, but the chat page is not built.

In a checkout, `make run` builds it. The API works without it: /api/chats, /openapi.json.
"""


def gateway_sources(options: ApiOptions, host: str) -> list[str]:
    """The sources of a content security policy that allow the page to connect to the gateway.

    Without ``gateway_url`` the page connects to the gateway's port on the host of its own URL.

    Args:
        options: Where the gateway is. ``allowed_origins`` may name the page's URL where a proxy changes ``Host``.
        host: The ``Host`` header of the request.
    """
    if options.gateway_url is not None:
        # A source with a path would allow this path alone.
        url = urlsplit(options.gateway_url)
        origins = [f"{url.scheme}://{url.netloc}"]
    elif options.gateway_port is None:
        return []
    else:
        pages = [f"http://{host_name(host)}", *options.allowed_origins]
        origins = [on_port(page, options.gateway_port) for page in pages if _WEB_PAGE.fullmatch(page)]
    return list(dict.fromkeys(source for origin in origins for source in (origin, origin.replace("http", "ws", 1))))


def on_port(origin: str, port: int) -> str:
    """The source of this port on the host of an origin; every host for ``*`` and IPv6, which a policy cannot name."""
    scheme, _, authority = origin.rpartition("://")
    name = host_name(authority)
    return f"{scheme or 'http'}://{'*' if name.startswith('[') else name}:{port}"


def content_security_policy(connect_sources: Sequence[str]) -> str:
    """The Content-Security-Policy of the page.

    Args:
        connect_sources: Further sources that the page connects to.
    """
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "font-src 'self'",
            "manifest-src 'self'",
            " ".join(("connect-src 'self'", *connect_sources)),
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def accepts(header: str, coding: str) -> bool:
    """Whether an ``Accept-Encoding`` header allows a content coding; ``q=0`` forbids it. Source: RFC 9110, 12.5.3."""
    weights = {}
    for item in header.lower().split(","):
        name, _, weight = item.partition(";")
        weights[name.strip()] = not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight)
    return weights.get(coding, weights.get("*", False))


def _document(file: Path, status: int, headers: Mapping[str, str], base_path: str) -> Response:
    body = _URL_OF_BUILD.sub(f"{html.escape(base_path)}/".encode(), file.read_bytes())
    # Browsers keep the policy of the first response when a later one says that nothing has changed.
    tag = sha256(body + "".join(headers.values()).encode()).hexdigest()
    return HTMLResponse(body, status, {**headers, "Cache-Control": "no-cache", "ETag": f'"{tag}"'})


def _file_or_copy(file: Path, headers: Mapping[str, str], accepted: str) -> Response:
    for coding, suffix in _CODINGS.items():
        copy = file.with_name(file.name + suffix)
        if accepts(accepted, coding) and copy.is_file():
            media_type, _ = mimetypes.guess_type(file.name)
            return FileResponse(copy, 200, {**headers, "Content-Encoding": coding}, media_type, stat_result=copy.stat())
    return FileResponse(file, 200, headers, stat_result=file.stat())


class StaticPage:
    """An ASGI application that serves the files of the page.

    Args:
        options: Where the gateway is.
        directory: The folder with index.html and assets/.
    """

    def __init__(self, options: ApiOptions, directory: Path = PAGE_DIRECTORY) -> None:
        self._options = options
        self._directory = directory.resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file, the document or a problem. WebSockets are rejected: they belong to the gateway."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})  # a close before the accept becomes a 403
            return
        request = Headers(scope=scope)
        response = self._answer(scope["method"], scope["path"], scope.get("root_path", ""), request)
        tag = response.headers.get("etag")
        known = [item.strip().removeprefix("W/") for item in request.get("if-none-match", "").split(",")]
        if response.status_code == HTTPStatus.OK and tag is not None and (tag in known or known == ["*"]):
            response = NotModifiedResponse(response.headers)
        await response(scope, receive, send)

    def _answer(self, method: str, path: str, base_path: str, request: Headers) -> Response:
        if path == "/api" or path.startswith("/api/"):
            return problem_response(404, "no endpoint has this path")
        if method not in {"GET", "HEAD"}:
            return problem_response(405, "the chat page accepts GET and HEAD only", headers={"Allow": "GET, HEAD"})
        headers = {
            "Content-Security-Policy": content_security_policy(gateway_sources(self._options, request.get("host", ""))),
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        }
        file = self._file(path)
        if file is None and path.startswith("/assets/"):
            return problem_response(404, "no such file in this version; reload the page")
        status = 200
        if file is None:
            file = self._directory / "index.html"
            if not file.is_file():
                return PlainTextResponse(NOT_BUILT, 200, headers=headers)
            status = 200 if path == "/" or path.startswith(CHATS) else 404
        if file == self._directory / "index.html":
            return _document(file, status, headers, base_path)
        caching = "public, max-age=31536000, immutable" if path.startswith("/assets/") else "no-cache"
        headers |= {"Cache-Control": caching, "Vary": "Accept-Encoding"}
        return _file_or_copy(file, headers, request.get("accept-encoding", ""))

    def _file(self, path: str) -> Path | None:
        """The file of a URL path; None: no such file inside the folder of the page."""
        if "\0" in path or "\\" in path:
            return None
        try:
            found = (self._directory / path.lstrip("/")).resolve()
            return found if found.is_relative_to(self._directory) and found.is_file() else None
        except OSError:  # the name is too long for a file
            return None
