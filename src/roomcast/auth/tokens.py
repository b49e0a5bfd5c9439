"""Access tokens: signed JSON Web Tokens that say who a caller is and until when.

One algorithm, fixed here and never read from the token; issuer, audience, subject and expiry are required; a token that
asks for anything else (`crit`, a key id) is refused.

Layer: auth. Source: RFC 7519, RFC 8725 (best current practices).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from pydantic import TypeAdapter, ValidationError

from roomcast.contract.text import UserId

ALGORITHM: Final = "HS256"
ISSUER: Final = "roomcast"
AUDIENCE: Final = "roomcast"
#: What a service token carries: other back ends, which may speak for any user and as AI.
SERVICE_SCOPE: Final = "service"
#: RFC 7518 §3.2: the key of HS256 has at least the hash's size.
MIN_SECRET_BYTES: Final = 32
#: No honest token of ours is near this; longer ones are refused before they are parsed.
MAX_TOKEN_CHARS: Final = 4_096

_USER_ID: Final[TypeAdapter[str]] = TypeAdapter(UserId)


@dataclass(frozen=True, slots=True)
class AuthOptions:
    """How tokens are signed.

    Attributes:
        secret: Shared by all services of one installation; never shown.
        leeway_s: Seconds by which the clocks of two machines may differ.
    """

    secret: str = field(repr=False)
    leeway_s: float = 5.0

    def __post_init__(self) -> None:
        if len(self.secret.encode()) < MIN_SECRET_BYTES:
            raise WeakSecret(len(self.secret.encode()))


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a caller is.

    Attributes:
        user_id: The user, or the service's own name.
        service: May speak for any user and as AI.
        expires_at: Unix seconds after which the token is no longer good.
    """

    user_id: str
    service: bool
    expires_at: float


class AuthError(Exception):
    """Base of this package."""


class WeakSecret(AuthError):
    """The signing secret is too short: a configuration mistake."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the secret has {size_bytes} bytes; HS256 needs {MIN_SECRET_BYTES} or more")
        self.size_bytes = size_bytes


class TokenRejected(AuthError):
    """The token is not good; the text may be shown to its bearer."""


class TokenExpired(TokenRejected):
    """The token was good once: get a new one."""

    def __init__(self) -> None:
        super().__init__("the token has expired; get a new one")


class TokenIssuer:
    """Makes tokens.

    Args:
        options: The secret.
        clock: Unix seconds.
    """

    def __init__(self, options: AuthOptions, *, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._clock = clock

    def issue(self, user_id: str, *, ttl_s: float, service: bool = False) -> str:
        """A token for ``user_id`` that is good for ``ttl_s`` seconds.

        Raises:
            ValueError: the user id is none, or ``ttl_s`` is not positive.
        """
        if ttl_s <= 0:
            raise ValueError("ttl_s must be positive")
        now = self._clock()
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": _USER_ID.validate_python(user_id),
            "iat": int(now),
            "exp": int(now + ttl_s),
        }
        if service:
            claims["scope"] = SERVICE_SCOPE
        return jwt.encode(claims, self._options.secret, algorithm=ALGORITHM)


class TokenVerifier:
    """Reads tokens.

    Args:
        options: The secret.
        clock: Unix seconds.
    """

    def __init__(self, options: AuthOptions, *, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._clock = clock

    def verify(self, token: object) -> Identity:
        """Who the bearer is.

        Raises:
            TokenExpired: it was good once.
            TokenRejected: it is no token of this installation; the text says why without repeating it.
        """
        if not isinstance(token, str) or not token:
            raise TokenRejected("a token is needed: auth {token} on the socket, Authorization: Bearer over HTTP")
        if len(token) > MAX_TOKEN_CHARS:
            raise TokenRejected(f"the token is longer than {MAX_TOKEN_CHARS} characters")
        try:
            unknown = {"kid", "crit", "jku", "x5u", "jwk"} & jwt.get_unverified_header(token).keys()
            if unknown:
                raise TokenRejected(f"the token's header has {', '.join(sorted(unknown))}, which is not taken here")
            claims = jwt.decode(
                token,
                self._options.secret,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                # The expiry is checked below, against the clock that was handed in.
                options={"require": ["iss", "aud", "sub", "exp"], "verify_exp": False, "verify_iat": False},
            )
            user_id = _USER_ID.validate_python(claims["sub"])
        except jwt.InvalidTokenError as error:
            raise TokenRejected(f"the token is not valid here: {error}") from None
        except (ValidationError, UnicodeError):
            raise TokenRejected("the token's subject is not a user id") from None
        expires_at = claims["exp"]
        if isinstance(expires_at, bool) or not isinstance(expires_at, (int, float)) or not math.isfinite(expires_at):
            raise TokenRejected("the token's expiry is not a number")
        if self._clock() >= expires_at + self._options.leeway_s:
            raise TokenExpired
        return Identity(user_id, claims.get("scope") == SERVICE_SCOPE, float(expires_at))
