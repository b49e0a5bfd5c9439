"""Requests to providers whose response is a stream of server-sent events, with time limits and typed failures.

Layer: responders.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

import httpx

from roomcast.backoff import parse_retry_after
from roomcast.chat.ports import ResponderFailure
from roomcast.contract.events import TurnReason
from roomcast.responders.options import StreamLimits
from roomcast.responders.sse import EventParser, EventTooLong

logger = logging.getLogger(__name__)

#: Characters of a provider's error that the log repeats.
_ERROR_CHARS: Final = 500
#: Bytes of the body of an error response that are read.
_ERROR_BYTES: Final = 16_384
#: Statuses below 500 after which the same request may succeed.
_RETRYABLE: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS})
#: Events in a row that are no JSON objects: beyond it the stream has failed.
_MAX_MALFORMED: Final = 20


class EventStreamClient:
    """Sends requests and reads their events.

    Args:
        headers: Sent with every request, for example a token.
        limits: Time limits.
    """

    def __init__(self, headers: Mapping[str, str], limits: StreamLimits | None = None) -> None:
        limits = limits or StreamLimits()
        self._http = httpx.AsyncClient(
            headers=dict(headers),
            timeout=httpx.Timeout(limits.read_s, connect=limits.connect_s),
            # The worker limits the number of answers.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            # Ignore proxy variables: only `settings` reads the environment.
            trust_env=False,
        )

    @asynccontextmanager
    async def open(
        self, method: str, url: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Send a request; the context has its events, each a JSON object. Leaving it closes the connection.

        A malformed event is skipped. The iterator ends at ``[DONE]`` and at the end of the response.

        Raises:
            ResponderFailure: the provider refused the request, or the connection failed.
        """
        # A compressed response could expand without bound.
        accept = {"Accept": "text/event-stream", "Accept-Encoding": "identity", **(headers or {})}
        try:
            async with self._http.stream(method, url, json=body, headers=accept) as response:
                if response.status_code != HTTPStatus.OK:
                    raise await _refusal(response)
                yield _events(response)
        except httpx.HTTPError as error:
            raise _unreachable(error) from error

    async def send(self, method: str, url: str) -> None:
        """Send a request without a body, for example a cancellation, and ignore its response.

        Raises:
            ResponderFailure: the connection failed.
        """
        try:
            await self._http.request(method, url)
        except httpx.HTTPError as error:
            raise _unreachable(error) from error


def reported_error(error: object) -> ResponderFailure:
    """The failure for an error object in the middle of a stream."""
    code = str(error.get("code") or error.get("type")) if isinstance(error, dict) else ""
    limited = code in {"429", "rate_limit_exceeded", "rate_limit_error"}
    refused = re.fullmatch(r"4\d\d", code) is not None or code in {"invalid_request_error", "content_filter"}
    return ResponderFailure(
        f"the provider reported: {describe_error(error)}",
        reason=TurnReason.RATE_LIMITED if limited else TurnReason.RESPONDER_ERROR,
        retryable=limited or not refused,
        kind="error-event",
    )


def describe_error(error: object) -> str:
    """A provider's error for the log, shortened, without the fields in which some servers repeat the request."""
    if isinstance(error, str):
        text = error
        try:
            error = json.loads(text)
        except ValueError:
            return f"a text of {len(text)} characters"
    if isinstance(error, dict):
        nested = error.get("error", error)
        found = nested if isinstance(nested, dict) else {"message": nested}
        said = [f"{key}: {found[key]}" for key in ("code", "type", "message") if isinstance(found.get(key), (str, int))]
        return ", ".join(said)[:_ERROR_CHARS] or "an error object without a message"
    return f"a value of the type {type(error).__name__}"


async def _events(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    parser = EventParser()
    malformed = 0
    async for received in response.aiter_raw():
        try:
            found = list(parser.feed(received))
        except EventTooLong as error:
            raise ResponderFailure(str(error), kind="too-long") from None
        for data in found:
            if data == "[DONE]":
                return
            try:
                event = json.loads(data)
            except ValueError:
                event = None
            if isinstance(event, dict):
                malformed = 0
                yield event
                continue
            malformed += 1
            logger.warning("a provider sent a malformed event", extra={"bytes": len(data)})
            if malformed >= _MAX_MALFORMED:
                raise ResponderFailure("the provider sends no JSON objects", kind="malformed")


async def _refusal(response: httpx.Response) -> ResponderFailure:
    body = b""
    async for part in response.aiter_raw():
        body += part
        if len(body) > _ERROR_BYTES:
            break
    status = response.status_code
    limited = status == HTTPStatus.TOO_MANY_REQUESTS
    retryable = status in _RETRYABLE or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if limited:
        reason = TurnReason.RATE_LIMITED
    else:
        reason = TurnReason.PROVIDER_UNREACHABLE if retryable else TurnReason.PROVIDER_REFUSED
    text = body[:_ERROR_BYTES].decode(errors="replace")
    return ResponderFailure(
        f"{response.request.url.host} answered {status}: {describe_error(text)}",
        reason=reason,
        retryable=retryable,
        retry_after_s=parse_retry_after(response.headers.get("retry-after", "")),
        kind=str(status),
    )


def _unreachable(error: httpx.HTTPError) -> ResponderFailure:
    timed_out = isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout)
    # The text of a violation of HTTP quotes what was received or sent.
    said = type(error).__name__ if isinstance(error, httpx.ProtocolError) else repr(error)
    return ResponderFailure(
        f"the request to the provider failed: {said}",
        reason=TurnReason.TIMEOUT if timed_out else TurnReason.PROVIDER_UNREACHABLE,
        retryable=True,
        kind="timeout" if timed_out else "connect" if isinstance(error, httpx.ConnectError) else "connection",
    )
