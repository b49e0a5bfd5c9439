"""Signatures of Standard Webhooks, symmetric: ``v1``.

Layer: wire (standard library only). Source: the specification of Standard Webhooks, "Signature scheme".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"
#: The specification's shortest key.
LEAST_KEY_BYTES: Final = 24


def sign(keys: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The headers of one request.

    Args:
        keys: One signature for each; several while a secret is rotated.
        message_id: The same in every attempt to send a message. Without a full stop.
        timestamp_s: Unix time of this attempt.
        body: What is sent.
    """
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)
    signatures = (base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def encode_secret(key: bytes) -> str:
    """The key as its receiver configures it: ``whsec_…``."""
    return PREFIX + base64.b64encode(key).decode()


def decode_secret(secret: str) -> bytes:
    """The key of a secret, whose prefix may be missing.

    Raises:
        ValueError: it is no base64, or too short.
    """
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    if len(key) < LEAST_KEY_BYTES:
        raise ValueError(f"a key has at least {LEAST_KEY_BYTES} bytes")
    return key
