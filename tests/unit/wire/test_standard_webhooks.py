"""Signatures against the example of the specification."""

from __future__ import annotations

import pytest

from roomcast.wire.standard_webhooks import decode_secret, encode_secret, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_signature_is_that_of_the_specifications_example() -> None:
    assert sign([decode_secret(SECRET)], *MESSAGE) == {
        "webhook-id": MESSAGE[0],
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


def test_each_key_of_a_rotation_has_its_signature() -> None:
    first, second = sign([b"k" * 24, decode_secret(SECRET)], *MESSAGE)["webhook-signature"].split(" ")
    assert (first != second, second) == (True, SIGNATURE)


def test_a_secret_is_read_as_it_was_written_also_without_its_prefix() -> None:
    assert decode_secret(encode_secret(b"k" * 32)) == b"k" * 32
    assert decode_secret("a2tra2tra2tra2tra2tra2tra2tra2tr") == b"k" * 24


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_a2tr", "no base64!"])
def test_another_text_is_no_secret(secret: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode_secret(secret)
