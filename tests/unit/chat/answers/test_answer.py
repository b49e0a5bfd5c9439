from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.chat.answers.answer import MAX_JSON_BYTES, MAX_PARTS, MAX_REASONING_CHARS, Answer, fold
from roomcast.chat.answers.answer_state import Diverged
from roomcast.chat.answers.chunks import (
    MAX_DELTA_CHARS,
    MAX_VALUE_BYTES,
    ChunkRejected,
    clean_text,
    decode_chunks,
    encode_chunks,
    merge,
)
from roomcast.chat.ports import TurnFrame
from roomcast.contract.text import MAX_CONTENT_CHARS
from support.answer_items import CALL_IDS, IDS, ITEMS, VALUES

Chunks = list[dict[str, Any]]


def text_delta(part_id: str, delta: str) -> dict[str, Any]:
    return {"type": "text-delta", "id": part_id, "delta": delta}


def answer_of(*items: Any) -> Answer:
    answer = Answer()
    for item in items:
        answer.add(item)
    return answer


def state_of(answer: Answer) -> tuple[Any, ...]:
    return answer.parts(), answer.content(), answer.snapshot()


CALL = {"type": "tool-input-available", "toolCallId": "c1", "toolName": "search", "input": {"q": "tea"}}
EVERY_KIND: Chunks = [
    {"type": "start", "messageId": "theirs"},
    {"type": "start-step"},
    {"type": "reasoning-start", "id": "rs_1", "providerMetadata": {"x": {}}},
    {"type": "reasoning-delta", "id": "rs_1", "delta": "Let me "},
    {"type": "reasoning-delta", "id": "rs_1", "delta": "think."},
    {"type": "reasoning-end", "id": "rs_1"},
    {"type": "tool-input-start", "toolCallId": "c1", "toolName": "search", "title": "Search"},
    {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '{"q":'},
    {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '"tea"}'},
    {**CALL, "title": "Search"},
    {"type": "tool-output-available", "toolCallId": "c1", "output": [1], "preliminary": True},
    {"type": "tool-output-available", "toolCallId": "c1", "output": [1, 2]},
    {"type": "finish-step"},
    {"type": "start-step"},
    {"type": "data-progress", "id": "p", "data": 1},
    {"type": "data-progress", "id": "p", "data": 2},
    {"type": "data-note", "data": {"transient": 1}, "transient": True},
    {"type": "source-url", "sourceId": "s1", "url": "https://example.com/tea", "title": "Tea"},
    {"type": "source-document", "sourceId": "s2", "mediaType": "application/pdf", "title": "Leaves"},
    {"type": "file", "url": "https://example.com/a.png", "mediaType": "image/png"},
    {"type": "text-start", "id": "msg_1"},
    {"type": "text-delta", "id": "msg_1", "delta": "Green "},
    {"type": "text-delta", "id": "msg_1", "delta": "tea."},
    {"type": "text-end", "id": "msg_1"},
    {"type": "message-metadata", "messageMetadata": {"cost": 1}},
    {"type": "finish-step"},
    {"type": "finish"},
]


def test_each_kind_of_chunk_becomes_a_part_of_a_ui_message() -> None:
    answer = answer_of(*EVERY_KIND)
    assert answer.parts() == (
        {"type": "step-start"},
        {"type": "reasoning", "text": "Let me think.", "state": "done"},
        {
            "type": "dynamic-tool",
            "toolName": "search",
            "toolCallId": "c1",
            "title": "Search",
            "state": "output-available",
            "input": {"q": "tea"},
            "output": [1, 2],
        },
        {"type": "step-start"},
        {"type": "data-progress", "id": "p", "data": 2},
        {"type": "source-url", "sourceId": "s1", "url": "https://example.com/tea", "title": "Tea"},
        {"type": "source-document", "sourceId": "s2", "mediaType": "application/pdf", "title": "Leaves"},
        {"type": "file", "url": "https://example.com/a.png", "mediaType": "image/png"},
        {"type": "text", "text": "Green tea.", "state": "done"},
    )
    assert answer.content() == "Green tea."


