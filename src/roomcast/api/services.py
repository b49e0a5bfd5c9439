"""The use cases that the composition passes to the API.

Layer: api.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from roomcast.auth.tokens import TokenVerifier
from roomcast.chat.answers.following import TurnFollower
from roomcast.chat.files.use_cases import Files
from roomcast.chat.notifications.preferences import Devices, Preferences
from roomcast.chat.ports import RateLimiter, Tracer
from roomcast.chat.use_cases.admission import Admissions
from roomcast.chat.use_cases.feed import Feed
from roomcast.chat.use_cases.personal import PersonalData
from roomcast.chat.use_cases.read_state import ReadState
from roomcast.chat.use_cases.reading import ChatReader
from roomcast.chat.use_cases.searching import ChatSearch
from roomcast.chat.use_cases.sessions import Sessions
from roomcast.chat.use_cases.turns import Turns
from roomcast.chat.use_cases.webhooks import Webhooks
from roomcast.chat.use_cases.writing import ChatWriter

if TYPE_CHECKING:
    from roomcast.auth.browser_sessions import BrowserSessions
    from roomcast.auth.open_id import OpenIdClient


@dataclass(frozen=True, slots=True)
class SignIn:
    """The sign-in at an identity provider.

    Attributes:
        provider: The provider.
        sessions: The sessions of browsers.
        page_url: The public URL of the page, without a slash at its end.
    """

    provider: OpenIdClient
    sessions: BrowserSessions
    page_url: str


@dataclass(frozen=True, slots=True)
class ApiServices:
    """The use cases behind the routes.

    Attributes:
        sessions: Ends access tokens before their expiry.
        personal: Exports and erases the data of users.
        feed: Reads the events of all chats.
        verifier: Verifies access tokens; None: authentication is off.
        sign_in: Signs users in; None: the host application issues their tokens.
        default_responder: Answers in chats that name no responder; None: such chats do not answer.
        tracer: Records spans; None: tracing is off.
        files: The use cases of files; None: the server stores none.
        limiter: Limits requests per user and address; None: there are no such limits.
        push_key: The public key for subscriptions of Web Push; None: no pushes are sent.
        webhooks: Manages webhooks; None: their routes answer 404.
    """

    writer: ChatWriter
    reader: ChatReader
    admissions: Admissions
    turns: Turns
    follower: TurnFollower
    sessions: Sessions
    reads: ReadState
    feed: Feed
    search: ChatSearch
    preferences: Preferences
    devices: Devices
    verifier: TokenVerifier | None = None
    sign_in: SignIn | None = None
    default_responder: str | None = None
    tracer: Tracer | None = None
    limiter: RateLimiter | None = None
    push_key: str | None = None
    webhooks: Webhooks | None = None
    personal: PersonalData = field(kw_only=True)
    files: Files | None = None
