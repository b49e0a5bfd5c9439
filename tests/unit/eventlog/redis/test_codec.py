"""Layout of records and frames: encoding round-trips, and malformed data has a reason."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roomcast.chat.ports import LogEntry
from roomcast.eventlog.redis.codec import (
    CUT_ENTRY_VERSION,
    Malformed,
    decode_any_frame,
    decode_epoch,
    decode_frame,
    decode_record,
    decode_short_frame,
    encode_epoch,
    encode_record,
)

MAX = 10_000
args = st.text(max_size=50).map(lambda text: f'["new-msg",{text!r}]'.encode(errors="replace"))
traces = st.none() | st.from_regex(r"[!-~]{2,128}", fullmatch=True)
seqs = st.integers(1, 2**53)


def frame(epoch: str, records: list[bytes]) -> bytes:
    sizes = " ".join(str(len(record)) for record in records)
    return b"RC1 %b %b\n%b" % (encode_epoch(epoch), sizes.encode(), b"".join(records))


@given(seqs, args, traces)
@example(1, b"[]", "-x")
@example(2**53, b'["\xc3\xa4"]', None)
def test_an_entry_round_trips(seq: int, args: bytes, trace: str | None) -> None:
    entry = LogEntry(seq, args, trace)
    assert decode_record(encode_record(entry, MAX)) == entry


@given(st.text(min_size=1, max_size=60))
def test_an_epoch_is_encoded_as_one_word_and_round_trips(epoch: str) -> None:
    word = encode_epoch(epoch)
    assert b" " not in word
    if len(word) <= 256:
        assert decode_epoch(word) == epoch


@given(st.lists(args, min_size=1, max_size=5), st.integers(1, 10**9))
def test_a_frame_round_trips(payloads: list[bytes], first: int) -> None:
    given_entries = [LogEntry(first + number, payload) for number, payload in enumerate(payloads)]
    records = [encode_record(entry, MAX) for entry in given_entries]
    assert decode_frame(frame("e-1", records)) == ("e-1", given_entries)


@pytest.mark.parametrize("trace", ["", "-", "a b", "a\nb", "ä", "x" * 129, "\x00\x01"])
def test_a_trace_that_is_not_a_printable_word_is_dropped(trace: str) -> None:
    assert decode_record(encode_record(LogEntry(7, b"[]", trace), MAX)) == LogEntry(7, b"[]")


def test_an_entry_beyond_the_size_limit_loses_its_arguments_and_one_at_the_limit_does_not() -> None:
    fits = LogEntry(1, b"[" + b" " * 742 + b"]")
    assert len(fits.args) == 744
    assert decode_record(encode_record(fits, 1_000)) == fits
    cut = decode_record(encode_record(LogEntry(1, fits.args + b" "), 1_000))
    assert (cut.seq, cut.args, cut.version) == (1, b"", CUT_ENTRY_VERSION)


def test_an_entry_of_another_version_has_only_its_seq() -> None:
    assert decode_record(b"7 42 what ever it holds then\nanything") == LogEntry(42, b"", None, 7)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"", "record header"),
        (b"1 1 -", "record header"),
        (b"1\n[]", "record header"),
        (b"1 1\n[]", "record header"),
        (b"1 1 - -\n[]", "record header"),
        (b"1 1 -" + b" " * 300 + b"\n[]", "record header"),
        (b"x 1 -\n[]", "number"),
        (b"1 -1 -\n[]", "number"),
        (b"1 +1 -\n[]", "number"),
        (b"1 1_0 -\n[]", "number"),
        (b"1 " + b"9" * 17 + b" -\n[]", "number"),
        (b"1 0 -\n[]", "seq"),
        (b"1 9007199254740993 -\n[]", "seq"),
        (b"1 1 \xff\n[]", "encoding"),
        (b"1 1 \x01\x02\n[]", "trace"),
        (b"1 1 -\n", "arguments"),
        (b'1 1 -\n{"a":1}', "arguments"),
        (b"1 1 -\n[\xff]", "encoding"),
    ],
)
def test_a_malformed_record_has_a_reason(record: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        decode_record(record)
    assert caught.value.reason == reason


def test_a_frame_with_a_gap_is_malformed() -> None:
    with pytest.raises(Malformed, match="seq"):
        decode_frame(frame("e", [b"1 1 -\n[]", b"1 3 -\n[]"]))


@given(args, traces, st.integers(1, 10**14), st.text("abc-._~", min_size=1, max_size=60))
def test_a_frame_with_one_record_is_decoded_in_one_step(args: bytes, trace: str | None, seq: int, epoch: str) -> None:
    entry = LogEntry(seq, args, trace)
    assert decode_short_frame(frame(epoch, [encode_record(entry, MAX)])) == (epoch, [entry])


@given(
    st.sampled_from([b"RC1 ", b"RC2 ", b"RC1", b" RC1 "]),
    st.sampled_from([b"e", b"", b"a%20b", b"\xff", b"a b", b"x" * 256, b"x" * 257]),
    st.sampled_from([0, 0, 0, 1, -1]),
    st.sampled_from([b"1", b"1", b"1", b"0", b"2", b"01"]),
    st.sampled_from([b"1", b"0", b"007", b"-1", b"9" * 15, b"9" * 16, b"9" * 17, b"9007199254740993"]),
    st.sampled_from([b"-", b"--", b"x", b"xy", b"x" * 128, b"x" * 129, b"\xff\xff", b"a b", b""]),
    st.sampled_from([b"[]", b"[\xc3\xa4]", b"[\xff]", b"[", b"]", b"", b"{}", b"[\n]", b"[]\n", b"[]1 2 -\n[]"]),
)
@example(b"RC1 ", b"e", 1, b"1", b"7", b"-", b"[]")
@example(b"RC1 ", b"e", -1, b"1", b"7", b"-", b"[]")
@example(b"RC1 ", b"e", 0, b"1", b"7", b"xy", b"[\xff]")
@example(b"RC1 ", b"e", 0, b"1", b"0", b"-", b"[]")
@example(b"RC1 ", b"e", 0, b"1", b"7", b"-", b"[]1 2 -\n[")
def test_both_ways_to_decode_a_frame_agree(
    magic: bytes, epoch: bytes, off: int, version: bytes, seq: bytes, trace: bytes, args: bytes
) -> None:
    record = b"%b %b %b\n%b" % (version, seq, trace, args)
    data = b"%b%b %d\n%b" % (magic, epoch, len(record) + off, record)
    short = decode_short_frame(data)
    if short is not None:
        assert decode_any_frame(data) == short


@given(st.binary(max_size=200))
@example(b"RC1 e 8\n1 1 -\n[]")
def test_any_bytes_either_decode_or_are_malformed(data: bytes) -> None:
    for decode in (decode_frame, decode_record, decode_epoch):
        try:
            decode(data)
        except Malformed as error:
            assert error.reason  # noqa: PT017 - every raise has its reason
