"""Determines the caller of a request from its bearer token. Without authentication the caller is anonymous.

Layer: api. Source: RFC 6750 (bearer tokens).
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from roomcast.auth.errors import KeysUnavailable, TokenRejected
from roomcast.auth.scopes import ServiceScope, claim_of
from roomcast.auth.tokens import Identity, TokenVerifier
from roomcast.chat.model import ANYONE, Caller
from roomcast.chat.policies.rates import LimitName
from roomcast.contract.tenants import DEFAULT_TENANT, act_in
from roomcast.observability.log_context import add_to_log_context

_CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}


async def authenticate(verifier: TokenVerifier | None, authorization: str | None, needed: ServiceScope) -> Caller:
    """Authenticate an Authorization header, and check the scope of a service token.

    Args:
        verifier: Verifies the token; None: authentication is off.
        authorization: The value of the header; None: the header is absent.
        needed: The scope that a service token must have. A user's rights are decided by the use cases.

    Raises:
        HTTPException: 401, the header is missing or its token is invalid; 403, a service token lacks the scope; 503,
            the keys of the identity provider cannot be loaded.
    """
    if verifier is None:
        act_in(ANYONE.tenant)
        return ANYONE
    identity = await identify(verifier, authorization)
    if not identity.scopes:
        return Caller(identity.user_id)
    if needed not in identity.scopes:
        missing = claim_of(needed)
        challenge = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{missing}"'}
        raise HTTPException(403, f"the service token lacks the scope {missing}; create one that has it", challenge)
    return Caller(service=True, service_tenant=identity.tenant)


async def identify(verifier: TokenVerifier, authorization: str | None) -> Identity:
    """Verify the token in an Authorization header. Further log lines of the request have the user's id.

    Args:
        verifier: Verifies the token.
        authorization: The value of the header; None: the header is absent.

    Raises:
        HTTPException: 401 and 503 as for `authenticate`.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise HTTPException(401, "send an access token in the header: Authorization: Bearer …", _CHALLENGE)
    try:
        identity = await verifier.authenticate(token.strip())
    except TokenRejected as error:
        raise HTTPException(401, str(error), _CHALLENGE) from None
    except KeysUnavailable as error:
        raise HTTPException(503, str(error), {"Retry-After": "5"}) from None
    # Further ids of the request are those of this tenant.
    act_in(identity.tenant)
    add_to_log_context(user_id=identity.user_id)
    return identity


#: Documents the scheme in OpenAPI only; `authenticate` reads the header and gives more precise errors.
_SCHEME: Final = HTTPBearer(auto_error=False, description="An access token. Not required while authentication is off.")


def require_service(caller: Caller) -> None:
    """Check that a caller is a service.

    Raises:
        HTTPException: 403, it is a user.
    """
    if not caller.unrestricted:
        raise HTTPException(403, "this endpoint requires a service token")


def require_installation(caller: Caller) -> None:
    """Check that a caller is a service that is bound to no tenant.

    Raises:
        HTTPException: 403, it is not.
    """
    require_service(caller)
    if caller.tenant != DEFAULT_TENANT:
        raise HTTPException(403, "this endpoint requires a service token without a tenant")


async def _caller(request: Request, _described: Annotated[object, Security(_SCHEME)]) -> Caller:
    add_to_log_context(chat_id=request.path_params.get("chat_id"))
    # By method, so that no route can be without a scope.
    needed = ServiceScope.READ if request.method in {"GET", "HEAD"} else ServiceScope.WRITE
    caller = await _authenticate(request, needed)
    _charge(request, caller.restricted_user_id)
    return caller


def _charge(request: Request, user_id: str | None) -> None:
    limiter = request.app.state.services.limiter
    if limiter is not None and user_id is not None:
        limiter.charge((LimitName.REQUESTS, user_id, 1))


async def _authenticate(request: Request, needed: ServiceScope) -> Caller:
    return await authenticate(request.app.state.services.verifier, request.headers.get("authorization"), needed)


async def _identity(request: Request, _described: Annotated[object, Security(_SCHEME)]) -> Identity | None:
    verifier: TokenVerifier | None = request.app.state.services.verifier
    if verifier is None:
        return None
    identity = await identify(verifier, request.headers.get("authorization"))
    _charge(request, None if identity.service else identity.user_id)
    return identity


async def _administrator(request: Request, _described: Annotated[object, Security(_SCHEME)]) -> Caller:
    caller = await _authenticate(request, ServiceScope.ADMIN)
    require_service(caller)
    return caller


async def _events_sender(request: Request, _described: Annotated[object, Security(_SCHEME)]) -> Caller:
    caller = await _authenticate(request, ServiceScope.EVENTS)
    require_service(caller)
    return caller


async def _own(request: Request, _described: Annotated[object, Security(_SCHEME)]) -> Caller:
    caller = await _authenticate(request, ServiceScope.ADMIN)
    _charge(request, caller.restricted_user_id)
    return caller


#: A route parameter: the caller, a user or a service token with the scope ``admin``.
OwnCaller = Annotated[Caller, Depends(_own)]
#: A route parameter: the caller. A service token needs the scope ``read`` for GET, and ``write`` for other methods.
CurrentCaller = Annotated[Caller, Depends(_caller)]
#: A route parameter: the caller, which must have a service token with the scope ``admin``.
AdminCaller = Annotated[Caller, Depends(_administrator)]
#: A route parameter: the caller, which must have a service token with the scope ``events``.
EventsCaller = Annotated[Caller, Depends(_events_sender)]


async def _installation(request: Request, _described: Annotated[object, Security(_SCHEME)]) -> Caller:
    caller = await _authenticate(request, ServiceScope.ADMIN)
    require_installation(caller)
    return caller


#: A route parameter: the caller, a gateway. Its ids are qualified.
GatewayCaller = Annotated[Caller, Depends(_installation)]
#: A route parameter: the content of the caller's token; None: authentication is off. Its scopes are not checked.
CurrentIdentity = Annotated[Identity | None, Depends(_identity)]
