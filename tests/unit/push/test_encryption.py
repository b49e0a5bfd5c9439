"""The encryption of pushes: the example of RFC 8291, appendix A, and a device of the tests."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from roomcast.push.encryption import MAX_BYTES, encrypt
from roomcast.push.vapid import decode, encode
from support.push_service import Device

SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
DEVICE = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH, SALT = "BTBZMqHH6r4Tts7J_aSIgg", "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95b"
    "Qpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def test_the_example_of_the_standard_is_reproduced() -> None:
    key = ec.derive_private_key(int.from_bytes(decode(SENDER), "big"), ec.SECP256R1())
    body = encrypt(
        b"When I grow up, I want to be a watermelon", decode(DEVICE), decode(AUTH), key=key, salt=decode(SALT)
    )
    assert encode(body) == BODY


@pytest.mark.parametrize("size", [0, 1, MAX_BYTES])
def test_a_device_decrypts_what_was_encrypted_for_it(size: int) -> None:
    device = Device("https://push.example/1")
    body = encrypt(b"x" * size, device.public, device.auth)
    assert len(body) <= 4096
    assert device.decrypt(body) == b"x" * size
    assert encrypt(b"x" * size, device.public, device.auth) != body


def test_keys_that_are_no_keys_and_long_payloads_are_refused() -> None:
    device = Device("https://push.example/1")
    off_the_curve = b"\x04" + b"\x01" * 64
    for payload, key, auth, problem in (
        (b"x" * (MAX_BYTES + 1), device.public, device.auth, "more than"),
        (b"x", off_the_curve, device.auth, "."),
        (b"x", device.public[:-1], device.auth, "."),
        (b"x", device.public, device.auth[:-1], "authentication secret"),
    ):
        with pytest.raises(ValueError, match=problem):
            encrypt(payload, key, auth)
