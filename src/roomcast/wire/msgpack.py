"""msgpack with limits, for values that are also JSON, or ``bytes``.

The decoder allocates nothing before the bytes for it are there, so a short input cannot claim a large array.

Layer: wire (standard library only). Source: msgpack specification; notepack.io 2.2 for what JavaScript sends beside it
(``undefined``, ``Date``, ``ArrayBuffer``).
"""

# ruff: noqa: PLR2004 - the type codes and sizes of the format, as its specification lists them

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import datetime, timedelta
from math import isfinite
from typing import Any, Final

from roomcast.wire.errors import EncodeError, Fault, RemoteError
from roomcast.wire.limits import Limits

_MIN_INT: Final = -(2**63)
_MAX_UINT: Final = 2**64 - 1
_DOUBLE: Final = struct.Struct(">d")
_FLOAT: Final = struct.Struct(">f")
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - in UTC, which the text names; isoformat() would write +00:00
# notepack.io's extension type for values of JavaScript. Which one it is depends on the length.
_JAVASCRIPT: Final = 0
_UNDEFINED_BYTES: Final = 1
_DATE_BYTES: Final = 8

# -- encoding ---------------------------------------------------------------------------------------------------------


def pack(value: Any) -> bytes:
    """Encode a value: JSON types, or ``bytes`` at any depth.

    Raises:
        EncodeError: it is of another type, or a number is too large.
    """
    out: list[bytes] = []
    _write(value, out)
    return b"".join(out)


def _write(value: Any, out: list[bytes]) -> None:  # noqa: C901 - one branch for each type of the format
    if value is None:
        out.append(b"\xc0")
    elif isinstance(value, bool):
        out.append(b"\xc3" if value else b"\xc2")
    elif isinstance(value, str):
        data = value.encode("utf-8", "replace")
        out.append(_head(len(data), 0xA0, 31, 0xD9) + data)
    elif isinstance(value, int):
        out.append(_integer(value))
    elif isinstance(value, float):
        out.append(b"\xcb" + _DOUBLE.pack(value))
    elif isinstance(value, bytes):
        out.append(_head(len(value), 0, -1, 0xC4) + value)
    elif isinstance(value, Mapping):
        out.append(_head(len(value), 0x80, 15, 0xDD))
        for key, item in value.items():
            _write(key, out)
            _write(item, out)
    elif isinstance(value, list | tuple):
        out.append(_head(len(value), 0x90, 15, 0xDB))
        for item in value:
            _write(item, out)
    else:
        raise EncodeError(f"a value of type {type(value).__name__} is not JSON")


def _head(length: int, short: int, most: int, first: int) -> bytes:
    """Type and length: in one byte up to ``most``; else ``first`` is the type with one length byte, then two, four.

    Arrays and maps have no type with one length byte.
    """
    if length <= most:
        return bytes((short | length,))
    if length <= 0xFF and first < 0xDA:
        return bytes((first, length))
    if length <= 0xFFFF:
        return bytes((first + 1,)) + length.to_bytes(2, "big")
    return bytes((first + 2,)) + length.to_bytes(4, "big")


def _integer(value: int) -> bytes:
    if -32 <= value <= 0x7F:
        return bytes((value & 0xFF,))
    if value >= 0:
        for code, size in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)):
            if value < 1 << 8 * size:
                return bytes((code,)) + value.to_bytes(size, "big")
    else:
        for code, size in ((0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8)):
            if value >= -(1 << 8 * size - 1):
                return bytes((code,)) + value.to_bytes(size, "big", signed=True)
    try:
        return b"\xcb" + _DOUBLE.pack(float(value))  # every JavaScript number is a double
    except OverflowError:
        raise EncodeError("an integer is larger than any number of JavaScript") from None


# -- decoding ---------------------------------------------------------------------------------------------------------


def unpack(data: bytes, limits: Limits) -> Any:
    """Decode one value, which must be all of ``data``.

    Numbers that are not finite become None, dates become text, and ``undefined`` becomes None, all as in JSON.

    Raises:
        RemoteError: the data is not msgpack, or exceeds a limit.
    """
    reader = _Reader(data, limits)
    try:
        value = reader.read(limits.max_json_depth)
    except (IndexError, struct.error):
        raise RemoteError(Fault.BAD_PAYLOAD, "msgpack is truncated") from None
    except UnicodeDecodeError:
        raise RemoteError(Fault.BAD_UTF8, "a string in msgpack is not UTF-8") from None
    if reader.at != len(data):
        raise RemoteError(Fault.BAD_PAYLOAD, f"{len(data) - reader.at} bytes after the msgpack value")
    return value


