"""msgpack of untrusted senders."""

from __future__ import annotations

import contextlib
from enum import IntEnum, StrEnum
from math import inf, nan
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.realtime.adapters.redis.errors import MalformedMessage
from roomcast.realtime.adapters.redis.messages.packing import pack, unpack
from roomcast.wire.errors import EncodeError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_packing_round_trips(value: Any) -> None:
    assert unpack(pack(value)) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        unpack(data)


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    LARGE = 3


def test_values_that_json_accepts_are_packed() -> None:
    given_ = {"c": Colour.RED, "s": Size.LARGE, "t": (1,), "big": 2**64, "b": bytearray(b"1"), "m": memoryview(b"2")}
    assert unpack(pack(given_)) == {"c": "red", "s": 3, "t": [1], "big": float(2**64), "b": b"1", "m": b"2"}


@pytest.mark.parametrize("value", [object(), {1, 2}, [lambda: None]])
def test_values_that_json_rejects_are_rejected(value: Any) -> None:
    with pytest.raises(EncodeError):
        pack(value)


def test_numbers_that_are_not_finite_become_null_as_in_javascript() -> None:
    assert unpack(msgpack.packb([nan, inf, -inf])) == [None, None, None]


def test_dates_and_extensions_of_older_notepack_versions_are_decoded() -> None:
    assert unpack(msgpack.packb(msgpack.Timestamp(1, 5_000_000))) == "1970-01-01T00:00:01.005Z"
    assert unpack(msgpack.packb(msgpack.Timestamp(2**60, 0))) is None
    assert unpack(b"\xd4\x00\x00") is None
    assert unpack(b"\xd7\x00" + (1_500).to_bytes(8, "big")) == "1970-01-01T00:00:01.500Z"
    assert unpack(b"\xc7\x03\x00abc") == b"abc"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\x01",
        b"\xc1",
        b"\xd4\x05\x00",
        b"\xa1\xff",
        b"\x81\x01\x01",
        b"\x81\xc4\x01a\x01",
        b"\x91" * 129 + b"\xc0",
        b"\x91" * 5_000,
        b"\xdd\x00\x01\x00\x01" + b"\xc0" * 65_537,
        b"\xdf\xff\xff\xff\xff",
    ],
    ids=repr,
)
def test_values_beyond_the_bounds_and_other_extensions_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        unpack(data)


def test_values_at_the_bounds_are_decoded() -> None:
    assert unpack(b"\x91" * 128 + b"\xc0")
    assert len(unpack(b"\xdd\x00\x01\x00\x00" + b"\xc0" * 65_536)) == 65_536