def test_a_snapshot_builds_the_same_answer_from_at_most_three_chunks_a_part() -> None:
    answer = Answer()
    answer.begin("turn")
    for item in EVERY_KIND:
        answer.add(item)
    answer.end({"type": "finish"})
    snapshot = answer.snapshot()
    assert len(snapshot) <= 3 * len(answer.parts()) + 2
    assert (snapshot[0], snapshot[-1]) == ({"type": "start", "messageId": "turn"}, {"type": "finish"})
    assert state_of(Answer.from_chunks(snapshot)) == state_of(answer)
    assert Answer.from_parts(answer.parts()).parts() == answer.parts()


def test_frames_are_folded_into_one_from_zero() -> None:
    answer = Answer()
    chunks = [*answer.begin("t"), *(chunk for item in EVERY_KIND for chunk in answer.add(item))]
    first, second = chunks[:9], chunks[9:]
    frames = [
        TurnFrame("t", 1, 0, len(first) - 1, encode_chunks(first)),
        TurnFrame("t", 2, len(first), len(chunks) - 1, encode_chunks(second), "ref"),
    ]
    folded = fold(frames)
    assert (folded.generation, folded.first, folded.last, folded.ref) == (2, 0, len(chunks) - 1, "ref")
    assert decode_chunks(folded.chunks) == answer.snapshot()


def test_the_chunks_since_an_earlier_state_lead_to_the_later_one() -> None:
    answer = Answer()
    chunks = [*answer.begin("t"), *(chunk for item in EVERY_KIND for chunk in answer.add(item))]
    chunks += answer.end({"type": "finish"})
    for cut in range(len(chunks) + 1):
        earlier = Answer.from_chunks(chunks[:cut])
        for chunk in answer.since(earlier):
            earlier.apply(chunk)
        assert state_of(earlier) == state_of(answer)


# --- Random answers ---


def add_all(answer: Answer, items: Iterable[Any]) -> Chunks:
    """The published chunks; rejected ones must have changed nothing."""
    published = []
    for item in items:
        before = state_of(answer)
        try:
            published += answer.add(item)
        except ChunkRejected:
            assert state_of(answer) == before
    return published


def code_units(text: str) -> str:
    """The text as JavaScript cuts it: characters beyond U+FFFF are two surrogates."""
    return "".join(
        chr(int.from_bytes(unit, "big"))
        for character in text
        for data in [character.encode("utf-16-be", "surrogatepass")]
        for unit in (data[:2], data[2:])
        if unit
    )


def cut_deltas(items: list[Any], data: st.DataObject) -> list[Any]:
    """The same items, with each text and delta cut at random code units."""
    result: list[Any] = []
    for item in items:
        name = next((name for name in ("delta", "inputTextDelta") if isinstance(item, dict) and name in item), None)
        text = item if isinstance(item, str) else item[name] if name else None
        if not text:
            result.append(item)
            continue
        units = code_units(text)
        cuts = sorted({0, len(units), *data.draw(st.lists(st.integers(0, len(units)), max_size=4))})
        pieces = [units[start:end] for start, end in pairwise(cuts)]
        result += pieces if name is None else [{**item, name: piece} for piece in pieces]
    return result


@given(ITEMS, st.data())
def test_an_answer_does_not_depend_on_where_its_deltas_were_cut(items: list[Any], data: st.DataObject) -> None:
    whole, pieces = Answer(), Answer()
    add_all(whole, items)
    add_all(pieces, cut_deltas(items, data))
    assert pieces.parts() == whole.parts()