class _Reader:
    __slots__ = ("_data", "_items", "at")

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._data = data
        self._items = limits.max_msgpack_items
        self.at = 0

    def read(self, depth: int) -> Any:
        self._items -= 1
        if self._items < 0:
            raise RemoteError(Fault.TOO_LARGE, "msgpack has too many values")
        code = self._data[self.at]
        self.at += 1
        if code < 0x80:
            return code
        if code >= 0xE0:
            return code - 0x100
        if code < 0x90:
            return self._map(code & 0x0F, depth)
        if code < 0xA0:
            return self._array(code & 0x0F, depth)
        if code < 0xC0:
            return self._text(code & 0x1F)
        return self._long(code, depth)

    def _long(self, code: int, depth: int) -> Any:  # noqa: PLR0911, C901 - one branch for each type of the format
        match code:
            case 0xC0:
                return None
            case 0xC2 | 0xC3:
                return code == 0xC3
            case 0xC4 | 0xC5 | 0xC6:
                return self._bytes(self._uint(1 << code - 0xC4))
            case 0xC7 | 0xC8 | 0xC9:
                return self._extension(self._uint(1 << code - 0xC7), fixed=False)
            case 0xCA:
                return _finite(_FLOAT.unpack(self._bytes(4))[0])
            case 0xCB:
                return _finite(_DOUBLE.unpack(self._bytes(8))[0])
            case 0xCC | 0xCD | 0xCE | 0xCF:
                return self._uint(1 << code - 0xCC)
            case 0xD0 | 0xD1 | 0xD2 | 0xD3:
                return int.from_bytes(self._bytes(1 << code - 0xD0), "big", signed=True)
            case 0xD4 | 0xD5 | 0xD6 | 0xD7 | 0xD8:
                return self._extension(1 << code - 0xD4, fixed=True)
            case 0xD9 | 0xDA | 0xDB:
                return self._text(self._uint(1 << code - 0xD9))
            case 0xDC | 0xDD:
                return self._array(self._uint(2 << code - 0xDC), depth)
            case 0xDE | 0xDF:
                return self._map(self._uint(2 << code - 0xDE), depth)
        raise RemoteError(Fault.BAD_PAYLOAD, "0xc1 is not msgpack")

    def _bytes(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self._data):
            raise IndexError
        data = self._data[self.at : end]
        self.at = end
        return data

    def _uint(self, size: int) -> int:
        return int.from_bytes(self._bytes(size), "big")

    def _text(self, size: int) -> str:
        return self._bytes(size).decode()

    def _array(self, length: int, depth: int) -> list[Any]:
        self._enter(length, depth)
        return [self.read(depth - 1) for _ in range(length)]

    def _map(self, length: int, depth: int) -> dict[str, Any]:
        self._enter(2 * length, depth)
        found: dict[str, Any] = {}
        for _ in range(length):
            key = self.read(depth - 1)
            if not isinstance(key, str):
                raise RemoteError(Fault.BAD_PAYLOAD, "a key in msgpack is not a string")
            found[key] = self.read(depth - 1)
        return found

    def _enter(self, values: int, depth: int) -> None:
        if depth <= 0:
            raise RemoteError(Fault.TOO_DEEP, "msgpack is nested too deep")
        if values > len(self._data) - self.at:  # each takes one byte at least
            raise IndexError

    def _extension(self, size: int, *, fixed: bool) -> Any:
        kind = self._uint(1)
        data = self._bytes(size)
        if kind != _JAVASCRIPT:
            raise RemoteError(Fault.BAD_PAYLOAD, f"the extension type {kind} of msgpack")
        if not fixed:
            return data  # an ArrayBuffer
        if size == _UNDEFINED_BYTES:
            return None
        if size == _DATE_BYTES:
            self._items -= 3  # it takes the time of four values
            return _date(int.from_bytes(data, "big", signed=True))
        raise RemoteError(Fault.BAD_PAYLOAD, f"an extension of {size} bytes")


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None


def _date(milliseconds: int) -> str | None:
    """As ``JSON.stringify`` writes it; None for a date beyond the years of Python."""
    try:
        date = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
    return date.isoformat(timespec="milliseconds") + "Z"
