"""JSON as JavaScript parses and writes it, with limits.

Parsing rejects what ``JSON.parse`` rejects (``NaN``, ``Infinity``), deep nesting and long numbers. Writing escapes lone
surrogates, as well-formed ``JSON.stringify`` does, and extracts binary values.

Layer: wire (standard library only). Source: RFC 8259; ECMA-262 "JSON.stringify"; CVE-2024-27454 for the depth limit.
"""

from __future__ import annotations

import re
from functools import lru_cache
from json import JSONDecoder, JSONEncoder
from math import isfinite
from typing import Any, Final, NoReturn

from roomcast.wire.errors import EncodeError, Fault, RemoteError, quote
from roomcast.wire.limits import Limits

_CONTAINERS: Final = frozenset({dict, list})
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# Part of each placeholder in the JSON text. It cannot occur inside a string, where quotes are escaped.
_PLACEHOLDER_MARK: Final = '"_placeholder":true'


class JsonReader:
    """Parses JSON values in packets. Keeps no state between calls, so that all connections can share one reader."""

    __slots__ = ("_careful", "_max_depth", "_max_digits", "_plain")

    def __init__(self, limits: Limits) -> None:
        self._max_depth = limits.max_json_depth
        self._max_digits = limits.max_json_digits
        # Only a text that is longer than the limit can contain an integer beyond it. Shorter texts are parsed in C.
        self._plain = JSONDecoder(parse_float=self._float, parse_constant=_refuse_constant).raw_decode
        self._careful = JSONDecoder(
            parse_float=self._float, parse_int=self._int, parse_constant=_refuse_constant
        ).raw_decode

    def read(self, text: str, start: int = 0) -> Any:
        """Parse the JSON value that extends from ``start`` to the end of ``text``.

        Raises:
            RemoteError: ``BAD_JSON``, or ``TOO_DEEP``.
        """
        size = len(text) - start
        try:
            value, end = (self._plain if size <= self._max_digits else self._careful)(text, start)
        except RecursionError:
            raise RemoteError(Fault.TOO_DEEP, f"JSON nested deeper than {self._max_depth}") from None
        except ValueError:
            raise RemoteError(Fault.BAD_JSON, f"invalid JSON: {quote(text[start:])}") from None
        if end != len(text) and text[end:].strip(" \t\r\n"):
            raise RemoteError(Fault.BAD_JSON, f"text after the JSON value: {quote(text[end:])}")
        if size > self._max_depth and text.count("[", start) + text.count("{", start) > self._max_depth:
            self._check_depth(value)
        return value

    def _check_depth(self, value: Any) -> None:
        # Checks level by level instead of recursively, so that no input can exhaust the stack.
        level = [value] if type(value) in _CONTAINERS else []
        for _ in range(self._max_depth):
            level = [
                item
                for container in level
                for item in (container.values() if type(container) is dict else container)
                if type(item) in _CONTAINERS
            ]
            if not level:
                return
        raise RemoteError(Fault.TOO_DEEP, f"JSON nested deeper than {self._max_depth}")

    def _int(self, literal: str) -> int:
        if len(literal) > self._max_digits:
            raise ValueError(literal)
        return int(literal)

    def _float(self, literal: str) -> float:
        if len(literal) > self._max_digits:
            raise ValueError(literal)
        number = float(literal)
        if not isfinite(number):  # 1e400 is Infinity in JavaScript, which JSON cannot represent
            raise ValueError(literal)
        return number


@lru_cache(maxsize=16)
def reader_for(limits: Limits) -> JsonReader:
    """The shared reader for these limits."""
    return JsonReader(limits)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


class _BinaryFound(Exception):
    """The value contains binary data. Raised by `_signal_binary` and caught in `write`."""


def _signal_binary(value: Any) -> NoReturn:
    if isinstance(value, bytes | bytearray | memoryview):
        raise _BinaryFound
    raise _not_json(value)


def _not_json(value: Any) -> EncodeError:
    return EncodeError(f"a value of type {type(value).__name__} cannot be sent; use JSON types or bytes")


# The check for cycles is off, since it slows down every emit. A cycle ends in RecursionError, which is caught.
_WRITER: Final = JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), default=_signal_binary
)


def write(value: Any) -> tuple[str, list[bytes]]:
    """Encode a value as compact JSON and extract its binary values.

    Args:
        value: JSON types; ``bytes``, ``bytearray`` and ``memoryview`` are allowed as values at any depth.

    Returns:
        The text, in which ``{"_placeholder":true,"num":n}`` replaces the nth binary value, and these values in order.

    Raises:
        EncodeError: the value is not JSON, not finite or circular; or it contains binary values and an object that
            looks like a placeholder, which the receiver would replace with an attachment.
    """
    try:
        return _valid_unicode(_encode(_WRITER, value)), []
    except _BinaryFound:
        pass
    attachments: list[bytes] = []

    def extract(item: Any) -> dict[str, Any]:
        if not isinstance(item, bytes | bytearray | memoryview):
            raise _not_json(item)
        attachments.append(bytes(item))
        return {"_placeholder": True, "num": len(attachments) - 1}

    writer = JSONEncoder(
        ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), default=extract
    )
    text = _encode(writer, value)
    if text.count(_PLACEHOLDER_MARK) != len(attachments):
        raise EncodeError("an object with _placeholder: true cannot be sent together with binary values")
    return _valid_unicode(text), attachments


def _encode(writer: JSONEncoder, value: Any) -> str:
    try:
        return writer.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodeError(f"the value is not JSON: {error}") from error


def _valid_unicode(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return text
