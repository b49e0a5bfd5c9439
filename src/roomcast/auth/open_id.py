"""Sign-in by OpenID Connect: the authorization code flow with PKCE.

What a sign-in must remember (state, nonce, code verifier) is in a signed cookie of the browser that began it, so that
any replica can finish it, and no other browser can.

Layer: auth. Source: OpenID Connect Core §3.1, RFC 7636 (PKCE), RFC 9207 (``iss`` in the response), RFC 9700.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import jwt

from roomcast.auth.errors import AuthError, KeysUnavailable, TokenRejected
from roomcast.auth.http import FAILURES, LimitedHttp
from roomcast.auth.options import ALGORITHM, AuthOptions, ProviderOptions, is_safe_url
from roomcast.auth.tokens import TokenVerifier

logger = logging.getLogger(__name__)

#: How long a user may take to sign in.
SIGN_IN_LIMIT_S: Final = 600.0
#: Age at which the provider's metadata is loaded again.
_METADATA_AGE_S: Final = 3_600.0
#: How long no load is tried after one that failed.
_PAUSE_S: Final = 2.0
#: Issuer and audience of the cookie of a sign-in, so that no other token passes for it, nor it for another.
_PURPOSE: Final = "roomcast-sign-in"
#: Where a sign-in may return to: the list of chats, a chat, or an invite link.
_RETURN: Final = re.compile(r"/(c/[A-Za-z0-9._~%!$&'()*+,;=:@-]{1,400}|join/[A-Za-z0-9_-]{32})?")


class SignInFailed(AuthError):
    """The sign-in cannot be finished; the user may begin again. The text is for the log."""


class ProviderAway(AuthError):
    """The identity provider does not answer as it should. The text is for the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIdOptions:
    """An OpenID provider, at which this installation is registered as a client.

    Attributes:
        issuer: The issuer; its metadata is below it.
        client_id: The id of this client.
        client_secret: Its secret; None: it is a public client. Excluded from the ``repr``.
        page_url: The public URL of the page, without a slash at its end. The provider redirects to
            ``/api/auth/callback`` below it.
        scopes: The requested scopes.
        user_claim: The claim that is the user's id.
        tenant_claim: The claim that is the tenant, which every user then needs; None: the default tenant.
        name_claim: The claim that is the name to show.
    """

    issuer: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    page_url: str
    scopes: tuple[str, ...] = ("openid", "profile")
    user_claim: str = "sub"
    tenant_claim: str | None = None
    name_claim: str = "name"

    @property
    def redirect_url(self) -> str:
        """Where the provider sends the browser after the sign-in."""
        return f"{self.page_url}/api/auth/callback"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A finished sign-in.

    Attributes:
        user_id: The user.
        name: The name to show; None: the provider has none.
        return_to: The path of the page to return to, below the page's URL.
    """

    user_id: str
    name: str | None
    return_to: str


@dataclass(frozen=True, slots=True)
class _Metadata:
    authorization_endpoint: str
    token_endpoint: str
    posts_secret: bool
    auth: AuthOptions
    verifier: TokenVerifier
    loaded_at: float


class OpenIdClient:
    """Signs users in.

    Args:
        options: The provider.
        auth: Signs the cookie of a sign-in.
        clock: Unix seconds.
    """

    def __init__(self, options: OpenIdOptions, auth: AuthOptions, *, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._auth = auth
        self._clock = clock
        self._http = LimitedHttp(5.0, 262_144)
        self._metadata: _Metadata | None = None
        self._loading = asyncio.Lock()
        self._failed_at = float("-inf")

    async def begin(self, return_to: str) -> tuple[str, str]:
        """Begin a sign-in.

        Args:
            return_to: The path of the page to return to; one that the page does not have is replaced by the list.

        Returns:
            The URL of the provider's page, and the content of the cookie for `finish`.

        Raises:
            ProviderAway: the provider does not answer.
        """
        metadata = await self._load()
        state, nonce, code_verifier = (secrets.token_urlsafe(32) for _ in range(3))
        digest = hashlib.sha256(code_verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._options.client_id,
            "redirect_uri": self._options.redirect_url,
            "scope": " ".join(self._options.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        content = {
            "iss": _PURPOSE,
            "aud": _PURPOSE,
            "exp": int(self._clock() + SIGN_IN_LIMIT_S),
            "state": state,
            "nonce": nonce,
            "verifier": code_verifier,
            "return": return_to if _RETURN.fullmatch(return_to) else "/",
        }
        separator = "&" if "?" in metadata.authorization_endpoint else "?"
        url = f"{metadata.authorization_endpoint}{separator}{urlencode(query)}"
        return url, jwt.encode(content, self._auth.secret, ALGORITHM)

    async def finish(self, query: Mapping[str, str], cookie: str | None) -> SignedIn:
        """Finish a sign-in.

        Args:
            query: The parameters of the request to which the provider has redirected the browser.
            cookie: The cookie of `begin`; None: the browser has none.

        Raises:
            SignInFailed: this browser has not begun this sign-in, the user has cancelled it, or a check failed.
            ProviderAway: the provider does not answer.
        """
        begun = self._read_cookie(cookie)
        if not hmac.compare_digest(query.get("state", "").encode(), begun["state"].encode()):
            raise SignInFailed("the state is not that of this browser")
        if query.get("iss", self._options.issuer) != self._options.issuer:
            raise SignInFailed("the response is of another issuer")
        if "code" not in query:
            raise SignInFailed(f"the provider answers: {query.get('error', 'no code')[:100]!r}")
        metadata = await self._load()
        token = await self._exchange(metadata, query["code"], begun["verifier"])
        try:
            identity = await metadata.verifier.authenticate(token)
        except TokenRejected as error:
            raise SignInFailed(str(error)) from None
        except KeysUnavailable as error:
            raise ProviderAway(str(error)) from None
        # The signature was checked.
        claims = jwt.decode(token, options={"verify_signature": False})
        if not hmac.compare_digest(str(claims.get("nonce")).encode(), begun["nonce"].encode()):
            raise SignInFailed("the nonce is not that of this sign-in")
        if claims.get("azp", self._options.client_id) != self._options.client_id:
            raise SignInFailed("the token was issued to another client")
        return SignedIn(identity.user_id, identity.name, begun["return"])

    def _read_cookie(self, cookie: str | None) -> Mapping[str, Any]:
        try:
            content = jwt.decode(
                cookie or "",
                self._auth.secret,
                algorithms=[ALGORITHM],
                issuer=_PURPOSE,
                audience=_PURPOSE,
                options={"require": ["exp"], "verify_exp": False},
            )
        except jwt.InvalidTokenError:
            raise SignInFailed("this browser has not begun a sign-in") from None
        if content["exp"] <= self._clock():
            raise SignInFailed("the sign-in took too long")
        return content

    async def _exchange(self, metadata: _Metadata, code: str, code_verifier: str) -> str:
        """The ID token for a code."""
        client_id, secret = self._options.client_id, self._options.client_secret
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._options.redirect_url,
            "client_id": client_id,
            "code_verifier": code_verifier,
        }
        login = None
        if secret is not None and metadata.posts_secret:
            form["client_secret"] = secret
        elif secret is not None:
            login = (quote(client_id, safe=""), quote(secret, safe=""))  # RFC 6749 §2.3.1
        try:
            content = json.loads(await self._http.fetch(metadata.token_endpoint, form, login))
            token = content["id_token"]
        except FAILURES as error:
            # A refused code is a bad request; the reason is in the log of the provider.
            raise SignInFailed(f"the provider gives no token: {error!r}") from None
        except (TypeError, KeyError):
            raise SignInFailed("the response of the provider has no id_token") from None
        return str(token)

    async def _load(self) -> _Metadata:
        """The provider's metadata (OpenID Connect Discovery §4). Sign-ins that begin together share a load."""
        async with self._loading:
            known, now = self._metadata, time.monotonic()
            if known is not None and now - known.loaded_at < _METADATA_AGE_S:
                return known
            if now - self._failed_at >= _PAUSE_S:
                try:
                    url = f"{self._options.issuer.rstrip('/')}/.well-known/openid-configuration"
                    self._metadata = self._read_metadata(json.loads(await self._http.fetch(url)), known, now)
                except FAILURES as error:
                    self._failed_at = time.monotonic()
                    logger.warning("the metadata of the identity provider cannot be loaded: %r", error)
            if self._metadata is None:
                raise ProviderAway(f"the metadata of {self._options.issuer} cannot be loaded")
            return self._metadata

    def _read_metadata(self, content: Any, known: _Metadata | None, now: float) -> _Metadata:
        options = self._options
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if not isinstance(content, dict) or content.get("issuer") != options.issuer:
            raise ValueError("the metadata is not of this issuer")
        urls = [str(content.get(name)) for name in names]
        if not all(is_safe_url(url) for url in urls):
            raise ValueError(f"the metadata must have https URLs: {', '.join(names)}")
        provider = ProviderOptions(
            issuer=options.issuer,
            audiences=(options.client_id,),
            jwks_url=urls[2],
            user_claim=options.user_claim,
            name_claim=options.name_claim,
            tenant_claim=options.tenant_claim,
        )
        auth = AuthOptions(self._auth.secret, self._auth.leeway_s, provider)
        # A new verifier would load the keys again.
        same = known is not None and known.auth == auth
        verifier = known.verifier if known is not None and same else TokenVerifier(auth, clock=self._clock)
        methods = content.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        posts = isinstance(methods, list) and "client_secret_basic" not in methods
        return _Metadata(urls[0], urls[1], posts, auth, verifier, now)
