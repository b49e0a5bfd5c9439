"""The effects that a method of `engineio_session.EngineSession` returns. The caller carries them out in order.

Layer: wire (standard library only).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TypeAlias

from roomcast.wire.errors import RemoteError


@unique
class CloseReason(StrEnum):
    """Why a session ended. The values are the same as in Node."""

    PING_TIMEOUT = "ping timeout"
    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"
    PARSE_ERROR = "parse error"
    FORCED_CLOSE = "forced close"


@dataclass(slots=True)
class MessageReceived:
    """The client sent a message: ``str`` is text, ``bytes`` is binary."""

    data: str | bytes


@dataclass(slots=True)
class Send:
    """Write this control packet to the session's transport, after the packets that are queued."""

    packet: str


@dataclass(slots=True)
class SendOnCandidate:
    """Write this packet to the candidate, the websocket that requests the upgrade."""

    packet: str


@dataclass(slots=True)
class ReleasePoll:
    """Answer the pending poll now, with the queued packets or, if there are none, with one NOOP packet."""


@dataclass(slots=True)
class ClosePoll:
    """Answer the pending poll now, with the queued packets followed by a CLOSE packet."""


@dataclass(slots=True)
class Upgraded:
    """The candidate is the session's transport from now on. Write the queued packets to it."""


@dataclass(slots=True)
class CloseCandidate:
    """Close the candidate. The session continues over polling, unless `Closed` follows."""


@dataclass(slots=True)
class Closed:
    """The session has ended. Remove its sid; over websocket, write the queued packets and close the connection.

    Attributes:
        reason: Why the session ended, for the application.
        error: The protocol violation that ended the session, if any, for logs and metrics.
    """

    reason: CloseReason
    error: RemoteError | None = None


Effect: TypeAlias = (
    MessageReceived | Send | SendOnCandidate | ReleasePoll | ClosePoll | Upgraded | CloseCandidate | Closed
)
