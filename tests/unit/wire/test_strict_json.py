import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.wire.errors import EncodeError, Fault, RemoteError
from roomcast.wire.limits import DEFAULT_LIMITS, Limits
from roomcast.wire.strict_json import reader_for, write

READ = reader_for(DEFAULT_LIMITS).read
LARGE = 5000  # characters: a text that is checked as a whole instead of number by number

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def fault_of(text: str, limits: Limits = DEFAULT_LIMITS) -> Fault:
    with pytest.raises(RemoteError) as caught:
        reader_for(limits).read(text)
    return caught.value.fault


@given(json_values)
def test_json_values_round_trip(value: Any) -> None:
    text, attachments = write(value)
    assert attachments == []
    text.encode()
    assert READ(text) == value


def test_parsing_can_start_inside_a_packet() -> None:
    assert READ('2/admin,13["x"]', 10) == ["x"]


def test_only_white_space_may_follow_the_value() -> None:
    assert READ("[1] \t\r\n") == [1]
    assert fault_of("[1] x") is Fault.BAD_JSON
    assert fault_of("[1][2]") is Fault.BAD_JSON
    assert fault_of("[1]\u00a0") is Fault.BAD_JSON


@pytest.mark.parametrize(
    "text",
    [
        "",
        " [1]",
        "[",
        "]",
        "{",
        "[1,]",
        "{'a':1}",
        "{a:1}",
        "[01]",
        "[1.]",
        "[.5]",
        "[+1]",
        "[-]",
        '["\n"]',
        '["\\x41"]',
        "abc",
        "[nul]",
        "[NaN]",
        "[Infinity]",
        "[-Infinity]",
        "[1e400]",
        "[-1e400]",
        "\ufeff[1]",
    ],
)
def test_values_that_javascript_cannot_parse_or_represent_are_rejected(text: str) -> None:
    assert fault_of(text) is Fault.BAD_JSON
    # Again in a text that is checked as a whole.
    assert fault_of(text + " " * LARGE) is Fault.BAD_JSON


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_depth_is_accepted_exactly_up_to_the_limit(opening: str, closing: str) -> None:
    limits = Limits(max_json_depth=10)
    per_unit = opening.count("[") + opening.count("{")
    fits = 10 // per_unit
    reader_for(limits).read(opening * fits + "[]" * (per_unit == 3) + "1" + closing * fits)
    assert fault_of(opening * (fits + 1) + "1" + closing * (fits + 1), limits) is Fault.TOO_DEEP


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000, '[{"":' * 100_000])
def test_extreme_depth_is_rejected(text: str) -> None:
    assert fault_of(text) is Fault.TOO_DEEP


def test_brackets_in_strings_and_in_breadth_are_not_depth() -> None:
    assert READ(json.dumps(["[" * 1000])) == ["[" * 1000]
    assert READ("[" + ",".join(["[]"] * 1000) + "]") == [[]] * 1000
    assert READ("[" + ",".join(["{}"] * 1000) + "]") == [{}] * 1000


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_of_exactly_the_maximum_length_is_accepted(sign: str) -> None:
    fits = sign + "9" * (DEFAULT_LIMITS.max_json_digits - len(sign))
    assert READ(f"[{fits}]") == [int(fits)]
    assert READ(f'["{"x" * LARGE}",{fits}]')[1] == int(fits)
    assert fault_of(f"[{fits}9]") is Fault.BAD_JSON
    assert fault_of(f'["{"x" * LARGE}",{fits}9]') is Fault.BAD_JSON


# Pieces of strings and numbers at which the check of a large text could go wrong.
pieces = st.sampled_from(
    ["\\", '"', '\\"', "[" * 200, "]" * 200, "{", "9" * 400, "e999", "1e400", "-", ".", "\ud83d", "é", "😀", "\0", ","]
)


@given(st.lists(st.lists(pieces, max_size=6).map("".join) | st.floats(-1e300, 1e300) | st.integers(), max_size=8))
def test_no_content_of_a_string_is_taken_for_structure_or_numbers(value: list[Any]) -> None:
    assert READ(json.dumps([*value, {"": value}, "x" * LARGE])) == [*value, {"": value}, "x" * LARGE]
    assert READ(write([*value, "x" * LARGE])[0]) == [*value, "x" * LARGE]


