from __future__ import annotations

from typing import Any

from roomcast.chat.answer import Answer, fold
from roomcast.chat.chunks import decode_chunks, encode_chunks
from roomcast.chat.ports import TurnFrame

Chunks = list[dict[str, Any]]


def text_delta(part_id: str, delta: str) -> dict[str, Any]:
    return {"type": "text-delta", "id": part_id, "delta": delta}


def answer_of(*items: Any) -> Answer:
    answer = Answer()
    for item in items:
        answer.add(item)
    return answer


def published_by(*items: Any) -> list[Any]:
    answer = Answer()
    return [chunk for item in items for chunk in answer.add(item)]


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