@given(ITEMS, st.data())
def test_a_reader_has_the_answer_from_every_chunk_on(items: list[Any], data: st.DataObject) -> None:
    answer = Answer()
    published = [*answer.begin("t"), *add_all(answer, cut_deltas(items, data)), *answer.end({"type": "finish"})]
    assert decode_chunks(encode_chunks(published)) == published
    assert state_of(Answer.from_chunks(published)) == state_of(answer)
    assert state_of(Answer.from_chunks(merge(published))) == state_of(answer)
    assert merge(merge(published)) == merge(published)

    cut = data.draw(st.integers(0, len(published)))
    earlier = Answer.from_chunks(published[:cut])
    snapshot = earlier.snapshot()
    assert len(snapshot) <= 3 * len(earlier.parts()) + 2
    resumed = Answer.from_chunks(snapshot)
    assert state_of(resumed) == state_of(earlier)
    # The tail may be merged, while the engine of the streams is away.
    merged = Answer.from_chunks(snapshot)
    for chunk in merge(published[cut:]):
        merged.apply(chunk)
    assert state_of(merged) == state_of(answer)
    for chunk in answer.since(resumed):
        resumed.apply(chunk)
    assert state_of(resumed) == state_of(answer)


@given(ITEMS)
def test_a_stored_answer_continues_what_was_published_of_it(items: list[Any]) -> None:
    answer = Answer()
    add_all(answer, items)
    cut = Answer.from_chunks(answer.snapshot())
    assert Answer.from_parts(answer.parts()).parts() == answer.parts()
    answer.end({"type": "finish"})
    stored = Answer.from_parts(answer.parts())
    assert (stored.parts(), stored.content()) == (answer.parts(), answer.content())
    for chunk in stored.since(cut):
        cut.apply(chunk)
    assert cut.parts() == answer.parts()
    assert all(part.get("state") not in {"streaming", "input-streaming", "input-available"} for part in answer.parts())


@given(ITEMS)
def test_published_chunks_are_small_and_can_be_stored(items: list[Any]) -> None:
    for chunk in add_all(Answer(), items):
        text = encode_chunks([chunk]).decode()
        assert "\\u0000" not in text
        assert len(text) < 32_768


@given(ITEMS)
def test_safe_chunks_pass_unchanged(items: list[Any]) -> None:
    published = add_all(Answer(), items)
    assert add_all(Answer(), published) == published


KINDS = sorted({item["type"] for item in EVERY_KIND} | {"tool-input-error", "tool-output-error", "reasoning-file", "x"})
FIELDS = sorted({name for item in EVERY_KIND for name in item if name != "type"} | {"errorText"})


@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), IDS | CALL_IDS | VALUES, max_size=5))
    )
)
def test_a_chunk_with_any_fields_is_added_or_rejected(drawn: list[tuple[str, dict[str, Any]]]) -> None:
    answer = Answer()
    published = add_all(answer, [{"type": kind, **fields} for kind, fields in drawn])
    assert state_of(Answer.from_chunks(published)) == state_of(answer)
    answer.end({"type": "finish"})


# --- Text ---


def test_a_surrogate_pair_that_two_deltas_share_is_joined() -> None:
    answer = Answer()
    assert [chunk.get("delta") for chunk in answer.add(text_delta("a", "tea \ud83c"))] == [None, "tea "]
    assert [chunk["delta"] for chunk in answer.add(text_delta("a", "\udf75!"))] == ["\U0001f375!"]
    answer.add(text_delta("a", "\ud83c"))
    assert answer.add({"type": "text-end", "id": "a"}) == [{"type": "text-end", "id": "0"}]
    answer.add(text_delta("b", "\udf75"))
    assert answer.content() == "tea \U0001f375!"


def test_deltas_open_unknown_parts_and_ends_of_unknown_parts_are_ignored() -> None:
    answer = answer_of(
        {"type": "text-end", "id": "x"}, text_delta("x", "a"), {"type": "text-start", "id": "x"}, text_delta("x", "b")
    )
    assert answer.parts() == (
        {"type": "text", "text": "a", "state": "done"},
        {"type": "text", "text": "b", "state": "streaming"},
    )
    assert answer.content() == "a\n\nb"


