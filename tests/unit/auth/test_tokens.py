"""Access tokens, including the known attacks on JSON Web Tokens."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.auth.errors import TokenExpired, TokenRejected, WeakSecret
from roomcast.auth.options import ALGORITHM, AuthOptions
from roomcast.auth.tokens import Identity, TokenIssuer, TokenVerifier

SECRET = "a secret of thirty-two bytes or more"
NOW = 1_800_000_000.0
OPTIONS = AuthOptions(SECRET)


def issue(**changes: Any) -> str:
    claims = {"iss": "roomcast", "aud": "roomcast", "sub": "ann", "exp": NOW + 60, **changes}
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, SECRET, algorithm=ALGORITHM)


def verify(token: object, *, now: float = NOW, secret: str = SECRET) -> Identity:
    return TokenVerifier(AuthOptions(secret), clock=lambda: now).verify(token)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_an_issued_token_contains_its_user_and_expiry() -> None:
    token = TokenIssuer(OPTIONS, clock=lambda: NOW).issue("ann", ttl_s=60)
    assert verify(token) == Identity("ann", NOW + 60)


def test_a_service_token_is_verified_as_one() -> None:
    token = TokenIssuer(OPTIONS, clock=lambda: NOW).issue("billing", ttl_s=60, service=True)
    assert verify(token).service


def test_a_token_is_valid_until_its_expiry_plus_the_leeway() -> None:
    assert verify(issue(), now=NOW + 64.9).user_id == "ann"
    with pytest.raises(TokenExpired):
        verify(issue(), now=NOW + 65)


def test_a_token_that_is_checked_again_expires_and_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = NOW
    verifier, token = TokenVerifier(OPTIONS, clock=lambda: now), issue()
    first = verifier.verify(token)
    monkeypatch.setattr(jwt, "decode", None)
    assert verifier.verify(token) == first
    now = NOW + 65
    with pytest.raises(TokenExpired):
        verifier.verify(token)


def test_a_token_that_is_not_valid_yet_is_accepted_later_by_the_same_verifier() -> None:
    now = NOW
    verifier, token = TokenVerifier(OPTIONS, clock=lambda: now), issue(nbf=NOW + 6)
    with pytest.raises(TokenRejected):
        verifier.verify(token)
    now = NOW + 1
    assert verifier.verify(token).user_id == "ann"


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_of_a_machine_whose_clock_is_ahead_is_accepted_within_the_same_leeway(claim: str) -> None:
    assert verify(issue(**{claim: NOW + 5})).user_id == "ann"
    with pytest.raises(TokenRejected, match="clock"):
        verify(issue(**{claim: NOW + 5.1}))


@pytest.mark.parametrize("claim", ["nbf", "iat", "exp"])
@pytest.mark.parametrize("value", ["soon", "1_0", True, [], float("inf"), float("nan"), 10**400, -(10**400)])
def test_a_time_that_is_not_a_number_is_rejected(claim: str, value: object) -> None:
    with pytest.raises(TokenRejected, match=claim):
        verify(issue(**{claim: value}))


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "exp"])
def test_a_token_without_a_required_claim_is_rejected(claim: str) -> None:
    with pytest.raises(TokenRejected, match=claim):
        verify(issue(**{claim: None}))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "somebody"},
        {"aud": "somebody"},
        {"aud": ["somebody", "else"]},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "\u200b"},
        {"sub": "x" * 129},
        {"nbf": 99_999_999_999},
    ],
)
def test_a_token_with_a_wrong_claim_is_rejected(changes: dict[str, Any]) -> None:
    with pytest.raises(TokenRejected):
        verify(issue(**changes))


def test_a_token_of_another_secret_is_rejected() -> None:
    with pytest.raises(TokenRejected):
        verify(issue(), secret="another secret of thirty-two bytes!!")


@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512", "RS256", "ES256"])
def test_an_algorithm_chosen_by_the_token_is_rejected(algorithm: str) -> None:
    signed = issue()
    forged = ".".join([part({"alg": algorithm, "typ": "JWT"}), signed.split(".")[1], signed.split(".")[2]])
    with pytest.raises(TokenRejected):
        verify(forged)
    with pytest.raises(TokenRejected):
        verify(forged.rsplit(".", 1)[0] + ".")


@pytest.mark.parametrize("header", [{"kid": "../../etc/passwd"}, {"crit": ["x"], "x": 1}, {"jku": "http://x"}])
def test_a_header_that_selects_a_key_or_an_extension_is_rejected(header: dict[str, Any]) -> None:
    token = jwt.encode({"sub": "ann", "exp": NOW + 60}, SECRET, algorithm=ALGORITHM, headers=header)
    with pytest.raises(TokenRejected):
        verify(token)


@pytest.mark.parametrize("token", [None, "", 7, {"token": 1}, [], "a.b.c", "é" * 10, "x" * 5_000, b"bytes"])
def test_a_value_that_is_not_a_token_is_rejected(token: object) -> None:
    with pytest.raises(TokenRejected):
        verify(token)


@given(st.text(max_size=200))
def test_arbitrary_text_raises_token_rejected_and_no_other_error(text: str) -> None:
    with pytest.raises(TokenRejected):
        verify(text)


def test_a_rejection_does_not_repeat_the_token() -> None:
    token = issue(iss="somebody")
    with pytest.raises(TokenRejected) as rejected:
        verify(token)
    assert token not in str(rejected.value)


def test_a_short_secret_is_rejected_and_the_repr_shows_no_secret() -> None:
    with pytest.raises(WeakSecret, match="32"):
        AuthOptions("short")
    assert SECRET not in repr(OPTIONS)


@pytest.mark.parametrize(("user_id", "ttl_s"), [("", 60.0), ("a\0b", 60.0), ("ann", 0.0), ("ann", -1.0)])
def test_no_token_is_issued_without_a_valid_user_id_and_lifetime(user_id: str, ttl_s: float) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        TokenIssuer(OPTIONS).issue(user_id, ttl_s=ttl_s)
