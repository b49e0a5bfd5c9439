"""Requests to the REST API. No request is repeated here: see `retrying`.

Layer: client. Source: contract/rest.py.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from roomcast.backoff import parse_retry_after
from roomcast.client.errors import Refused, Unreachable, cause_of
from roomcast.contract.errors import ErrorCode, Problem
from roomcast.contract.events import Attachment, Message
from roomcast.contract.model import Input
from roomcast.contract.rest import Config, EventPage, SendMessage

#: Called before each request and connection, since a token expires; None: authentication is off.
TokenSource = Callable[[], str | None]

_TIMEOUT_S: Final = 10.0
#: For each part of an upload, and for the answer, which the server sends once it has made a thumbnail.
_UPLOAD_TIMEOUT_S: Final = 60.0
#: For the next line of a long answer: the server may read a large table meanwhile.
_LINE_TIMEOUT_S: Final = 300.0
_LONGEST_RETRY_AFTER_S: Final = 60.0
_MAX_QUOTED: Final = 300
#: Statuses below 500 that ask to try again later.
_LATER: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_Body = TypeVar("_Body", bound=BaseModel)


class Api:
    """The REST API at a base URL. Use it as an async context manager.

    Args:
        url: The base URL, which may have a path.
        token: The bearer token of each request.
        tls: How certificates are verified; None: by those that the system trusts.
    """

    def __init__(self, url: str, token: TokenSource, tls: ssl.SSLContext | None = None) -> None:
        self.url = url.rstrip("/")
        self.token = token
        # OpenSSL's defaults, so that a private authority in SSL_CERT_FILE counts; only TLS takes the time to load them.
        self.tls = tls or (ssl.create_default_context() if url.startswith("https:") else None)
        self._http = httpx.AsyncClient(
            timeout=_TIMEOUT_S,
            verify=self.tls or False,
            # Ignore proxy variables: only `settings` reads the environment.
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        """Connect with the first request."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def config(self) -> Config:
        """``GET /api/config``.

        Raises:
            ClientError: the request failed.
        """
        return await self.get(Config, "config")

    async def events(self, chat_id: str, after: int, limit: int, epoch: str | None = None) -> EventPage:
        """``GET /api/chats/{id}/events``.

        Raises:
            ClientError: the request failed; `Refused` with `ErrorCode.CHAT_NOT_FOUND` for other users' chats, too.
        """
        return await self.get(EventPage, "chats", chat_id, "events", after=after, limit=limit, epoch=epoch)

    async def get(self, model: type[_Body], *segments: str, **query: str | int | None) -> _Body:
        """``GET`` of the path ``/api/{segments}``; parameters that are None are left out.

        Raises:
            ClientError: the request failed.
        """
        given = {name: value for name, value in query.items() if value is not None}
        return body_of(model, await self._request("GET", _path(*segments), params=given))

    async def change(
        self, method: str, *segments: str, body: Input | None = None, user_id: str | None = None
    ) -> httpx.Response:
        """``POST``, ``PUT`` or ``DELETE`` of the path ``/api/{segments}``, on behalf of ``user_id`` if it is given.

        Raises:
            ClientError: the request failed; after `Unreachable` it may have been carried out.
        """
        json = None if body is None else body.model_dump(exclude_none=True)
        return await self._request(
            method, _path(*segments), json=json, params={} if user_id is None else {"userId": user_id}
        )

    async def send(self, message: SendMessage) -> tuple[Message, bool]:
        """``POST /api/chat/messages``: the stored message, and whether this request has stored it.

        Raises:
            ClientError: the request failed; after `Unreachable` the message may be stored.
        """
        response = await self.change("POST", "chat", "messages", body=message)
        return body_of(Message, response), response.status_code == HTTPStatus.CREATED

    async def upload(self, chat_id: str, name: str, content: bytes) -> Attachment:
        """``POST /api/chats/{id}/files``.

        Raises:
            ClientError: the request failed; a file that was stored meanwhile is removed after a day.
        """
        response = await self._request(
            "POST",
            _path("chats", chat_id, "files"),
            params={"name": name},
            content=content,
            kind="application/octet-stream",
            timeout=_UPLOAD_TIMEOUT_S,
        )
        return body_of(Attachment, response)

    async def lines(self, *segments: str) -> AsyncGenerator[bytes]:
        """``GET`` of the path ``/api/{segments}``, whose answer is read line by line, without the line ends.

        Raises:
            ClientError: the request failed; also while the lines are read.
        """
        timeout = httpx.Timeout(_TIMEOUT_S, read=_LINE_TIMEOUT_S)
        request = self._http.build_request("GET", self.url + _path(*segments), headers=self._headers(), timeout=timeout)
        try:
            response = await self._http.send(request, stream=True)
            if response.is_error:
                await response.aread()
        except (httpx.HTTPError, OSError) as error:
            raise self._unreachable(error) from error
        self._check(response)
        return self._lines_of(response)

    async def _lines_of(self, response: httpx.Response) -> AsyncGenerator[bytes]:
        rest = b""
        try:
            async for part in response.aiter_bytes():
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    yield line
        except (httpx.HTTPError, OSError) as error:
            raise self._unreachable(error) from error
        finally:
            await response.aclose()
        if rest:
            yield rest

    async def _request(self, method: str, path: str, *, kind: str | None = None, **options: Any) -> httpx.Response:
        headers = self._headers()
        if kind is not None:
            headers["Content-Type"] = kind
        try:
            response = await self._http.request(method, self.url + path, headers=headers, **options)
        except (httpx.HTTPError, OSError) as error:
            raise self._unreachable(error) from error
        self._check(response)
        return response

    def _headers(self) -> dict[str, str]:
        token = self.token()
        return {} if token is None else {"Authorization": f"Bearer {token}"}

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"{self.url} does not answer: {cause_of(error)}")

    def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        problem = _problem(response) if status >= HTTPStatus.BAD_REQUEST else None
        # A quota is full for hours.
        full = problem is not None and problem.code == ErrorCode.QUOTA_REACHED
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or (status in _LATER and not full):
            pause_s = parse_retry_after(response.headers.get("retry-after", ""), _LONGEST_RETRY_AFTER_S) or 0.0
            raise Unreachable(f"{self.url} answers {_reason(response)}", pause_s)
        if status >= HTTPStatus.BAD_REQUEST:
            if problem is None:
                raise Refused(f"{self.url} is not the API of Roomcast: it answers {_reason(response)}", None)
            raise Refused(problem.detail, problem.code)


def _path(*segments: str) -> str:
    return "/".join(("/api", *(quote(segment, safe="") for segment in segments)))


def body_of(model: type[_Body], response: httpx.Response) -> _Body:
    """The body of a response.

    Raises:
        Refused: it has another form.
    """
    try:
        return model.model_validate_json(response.content)
    except ValidationError:
        raise Refused(f"{response.url} is not the API of Roomcast: its answer has another form", None) from None


def _problem(response: httpx.Response) -> Problem | None:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        return None


def _reason(response: httpx.Response) -> str:
    problem = _problem(response)
    text = "" if problem is None else f": {problem.detail[:_MAX_QUOTED]}"
    return f"{response.status_code} {response.reason_phrase}{text}"
