"""Encodes and decodes msgpack compatibly with Node's notepack.io; limits what it decodes.

Layer: realtime. Source: notepack.io 3.0 (`lib/encode.js`, `lib/decode.js`); msgpack specification, "Timestamp".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, Final

import msgpack

from roomcast.realtime.adapters.redis.errors import MalformedMessage
from roomcast.wire.errors import EncodeError
from roomcast.wire.limits import DEFAULT_LIMITS

# The decoder allocates a list as soon as it has read the list's length: 8 bytes per item, for up to 1,024 nested lists.
# Without this limit, a short hostile message could make it allocate gigabytes.
_MAX_ITEMS: Final = 65_536
_MAX_DEPTH: Final = DEFAULT_LIMITS.max_json_depth
_MIN_INT: Final = -(2**63)
_MAX_UINT: Final = 2**64 - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def pack(value: Any) -> bytes:
    """Encode one value.

    Args:
        value: JSON types as `json` accepts them; values at any depth may also be ``bytes``.

    Raises:
        EncodeError: a value has any other type.
    """
    try:
        # Servers of this package preserve lone surrogates; Node decodes them as U+FFFD.
        return bytes(msgpack.packb(value, strict_types=True, default=_plain, unicode_errors="surrogatepass"))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise EncodeError(f"the value cannot be encoded as msgpack: {error}") from error


def _plain(value: Any) -> Any:
    """Convert values that ``strict_types`` rejects (subclasses, integers out of range) to plain types."""
    match value:
        case str():
            return str.__str__(value)
        case int():
            whole = int(value)
            # Integers out of range become doubles: every JavaScript number is one.
            return whole if _MIN_INT <= whole <= _MAX_UINT else float(whole)
        case float():
            return float(value)
        case tuple() | list():
            return list(value)
        case Mapping():
            return dict(value)
        case bytearray() | memoryview() | bytes():
            return bytes(value)
    raise EncodeError(f"a value of type {type(value).__name__} cannot be sent: use JSON types or bytes")


def unpack(data: bytes) -> Any:
    """Decode one message from an untrusted sender.

    Returns:
        JSON types and ``bytes``. Dates are strings as from ``Date.toJSON``; non-finite numbers are None.

    Raises:
        MalformedMessage: ``data`` is not exactly one msgpack value, has too many items, is nested too deeply, or has
            an extension type other than timestamps and type 0 of notepack before version 3.
    """
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            unicode_errors="surrogatepass",
            strict_map_key=True,
            timestamp=0,
            ext_hook=_extension,
            max_array_len=min(len(data), _MAX_ITEMS),
            max_map_len=min(len(data), _MAX_ITEMS),
            max_ext_len=min(len(data), _MAX_ITEMS),
        )
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise MalformedMessage(f"not valid msgpack: {type(error).__name__}") from error
    return _json_value(value, _MAX_DEPTH)


def _extension(code: int, data: bytes) -> Any:
    # Notepack before version 3 wrote `undefined` (1 byte), dates (8 bytes) and buffers as extension type 0.
    if code == 0:
        match len(data):
            case 1:
                return None
            case 8:
                return _iso(int.from_bytes(data, "big", signed=True))
            case _:
                return data
    raise ValueError(f"extension type {code}")


def _json_value(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is str or kind is int or kind is bytes or value is None or kind is bool:
        return value
    if kind is float:
        return value if isfinite(value) else None
    if kind is msgpack.Timestamp:
        return _iso(value.seconds * 1_000 + value.nanoseconds // 1_000_000)
    if depth == 0:
        raise MalformedMessage(f"nested deeper than {_MAX_DEPTH} levels")
    if kind is list:
        return [_json_value(item, depth - 1) for item in value]
    return {_key(key): _json_value(item, depth - 1) for key, item in value.items()}


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise MalformedMessage("an object key must be a string")
    return key


def _iso(milliseconds: int) -> str | None:
    try:
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        # `datetime` covers the years 1 to 9999. Other dates become null, as `toJSON` of an invalid date does.
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1_000:03d}Z"
