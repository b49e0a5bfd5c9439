"""The routes of the sign-in by OpenID Connect, and of the session of a browser.

The cookies are never sent by requests that pages of other sites make (`SameSite`), and scripts cannot read them. The
routes exist only if a provider is configured.

Layer: api. Source: RFC 6265bis (cookies), RFC 9700 (OAuth 2.0 security).
"""

from __future__ import annotations

import logging
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from roomcast.api.routes.messages import PROBLEMS, as_json, services_of
from roomcast.api.services import SignIn
from roomcast.auth.browser_sessions import SESSION_S
from roomcast.auth.errors import TokenRejected
from roomcast.auth.open_id import SIGN_IN_LIMIT_S, ProviderAway, SignInFailed
from roomcast.contract import rest

logger = logging.getLogger(__name__)

sign_in_router = APIRouter(responses=PROBLEMS, tags=["sessions"])

_SIGN_IN: Final = "roomcast-sign-in"
_SESSION: Final = "roomcast-session"
#: Where the page shows that a sign-in failed.
_FAILED: Final = "/?sign-in=failed"
_AWAY: Final = "the identity provider does not answer; try again soon"
_NO_STORE: Final = {"Cache-Control": "no-store"}


def _sign_in(request: Request) -> SignIn:
    sign_in = services_of(request).sign_in
    if sign_in is None:
        raise HTTPException(404)
    return sign_in


CurrentSignIn = Annotated[SignIn, Depends(_sign_in)]


def _is_secure(sign_in: SignIn) -> bool:
    return urlsplit(sign_in.page_url).scheme == "https"


def _name(sign_in: SignIn, name: str) -> str:
    # No other host, and no plain connection, can set a cookie with this prefix.
    return f"__Host-{name}" if _is_secure(sign_in) else name


def _set(
    response: Response, sign_in: SignIn, name: str, value: str, max_age_s: float, same_site: Literal["lax", "strict"]
) -> None:
    response.set_cookie(
        _name(sign_in, name),
        value,
        max_age=int(max_age_s),
        path="/",
        secure=_is_secure(sign_in),
        httponly=True,
        samesite=same_site,
    )


@sign_in_router.get("/api/auth/login", status_code=303)
async def begin_sign_in(
    sign_in: CurrentSignIn, return_to: Annotated[str, Query(alias="return", max_length=512)] = "/"
) -> Response:
    """Send the browser to the identity provider. `return` is the path of a chat or an invite link, or `/`."""
    try:
        url, cookie = await sign_in.provider.begin(return_to)
    except ProviderAway as error:
        logger.warning("sign-in is unavailable: %s", error)
        raise HTTPException(503, _AWAY, {"Retry-After": "5"}) from None
    response = RedirectResponse(url, 303, _NO_STORE)
    # The provider's redirect is a navigation from another site.
    _set(response, sign_in, _SIGN_IN, cookie, SIGN_IN_LIMIT_S, "lax")
    return response


@sign_in_router.get("/api/auth/callback", status_code=303)
async def finish_sign_in(request: Request, sign_in: CurrentSignIn) -> Response:
    """Finish a sign-in, and send the browser to the page."""
    try:
        signed_in = await sign_in.provider.finish(request.query_params, request.cookies.get(_name(sign_in, _SIGN_IN)))
    except (SignInFailed, ProviderAway) as error:
        logger.warning("a sign-in failed: %s", error)
        response = RedirectResponse(sign_in.page_url + _FAILED, 303, _NO_STORE)
    else:
        response = RedirectResponse(sign_in.page_url + signed_in.return_to, 303, _NO_STORE)
        cookie = sign_in.sessions.begin(signed_in.user_id, signed_in.name)
        _set(response, sign_in, _SESSION, cookie, SESSION_S, "strict")
    _set(response, sign_in, _SIGN_IN, "", 0, "lax")
    return response


@sign_in_router.post("/api/auth/token", response_model=rest.SessionToken)
async def issue_token(request: Request, sign_in: CurrentSignIn) -> Response:
    """Issue a short-lived access token for the session of the browser."""
    try:
        session = sign_in.sessions.read(request.cookies.get(_name(sign_in, _SESSION)))
    except TokenRejected as error:
        raise HTTPException(401, str(error)) from None
    token, expires_in = sign_in.sessions.issue_token(session)
    return as_json(rest.SessionToken(token=token, expires_in=expires_in))


@sign_in_router.post("/api/auth/logout", status_code=204)
async def end_session(request: Request, sign_in: CurrentSignIn) -> Response:
    """End the session of the browser, and with it its access tokens. Their sockets are closed."""
    response = Response(status_code=204)
    try:
        session = sign_in.sessions.read(request.cookies.get(_name(sign_in, _SESSION)))
    except TokenRejected:
        return response
    await services_of(request).sessions.end_token(session.digest, session.expires_at)
    _set(response, sign_in, _SESSION, "", 0, "strict")
    return response
