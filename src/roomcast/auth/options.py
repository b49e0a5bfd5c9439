"""Which tokens are accepted.

Layer: auth. Source: RFC 8725 (best current practices), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from roomcast.auth.errors import InvalidOptions, WeakSecret

ALGORITHM: Final = "HS256"
#: Issuer and audience of the tokens that `roomcast token` creates.
ISSUER: Final = "roomcast"
AUDIENCE: Final = "roomcast"
#: RFC 7518 §3.2: the key of an HMAC must be at least as long as the hash.
MIN_SECRET_BYTES: Final = 32
DEFAULT_LEEWAY_S: Final = 5.0
MAX_KID_CHARS: Final = 256
_HMAC_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
#: The algorithms of each type of public key: RFC 7518 §3.1, RFC 8037.
ALGORITHMS_BY_KEY: Final = {
    "RSA": frozenset(_RSA),
    "P-256": frozenset({"ES256"}),
    "P-384": frozenset({"ES384"}),
    "P-521": frozenset({"ES512"}),
    "Ed25519": frozenset({"EdDSA"}),
}
#: Every algorithm that may be allowed.
ALGORITHMS: Final = (*_HMAC_BYTES, *_RSA, "ES256", "ES384", "ES512", "EdDSA")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderOptions:
    """An identity provider, or the host application, whose tokens are accepted besides Roomcast's own.

    Exactly one of ``secret``, ``public_keys`` and ``jwks_url`` is set.

    Attributes:
        issuer: The claim ``iss``, compared exactly.
        audiences: Accepted values of the claim ``aud``, one of which a token must name.
        algorithms: The allowed algorithms; empty: HS256 for a secret, else every one with a public key.
        secret: The key of an HMAC; excluded from the ``repr``.
        public_keys: One or several public keys or certificates, PEM.
        jwks_url: The URL of a JSON Web Key Set: https, or http on loopback.
        user_claim: The claim that is the user's id.
        name_claim: The claim that is the name to show.
        scope_claim: The claim with the scopes of services; None: its tokens are those of users only.
        tenant_claim: The claim that is the tenant, which every token then needs; None: the default tenant.

    Raises:
        InvalidOptions: the options contradict each other.
    """

    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...] = ()
    secret: str | None = field(default=None, repr=False)
    public_keys: str | None = field(default=None, repr=False)
    jwks_url: str | None = None
    user_claim: str = "sub"
    name_claim: str = "name"
    scope_claim: str | None = None
    tenant_claim: str | None = None

    def __post_init__(self) -> None:
        if not self.issuer or self.issuer == ISSUER:
            raise InvalidOptions("issuer", f"must be the provider's, and not {ISSUER!r}, which is that of own tokens")
        if not self.audiences:
            raise InvalidOptions("audiences", "must name the audience of tokens for this installation")
        keys = [name for name in ("secret", "public_keys", "jwks_url") if getattr(self, name) is not None]
        if len(keys) != 1:
            raise InvalidOptions("jwks_url", "or a public key or a secret must be set: exactly one of them")
        symmetric = self.secret is not None
        for algorithm in self.algorithms:
            # An allowed HMAC beside a public key would accept tokens that are signed with the public key as secret.
            if algorithm not in ALGORITHMS or (algorithm in _HMAC_BYTES) is not symmetric:
                fitting = [name for name in ALGORITHMS if (name in _HMAC_BYTES) is symmetric]
                raise InvalidOptions("algorithms", f"has {algorithm!r}; expected some of: {', '.join(fitting)}")
        if self.secret is not None:
            least = max(_HMAC_BYTES[algorithm] for algorithm in self.allowed)
            if (size := len(self.secret.encode())) < least:
                raise InvalidOptions("secret", f"is too weak: {WeakSecret(size, least)}")
        if self.jwks_url is not None and not is_safe_url(self.jwks_url):
            raise InvalidOptions("jwks_url", "must begin with https://; http:// is accepted on loopback only")

    @property
    def allowed(self) -> frozenset[str]:
        """The allowed algorithms."""
        if self.algorithms:
            return frozenset(self.algorithms)
        return frozenset({"HS256"} if self.secret is not None else ALGORITHMS[len(_HMAC_BYTES) :])


def is_safe_url(url: str) -> bool:
    """Whether a response from a URL cannot be replaced on its way: https, or a loopback address."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        return bool(host)
    if parts.scheme != "http":
        return False
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class AuthOptions:
    """Options for signing and verifying tokens.

    Attributes:
        secret: The key of own tokens, shared by all services of one installation; excluded from the ``repr``.
        leeway_s: Seconds by which the clocks of machines may differ: a token is accepted this long after its ``exp``,
            and this long before its ``nbf`` and ``iat``.
        provider: Accepts the tokens of an identity provider, too; None: own tokens only.

    Raises:
        WeakSecret: the secret is shorter than `MIN_SECRET_BYTES`.
    """

    secret: str = field(repr=False)
    leeway_s: float = DEFAULT_LEEWAY_S
    provider: ProviderOptions | None = None

    def __post_init__(self) -> None:
        if len(self.secret.encode()) < MIN_SECRET_BYTES:
            raise WeakSecret(len(self.secret.encode()), MIN_SECRET_BYTES)
