"""The key of the server and its signatures."""

from __future__ import annotations

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from roomcast.push.vapid import Vapid, decode, new_key


def test_a_request_is_signed_for_its_push_service() -> None:
    vapid = Vapid(new_key(), "mailto:ops@example.com")
    scheme, _, rest = vapid.authorization("https://push.example:8443/a?b=c").partition(" ")
    token, key = (part.strip().partition("=")[2] for part in rest.split(","))
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode(key))
    claims = jwt.decode(token, public, algorithms=["ES256"], audience="https://push.example:8443")
    assert (scheme, key, claims["sub"]) == ("vapid", vapid.public_key, "mailto:ops@example.com")
    assert vapid.authorization("https://push.example:8443/d") == vapid.authorization("https://push.example:8443/e")
    assert "sub" not in jwt.decode(
        Vapid(new_key(), None).authorization("https://push.example").partition("t=")[2].partition(",")[0],
        options={"verify_signature": False},
    )


@pytest.mark.parametrize("key", ["", "AAAA", "A" * 43, "not base64!", "_" * 43])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several libraries
        Vapid(key, None)
