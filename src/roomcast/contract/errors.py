"""Errors. REST problem details and Socket.IO acks use the same codes.

Layer: contract. Source: RFC 9457 (problem details).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from roomcast.contract.model import Output


class ErrorCode(StrEnum):
    """Stable error codes for programs. The text that accompanies a code is for people and may change."""

    BAD_REQUEST = "bad-request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    CHAT_NOT_FOUND = "chat-not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    CHAT_EXISTS = "chat-exists"
    CHAT_ARCHIVED = "chat-archived"
    ADDITION_LIMIT = "addition-limit"
    MESSAGE_NOT_FOUND = "message-not-found"
    TURN_NOT_FOUND = "turn-not-found"
    MUTED = "muted"
    BANNED = "banned"
    LAST_OWNER = "last-owner"
    MEMBER_NOT_FOUND = "member-not-found"
    INVITE_NOT_FOUND = "invite-not-found"
    TOO_MANY_ENTRIES = "too-many-entries"
    TOO_MANY_MARKS = "too-many-marks"
    ANSWER_ACTIVE = "answer-active"
    MESSAGE_REFUSED = "message-refused"
    WEBHOOK_NOT_FOUND = "webhook-not-found"
    TOO_LARGE = "too-large"
    FILE_NOT_FOUND = "file-not-found"
    FILE_LIMIT = "file-limit"
    FILE_TYPE = "file-type"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    MISDIRECTED = "misdirected"
    INVALID = "invalid"
    LIMIT_REACHED = "limit-reached"
    RATE_LIMITED = "rate-limited"
    QUOTA_REACHED = "quota-reached"
    UNKNOWN_EVENT = "unknown-event"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"


class ProblemItem(Output):
    """One invalid part of a request.

    Attributes:
        pointer: A JSON Pointer into the body (``/content``), or ``?limit`` for a query parameter.
        message: What is wrong with that part.
    """

    pointer: str
    message: str


class Problem(Output):
    """The body of every REST error, as ``application/problem+json``.

    Attributes:
        type: Always ``about:blank``; programs use ``code``.
        title: The reason phrase of the HTTP status.
        status: The HTTP status.
        detail: What is wrong and what to do, for people.
        code: The error code, for programs.
        errors: The invalid parts of the request; left out if there are none.
        limit: With the codes ``rate-limited`` and ``quota-reached``: the name of the limit. The header
            ``Retry-After`` says when to repeat.
        request_id: The id of the request in the log lines of the API, also in the header ``X-Request-Id``; left out if
            the request was refused before it had one.
    """

    type: str
    title: str
    status: int
    detail: str
    code: ErrorCode
    errors: list[ProblemItem] | None = Field(default=None, exclude_if=lambda items: items is None)
    limit: str | None = Field(default=None, exclude_if=lambda value: value is None)
    request_id: str | None = Field(default=None, exclude_if=lambda value: value is None)


class AckError(Output):
    """Why an event was rejected: a code for programs, a message for people.

    Attributes:
        retry_after: With the code ``rate-limited``: seconds until the same event can succeed; else left out.
    """

    code: ErrorCode
    message: str
    retry_after: int | None = Field(default=None, exclude_if=lambda value: value is None)


class AckFailure(Output):
    """The ack of a rejected event."""

    ok: Literal[False] = False
    error: AckError
