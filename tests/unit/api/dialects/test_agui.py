from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from roomcast.api.dialects.agui import Known, Run, read_known
from roomcast.chat.answers.answer import Answer
from roomcast.chat.ports.responder import Chunk
from support.agui_client import AgUiClient

TURN = "0198-turn"
EPOCH = "e1"
#: Texts whose boundaries are easy to get wrong.
PIECES = ["a", "é", "e\u0301", "👩‍👩‍👧", "\ud83d\ude00", "```py\n", "\n```\n\n", " ", "漢字", "\u2028", "0" * 40]


def run(known: Known | None = None) -> Run:
    return Run("c", "r", TURN, EPOCH, known)


def translate(chunks: list[Chunk], known: Known | None = None) -> list[dict[str, Any]]:
    translated = run(known)
    return [event for chunk in chunks for event in translated.add(chunk)]


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def answer_of(*items: Chunk | str, end: str = "finish") -> tuple[Answer, list[Chunk]]:
    answer = Answer()
    chunks = answer.begin(TURN)
    for item in items:
        chunks += answer.add(item)
    return answer, [*chunks, *answer.end({"type": end})]


def test_a_text_is_one_message_with_the_id_of_the_turn_and_positions() -> None:
    _, chunks = answer_of("Hi ", "👋")
    assert translate(chunks) == [
        {"type": "TEXT_MESSAGE_START", "messageId": TURN, "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": TURN, "delta": "Hi ", "metadata": {"epoch": EPOCH, "seq": 3}},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": TURN, "delta": "👋", "metadata": {"epoch": EPOCH, "seq": 4}},
        {"type": "TEXT_MESSAGE_END", "messageId": TURN},
        {"type": "RUN_FINISHED", "threadId": "c", "runId": "r", "outcome": {"type": "success"}},
    ]


def test_a_run_names_the_turn_that_can_be_stopped() -> None:
    assert run().start() == [
        {
            "type": "RUN_STARTED",
            "threadId": "c",
            "runId": "r",
            "protocolVersion": "1.0",
            "metadata": {"epoch": EPOCH, "turnId": TURN},
        }
    ]


def test_a_stopped_answer_is_cancelled_and_a_failed_one_an_error() -> None:
    _, chunks = answer_of("Hi", end="abort")
    assert translate(chunks)[-1]["outcome"] == {"type": "cancelled"}
    failed = run()
    failed.add({"type": "text-start", "id": "0"})
    failed.add({"type": "text-delta", "id": "0", "delta": "Hi"})
    assert failed.add({"type": "error", "errorText": "the provider is unreachable"}) == [
        {"type": "TEXT_MESSAGE_END", "messageId": TURN},
        {"type": "RUN_ERROR", "message": "the provider is unreachable", "code": "answer-failed"},
    ]


def test_a_tool_call_has_its_arguments_and_its_result_once() -> None:
    call = {"toolCallId": "t1", "toolName": "weather", "dynamic": True}
    _, chunks = answer_of(
        {"type": "tool-input-start", **call},
        {"type": "tool-input-delta", "toolCallId": "t1", "inputTextDelta": '{"city":'},
        {"type": "tool-input-available", **call, "input": {"city": "Köln"}},
        {"type": "tool-output-available", "toolCallId": "t1", "output": {"c": 9}, "preliminary": True},
        {"type": "tool-output-available", "toolCallId": "t1", "output": {"c": 11}},
    )
    assert translate(chunks)[:-1] == [
        {"type": "TOOL_CALL_START", "toolCallId": "t1", "toolCallName": "weather", "parentMessageId": TURN},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "t1", "delta": '{"city":"Köln"}'},
        {"type": "TOOL_CALL_END", "toolCallId": "t1"},
        {
            "type": "TOOL_CALL_RESULT",
            "messageId": f"{TURN}-t1",
            "toolCallId": "t1",
            "content": '{"c":11}',
            "role": "tool",
        },
    ]


def test_reasoning_is_a_message_of_its_own_and_other_parts_are_custom_events() -> None:
    _, chunks = answer_of(
        {"type": "reasoning-start", "id": "x"},
        {"type": "reasoning-delta", "id": "x", "delta": "Hm."},
        {"type": "reasoning-end", "id": "x"},
        {"type": "source-url", "sourceId": "s", "url": "https://example.com/"},
        {"type": "data-chart", "data": [1]},
        {"type": "start-step"},
    )
    events = translate(chunks)
    assert types(events) == [
        "REASONING_START", "REASONING_MESSAGE_START", "REASONING_MESSAGE_CONTENT", "REASONING_MESSAGE_END",
        "REASONING_END", "CUSTOM", "CUSTOM", "RUN_FINISHED",
    ]  # fmt: skip
    assert {event["messageId"] for event in events if "messageId" in event} == {f"{TURN}-0"}
    assert [event["name"] for event in events if event["type"] == "CUSTOM"] == ["source-url", "data-chart"]


