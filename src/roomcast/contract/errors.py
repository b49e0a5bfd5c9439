"""What an error looks like: one set of codes, over REST as problem details, over the socket in an ack.

Layer: contract. Source: RFC 9457 (problem details).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from roomcast.contract.model import Output


class ErrorCode(StrEnum):
    """Stable names for machines; the text beside them is for people and may change."""

    BAD_REQUEST = "bad-request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    CHAT_NOT_FOUND = "chat-not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    CHAT_EXISTS = "chat-exists"
    TOO_LARGE = "too-large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    MISDIRECTED = "misdirected"
    INVALID = "invalid"
    LIMIT_REACHED = "limit-reached"
    UNKNOWN_EVENT = "unknown-event"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"


class ProblemItem(Output):
    """One thing that is wrong with a request.

    Attributes:
        pointer: Where: a JSON Pointer into the body (``/content``), or ``?limit`` for a query parameter.
        message: What is wrong with it.
    """

    pointer: str
    message: str


class Problem(Output):
    """The body of every REST error, ``application/problem+json``."""

    type: str
    title: str
    status: int
    detail: str
    code: ErrorCode
    errors: list[ProblemItem] | None = Field(default=None, exclude_if=lambda items: items is None)


class AckError(Output):
    """Why an event was refused."""

    code: ErrorCode
    message: str


class AckFailure(Output):
    """The ack of an event that was refused."""

    ok: Literal[False] = False
    error: AckError
