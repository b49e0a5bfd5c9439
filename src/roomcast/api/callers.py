"""Who sent a request: the bearer token, or anyone while authentication is off.

Layer: api. Source: RFC 6750 (bearer tokens).
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from roomcast.auth.tokens import TokenRejected, TokenVerifier
from roomcast.chat.model import ANYONE, Caller

_CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}


def identify(verifier: TokenVerifier | None, authorization: str | None) -> Caller:
    """The caller behind an Authorization header.

    Args:
        verifier: None: authentication is off.
        authorization: The header, if there is one.

    Raises:
        HTTPException: 401; the header is missing or its token is not good.
    """
    if verifier is None:
        return ANYONE
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise HTTPException(401, "send your token in the header: Authorization: Bearer …", _CHALLENGE)
    try:
        identity = verifier.verify(token.strip())
    except TokenRejected as error:
        raise HTTPException(401, str(error), _CHALLENGE) from None
    return Caller(None if identity.service else identity.user_id, service=identity.service)


#: Describes the scheme in the OpenAPI document; `identify` reads the header, and says more when it refuses.
_SCHEME: Final = HTTPBearer(auto_error=False, description="An access token; not needed while authentication is off.")


async def _caller(request: Request, _described: Annotated[object, Security(_SCHEME)]) -> Caller:
    return identify(request.app.state.services.verifier, request.headers.get("authorization"))


async def _service(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
    if not caller.unrestricted:
        raise HTTPException(403, "this needs a service token")
    return caller


#: The caller of a route.
CallerOf = Annotated[Caller, Depends(_caller)]
#: The caller of a route that is for other back ends only.
ServiceOf = Annotated[Caller, Depends(_service)]
