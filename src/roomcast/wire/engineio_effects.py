"""What a caller has to do after a call of `engineio_session.EngineSession`: effects as data.

Layer: wire (standard library only).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TypeAlias

from roomcast.wire.errors import RemoteError


@unique
class CloseReason(StrEnum):
    """Why a session ended, in Node's words."""

    PING_TIMEOUT = "ping timeout"
    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"
    PARSE_ERROR = "parse error"
    FORCED_CLOSE = "forced close"


@dataclass(slots=True)
class MessageReceived:
    """A message arrived: ``str`` text, ``bytes`` binary."""

    data: str | bytes


@dataclass(slots=True)
class Send:
    """Write this control packet to the session's transport, behind what is waiting there."""

    packet: str


@dataclass(slots=True)
class SendOnCandidate:
    """Write this packet to the websocket that asks to take the session over."""

    packet: str


@dataclass(slots=True)
class ReleasePoll:
    """Answer the pending poll now: with what is waiting, or with one NOOP packet if nothing is."""


@dataclass(slots=True)
class ClosePoll:
    """Answer the pending poll now: with what is waiting and the close packet behind it."""


@dataclass(slots=True)
class Upgraded:
    """The candidate websocket is the session's transport from here on; write what is waiting to it."""


@dataclass(slots=True)
class CloseCandidate:
    """Close the websocket that asked to take the session over; the session goes on without it."""


@dataclass(slots=True)
class Closed:
    """The session has ended; forget its sid and, on websocket, write what is waiting and close the connection.

    Attributes:
        reason: Why, for the application.
        error: The peer's fault, if it was one: count it.
    """

    reason: CloseReason
    error: RemoteError | None = None


Effect: TypeAlias = (
    MessageReceived | Send | SendOnCandidate | ReleasePoll | ClosePoll | Upgraded | CloseCandidate | Closed
)
