"""Scopes of service tokens: what a back end may do with its token, in every chat and for every user.

Layer: auth. Source: RFC 6749 §3.3 (the form of the claim), RFC 8693 §4.2.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final


class ServiceScope(StrEnum):
    """What a service token may be limited to."""

    READ = "read"
    WRITE = "write"
    EVENTS = "events"
    ADMIN = "admin"


#: The claim of a service token without limits, and the prefix of its parts: ``service:read``.
SERVICE: Final = "service"
ALL: Final = frozenset(ServiceScope)
NONE: Final[frozenset[ServiceScope]] = frozenset()


def claim_of(scope: ServiceScope) -> str:
    """The name of a scope in a token."""
    return f"{SERVICE}:{scope.value}"


_NAMES: Final = {claim_of(scope): scope for scope in ServiceScope}


def encode_scopes(scopes: Collection[ServiceScope]) -> str:
    """The claim of a service token."""
    return SERVICE if set(scopes) == ALL else " ".join(claim_of(scope) for scope in ServiceScope if scope in scopes)


def decode_scopes(claim: object) -> frozenset[ServiceScope]:
    """The scopes in a claim, a string or a list of strings; none in the token of a user. Other names are ignored."""
    names = claim.split(" ") if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return frozenset(_NAMES[name] for name in names if isinstance(name, str) and name in _NAMES)
