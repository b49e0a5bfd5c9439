"""JSON as JavaScript parses and writes it, with limits.

Parsing rejects what ``JSON.parse`` rejects (``NaN``, ``Infinity``), deep nesting and long numbers. Writing escapes lone
surrogates, as well-formed ``JSON.stringify`` does, and extracts binary values.

Layer: wire (standard library only). Source: RFC 8259; ECMA-262 "JSON.stringify"; CVE-2024-27454 for the depth limit.
"""

from __future__ import annotations

import gc
import math
import re
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate
from json import JSONDecoder, JSONEncoder, encoder
from json.scanner import make_scanner
from typing import Any, Final, NoReturn, TypeAlias

from roomcast.wire.errors import EncodeError, Fault, RemoteError, quote
from roomcast.wire.limits import Limits

ObjectHook: TypeAlias = Callable[[dict[str, Any]], Any]

# Characters of a text that is parsed with a callback for each number, which is faster below about this size.
_SMALL: Final = 4096
_MARK_NUMBERS: Final = bytes(ord("0") if char in b"+-.0123456789Ee" else ord(" ") for char in range(256))
# An exponent that is not negative, in a number or a string; the numbers that may exceed the range of a float with it.
_EXPONENT: Final = re.compile(r"[Ee][+0-9]")
_LARGE_LITERAL: Final = re.compile(r"(?<![.0-9])(?:[.0-9]{1,200}+[Ee]\+?[0-9]{3,}|[.0-9]{201,}+[Ee]\+?[0-9]+)")
_NOT_BRACKETS: Final = bytes(char for char in range(256) if char not in b"[]{}")
_TO_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_OPENING: Final = ord("[")
# Brackets that are counted together: they are examined one by one only if they could exceed the depth.
_STRIDE: Final = 32
_SURROGATE: Final = re.compile(f"[{chr(0xD800)}-{chr(0xDFFF)}]")
# Part of each placeholder in the JSON text. It cannot occur inside a string, where quotes are escaped.
_PLACEHOLDER_MARK: Final = '"_placeholder":true'


class JsonReader:
    """Parses JSON values in packets. Keeps no state between calls, so that all connections can share one reader.

    A legal text takes at most a few times the time of `json.loads`, whatever it contains: a large text is checked as a
    whole, in C, instead of value by value.
    """

    __slots__ = ("_long_literal", "_scan_short", "_scan_small", "limits")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._long_literal = b"0" * (limits.max_json_digits + 1)
        # A text without room for a number that is too long needs no callback for each integer.
        self._scan_short = _scanner(JSONDecoder(parse_float=self._float, parse_constant=_refuse_constant))
        self._scan_small = _scanner(
            JSONDecoder(parse_float=self._float, parse_int=self._int, parse_constant=_refuse_constant)
        )

    def read(self, text: str, start: int = 0, object_hook: ObjectHook | None = None) -> Any:
        """Parse the JSON value that extends from ``start`` to the end of ``text``.

        Args:
            text: Contains the value.
            start: Index of its first character.
            object_hook: As for `json.loads`.

        Raises:
            RemoteError: ``BAD_JSON``, or ``TOO_DEEP``.
        """
        size = len(text) - start
        try:
            if size > _SMALL or object_hook is not None:
                value, end = self._parse_large(text, start, object_hook)
            elif size > self.limits.max_json_digits:
                value, end = self._scan_small(text, start)
            else:
                value, end = self._scan_short(text, start)
        except RecursionError:
            raise self._too_deep() from None
        except (ValueError, StopIteration):
            raise RemoteError(Fault.BAD_JSON, f"invalid JSON: {quote(text[start:])}") from None
        if end != len(text) and text[end:].strip(" \t\r\n"):
            raise RemoteError(Fault.BAD_JSON, f"text after the JSON value: {quote(text[end:])}")
        deepest = self.limits.max_json_depth
        if (
            size > deepest
            and text.count("[", start) + text.count("{", start) > deepest
            and _is_deeper(_without_strings(text[start:]), deepest)
        ):
            raise self._too_deep()
        return value

    def _parse_large(self, text: str, start: int, object_hook: ObjectHook | None) -> tuple[Any, int]:
        # Without a callback for each number, of which 1 MB can contain half a million.
        if self._has_long_literal(text[start:]) and self._has_long_literal(_without_strings(text[start:])):
            raise ValueError(f"a number of more than {self.limits.max_json_digits} characters")
        decode = JSONDecoder(object_hook=object_hook, parse_constant=_refuse_constant).raw_decode
        # The parser creates no garbage, but hundreds of thousands of containers start the collector hundreds of times.
        collecting = gc.isenabled()
        gc.disable()
        try:
            parsed = decode(text, start)
        finally:
            if collecting:
                gc.enable()
        if _EXPONENT.search(text, start):
            literals = _LARGE_LITERAL.findall(_without_strings(text[start:]))
            if math.inf in map(float, literals):  # 1e400 is Infinity in JavaScript, which JSON cannot represent
                raise ValueError("a number beyond the range of a float")
        return parsed

    def _has_long_literal(self, text: str) -> bool:
        return self._long_literal in text.encode("utf-8", "surrogatepass").translate(_MARK_NUMBERS)

    def _too_deep(self) -> RemoteError:
        return RemoteError(Fault.TOO_DEEP, f"JSON nested deeper than {self.limits.max_json_depth}")

    def _int(self, literal: str) -> int:
        if len(literal) > self.limits.max_json_digits:
            raise ValueError(literal)
        return int(literal)

    def _float(self, literal: str) -> float:
        if len(literal) > self.limits.max_json_digits:
            raise ValueError(literal)
        number = float(literal)
        if not math.isfinite(number):  # as in _parse_large
            raise ValueError(literal)
        return number


