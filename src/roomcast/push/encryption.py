"""The encryption of a push for one device.

Layer: push. Source: RFC 8291; RFC 8188 for the content coding ``aes128gcm``.
"""

from __future__ import annotations

import os
import struct
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from roomcast.push.vapid import public_bytes

#: The size of the only record. RFC 8291, section 4: push services accept bodies of 4,096 bytes.
_RECORD_BYTES: Final = 4096
_SALT_BYTES: Final = 16
_AUTH_BYTES: Final = 16
#: Header of 86 bytes, tag of 16, and the delimiter of the record.
MAX_BYTES: Final = _RECORD_BYTES - 86 - 16 - 1
#: Marks the last record.
_DELIMITER: Final = b"\x02"


def encrypt(
    payload: bytes,
    device_key: bytes,
    auth: bytes,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """The body of a request with ``Content-Encoding: aes128gcm``.

    Args:
        payload: At most `MAX_BYTES`.
        device_key: The public key of the device, an uncompressed point.
        auth: The authentication secret of the device.
        key: A key for this message only; None: a new one. Given in tests alone, as is ``salt``.
        salt: 16 random bytes.

    Raises:
        ValueError: the keys of the device are invalid, or the payload is too long.
    """
    if len(payload) > MAX_BYTES:
        raise ValueError(f"the payload has {len(payload)} bytes, more than {MAX_BYTES}")
    if len(auth) != _AUTH_BYTES:
        raise ValueError(f"the authentication secret has {len(auth)} bytes; expected {_AUTH_BYTES}")
    key = key or ec.generate_private_key(ec.SECP256R1())
    salt = salt or os.urandom(_SALT_BYTES)
    shared = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), device_key))
    own = public_bytes(key.public_key())
    secret = _derive(shared, auth, b"WebPush: info\0" + device_key + own, 32)
    content_key = _derive(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derive(secret, salt, b"Content-Encoding: nonce\0", 12)
    header = salt + struct.pack("!IB", _RECORD_BYTES, len(own)) + own
    return header + AESGCM(content_key).encrypt(nonce, payload + _DELIMITER, None)


def _derive(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)
