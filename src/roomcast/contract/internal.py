"""Request and response bodies of the API for gateways, on the internal address.

Layer: contract.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from roomcast.contract.cursor import Cursor
from roomcast.contract.errors import ErrorCode
from roomcast.contract.model import Input, Output
from roomcast.contract.text import Epoch, QualifiedId, Seq, TurnId

#: Maximum number of admissions in one request of a gateway.
MAX_ASKS = 64


class EndedSession(Output):
    """Access tokens that are no longer valid.

    Attributes:
        user_id: All tokens of this user that were issued until ``ended_at``; null: one token.
        token: The SHA-256 of that token, hexadecimal; null: those of a user.
        ended_at: Unix milliseconds.
        expires_at: Unix milliseconds, from which no such token is valid anyway.
    """

    user_id: QualifiedId | None = None
    token: str | None = None
    ended_at: int
    expires_at: int


class EndedSessionsRequest(Input):
    """The body of ``POST /api/internal/ended-sessions``.

    Attributes:
        after: Unix milliseconds; sessions that ended before are left out.
    """

    after: Annotated[int, Field(ge=0)]


class EndedSessions(Output):
    """The response of ``POST /api/internal/ended-sessions``: the earliest first.

    Attributes:
        more: Whether there are more: repeat the request with ``after`` of the last one.
    """

    sessions: list[EndedSession]
    more: bool


class StopRequest(Input):
    """The body of ``POST /api/internal/stops``: a user of a gateway stops a turn; see ``ai-stop``."""

    chat_id: QualifiedId
    turn_id: TurnId
    user_id: QualifiedId | None = None


class StopDecision(Output):
    """The response of ``POST /api/internal/stops``.

    Attributes:
        refused: ``chat-not-found`` (also if the user is no member), ``turn-not-found``, or ``forbidden`` or ``muted``
            for a member that may not stop answers; null if the stop is stored.
        message: For a member that may not stop answers: why, for people; else left out.
    """

    refused: ErrorCode | None = None
    message: str | None = Field(default=None, exclude_if=lambda text: text is None)


class AdmissionRequest(Input):
    """The question whether a user may follow a chat.

    Attributes:
        user_id: The user that joins; null while authentication is off.
        since: The client's cursor, if it has one.
    """

    chat_id: QualifiedId
    user_id: QualifiedId | None = None
    since: Cursor | None = None


class AdmissionRequests(Input):
    """The body of ``POST /api/internal/admissions``: the admissions that a gateway requests; none, to check the API."""

    asks: Annotated[list[AdmissionRequest], Field(max_length=MAX_ASKS)]


class AdmissionAnswer(Output):
    """The state of a chat that the user may follow.

    Attributes:
        epoch: The current epoch.
        seq: Seq of the chat's last event.
        reset: Whether the client's cursor does not belong to the chat's current history.
        silent_until: Until when the user may not write, and so sends no typing; null: it may.
    """

    epoch: Epoch
    seq: Seq
    reset: bool
    silent_until: datetime | None = None


class AdmissionDecision(Output):
    """The decision on one admission.

    Attributes:
        admitted: The state of the chat; null if the user is refused.
        refused: ``forbidden``, ``chat-not-found``, or ``unavailable`` if the database did not answer; null if the user
            is admitted.
    """

    admitted: AdmissionAnswer | None = None
    refused: ErrorCode | None = None


class AdmissionAnswers(Output):
    """The response of ``POST /api/internal/admissions``: one decision per request, in the same order."""

    answers: list[AdmissionDecision]


class PublishRequest(Input):
    """The body of ``POST /api/internal/nudges``: bring the chat's log up to date."""

    chat_id: QualifiedId