def _without_strings(text: str) -> str:
    """JSON text without its strings; up to the first error if it is invalid."""
    return "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])


def _is_deeper(text: str, limit: int) -> bool:
    """Whether the nesting of valid JSON text without strings exceeds the limit."""
    brackets = text.encode().translate(_TO_SQUARE, _NOT_BRACKETS)
    depth = 0
    for at in range(0, len(brackets), _STRIDE):
        some = brackets[at : at + _STRIDE]
        opened = some.count(b"[")
        if depth + opened > limit and depth + max(accumulate(1 if char == _OPENING else -1 for char in some)) > limit:
            return True
        depth += 2 * opened - len(some)
    return False


@lru_cache(maxsize=16)
def reader_for(limits: Limits) -> JsonReader:
    """The shared reader for these limits."""
    return JsonReader(limits)


def _scanner(decoder: JSONDecoder) -> Callable[[str, int], tuple[Any, int]]:
    """The ``raw_decode`` of a decoder without its function in Python; raises StopIteration, too."""
    return make_scanner(decoder)  # type: ignore[arg-type]  # typeshed declares the wrong class


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


def _writer(default: Callable[[Any], Any]) -> Callable[[Any], str]:
    """The ``encode`` of an encoder of compact JSON."""
    # The check for cycles is off, since it slows down every emit. A cycle ends in RecursionError, which is caught.
    make = getattr(encoder, "c_make_encoder", None)
    if make is None:  # not CPython
        return JSONEncoder(
            ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), default=default
        ).encode
    # JSONEncoder creates this one for each value, which takes longer than to encode a small one.
    encode = make(None, default, encoder.encode_basestring, None, ":", ",", False, False, False)
    return lambda value: "".join(encode(value, 0))


_WRITER: Final = _writer(_signal_binary)


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

    text = _encode(_writer(extract), value)
    if text.count(_PLACEHOLDER_MARK) != len(attachments):
        raise EncodeError("an object with _placeholder: true cannot be sent together with binary values")
    return _valid_unicode(text), attachments


def _encode(writer: Callable[[Any], str], value: Any) -> str:
    try:
        return writer(value)
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
