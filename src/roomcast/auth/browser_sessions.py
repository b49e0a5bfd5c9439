"""The session of a browser after its sign-in: a cookie for the API, which gets short-lived access tokens for it.

Layer: auth.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import jwt

from roomcast.auth.ended_sessions import EndedSessions
from roomcast.auth.errors import TokenRejected
from roomcast.auth.options import ALGORITHM, AuthOptions
from roomcast.auth.tokens import TokenIssuer

#: How long a browser stays signed in.
SESSION_S: Final = 12 * 3_600
#: Lifetime of its access tokens.
TOKEN_S: Final = 600.0
#: Issuer and audience of the cookie, so that no access token passes for it, nor it for one.
_PURPOSE: Final = "roomcast-session"


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A verified session.

    Attributes:
        user_id: The user.
        name: The name to show; None: unknown.
        expires_at: Unix seconds.
        digest: The SHA-256 of the cookie, hexadecimal.
        issued_at: Unix seconds at which it began.
    """

    user_id: str
    name: str | None
    expires_at: float
    digest: str
    issued_at: float


class BrowserSessions:
    """Begins and reads sessions.

    Args:
        auth: Signs cookies and access tokens.
        ended: The sessions that were ended before their expiry.
        clock: Unix seconds.
    """

    def __init__(self, auth: AuthOptions, ended: EndedSessions, *, clock: Callable[[], float] = time.time) -> None:
        self._auth = auth
        self._ended = ended
        self._clock = clock
        self._issuer = TokenIssuer(auth, clock=clock)

    def begin(self, user_id: str, name: str | None) -> str:
        """The cookie of a new session."""
        now = int(self._clock())
        claims = {"iss": _PURPOSE, "aud": _PURPOSE, "sub": user_id, "iat": now, "exp": now + SESSION_S, "name": name}
        return jwt.encode(claims, self._auth.secret, ALGORITHM)

    def read(self, cookie: str | None) -> BrowserSession:
        """The session of a cookie.

        Raises:
            TokenRejected: there is none, or it has ended.
        """
        try:
            claims = jwt.decode(
                cookie or "",
                self._auth.secret,
                algorithms=[ALGORITHM],
                issuer=_PURPOSE,
                audience=_PURPOSE,
                options={"require": ["exp", "iat", "sub"], "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            raise TokenRejected("this browser is not signed in") from None
        digest = sha256((cookie or "").encode()).hexdigest()
        if claims["exp"] <= self._clock() or self._ended.has_ended(claims["sub"], claims["iat"], digest):
            raise TokenRejected("the session has ended; sign in again")
        return BrowserSession(claims["sub"], claims["name"], claims["exp"], digest, claims["iat"])

    def issue_token(self, session: BrowserSession) -> tuple[str, float]:
        """An access token for the user of a session, and its lifetime in seconds."""
        ttl_s = max(1.0, min(TOKEN_S, session.expires_at - self._clock()))
        token = self._issuer.issue(
            session.user_id, ttl_s=ttl_s, name=session.name, issued_at=session.issued_at, session=session.digest
        )
        return token, ttl_s
