"""Access tokens: signed JSON Web Tokens with a user id and an expiry.

The algorithm is fixed and never read from the token. Issuer, audience, subject and expiry are required. Tokens whose
header selects a key or an extension (``kid``, ``crit``, …) are rejected.

Layer: auth. Source: RFC 7519, RFC 8725 (best current practices).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import jwt
from pydantic import TypeAdapter, ValidationError

from roomcast.contract.text import NewUserId

ALGORITHM: Final = "HS256"
ISSUER: Final = "roomcast"
AUDIENCE: Final = "roomcast"
#: Scope of a service token, whose bearer is another back end that may write for any user and as AI.
SERVICE_SCOPE: Final = "service"
#: RFC 7518 §3.2: an HS256 key must be at least as long as the hash.
MIN_SECRET_BYTES: Final = 32
#: Well above the length of issued tokens. Longer tokens are rejected without being parsed.
MAX_TOKEN_CHARS: Final = 4_096
#: Valid tokens that a verifier remembers, without the result of the checks of time.
MAX_CACHED_TOKENS: Final = 1_024

_USER_ID: Final[TypeAdapter[str]] = TypeAdapter(NewUserId)


@dataclass(frozen=True, slots=True)
class AuthOptions:
    """Options for signing and verifying tokens.

    Attributes:
        secret: The signing key, shared by all services of one installation; excluded from the ``repr``.
        leeway_s: Seconds by which the clocks of machines may differ: a token is accepted this long after its ``exp``,
            and this long before its ``nbf`` and ``iat``.

    Raises:
        WeakSecret: the secret is shorter than `MIN_SECRET_BYTES`.
    """

    secret: str = field(repr=False)
    leeway_s: float = 5.0

    def __post_init__(self) -> None:
        if len(self.secret.encode()) < MIN_SECRET_BYTES:
            raise WeakSecret(len(self.secret.encode()))


@dataclass(frozen=True, slots=True)
class Identity:
    """The verified content of a token.

    Attributes:
        user_id: The user, or the name of the service.
        service: Whether the bearer is a back end that may write for any user and as AI.
        expires_at: Unix seconds at which the token expires.
    """

    user_id: str
    service: bool
    expires_at: float


class AuthError(Exception):
    """Base of this package."""


class WeakSecret(AuthError):
    """The signing secret is too short."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the secret has {size_bytes} bytes; use at least {MIN_SECRET_BYTES} random bytes")
        self.size_bytes = size_bytes


class TokenRejected(AuthError):
    """The token is not valid. The text gives the reason without quoting the token, so it may be shown to the bearer."""


class TokenExpired(TokenRejected):
    """The token has expired."""

    def __init__(self) -> None:
        super().__init__("the token has expired; get a new one")


class TokenIssuer:
    """Issues tokens.

    Args:
        options: The signing secret.
        clock: Returns the current time in Unix seconds.
    """

    def __init__(self, options: AuthOptions, *, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._clock = clock

    def issue(self, user_id: str, *, ttl_s: float, service: bool = False) -> str:
        """A token for ``user_id`` that is valid for ``ttl_s`` seconds.

        Raises:
            ValueError: ``user_id`` is not a valid user id, or ``ttl_s`` is not positive.
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
    """Verifies tokens.

    Args:
        options: The signing secret and the leeway.
        clock: Returns the current time in Unix seconds.
    """

    def __init__(self, options: AuthOptions, *, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._clock = clock
        # A client sends the same token again and again, and the signature is most of the cost of a check. Errors are
        # not cached.
        self._read = lru_cache(MAX_CACHED_TOKENS)(self._read_token)

    def verify(self, token: object) -> Identity:
        """The identity of the token's bearer.

        Raises:
            TokenExpired: the token has expired.
            TokenRejected: the token is not a valid token of this installation.
        """
        if not isinstance(token, str) or not token:
            raise TokenRejected("a token is required: send auth {token} on the socket, Authorization: Bearer over HTTP")
        if len(token) > MAX_TOKEN_CHARS:
            raise TokenRejected(f"the token is longer than {MAX_TOKEN_CHARS} characters; get a new one")
        user_id, claims = self._read(token)
        now, leeway_s = self._clock(), self._options.leeway_s
        for name in ("nbf", "iat"):
            if name in claims and _time(claims, name) > now + leeway_s:
                raise TokenRejected(f"the token's {name} is in the future; check the clock of its issuer")
        expires_at = _time(claims, "exp")
        if now >= expires_at + leeway_s:
            raise TokenExpired
        return Identity(user_id, claims.get("scope") == SERVICE_SCOPE, expires_at)

    def _read_token(self, token: str) -> tuple[str, Mapping[str, Any]]:
        """The user id and the claims of a token of this installation. Its times are not checked.

        Raises:
            TokenRejected: the token is not valid.
        """
        try:
            unknown = {"kid", "crit", "jku", "x5u", "jwk"} & jwt.get_unverified_header(token).keys()
            if unknown:
                raise TokenRejected(
                    f"the token's header has {', '.join(sorted(unknown))}, which is not supported; get a new token"
                )
            claims = jwt.decode(
                token,
                self._options.secret,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                # `verify` checks the times against `clock`.
                options={
                    "require": ["iss", "aud", "sub", "exp"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
            return _USER_ID.validate_python(claims["sub"]), claims
        except jwt.InvalidTokenError as error:
            raise TokenRejected(f"the token is not valid for this server: {error}; get a new one") from None
        except (ValidationError, UnicodeError):
            raise TokenRejected("the token's subject is not a valid user id; get a new token") from None


def _time(claims: Mapping[str, Any], name: str) -> float:
    """A claim that is a time, in Unix seconds.

    Raises:
        TokenRejected: the claim is not a number, or not finite as a float.
    """
    value = claims[name]
    # NaN fails every comparison; larger integers cannot be converted.
    if type(value) not in {int, float} or not abs(value) <= sys.float_info.max:
        raise TokenRejected(f"the token's {name} is not a number; get a new token")
    return float(value)
