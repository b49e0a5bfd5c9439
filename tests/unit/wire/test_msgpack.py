from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomcast.wire.errors import EncodeError, Fault, RemoteError
from roomcast.wire.limits import DEFAULT_LIMITS
from roomcast.wire.msgpack import pack, unpack

FEW = settings(max_examples=60, deadline=None)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30)


@FEW
@given(value=VALUES)
def test_values_are_the_same_as_with_another_implementation(value: Any) -> None:
    packed = pack(value)
    assert unpack(packed, DEFAULT_LIMITS) == value
    assert msgpack.unpackb(packed, strict_map_key=False) == value
    assert unpack(msgpack.packb(value), DEFAULT_LIMITS) == value


def range_of(size: int) -> list[str]:
    return [str(number) for number in range(size)]


@pytest.mark.parametrize("size", [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
@pytest.mark.parametrize(
    "make", ["x".__mul__, b"x".__mul__, [1].__mul__, lambda size: {str(i): 1 for i in range(size)}]
)
def test_lengths_are_written_in_the_shortest_form(make: Any, size: int) -> None:
    value = make(size)
    assert pack(value) == msgpack.packb(value)
    assert unpack(pack(value), replace(DEFAULT_LIMITS, max_msgpack_items=200_000)) == value


@pytest.mark.parametrize(
    "value", [0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**64 - 1, -1, -32, -33, -128, -129, -(2**63)]
)
def test_integers_are_written_in_the_shortest_form(value: int) -> None:
    assert pack(value) == msgpack.packb(value)
    assert unpack(pack(value), DEFAULT_LIMITS) == value


def test_an_integer_beyond_64_bits_becomes_a_double_as_in_javascript() -> None:
    assert unpack(pack(2**64), DEFAULT_LIMITS) == float(2**64)


def test_an_integer_beyond_any_number_of_javascript_cannot_be_encoded() -> None:
    with pytest.raises(EncodeError, match="larger"):
        pack({"x": 10**400})


def test_a_value_that_is_not_json_cannot_be_encoded() -> None:
    with pytest.raises(EncodeError, match="set"):
        pack({"a": {1}})


@FEW
@given(data=st.binary(max_size=200))
def test_any_input_is_decoded_or_refused(data: bytes) -> None:
    with suppress(RemoteError):
        unpack(data, DEFAULT_LIMITS)


@FEW
@given(value=VALUES)
def test_truncated_input_and_input_with_more_bytes_are_refused(value: Any) -> None:
    packed = pack(value)
    for end in range(min(len(packed), 50)):
        with pytest.raises(RemoteError):
            unpack(packed[:end], DEFAULT_LIMITS)
    with pytest.raises(RemoteError):
        unpack(packed + b"\xc0", DEFAULT_LIMITS)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\xd4\x00\x00", None),  # undefined
        (b"\xd7\x00" + (1_700_000_000_123).to_bytes(8, "big"), "2023-11-14T22:13:20.123Z"),
        (b"\xd7\x00" + (2**62).to_bytes(8, "big"), None),
        (b"\xc7\x02\x00ab", b"ab"),  # an ArrayBuffer
        (b"\xcb\x7f\xf8" + bytes(6), None),  # NaN
        (b"\xca\x7f\x80\x00\x00", None),  # an infinity
    ],
)
def test_values_of_javascript_become_what_json_makes_of_them(data: bytes, value: Any) -> None:
    assert unpack(data, DEFAULT_LIMITS) == value


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\xc1", Fault.BAD_PAYLOAD),
        (b"\x81\x01\x01", Fault.BAD_PAYLOAD),  # a key that is no string
        (b"\xa1\xff", Fault.BAD_UTF8),
        (b"\xd4\x05\x00", Fault.BAD_PAYLOAD),
        (b"\xd5\x00\x00\x00", Fault.BAD_PAYLOAD),
        (b"\xdd\xff\xff\xff\xff", Fault.BAD_PAYLOAD),  # claims more than there is
        (b"\xc6\xff\xff\xff\xff", Fault.BAD_PAYLOAD),
        (b"\x91" * 129 + b"\xc0", Fault.TOO_DEEP),
        (b"\x91" * 1_000_000, Fault.TOO_DEEP),
        (b"\xdd\x00\x0f\x00\x00" * 200_000, Fault.TOO_DEEP),
        (b"\xdd" + (60_000).to_bytes(4, "big") + b"\xc0" * 60_000, Fault.TOO_LARGE),
        (b"\xdd" + (999_995).to_bytes(4, "big") + b"\xc0" * 999_995, Fault.TOO_LARGE),
        ((b"\xdc\x03\xe8" + b"\xc0" * 999) * 900, Fault.TOO_LARGE),
    ],
)
def test_hostile_input_is_refused_soon(data: bytes, fault: Fault) -> None:
    began = time.thread_time()
    with pytest.raises(RemoteError) as refused:
        unpack(data, DEFAULT_LIMITS)
    assert refused.value.fault is fault
    assert time.thread_time() - began < 0.5  # about 0.03


@pytest.mark.parametrize(
    "item", [b"\xc0", b"\x90", b"\x80", b"\xd7\x00" + bytes(8), b"\xcb" + bytes(8), b"\xc7\x01\x00a"]
)
def test_the_largest_packet_is_decoded_in_less_than_a_tenth_of_a_second(item: bytes) -> None:
    values = 4 if item.startswith(b"\xd7") else 1  # a date counts as four
    count = DEFAULT_LIMITS.max_msgpack_items // values - 1
    packet = b"\xdd" + count.to_bytes(4, "big") + item * count

    def decoding_s() -> float:
        began = time.thread_time()
        assert len(unpack(packet, DEFAULT_LIMITS)) == count
        return time.thread_time() - began

    # 0.01 to 0.07 on an idle machine. Other load can only make it slower: one fast run is enough.
    assert any(decoding_s() < 0.1 for _ in range(10))


def test_the_limits_of_depth_and_number_are_inclusive() -> None:
    limits = replace(DEFAULT_LIMITS, max_json_depth=3, max_msgpack_items=4)
    assert unpack(b"\x91\x91\x91\xc0", limits) == [[[None]]]
    with pytest.raises(RemoteError):
        unpack(b"\x91\x91\x91\x90", limits)
    with pytest.raises(RemoteError):
        unpack(b"\x91\x91\x92\xc0\xc0", limits)
