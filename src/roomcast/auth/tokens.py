"""Access tokens: signed JSON Web Tokens with a user id and an expiry.

The algorithms are fixed and never read from the token. Issuer, audience, subject and expiry are required. The issuer
selects the rules: own tokens (``roomcast``) are signed with the secret of the installation, those of a provider with
its keys. Headers that bring a key or an extension (``jku``, ``jwk``, ``crit``, …) are rejected.

Layer: auth. Source: RFC 7519, RFC 8725 (best current practices), RFC 9068 §4 (types of tokens).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import jwt
from pydantic import TypeAdapter, ValidationError

from roomcast.auth.ended_sessions import EndedSessions
from roomcast.auth.errors import KeyNotLoaded, KeysUnavailable, SessionEnded, TokenExpired, TokenRejected
from roomcast.auth.options import ALGORITHM, AUDIENCE, ISSUER, MAX_KID_CHARS, AuthOptions, ProviderOptions
from roomcast.auth.scopes import ALL, NONE, SERVICE, ServiceScope, decode_scopes, encode_scopes
from roomcast.contract.tenants import DEFAULT_TENANT, TenantId, local_id, qualify, tenant_of
from roomcast.contract.text import LocalUserId

if TYPE_CHECKING:
    from roomcast.auth.keys import Keys

#: Well above the length of issued tokens. Longer tokens are rejected without being parsed.
MAX_TOKEN_CHARS: Final = 4_096
#: The same for tokens of a provider, which may have many claims.
MAX_PROVIDER_TOKEN_CHARS: Final = 8_192
#: Valid tokens that a verifier remembers, without the result of the checks of time.
MAX_CACHED_TOKENS: Final = 1_024

_USER_ID: Final[TypeAdapter[str]] = TypeAdapter(LocalUserId)
_TENANT: Final[TypeAdapter[str]] = TypeAdapter(TenantId)
#: The claim of own tokens; left out for the default tenant.
_TENANT_CLAIM: Final = "tenant"
#: Headers that name a key or change the meaning of the token.
_REFUSED_HEADERS: Final = frozenset({"crit", "jku", "x5u", "jwk"})
#: Types of access tokens and ID tokens. A token for another purpose, such as a logout, has a type of its own.
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
#: `TokenVerifier.verify` checks the times against its clock.
_CHECKS: Final[Any] = {
    "require": ["iss", "aud", "exp"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_sub": False,
    "verify_jti": False,
}


@dataclass(frozen=True, slots=True)
class Identity:
    """The verified content of a token.

    Attributes:
        user_id: The user, or the name of the service; qualified with the tenant.
        expires_at: Unix seconds at which the token expires.
        scopes: What the bearer may do as a back end, for any user and as AI; empty: it is a user.
        name: The name to show for the user; None: the token has none.
        issued_at: Unix seconds; 0: the token does not say it.
        digest: The SHA-256 of the token, hexadecimal.
        session: The digest of the browser's session for which the token was issued; "": it was issued for none.
    """

    user_id: str
    expires_at: float
    scopes: frozenset[ServiceScope] = NONE
    name: str | None = None
    issued_at: float = field(default=0.0, compare=False)
    digest: str = field(default="", compare=False, repr=False)
    session: str = field(default="", compare=False, repr=False)

    @property
    def service(self) -> bool:
        """Whether the bearer is a back end."""
        return bool(self.scopes)

    @property
    def tenant(self) -> str:
        """The tenant that the bearer is bound to."""
        return tenant_of(self.user_id)


class TokenIssuer:
    """Issues tokens.

    Args:
        options: The signing secret.
        clock: Returns the current time in Unix seconds.
    """

    def __init__(self, options: AuthOptions, *, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._clock = clock

    def issue(
        self,
        user_id: str,
        *,
        ttl_s: float,
        service: bool = False,
        scopes: Collection[ServiceScope] = NONE,
        name: str | None = None,
        issued_at: float | None = None,
        session: str | None = None,
    ) -> str:
        """A token for ``user_id`` that is valid for ``ttl_s`` seconds.

        Args:
            user_id: The user, or the name of a service; qualified, unless it is of the default tenant.
            ttl_s: The lifetime.
            service: Issue a service token without limits.
            scopes: Issue a service token with these scopes.
            name: The name to show for the user; None: none.
            issued_at: Unix seconds from which the user is signed in; None: now. Ending all sessions of the user at a
                later time ends the token.
            session: The digest of a browser's session, whose end ends the token; None: it belongs to none.

        Raises:
            ValueError: ``user_id`` or its tenant is not valid, or ``ttl_s`` is not positive.
        """
        if ttl_s <= 0:
            raise ValueError("ttl_s must be positive")
        now = self._clock()
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": _USER_ID.validate_python(local_id(user_id)),
            "iat": int(now if issued_at is None else issued_at),
            "exp": int(now + ttl_s),
        }
        if tenant := tenant_of(user_id):
            claims[_TENANT_CLAIM] = _TENANT.validate_python(tenant)
        if granted := ALL if service else scopes:
            claims["scope"] = encode_scopes(granted)
        if name is not None:
            claims["name"] = name
        if session is not None:
            claims["sid"] = session
        return jwt.encode(claims, self._options.secret, algorithm=ALGORITHM)


@dataclass(frozen=True, slots=True)
class _Read:
    """What `TokenVerifier` keeps of a token: its content, and its times, which it checks each time."""

    identity: Identity
    times: Mapping[str, float]
    provided: bool


class TokenVerifier:
    """Verifies tokens. Its methods run in one event loop.

    Args:
        options: The secret, the provider and the leeway.
        ended: The tokens that were ended before their expiry; None: none are.
        clock: Returns the current time in Unix seconds.
    """

    def __init__(
        self, options: AuthOptions, ended: EndedSessions | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._options = options
        self._ended = ended
        self._clock = clock
        # A client sends the same token again and again, and the signature is most of the cost of a check. Errors are
        # not cached.
        self._read = lru_cache(MAX_CACHED_TOKENS)(self._read_token)
        self._keys: Keys | None = None
        self._max_chars = MAX_TOKEN_CHARS
        if (provider := options.provider) is not None:
            # A token whose key was withdrawn must not stay valid in the cache.
            self._keys = _keys_of(provider, self._read.cache_clear)
            self._max_chars = MAX_PROVIDER_TOKEN_CHARS

    async def authenticate(self, token: object) -> Identity:
        """The same as `verify`, and loads the provider's keys if the token's key is not among them.

        Raises:
            KeysUnavailable: they cannot be loaded.
            TokenExpired: the token has expired.
            TokenRejected: the token is not a valid token of this installation.
        """
        try:
            return self.verify(token)
        except KeyNotLoaded:
            if self._keys is None:
                raise
        fresh = False
        while not fresh:
            try:
                # A load that has begun before may have missed the newest key.
                fresh = await self._keys.load()
            except KeysUnavailable:
                # The kept keys count now, whatever their age.
                try:
                    return self.verify(token)
                except KeyNotLoaded:
                    raise KeysUnavailable from None
            try:
                return self.verify(token)
            except KeyNotLoaded:
                if fresh:
                    raise
        raise KeyNotLoaded  # unreachable: the loop ends with a fresh load

    def verify(self, token: object) -> Identity:
        """The identity of the token's bearer. Does not wait.

        Raises:
            TokenExpired: the token has expired.
            KeyNotLoaded: the provider's keys have to be loaded first: see `authenticate`.
            TokenRejected: the token is not a valid token of this installation.
        """
        if not isinstance(token, str) or not token:
            raise TokenRejected("a token is required: send auth {token} on the socket, Authorization: Bearer over HTTP")
        if len(token) > self._max_chars:
            raise TokenRejected(f"the token is longer than {self._max_chars} characters; get a new one")
        read = self._read(token)
        if read.provided and self._keys is not None:
            self._keys.check_age()
        now, leeway_s = self._clock(), self._options.leeway_s
        for name in ("nbf", "iat"):
            if name in read.times and read.times[name] > now + leeway_s:
                raise TokenRejected(f"the token's {name} is in the future; check the clock of its issuer")
        if now >= read.identity.expires_at + leeway_s:
            raise TokenExpired
        if self._ended and self.has_ended(read.identity):
            raise SessionEnded
        return read.identity

    def has_ended(self, identity: Identity) -> bool:
        """Whether the token of an identity was ended after it was verified."""
        ended = self._ended
        return ended is not None and ended.has_ended(
            identity.user_id, identity.issued_at, identity.digest, identity.session
        )

    def _read_token(self, token: str) -> _Read:
        """The content of a token of this installation. Its times are not checked.

        Raises:
            TokenRejected: the token is not valid.
        """
        try:
            header = jwt.get_unverified_header(token)
            if refused := _REFUSED_HEADERS & header.keys():
                raise TokenRejected(
                    f"the token's header has {', '.join(sorted(refused))}, which is not supported; get a new token"
                )
            if self._options.provider is not None and _issuer_of(token) == self._options.provider.issuer:
                return self._read_provided(token, header, self._options.provider)
            if "kid" in header:
                raise TokenRejected("the token's header has kid, which is not supported; get a new token")
            if len(token) > MAX_TOKEN_CHARS:
                raise TokenRejected(f"the token is longer than {MAX_TOKEN_CHARS} characters; get a new one")
            claims = _decode(token, self._options.secret, [ALGORITHM], ISSUER, [AUDIENCE])
            tenant = _tenant(claims, _TENANT_CLAIM, required=False)
            identity = _identity(token, claims, "sub", "name", "scope", tenant)
            identity = replace(identity, session=str(claims.get("sid", "")))
            # A provider grants single scopes only: in its tokens the word may mean anything.
            if claims.get("scope") == SERVICE:
                identity = replace(identity, scopes=ALL)
            return _Read(identity, _times(claims), provided=False)
        except jwt.InvalidTokenError as error:
            raise TokenRejected(f"the token is not valid for this server: {error}; get a new one") from None
        except (UnicodeError, RecursionError):
            raise TokenRejected("the token cannot be decoded; get a new token") from None

    def _read_provided(self, token: str, header: Mapping[str, Any], provider: ProviderOptions) -> _Read:
        algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if not isinstance(algorithm, str) or algorithm not in provider.allowed:
            raise TokenRejected("the token's algorithm is not allowed; get a new token")
        if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID_CHARS):
            raise TokenRejected("the token's kid is not the id of a key; get a new token")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise TokenRejected("the token's typ is not that of an access token; get a new token")
        if self._keys is None:
            raise KeyNotLoaded
        failure: jwt.InvalidTokenError = jwt.InvalidSignatureError("no key fits its algorithm")
        for key in self._keys.find(kid, algorithm):
            try:
                claims = _decode(token, key.material, [algorithm], provider.issuer, provider.audiences)
            except jwt.InvalidTokenError as error:
                failure = error
                continue
            tenant = DEFAULT_TENANT
            if provider.tenant_claim is not None:
                tenant = _tenant(claims, provider.tenant_claim, required=True)
            identity = _identity(token, claims, provider.user_claim, provider.name_claim, provider.scope_claim, tenant)
            return _Read(identity, _times(claims), provided=True)
        raise failure


def _keys_of(provider: ProviderOptions, on_change: Callable[[], None]) -> Keys:
    # Imported here: without a provider nothing else of `cryptography` and httpx is loaded.
    from roomcast.auth.key_set import KeySet
    from roomcast.auth.keys import fixed_keys

    if provider.jwks_url is None:
        return fixed_keys(provider)
    return KeySet(provider.jwks_url, provider.allowed, on_change)


def _decode(
    token: str, key: Any, algorithms: Sequence[str], issuer: str, audiences: Sequence[str]
) -> Mapping[str, Any]:
    return jwt.decode(token, key, algorithms=algorithms, issuer=issuer, audience=audiences, options=_CHECKS)


def _issuer_of(token: str) -> object:
    """The issuer that a token claims. Only selects the rules, which compare it again."""
    return jwt.decode(token, options={"verify_signature": False}).get("iss")


def _tenant(claims: Mapping[str, Any], claim: str, *, required: bool) -> str:
    if claim not in claims and not required:
        return DEFAULT_TENANT
    try:
        return _TENANT.validate_python(claims.get(claim), strict=True)
    except ValidationError:
        raise TokenRejected(f"the token's {claim} is not the name of a tenant; get a new token") from None


def _identity(
    token: str,
    claims: Mapping[str, Any],
    user_claim: str,
    name_claim: str | None,
    scope_claim: str | None,
    tenant: str,
) -> Identity:
    if user_claim not in claims:
        raise TokenRejected(f"the token has no {user_claim}, which is the user id; get a new token")
    try:
        user_id = qualify(tenant, _USER_ID.validate_python(claims[user_claim], strict=True))
    except ValueError:
        raise TokenRejected(f"the token's {user_claim} is not a valid user id; get a new token") from None
    name = None
    if name_claim is not None:
        try:
            name = _USER_ID.validate_python(claims.get(name_claim), strict=True)
        except ValidationError:
            name = None  # a name that cannot be shown is no reason to refuse the user
    scopes = NONE if scope_claim is None else decode_scopes(claims.get(scope_claim))
    issued_at = _time(claims, "iat") if "iat" in claims else 0.0
    return Identity(user_id, _time(claims, "exp"), scopes, name, issued_at, sha256(token.encode()).hexdigest())


def _times(claims: Mapping[str, Any]) -> Mapping[str, float]:
    return {name: _time(claims, name) for name in ("nbf", "iat") if name in claims}


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