@given(
    st.lists(pieces | st.sampled_from(['"a"', "[", "]", "1", " ", '{"a":1}', "[[]]", "NaN"]), max_size=8).map("".join)
)
def test_a_large_text_is_judged_as_a_small_one(text: str) -> None:
    def judge(whole: str) -> Any:
        try:
            return READ(whole)
        except RemoteError as error:
            return error.fault

    assert judge(f"[[{text}]]" + " " * LARGE) == judge(f"[[{text}]]")
    assert judge(f"[[{text}]]" + " " * DEFAULT_LIMITS.max_json_digits) == judge(f"[[{text}]]")


@pytest.mark.parametrize(
    "literal", ["1e308", "0.1e309", f"{'0.' + '0' * 200}1e400", "9" * 208 + "e100", "-1e+308", "1e-999"]
)
def test_numbers_up_to_the_largest_float_are_accepted(literal: str) -> None:
    assert READ(f'["{"x" * LARGE}",{literal}]')[1] == float(literal)


@pytest.mark.parametrize("literal", ["1.8e308", "-1e309", "9" * 210 + "e99", "9" * 210 + ".5E+99", "1e0000309"])
def test_numbers_beyond_the_largest_float_are_rejected(literal: str) -> None:
    assert fault_of(f"[{literal}]") is Fault.BAD_JSON
    assert fault_of(f'["{"x" * LARGE}",{literal}]') is Fault.BAD_JSON


@pytest.mark.parametrize(
    "literal", ["9" * 1_000_000, "0." + "1" * 1_000_000, "1" + "0" * 5000 + ".5", "1e" + "9" * 400]
)
def test_a_number_beyond_the_maximum_length_is_rejected(literal: str) -> None:
    assert fault_of(f"[{literal}]") is Fault.BAD_JSON


def test_lone_surrogates_are_parsed_and_written_escaped() -> None:
    assert READ(r'["\ud800"]') == ["\ud800"]
    assert write(["\ud800é", {"\udfff": "👋"}]) == (r'["\ud800é",{"\udfff":"👋"}]', [])


def test_text_is_written_compactly_and_unescaped() -> None:
    assert write(["你好", {"a": [1, 2.5, None, True]}]) == ('["你好",{"a":[1,2.5,null,true]}]', [])


def test_the_record_separator_is_escaped() -> None:
    assert write(["\x1e"]) == (r'["\u001e"]', [])


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_binary_values_are_extracted_in_order(kind: Any) -> None:
    text, attachments = write(["x", kind(b"1"), {"a": [kind(b"2")]}, (kind(b""),)])
    assert text == (
        '["x",{"_placeholder":true,"num":0},{"a":[{"_placeholder":true,"num":1}]},[{"_placeholder":true,"num":2}]]'
    )
    assert attachments == [b"1", b"2", b""]
    assert all(type(attachment) is bytes for attachment in attachments)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, {1, 2}, object(), datetime.now(UTC), 1j, {b"a": 1}, {(1,): 1}]
)
@pytest.mark.parametrize("beside", [None, b"binary"])
def test_a_value_that_is_not_json_cannot_be_sent(value: object, beside: bytes | None) -> None:
    with pytest.raises(EncodeError):
        write([beside, value])
    with pytest.raises(EncodeError):
        write([value, beside])


def test_a_value_that_contains_itself_cannot_be_sent() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(EncodeError):
        write(ring)
    with pytest.raises(EncodeError):
        write([b"x", ring])


def test_an_object_that_looks_like_a_placeholder_cannot_be_sent_with_binary() -> None:
    lookalike = {"num": 0, "_placeholder": True}
    with pytest.raises(EncodeError):
        write([b"x", lookalike])
    assert write([lookalike])[1] == []
    # A string that looks like a placeholder is allowed.
    assert write([b"x", '"_placeholder":true'])[1] == [b"x"]


def test_readers_are_shared() -> None:
    assert reader_for(Limits()) is reader_for(Limits())