def test_what_the_client_has_is_left_out() -> None:
    _, chunks = answer_of("Hello ", "world")
    events = translate(chunks, Known({TURN: "Hello wo"}))
    assert [event.get("delta") for event in events if event["type"] == "TEXT_MESSAGE_CONTENT"] == ["rld"]
    assert translate(chunks, Known({TURN: 8})) == events
    assert types(translate(chunks, Known({TURN: "Hello world"}))) == ["RUN_FINISHED"]


@pytest.mark.parametrize("known", ["Hallo", "Hello world, and more", 12])
def test_another_text_than_the_clients_is_an_error(known: str | int) -> None:
    _, chunks = answer_of("Hello ", "world")
    (event,) = translate(chunks, Known({TURN: known}))
    assert (event["type"], event["code"]) == ("RUN_ERROR", "reset")


def test_a_position_of_another_epoch_and_messages_of_other_answers_do_not_count() -> None:
    messages = [
        {"id": TURN, "role": "assistant", "metadata": {"epoch": "e0", "seq": 5}},
        {"id": f"{TURN}-0", "role": "reasoning", "metadata": {"epoch": EPOCH, "seq": 3}},
        {"id": f"{TURN}-1", "role": "reasoning", "metadata": {"epoch": EPOCH, "seq": "3"}},
        {"id": f"{TURN}2", "role": "assistant", "content": "other"},
        {"id": 7, "role": "assistant", "content": "other"},
    ]
    assert read_known(messages, TURN, EPOCH) == Known({f"{TURN}-0": 3})


def test_malformed_tool_calls_of_a_client_are_ignored() -> None:
    calls = [None, "x", {"id": ["x"], "function": {"arguments": "1"}}, {"id": "a", "function": {"arguments": ""}}]
    messages = [
        {"id": TURN, "role": "assistant", "toolCalls": [*calls, {"id": "b", "function": {"arguments": "{}"}}]},
        {"id": TURN, "role": "assistant", "toolCalls": 1},
        {"id": f"{TURN}-b", "role": "tool", "toolCallId": "b", "content": "1"},
        {"id": f"{TURN}-c", "role": "tool", "toolCallId": ["c"], "content": "1"},
    ]
    known = read_known(messages, TURN, EPOCH)
    assert (known.calls, known.results) == ({"b"}, {"b"})


def random_answer(chance: random.Random) -> tuple[Answer, list[Chunk]]:
    """An answer with interleaved parts, as its published chunks."""
    items: list[Chunk | str] = []
    for step in range(chance.randrange(3, 30)):
        key = str(chance.randrange(3))
        call = {"toolCallId": f"t{step}", "toolName": "look", "dynamic": True}
        match chance.randrange(8):
            case 0 | 1:
                items.append({"type": "text-delta", "id": key, "delta": chance.choice(PIECES)})
            case 2:
                items.append("".join(chance.choices(PIECES, k=3)))
            case 3:
                items.append({"type": "text-end", "id": key})
            case 4:
                items.append({"type": "reasoning-delta", "id": key, "delta": chance.choice(PIECES)})
            case 5:
                items.append({"type": "reasoning-end", "id": key})
            case 6:
                items.append({"type": "tool-input-start", **call})
            case 7:
                items.append({"type": "tool-input-available", **call, "input": {"q": step}})
                if chance.random() < 0.7:
                    items.append({"type": "tool-output-available", "toolCallId": f"t{step}", "output": step})
    return answer_of(*items, end=chance.choice(["finish", "abort"]))


@pytest.mark.parametrize("seed", range(60))
def test_after_random_cuts_the_client_has_exactly_what_is_stored(seed: int) -> None:
    chance = random.Random(seed)
    answer, chunks = random_answer(chance)
    client = AgUiClient([{"id": "q", "role": "user", "content": "?"}])
    while client.outcome is None or client.outcome == "cut":
        client.begin()
        # A reader gets the chunks so far merged, and the others one by one.
        merged = chance.randrange(len(chunks) + 1)
        seen = [*Answer.from_chunks(chunks[:merged]).snapshot(), *chunks[merged:]]
        following = Run("c", "r", TURN, EPOCH, read_known(client.messages, TURN, EPOCH))
        events = [*following.start(), *(event for chunk in seen for event in following.add(chunk))]
        cut = chance.choice([len(events), chance.randrange(len(events) + 1)])
        client.apply(events[:cut])
        client.outcome = client.outcome or "cut"
    assert client.outcome in {"success", "cancelled"}
    assert client.text(TURN) == answer.content()
    parts = answer.parts()
    for index, part in enumerate(parts):
        if part["type"] == "reasoning":
            assert client.text(f"{TURN}-{index}") == part["text"]
    calls = [call for message in client.messages for call in message.get("toolCalls", ())]
    tools = {part["toolCallId"]: part for part in parts if part["type"] == "dynamic-tool"}
    assert {call["id"]: json.loads(call["function"]["arguments"]) for call in calls} == {
        call_id: part["input"] for call_id, part in tools.items()
    }
    assert len(calls) == len(tools)
    results = Counter(message["toolCallId"] for message in client.messages if message["role"] == "tool")
    assert results == Counter({call_id: 1 for call_id, part in tools.items() if part["state"].startswith("output")})
