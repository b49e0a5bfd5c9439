"""The parser of server-sent events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.responders.sse import MAX_EVENT_CHARS, EventParser, EventTooLong


def parse(*received: bytes) -> list[str]:
    parser = EventParser()
    return [event for part in received for event in parser.feed(part)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", ["a", "b"]),
        (b"data: a\r\n\r\ndata: b\r\rdata:c\n\n", ["a", "b", "c"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b": comment\nid: 1\nevent: x\nretry: 5\ndata: a\n\n", ["a"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b"data:  a\n\n", [" a"]),
        (b"data\n\n", [""]),
        (b"event: only\n\n\n\n", []),
        (b"data: unfinished", []),
        ("data: a\u2028b\u2029c\x0bd\x85e\n\n".encode(), ["a\u2028b\u2029c\x0bd\x85e"]),
    ],
)
def test_events_are_parsed_as_html_says(stream: bytes, events: list[str]) -> None:
    assert parse(stream) == events


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), min_size=1, max_size=5),
    st.sampled_from([b"\n", b"\r", b"\r\n"]),
    st.lists(st.integers(1, 400), max_size=30),
)
def test_the_cuts_between_reads_change_nothing(events: list[str], line_end: bytes, cuts: list[int]) -> None:
    stream = b"".join(b"data: " + event.encode() + line_end + line_end for event in events)
    parts, start = [], 0
    for cut in cuts:
        parts.append(stream[start : start + cut])
        start += cut
    assert parse(*parts, stream[start:]) == events


@pytest.mark.parametrize("part", [b"x" * 65_536, b"data: " + b"x" * 60_000 + b"\n"])
def test_an_event_without_end_is_refused(part: bytes) -> None:
    with pytest.raises(EventTooLong):
        parse(*[part] * (MAX_EVENT_CHARS // len(part) + 2))
