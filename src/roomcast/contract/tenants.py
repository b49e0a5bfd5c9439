"""Tenants: inside the server an id is *qualified* with its tenant, and at every edge it is local.

A qualified id is ``<tenant>U+001F<local id>``. No local id has a control character, so a peer cannot write one. Ids of
the default tenant, which is the only one unless tokens name others, are not qualified: both forms are the same.

The types `ChatId` and `UserId` translate: in a request or an event of a client they qualify the id with the tenant of
`acting_in` or `act_in`, and every payload that the server encodes has local ids. Code between the edges treats ids as
opaque.

Layer: contract. Source: docs/decisions/0016-tenants.md.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Annotated, Any, Final

from pydantic import PlainSerializer, StringConstraints, ValidatorFunctionWrapHandler, WrapValidator

#: Between the tenant and the local id.
SEPARATOR: Final = "\x1f"
#: The tenant of tokens that name none, and the only one while authentication is off.
DEFAULT_TENANT: Final = ""
#: A UUID fits. A qualified id has at most `MAX_QUALIFIED_CHARS`, the size of the columns.
MAX_TENANT_CHARS: Final = 36
MAX_QUALIFIED_CHARS: Final = 128
TENANT: Final = r"[A-Za-z0-9._-]{1,36}"

#: Name of a tenant.
TenantId = Annotated[str, StringConstraints(strict=True, pattern=f"^{TENANT}$")]

# None: ids are values of the server, which are qualified already.
_ACTING: Final[ContextVar[str | None]] = ContextVar("tenant", default=DEFAULT_TENANT)


def act_in(tenant: str) -> None:
    """Qualify the ids of the current request with this tenant. The request must have a task of its own."""
    _ACTING.set(tenant)


class acting_in:  # noqa: N801 - a context manager; `contextlib.contextmanager` would take four times as long
    """Qualify the ids that are read in this block.

    Args:
        tenant: The tenant; None: the block builds payloads from ids of the server, which stay as they are.
    """

    __slots__ = ("_tenant", "_token")

    def __init__(self, tenant: str | None) -> None:
        self._tenant = tenant

    def __enter__(self) -> None:
        self._token = _ACTING.set(self._tenant)

    def __exit__(self, *_error: object) -> None:
        _ACTING.reset(self._token)


def qualify(tenant: str, local: str) -> str:
    """The id inside the server.

    Raises:
        ValueError: the id is too long for this tenant.
    """
    if not tenant:
        return local
    qualified = f"{tenant}{SEPARATOR}{local}"
    if len(qualified) > MAX_QUALIFIED_CHARS:
        raise ValueError(f"must have at most {MAX_QUALIFIED_CHARS - 1 - len(tenant)} characters in this tenant")
    return qualified


def tenant_of(qualified: str) -> str:
    """The tenant of an id of the server."""
    return qualified.rpartition(SEPARATOR)[0]


def local_id(qualified: str) -> str:
    """The id as clients know it."""
    return qualified.rpartition(SEPARATOR)[2]


def _read(value: Any, handler: ValidatorFunctionWrapHandler) -> str:
    tenant = _ACTING.get()
    if tenant is None and isinstance(value, str) and SEPARATOR in value:
        handler(local_id(value))
        return value
    local: str = handler(value)
    return qualify(tenant or DEFAULT_TENANT, local)


#: Reads an id of a peer as a qualified one.
QUALIFIED: Final = WrapValidator(_read)


def localized(pattern: str, max_chars: int) -> PlainSerializer:
    """Writes the local id. The arguments describe it in schemas."""
    text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=max_chars, pattern=pattern)]
    return PlainSerializer(local_id, return_type=text)