def test_a_string_continues_the_text_and_begins_a_new_one_after_another_part() -> None:
    answer = answer_of("Hel", "lo", CALL, "wor", "ld", text_delta("x", "!"), "?")
    assert [part.get("text") for part in answer.parts()] == ["Hello", None, "world", "!?"]


def test_after_a_takeover_the_responders_ids_continue_the_open_parts() -> None:
    before = answer_of(
        {"type": "reasoning-delta", "id": "rs_1", "delta": "Hm"},
        text_delta("msg_1", "Green "),
        {**CALL, "toolCallId": "c9"},
    )
    for answer in (Answer.from_chunks(before.snapshot()), Answer.from_parts(before.parts())):
        answer.add(text_delta("msg_1", "tea"))
        answer.add({"type": "reasoning-delta", "id": "rs_1", "delta": "m"})
        answer.add({"type": "tool-output-available", "toolCallId": "c9", "output": 1})
        answer.add({"type": "text-end", "id": "msg_1"})
        answer.add(text_delta("msg_2", "More"))
        assert [part.get("text") for part in answer.parts()] == ["Hmm", "Green tea", None, "More"]
        assert answer.parts()[2]["output"] == 1


def test_a_long_delta_is_split_so_that_each_chunk_fits_into_a_frame() -> None:
    for character in ("a", "\x01", "\U0001f375"):
        answer = Answer()
        chunks = answer.add(character * (MAX_DELTA_CHARS + 1))
        assert [len(chunk.get("delta", "")) for chunk in chunks] == [0, MAX_DELTA_CHARS, 1]
        assert max(len(encode_chunks([chunk])) for chunk in chunks) < 32_768
        assert answer.content() == character * (MAX_DELTA_CHARS + 1)


@pytest.mark.parametrize("size", [1, 7, 4_096, MAX_CONTENT_CHARS])
def test_a_text_ends_exactly_at_the_limit_whatever_its_deltas(size: int) -> None:
    text = "茶" * (MAX_CONTENT_CHARS - 10)
    answer = answer_of(text_delta("a", text), text_delta("b", "x" * 8))
    assert (len(answer.content()), answer.full) == (MAX_CONTENT_CHARS, False)
    rest = "y" * 10
    answer = answer_of(text_delta("a", text), *(rest[start : start + size] for start in range(0, 10, size)))
    assert (answer.content(), answer.full) == (text + rest, False)
    assert answer.add("z") == []
    assert (answer.content(), answer.full) == (text + rest, True)
    assert answer.add(CALL) == []
    assert [chunk["type"] for chunk in answer.end({"type": "finish"})] == ["text-end", "finish"]


def test_a_second_text_that_no_longer_fits_makes_the_answer_full() -> None:
    answer = answer_of(text_delta("a", "x" * (MAX_CONTENT_CHARS - 1)), text_delta("b", "y"))
    assert answer.full
    assert len(answer.content()) == MAX_CONTENT_CHARS - 1


def test_reasoning_that_is_too_long_is_cut_and_says_so_once_and_the_answer_goes_on() -> None:
    delta = {"type": "reasoning-delta", "id": "r", "delta": "x" * 5_000}
    answer = answer_of(*[delta] * 8, text_delta("a", "The answer"))
    reasoning = answer.parts()[0]["text"]
    assert reasoning == "x" * MAX_REASONING_CHARS + "\n[The rest of the reasoning was left out: it is too long.]"
    assert (answer.content(), answer.full) == ("The answer", False)
    resumed = Answer.from_parts(answer.parts())
    assert resumed.add(delta) == []


# --- Tools, values, other parts ---


