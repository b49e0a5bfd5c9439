"""The key of the server, by which push services know it, and its signature of requests.

Layer: push. Source: RFC 8292 (VAPID).
"""

from __future__ import annotations

import base64
import time
from typing import Final
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

#: RFC 8292 allows 24 hours.
_LIFETIME_S: Final = 12 * 3600
#: A token is signed again when it has less time left than this.
_LEAST_LEFT_S: Final = 3600
#: Tokens of as many push services are kept.
_MAX_TOKENS: Final = 200
_KEY_BYTES: Final = 32


def encode(data: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(text: str) -> bytes:
    """Decode base64url with or without padding.

    Raises:
        ValueError: it is invalid.
    """
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def new_key() -> str:
    """A new private key, in base64url."""
    return encode(ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value.to_bytes(_KEY_BYTES, "big"))


def public_bytes(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as an uncompressed point."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


class Vapid:
    """Signs requests.

    Args:
        key: The private key, in base64url.
        subject: As in `options.PushOptions`.

    Raises:
        ValueError: the key is invalid.
    """

    def __init__(self, key: str, subject: str | None) -> None:
        value = decode(key)
        if len(value) != _KEY_BYTES:
            raise ValueError(f"the key has {len(value)} bytes; expected {_KEY_BYTES}")
        self._key = ec.derive_private_key(int.from_bytes(value, "big"), ec.SECP256R1())
        self._subject = subject
        self.public_key = encode(public_bytes(self._key.public_key()))
        # By push service, with the time at which they end.
        self._tokens: dict[str, tuple[str, float]] = {}

    def authorization(self, endpoint: str) -> str:
        """The value of the header ``Authorization`` for a request to an endpoint."""
        url = urlsplit(endpoint)
        audience = f"{url.scheme}://{url.netloc}"
        token, ends_at = self._tokens.get(audience, ("", 0.0))
        now = time.time()
        if ends_at - now < _LEAST_LEFT_S:
            ends_at = now + _LIFETIME_S
            claims = {"aud": audience, "exp": int(ends_at)}
            if self._subject is not None:
                claims["sub"] = self._subject
            token = jwt.encode(claims, self._key, algorithm="ES256")
            if len(self._tokens) >= _MAX_TOKENS:
                self._tokens.clear()
            self._tokens[audience] = (token, ends_at)
        return f"vapid t={token}, k={self.public_key}"
