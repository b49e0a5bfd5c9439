"""JSON as JavaScript reads and writes it, bounded.

Reading refuses what ``JSON.parse`` refuses (``NaN``, ``Infinity``) and what would hurt: depth, endless digits. Writing
escapes lone surrogates, as well-formed ``JSON.stringify`` does, and takes binary values out.

Layer: wire (standard library only). Source: RFC 8259; ECMA-262 "JSON.stringify"; CVE-2024-27454 for the depth.
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
# What an attachment leaves in the JSON text. A quote inside a JSON string is escaped, so text cannot look like it.
_PLACEHOLDER_MARK: Final = '"_placeholder":true'


class JsonReader:
    """Reads JSON values out of packets; holds no state between calls, so all connections may share one."""

    __slots__ = ("_careful", "_max_depth", "_max_digits", "_plain")

    def __init__(self, limits: Limits) -> None:
        self._max_depth = limits.max_json_depth
        self._max_digits = limits.max_json_digits
        # A text that is shorter than the longest number needs no look at its integers: the C path stays whole.
        self._plain = JSONDecoder(parse_float=self._float, parse_constant=_refuse_constant).raw_decode
        self._careful = JSONDecoder(
            parse_float=self._float, parse_int=self._int, parse_constant=_refuse_constant
        ).raw_decode

    def read(self, text: str, start: int = 0) -> Any:
        """The one JSON value that fills ``text`` from ``start`` on.

        Raises:
            RemoteError: ``BAD_JSON``, or ``TOO_DEEP``.
        """
        size = len(text) - start
        try:
            value, end = (self._plain if size <= self._max_digits else self._careful)(text, start)
        except RecursionError:
            raise RemoteError(Fault.TOO_DEEP, f"JSON nested deeper than {self._max_depth}") from None
        except ValueError:
            raise RemoteError(Fault.BAD_JSON, f"not JSON: {quote(text[start:])}") from None
        if end != len(text) and text[end:].strip(" \t\r\n"):
            raise RemoteError(Fault.BAD_JSON, f"more after the JSON value: {quote(text[end:])}")
        if size > self._max_depth and text.count("[", start) + text.count("{", start) > self._max_depth:
            self._check_depth(value)
        return value

    def _check_depth(self, value: Any) -> None:
        # Level by level: neither the depth that is looked for nor a wide value costs stack.
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
        if not isfinite(number):  # 1e400: JavaScript's Infinity, which no JSON can carry back
            raise ValueError(literal)
        return number


@lru_cache(maxsize=16)
def reader_for(limits: Limits) -> JsonReader:
    """The reader for these limits; one per set of limits."""
    return JsonReader(limits)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


class _BinaryFound(Exception):
    """A value of a text packet is binary: a signal between two functions here, never seen outside."""


def _signal_binary(value: Any) -> NoReturn:
    if isinstance(value, bytes | bytearray | memoryview):
        raise _BinaryFound
    raise _no_json(value)


def _no_json(value: Any) -> EncodeError:
    return EncodeError(f"a value of type {type(value).__name__} cannot be sent: give JSON types or bytes")


# Without the check for cycles: they end in RecursionError, which is caught, and the check costs on every emit.
_WRITER: Final = JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), default=_signal_binary
)


def write(value: Any) -> tuple[str, list[bytes]]:
    """JSON text without blanks, and the binary values that were taken out of it.

    Args:
        value: JSON types, with ``bytes``, ``bytearray`` or ``memoryview`` anywhere as a value.

    Returns:
        The text, in which ``{"_placeholder":true,"num":n}`` stands for the nth binary, and the binaries in order.

    Raises:
        EncodeError: not JSON, not finite, circular, or, beside binaries, an object that looks like a placeholder: the
            receiver would put somebody else's attachment in its place or break off.
    """
    try:
        return _valid_unicode(_encode(_WRITER, value)), []
    except _BinaryFound:
        pass
    attachments: list[bytes] = []

    def take_out(item: Any) -> dict[str, Any]:
        if not isinstance(item, bytes | bytearray | memoryview):
            raise _no_json(item)
        attachments.append(bytes(item))
        return {"_placeholder": True, "num": len(attachments) - 1}

    writer = JSONEncoder(
        ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), default=take_out
    )
    text = _encode(writer, value)
    if text.count(_PLACEHOLDER_MARK) != len(attachments):
        raise EncodeError("an object with _placeholder: true cannot go in one packet with binary values")
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
