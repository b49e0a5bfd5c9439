"""The keys that verify a provider's tokens: a secret, public keys of a file, or those of a JSON Web Key Set.

A key is used with the algorithms of its type only, and a set never provides a secret.

Layer: auth. Source: RFC 7517 (JSON Web Key); RFC 8725 §3.1, §3.5.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from roomcast.auth.errors import InvalidOptions
from roomcast.auth.options import ALGORITHMS_BY_KEY, MAX_KID_CHARS, ProviderOptions

#: RFC 7518 §3.3.
MIN_RSA_BITS: Final = 2_048
#: A larger key would make the check of one token slow.
MAX_RSA_BITS: Final = 8_192
#: Keys of a set or a file that are read.
MAX_KEYS: Final = 64
#: Each is tried for a token that names none.
MAX_KEYS_OF_FILE: Final = 4

_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_PEM: Final = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key.

    Attributes:
        material: The secret, or the public key.
        algorithms: The allowed algorithms that it may be used with.
        kid: Its id in its set; None: it has none.
    """

    material: Any
    algorithms: frozenset[str]
    kid: str | None = None


class Keys(Protocol):
    """The current keys of one provider."""

    def find(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """The keys that may have signed a token with this header; at most `MAX_KEYS_OF_FILE`. Does not wait.

        Raises:
            KeyNotLoaded: none has this id; `load` may find it.
        """

    def check_age(self) -> None:
        """Called before a result of earlier keys is used again.

        Raises:
            KeyNotLoaded: the keys are too old for that.
        """

    async def load(self) -> bool:
        """Load the keys, or wait for a load that has begun.

        Returns:
            Whether the load began after this call.

        Raises:
            KeysUnavailable: the keys cannot be loaded.
        """


class FixedKeys:
    """Keys that stay as they are.

    Args:
        keys: The keys.
    """

    def __init__(self, keys: Sequence[VerificationKey]) -> None:
        self._keys = keys

    def find(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:  # noqa: ARG002 - a file has no ids
        """See the port. The id is not used."""
        return [key for key in self._keys if algorithm in key.algorithms]

    def check_age(self) -> None:
        """See the port."""

    async def load(self) -> bool:
        """See the port."""
        return True


def fixed_keys(options: ProviderOptions) -> FixedKeys:
    """The secret or the public keys of the options.

    Raises:
        InvalidOptions: a public key cannot be used.
    """
    if options.secret is not None:
        return FixedKeys([VerificationKey(options.secret, options.allowed)])
    blocks = list(_PEM.finditer(options.public_keys or ""))
    if not 1 <= len(blocks) <= MAX_KEYS_OF_FILE:
        raise InvalidOptions("public_keys", f"has {len(blocks)} public keys in PEM; expected 1 to {MAX_KEYS_OF_FILE}")
    return FixedKeys([_read_pem(block[1], block[0].encode(), options.allowed) for block in blocks])


def _read_pem(label: str, pem: bytes, allowed: frozenset[str]) -> VerificationKey:
    try:
        key = load_pem_x509_certificate(pem).public_key() if label == "CERTIFICATE" else load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidOptions("public_keys", f"has a block {label!r} that is not a public key") from None
    algorithms = _algorithms_of(key) & allowed
    if not algorithms:
        expected = f"RSA of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, P-256, P-384, P-521 or Ed25519"
        raise InvalidOptions("public_keys", f"has a key that no allowed algorithm uses; expected {expected}")
    return VerificationKey(key, algorithms)


def read_key_set(content: bytes, allowed: frozenset[str]) -> list[VerificationKey]:
    """The keys of a JSON Web Key Set that can verify tokens. Others are left out (RFC 7517 §5).

    Raises:
        ValueError: it is no key set, or has no such key.
    """
    try:
        entries = json.loads(content)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("the response is no JSON Web Key Set") from None
    if not isinstance(entries, list):
        raise ValueError("the response is no JSON Web Key Set")  # noqa: TRY004 - the peer's error, not the caller's
    found = [key for entry in entries[:MAX_KEYS] if (key := _read_entry(entry, allowed)) is not None]
    if not found:
        raise ValueError("the key set has no public key for an allowed algorithm")
    return found


def _read_entry(entry: Any, allowed: frozenset[str]) -> VerificationKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    kid, algorithm = entry.get("kid"), entry.get("alg")
    if not (kid is None or (isinstance(kid, str) and 0 < len(kid) <= MAX_KID_CHARS)):
        return None
    try:
        # PyJWT derives the class of the key from its type; the algorithm of a token is checked at its use.
        key = jwt.PyJWK({name: value for name, value in entry.items() if name != "alg"}).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm):
        return None
    algorithms = _algorithms_of(key) & allowed
    if algorithm is not None:
        algorithms &= {algorithm} if isinstance(algorithm, str) else frozenset()
    return VerificationKey(key, algorithms, kid) if algorithms else None


def _algorithms_of(key: object) -> frozenset[str]:
    """The algorithms of a public key; none for a private key, a secret, and a key of a wrong size."""
    if isinstance(key, RSAPublicKey) and MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return ALGORITHMS_BY_KEY["RSA"]
    if isinstance(key, EllipticCurvePublicKey):
        return ALGORITHMS_BY_KEY.get(_CURVES.get(key.curve.name, ""), frozenset())
    return ALGORITHMS_BY_KEY["Ed25519"] if isinstance(key, Ed25519PublicKey) else frozenset()
