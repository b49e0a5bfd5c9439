"""Tokens of an identity provider, with the attacks of RFC 8725 and RFC 9068."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.auth.errors import InvalidOptions, TokenExpired, TokenRejected
from roomcast.auth.keys import read_key_set
from roomcast.auth.options import AuthOptions, ProviderOptions
from roomcast.auth.tokens import MAX_PROVIDER_TOKEN_CHARS, Identity, TokenIssuer, TokenVerifier
from support.key_server import AUDIENCE, ISSUER, claims, jwk, pem, private_key, sign

SECRET = "a secret of thirty-two bytes or more"
SHARED = "the secret of the host application, 32 bytes"
NOW = 1_800_000_000.0
BASE = {"issuer": ISSUER, "audiences": (AUDIENCE,)}
KEYS = ("RS256-a", "ES256-a", "EdDSA-a")


def verifier(now: float = NOW, **options: Any) -> TokenVerifier:
    provider = ProviderOptions(**{**BASE, **(options or {"public_keys": "".join(map(pem, KEYS))})})
    return TokenVerifier(AuthOptions(SECRET, provider=provider), clock=lambda: now)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed_by_hmac(key: bytes, header: dict[str, Any], content: dict[str, Any]) -> str:
    signed = f"{part(header)}.{part(content)}"
    mac = hmac.new(key, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.mark.parametrize("name", KEYS)
def test_a_token_of_each_type_of_key_is_accepted(name: str) -> None:
    token = sign(name, name="Ann Example")
    assert verifier().verify(token) == Identity("ann", 4_000_000_000.0, name="Ann Example")


def test_the_secret_of_a_host_application_signs_tokens_beside_the_own_ones() -> None:
    both = verifier(secret=SHARED)
    assert both.verify(jwt.encode(claims(), SHARED, "HS256")).user_id == "ann"
    own = TokenIssuer(AuthOptions(SECRET), clock=lambda: NOW).issue("billing", ttl_s=60, service=True)
    assert both.verify(own).service
    for issuer, key in (("roomcast", SHARED), (ISSUER, SECRET)):
        with pytest.raises(TokenRejected):
            both.verify(jwt.encode(claims(iss=issuer), key, "HS256"))


def test_a_provider_cannot_issue_a_service_token() -> None:
    assert not verifier().verify(sign("RS256-a", scope="service")).service


@pytest.mark.parametrize("key", [pem("RS256-a").encode(), pem("RS256-a").strip().encode(), b"", SECRET.encode()])
@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "none", "None", "hs256"])
def test_a_public_key_used_as_the_secret_of_an_hmac_is_rejected(key: bytes, algorithm: str) -> None:
    with pytest.raises(TokenRejected):
        verifier().verify(signed_by_hmac(key, {"alg": algorithm, "kid": "RS256-a"}, claims()))


@pytest.mark.parametrize("signature", ["", "AA", "x"])
@pytest.mark.parametrize("algorithm", ["none", "NONE", "nOnE", "", None, 7, ["RS256"]])
def test_a_token_without_a_signature_is_rejected(algorithm: object, signature: str) -> None:
    with pytest.raises(TokenRejected):
        verifier().verify(f"{part({'alg': algorithm})}.{part(claims())}.{signature}")


def test_an_algorithm_that_is_not_allowed_is_rejected_although_the_key_could_use_it() -> None:
    token = jwt.encode(claims(), private_key("RS256-a"), "RS512")
    assert verifier().verify(token).user_id == "ann"
    with pytest.raises(TokenRejected, match="algorithm"):
        verifier(public_keys=pem("RS256-a"), algorithms=("RS256",)).verify(token)


@pytest.mark.parametrize(
    "changes",
    [
        *({"aud": audience} for audience in ("other", ["other"], [], "", None, "chat2", ["chat", 7])),
        *({"iss": issuer} for issuer in ("https://id.example", ISSUER + "x", None, [ISSUER], 7, "roomcast")),
        *({"sub": user} for user in ("", None, 7, ["ann"], "a\nb", "x" * 129, "\u200b")),
        *({"exp": time} for time in (None, "soon", float("nan"), True, NOW - 5)),
        *({name: NOW + 6} for name in ("nbf", "iat")),
    ],
)
def test_a_token_with_a_wrong_claim_is_rejected(changes: dict[str, Any]) -> None:
    with pytest.raises(TokenRejected):
        verifier().verify(sign("RS256-a", **changes))


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"jwk": jwk("RS256-evil")},
        {"crit": ["b64"], "b64": True},
        {"typ": "logout+jwt"},
        {"typ": "dpop+jwt"},
        {"typ": 7},
        {"kid": ""},
        {"kid": "x" * 257},
    ],
)
def test_a_header_with_a_key_an_extension_or_another_purpose_is_rejected(header: dict[str, Any]) -> None:
    token = sign("RS256-evil" if "jwk" in header else "RS256-a", header=header)
    with pytest.raises(TokenRejected):
        verifier().verify(token)


@pytest.mark.parametrize("kid", ["../../etc/passwd", "x' OR '1'='1", "/dev/null", "| id", "RS256-a\0"])
def test_the_id_of_a_key_is_compared_and_nothing_else(kid: str) -> None:
    # A file has keys without ids: the signature decides. With an empty key such a token must not be accepted.
    assert verifier().verify(sign("RS256-a", header={"kid": kid})).user_id == "ann"
    with pytest.raises(TokenRejected):
        verifier().verify(signed_by_hmac(b"", {"alg": "HS256", "kid": kid}, claims()))


@pytest.mark.parametrize("kind", ["at+jwt", "JWT", "application/at+jwt", "AT+JWT"])
def test_access_tokens_are_accepted_by_their_type(kind: str) -> None:
    assert verifier().verify(sign("RS256-a", header={"typ": kind})).user_id == "ann"


def test_the_length_of_a_token_is_limited_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert verifier().verify(sign("RS256-a", groups=["x" * 4_000])).user_id == "ann"
    # An own token is short, whatever its issuer claims.
    with pytest.raises(TokenRejected, match="4096"):
        verifier().verify(jwt.encode(claims(iss="roomcast", aud="roomcast", x="x" * 4_000), SECRET, "HS256"))
    huge = sign("RS256-a", groups=["x" * MAX_PROVIDER_TOKEN_CHARS])
    monkeypatch.setattr(jwt, "get_unverified_header", None)
    with pytest.raises(TokenRejected, match="longer"):
        verifier().verify(huge)


def test_nested_json_is_rejected() -> None:
    deep = base64.urlsafe_b64encode(b"[" * 3_000).rstrip(b"=").decode()
    for token in (f"{deep}.{part(claims())}.AA", f"{part({'alg': 'RS256'})}.{deep}.AA"):
        with pytest.raises(TokenRejected):
            verifier().verify(token)


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_arbitrary_text_raises_token_rejected_and_no_other_error(header: str, content: str, signature: str) -> None:
    with pytest.raises(TokenRejected):
        verifier().verify(f"{part(header)}.{part({**claims(), 'x': content})}.{signature}")


@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "x"]), st.none() | st.integers() | st.text() | st.lists(st.text())
    )
)
def test_arbitrary_headers_are_rejected(header: dict[str, Any]) -> None:
    with pytest.raises(TokenRejected):
        verifier().verify(f"{part(header)}.{part(claims())}.AAAA")


def test_claims_are_mapped_by_configuration() -> None:
    mapped = verifier(public_keys=pem("RS256-a"), user_claim="email", name_claim="nick")
    found = mapped.verify(sign("RS256-a", email="ann@example.org", nick="Ann", name="x", sub=7))
    assert (found.user_id, found.name) == ("ann@example.org", "Ann")
    with pytest.raises(TokenRejected, match="email"):
        mapped.verify(sign("RS256-a"))


@pytest.mark.parametrize("name", ["", 7, None, "a\nb", "x" * 200, {"a": 1}])
def test_a_name_that_cannot_be_shown_is_left_out(name: object) -> None:
    assert verifier().verify(sign("RS256-a", name=name)).name is None


def test_an_expired_token_is_rejected_when_it_is_checked_again() -> None:
    now = NOW
    provider = ProviderOptions(**BASE, public_keys=pem("RS256-a"))
    checked = TokenVerifier(AuthOptions(SECRET, provider=provider), clock=lambda: now)
    token = sign("RS256-a", exp=NOW + 10)
    assert checked.verify(token).user_id == "ann"
    now = NOW + 15
    with pytest.raises(TokenExpired):
        checked.verify(token)


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"public_keys": pem("RS256-a"), "algorithms": ("HS256",)}, "algorithms"),
        ({"public_keys": pem("RS256-a"), "algorithms": ("none",)}, "algorithms"),
        ({"secret": SHARED, "algorithms": ("RS256",)}, "algorithms"),
        ({"secret": SHARED, "algorithms": ("HS256", "HS512")}, "secret"),
        ({"secret": "short"}, "secret"),
        ({}, "jwks_url"),
        ({"secret": SHARED, "jwks_url": "https://x/keys"}, "jwks_url"),
        ({"jwks_url": "http://id.example/keys"}, "jwks_url"),
        ({"jwks_url": "http://127.0.0.1.example/keys"}, "jwks_url"),
        ({"jwks_url": "file:///etc/passwd"}, "jwks_url"),
        ({"secret": SHARED, "issuer": "roomcast"}, "issuer"),
        ({"secret": SHARED, "audiences": ()}, "audiences"),
    ],
)
def test_options_that_would_accept_forged_tokens_are_refused(options: dict[str, Any], option: str) -> None:
    with pytest.raises(InvalidOptions) as refused:
        ProviderOptions(**{**BASE, **options})
    assert refused.value.option == option


@pytest.mark.parametrize(
    "text",
    [
        "no key",
        pem("RS256-short"),
        "".join(pem(f"EdDSA-{number}") for number in range(5)),
        pem("RS256-a").replace("PUBLIC", "PRIVATE"),
    ],
)
def test_a_file_without_a_usable_public_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidOptions):
        verifier(public_keys=text)


ALL = frozenset({"RS256", "PS256", "ES256", "EdDSA"})


def read(*entries: object) -> dict[str | None, frozenset[str]]:
    return {key.kid: key.algorithms for key in read_key_set(json.dumps({"keys": entries}).encode(), ALL)}


def test_a_key_of_a_set_has_the_allowed_algorithms_of_its_type_and_its_own() -> None:
    assert read(jwk("RS256-a"), jwk("ES256-a"), jwk("EdDSA-a"), jwk("RS256-b", alg="RS256")) == {
        "RS256-a": {"RS256", "PS256"},
        "ES256-a": {"ES256"},
        "EdDSA-a": {"EdDSA"},
        "RS256-b": {"RS256"},
    }


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "s"},
        jwt.get_algorithm_by_name("RS256").to_jwk(private_key("RS256-a"), as_dict=True) | {"kid": "private"},
        jwk("RS256-short"),
        jwk("RS256-a", use="enc"),
        jwk("RS256-a", key_ops=["sign"]),
        jwk("RS256-a", key_ops=7),
        jwk("RS256-a", alg="ES256"),
        jwk("RS256-a", alg=7),
        jwk("RS256-a", kid=7),
        jwk("ES256-a", crv="P-521"),
        jwk("RS256-a", n="!"),
        {"kty": "RSA"},
        {"kty": 7},
        "key",
        None,
    ],
)
def test_an_entry_that_cannot_verify_is_left_out(entry: object) -> None:
    assert list(read(entry, jwk("EdDSA-a"))) == ["EdDSA-a"]
    with pytest.raises(ValueError, match="no public key"):
        read(entry)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"keys": 7}', b'{"keys": {}}', b"\xff", b"[" * 10_000])
def test_what_is_no_key_set_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="Key"):
        read_key_set(content, ALL)