def test_calls_that_have_no_result_at_the_end_get_an_error() -> None:
    answer = answer_of(CALL, {"type": "tool-input-start", "toolCallId": "c2", "toolName": "t"})
    answer.add({"type": "tool-input-delta", "toolCallId": "c2", "inputTextDelta": '{"q'})
    answer.end({"type": "abort"})
    assert [(part["state"], part["input"]) for part in answer.parts()] == [
        ("output-error", {"q": "tea"}),
        ("output-error", '{"q'),
    ]
    assert {part["errorText"] for part in answer.parts()} == {"The answer ended before the tool returned a result."}
    assert answer.add("more") == []


def test_a_reused_or_malformed_id_of_a_call_gets_a_new_one() -> None:
    result = {"type": "tool-output-available", "toolCallId": "c1", "output": 1}
    answer = answer_of(
        CALL, result, CALL, {**result, "output": 2}, {**CALL, "toolCallId": "é"}, {**result, "toolCallId": "é"}
    )
    assert [(part["toolCallId"], part["output"]) for part in answer.parts()] == [
        ("c1", 1),
        ("call-1", 2),
        ("call-2", 1),
    ]


def test_large_values_are_truncated_and_say_so() -> None:
    answer = answer_of({**CALL, "input": "\x01\U0001f375" * 10_000})
    value = answer.parts()[0]["input"]
    assert value["bytes"] == len(encode_chunks("\x01\U0001f375" * 10_000))
    assert value["truncated"].startswith('"\\u0001\U0001f375')
    assert len(encode_chunks(value)) <= MAX_VALUE_BYTES
    deep: Any = "x"
    for _ in range(40):
        deep = [deep]
    answer.add({"type": "data-deep", "data": deep})
    assert b"[cut: nested too deeply]" in encode_chunks(answer.snapshot())


def test_results_of_many_tools_are_bounded_in_total_and_the_answer_goes_on() -> None:
    answer = Answer()
    for number in range(200):
        answer.add({**CALL, "toolCallId": f"c{number}"})
        answer.add({"type": "tool-output-available", "toolCallId": f"c{number}", "output": "x" * 10_000})
    answer.add("done")
    assert not answer.full
    assert len(encode_chunks(answer.snapshot())) < MAX_JSON_BYTES
    assert (answer.parts()[5]["output"], answer.parts()[150]["output"]["bytes"]) == ("x" * 10_000, 10_002)


def test_the_number_of_parts_is_limited() -> None:
    answer = answer_of(*[{"type": "start-step"}] * (MAX_PARTS + 1))
    assert (len(answer.parts()), answer.full) == (MAX_PARTS, True)
    sources = [{"type": "source-url", "sourceId": "s", "url": "https://example.com/" + "a" * 4_000}] * MAX_PARTS
    answer = answer_of(*sources)
    assert answer.full
    assert len(encode_chunks(answer.parts())) < MAX_JSON_BYTES + 5_000


