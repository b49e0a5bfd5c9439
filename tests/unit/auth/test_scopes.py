"""Scopes of service tokens in the claim."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.auth.options import AuthOptions, ProviderOptions
from roomcast.auth.scopes import ALL, NONE, ServiceScope, decode_scopes, encode_scopes
from roomcast.auth.tokens import TokenIssuer, TokenVerifier
from support.key_server import AUDIENCE, ISSUER, pem, sign

OPTIONS = AuthOptions("a secret of thirty-two bytes or more")


@given(st.frozensets(st.sampled_from(ServiceScope)))
def test_a_service_token_has_the_scopes_that_it_was_issued_with(scopes: frozenset[ServiceScope]) -> None:
    identity = TokenVerifier(OPTIONS).verify(TokenIssuer(OPTIONS).issue("billing", ttl_s=60, scopes=scopes))
    assert (identity.scopes, identity.service) == (scopes, bool(scopes))


def test_a_token_without_limits_has_the_claim_of_earlier_versions() -> None:
    assert encode_scopes(ALL) == "service"
    assert TokenVerifier(OPTIONS).verify(TokenIssuer(OPTIONS).issue("x", ttl_s=60, service=True)).scopes == ALL


@pytest.mark.parametrize(
    "claim",
    [None, "", "read", "services", "service:", "service:READ", "service:all", " service", "SERVICE", 7, {"service": 1}],
)
def test_other_names_grant_nothing(claim: object) -> None:
    assert decode_scopes(claim) == NONE


@given(st.recursive(st.none() | st.text() | st.integers(), st.lists))
def test_arbitrary_claims_are_decoded_without_an_error(claim: object) -> None:
    assert decode_scopes(claim) <= ALL


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [
        ("openid service:read profile", {ServiceScope.READ}),
        (["service:read", "service:write", 7], {ServiceScope.READ, ServiceScope.WRITE}),
        ("service", set()),
        (["service"], set()),
    ],
)
def test_a_provider_grants_single_scopes_if_a_claim_is_configured(claim: object, scopes: set[ServiceScope]) -> None:
    for name, granted in (("roles", scopes), (None, set())):
        provider = ProviderOptions(issuer=ISSUER, audiences=(AUDIENCE,), public_keys=pem("RS256-a"), scope_claim=name)
        verifier = TokenVerifier(AuthOptions(OPTIONS.secret, provider=provider), clock=lambda: 1_800_000_000.0)
        assert verifier.verify(sign("RS256-a", roles=claim, scope="service")).scopes == granted
