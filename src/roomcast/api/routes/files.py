"""The routes for files: upload, links, removal, download.

A download needs no token, since browsers load images without one: its link is signed and expires.

Layer: api. Source: RFC 9110 §13 (conditions) and §14 (ranges).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response, StreamingResponse

from roomcast.api.callers import CurrentCaller
from roomcast.api.routes.messages import PROBLEMS, SeqParam, as_json, services_of
from roomcast.chat.files.downloads import REDIRECT_S, Link
from roomcast.chat.files.names import INLINE_TYPES, disposition
from roomcast.chat.files.options import THUMBNAIL_TYPE
from roomcast.chat.files.use_cases import Files
from roomcast.contract import rest
from roomcast.contract.events import Attachment
from roomcast.contract.text import MAX_ID_CHARS, ChatId, FileId

file_router = APIRouter(responses=PROBLEMS, tags=["files"])
_FILES: Final = "/api/chats/{chat_id}/files"
_RANGE: Final = re.compile(r"bytes=(?:([0-9]{1,15})-([0-9]{0,15})|-([0-9]{1,15}))")
_CACHE: Final = "private, max-age=300, immutable"
#: A browser that opens such a file runs nothing in it, whatever its content claims.
_HARMLESS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def _files(request: Request) -> Files:
    files = services_of(request).files
    if files is None:
        raise HTTPException(404, "this server stores no files; its operator sets ROOMCAST_FILES_URL")
    return files


@file_router.post(
    _FILES,
    status_code=201,
    response_model=Attachment,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def upload_file(
    request: Request,
    caller: CurrentCaller,
    chat_id: ChatId,
    name: Annotated[str, Query(min_length=1, max_length=1024)],
) -> Response:
    """Upload a file, which the caller's next messages may have. It is removed after a day unless one does."""
    declared = request.headers.get("content-length")
    size = int(declared) if declared is not None else None
    uploads = _files(request).uploads
    try:
        return as_json(await uploads.upload(caller, chat_id, name, size, request.stream()), 201)
    except ClientDisconnect:
        return Response(status_code=400)  # the connection is gone


@file_router.get(_FILES, response_model=rest.FileLinks)
async def list_file_links(
    request: Request,
    caller: CurrentCaller,
    chat_id: ChatId,
    file_ids: Annotated[list[FileId], Query(alias="id", min_length=1, max_length=rest.MAX_LINKS)],
) -> Response:
    """Read where files of a chat are downloaded. A link needs no token, and expires."""
    links, expires_in = await _files(request).downloads.links(caller, chat_id, file_ids)
    return as_json(
        rest.FileLinks(
            links=[rest.FileLink(id=file_id, url=f"/api/files/{file_id}?{query}") for file_id, query in links.items()],
            expires_in=expires_in,
        )
    )


@file_router.delete(_FILES + "/{file_id}", status_code=204)
async def remove_file(request: Request, caller: CurrentCaller, chat_id: ChatId, file_id: FileId) -> Response:
    """Remove a file that the caller has uploaded and not sent."""
    await _files(request).uploads.discard(caller, chat_id, file_id)
    return Response(status_code=204)


@file_router.get(
    "/api/files/{file_id}",
    response_class=Response,
    responses={
        200: {"content": {"*/*": {}}},
        206: {"description": "The requested range"},
        304: {"description": "The client has the file"},
        307: {"description": "The bucket has the file"},
    },
)
async def download_file(
    request: Request,
    file_id: FileId,
    expires: SeqParam,
    signature: Annotated[str, Query(min_length=64, max_length=64, pattern="^[0-9a-f]+$")],
    user: Annotated[str, Query(max_length=MAX_ID_CHARS)] = "",
    thumbnail: Annotated[bool, Query()] = False,
) -> Response:
    """Download a file by a link of `GET /api/chats/{id}/files`. Images are shown, other files are saved.

    With ``thumbnail=true`` a small image without metadata is sent; the file itself if it has none.
    """
    files = _files(request).downloads
    file = await files.open(file_id, Link(expires, user, signature))
    found = file.attachment
    # A file never changes.
    headers = {**_HARMLESS, "Cache-Control": _CACHE, "ETag": f'"{file_id}{"-thumbnail" if thumbnail else ""}"'}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if thumbnail and found.type in INLINE_TYPES and (small := await files.read_thumbnail(file)) is not None:
        return Response(small, 200, {**headers, "Content-Disposition": "inline"}, THUMBNAIL_TYPE)
    # The page's policy does not let it load images from a bucket.
    if found.type not in INLINE_TYPES and (url := await files.redirect(file)) is not None:
        return RedirectResponse(url, 307, {**_HARMLESS, "Cache-Control": f"private, max-age={REDIRECT_S // 2}"})
    headers |= {"Content-Disposition": disposition(found.name, found.type), "Accept-Ranges": "bytes"}
    asked = request.headers.get("range")
    if request.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
        asked = None
    start, end = _range(asked, found.size)
    if start >= end and found.size:
        raise HTTPException(416, "the file has no such range", {"Content-Range": f"bytes */{found.size}"})
    headers["Content-Length"] = str(end - start)
    # Text is shown nowhere, but a program may read it.
    media_type = f"{found.type}; charset=utf-8" if found.type.startswith("text/") else found.type
    whole = (start, end) == (0, found.size)
    if not whole:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
    body = await files.read(file, start, end) if found.size else _nothing()
    return StreamingResponse(body, 200 if whole else 206, headers, media_type)


def _range(header: str | None, size: int) -> tuple[int, int]:
    """The bytes that a Range header asks for, from and to before; of several ranges and of other units, all."""
    match = _RANGE.fullmatch(header or "")
    if match is None:
        return 0, size
    first, last, suffix = match.groups()
    if suffix is not None:
        return max(0, size - int(suffix)), size if int(suffix) else 0
    return int(first), min(size, int(last) + 1) if last else size


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