@pytest.mark.parametrize(
    "chunk",
    [
        None,
        [],
        {},
        {"type": 1},
        {"type": "unknown"},
        {"type": "tool-approval-request", "approvalId": "a", "toolCallId": "c1"},
        {"type": "reset-step"},
        {"type": "text-delta", "id": 1, "delta": "a"},
        {"type": "text-delta", "id": "a"},
        {"type": "text-start"},
        {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": "a"},
        {"type": "tool-input-delta", "toolCallId": "none", "inputTextDelta": "a"},
        {"type": "tool-input-start", "toolCallId": "c2"},
        {"type": "tool-input-available", "toolCallId": ["c"], "toolName": "t"},
        {"type": "tool-output-available", "toolCallId": "none", "output": 1},
        {"type": "tool-output-available", "toolCallId": "c1", "output": {1, 2}},
        {"type": "tool-output-available", "toolCallId": "c1", "output": 10**5000},
        {"type": "tool-output-error", "toolCallId": "c1"},
        {"type": "source-url", "sourceId": "s", "url": "javascript:alert(1)"},
        {"type": "source-url", "sourceId": "s", "url": "https://example.com/" + "a" * 5_000},
        {"type": "source-url", "url": "https://example.com/"},
        {"type": "file", "url": "https://example.com/\n", "mediaType": "image/png"},
        {"type": "source-document", "sourceId": "s", "mediaType": "a/b"},
        {"type": "data-" + "x" * 101, "data": 1},
    ],
)
def test_a_malformed_or_unsupported_chunk_changes_nothing(chunk: Any) -> None:
    answer = answer_of("text", CALL)
    before = state_of(answer)
    with pytest.raises(ChunkRejected):
        answer.add(chunk)
    assert state_of(answer) == before


def test_an_error_replaces_a_preliminary_result() -> None:
    preliminary = {"type": "tool-output-available", "toolCallId": "c1", "output": 1, "preliminary": True}
    answer = answer_of(CALL, preliminary, {"type": "tool-output-error", "toolCallId": "c1", "errorText": "no"})
    assert (answer.parts()[0]["errorText"], answer.parts()[0].keys() & {"output", "preliminary"}) == ("no", set())


def test_a_call_has_one_result() -> None:
    answer = answer_of(CALL, {"type": "tool-output-error", "toolCallId": "c1", "errorText": "no"})
    with pytest.raises(ChunkRejected):
        answer.add({"type": "tool-output-available", "toolCallId": "c1", "output": 1})


# --- Published chunks ---


def test_an_answer_that_lost_published_text_has_diverged() -> None:
    later = answer_of("abc")
    for earlier in (answer_of("abd"), answer_of("abcd"), answer_of("abc", CALL), answer_of(CALL)):
        with pytest.raises(Diverged):
            later.since(earlier)
    with pytest.raises(Diverged):
        answer_of(CALL).since(answer_of(CALL, {"type": "tool-output-available", "toolCallId": "c1", "output": 1}))
    assert later.since(answer_of("ab")) == [text_delta("0", "c")]


@pytest.mark.parametrize(
    "chunks",
    [[text_delta("0", "a")], [{"type": "tool-output-available", "toolCallId": "c", "output": 1}], [{}], [{"type": 1}]],
)
def test_chunks_of_another_program_are_rejected(chunks: Chunks) -> None:
    with pytest.raises(ChunkRejected):
        Answer.from_chunks(chunks)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff", b"[" * 100_000])
def test_frames_of_another_program_are_rejected(data: bytes) -> None:
    with pytest.raises(ChunkRejected):
        decode_chunks(data)


def test_merged_chunks_are_bounded_by_the_answer_even_if_parts_alternate() -> None:
    answer = Answer()
    published: Chunks = []
    for _ in range(5_000):
        published += answer.add(text_delta("a", "x"))
        published += answer.add({"type": "reasoning-delta", "id": "r", "delta": "y"})
        published += answer.add({"type": "data-progress", "id": "p", "data": "z"})
    merged = merge(published)
    assert len(merged) == 5
    assert len(merge([*merged, text_delta("0", "x")])) == 6
    assert state_of(Answer.from_chunks(merged)) == state_of(answer)


def test_merging_leaves_the_given_chunks_alone() -> None:
    chunks = [text_delta("0", "a"), text_delta("0", "b")]
    assert merge(chunks) == [text_delta("0", "ab")]
    assert chunks == [text_delta("0", "a"), text_delta("0", "b")]


def test_adding_a_delta_costs_the_same_whatever_the_length_of_the_answer() -> None:
    answer = Answer()
    deltas = [text_delta("a", "x")] * 30_000
    started = time.process_time()
    for delta in deltas:
        answer.add(delta)
    assert time.process_time() - started < 1
    assert len(answer.content()) == 30_000


def test_cleaning_joins_pairs_and_drops_lone_surrogates() -> None:
    assert clean_text("a\0\ud83d\0\ude00b\ude00\ud83d") == "a😀b"
