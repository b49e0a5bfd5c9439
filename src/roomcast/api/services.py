"""The use cases that the composition passes to the API.

Layer: api.
"""

from __future__ import annotations

from dataclasses import dataclass

from roomcast.auth.tokens import TokenVerifier
from roomcast.chat.admission import Admissions
from roomcast.chat.following import TurnFollower
from roomcast.chat.ports import Tracer
from roomcast.chat.reading import ChatReader
from roomcast.chat.sessions import Sessions
from roomcast.chat.turns import Turns
from roomcast.chat.writing import ChatWriter


@dataclass(frozen=True, slots=True)
class ApiServices:
    """The use cases behind the routes.

    Attributes:
        sessions: Ends access tokens before their expiry.
        verifier: Verifies access tokens; None: authentication is off.
        default_responder: Answers in chats that name no responder; None: such chats do not answer.
        tracer: Records spans; None: tracing is off.
    """

    writer: ChatWriter
    reader: ChatReader
    admissions: Admissions
    turns: Turns
    follower: TurnFollower
    sessions: Sessions
    verifier: TokenVerifier | None = None
    default_responder: str | None = None
    tracer: Tracer | None = None
