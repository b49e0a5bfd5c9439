"""AG-UI agents and endpoints with a UI message stream, against a server of the tests."""

from __future__ import annotations

from typing import Any

import pytest

from roomcast.chat.answers.answer import Answer as FoldedAnswer
from roomcast.chat.model import StoredMessage
from roomcast.chat.ports import AnswerItem, CutOff, Prompt, Responder, ResponderFailure
from roomcast.contract.events import TurnReason
from roomcast.responders.agui import AgUiResponder
from roomcast.responders.options import EndpointOptions
from roomcast.responders.ui_stream import UiStreamResponder
from support.backend import START
from support.provider import DONE, Answer, event, running_provider


def message(content: str, role: Any = "USER") -> StoredMessage:
    return StoredMessage(f"id-{content}", "chat-1", "e", 1, role, content, "ann", None, START)


PROMPT = Prompt(
    message=message("now?"), history=(message("hello"), message("hi", "AI")), system="Be brief.", turn_id="turn-1"
)


async def collect(kind: type[AgUiResponder | UiStreamResponder], *steps: bytes) -> tuple[list[AnswerItem], Any]:
    async with running_provider(Answer(steps)) as provider:
        responder: Responder = kind(EndpointOptions(url=f"{provider.url}/agent", token="key-1"))
        items = [item async for item in responder.respond(PROMPT)]
    (request,) = provider.requests
    assert (request.path, request.headers["authorization"]) == ("/agent", "Bearer key-1")
    return items, request.body


def folded(items: list[AnswerItem]) -> tuple[dict[str, Any], ...]:
    answer = FoldedAnswer()
    for item in items:
        assert isinstance(item, (str, dict))
        answer.add(item)
    return answer.parts()


def agui(*events: dict[str, Any]) -> list[bytes]:
    started = {"type": "RUN_STARTED", "threadId": "chat-1", "runId": "turn-1"}
    return [event(one) for one in (started, *events)]


FINISHED = {"type": "RUN_FINISHED", "threadId": "chat-1", "runId": "turn-1", "outcome": {"type": "success"}}


async def test_an_agent_receives_the_thread_the_run_and_the_messages() -> None:
    items, body = await collect(AgUiResponder, *agui(FINISHED))
    assert items == []
    assert body == {
        "threadId": "chat-1",
        "runId": "turn-1",
        "messages": [
            {"id": "system", "role": "system", "content": "Be brief."},
            {"id": "id-hello", "role": "user", "content": "hello"},
            {"id": "id-hi", "role": "assistant", "content": "hi"},
            {"id": "id-now?", "role": "user", "content": "now?"},
        ],
        "state": {},
        "tools": [],
        "context": [],
        "forwardedProps": {},
    }


async def test_the_events_of_an_agent_become_parts() -> None:
    items, _ = await collect(
        AgUiResponder,
        *agui(
            {"type": "REASONING_START", "messageId": "r"},
            {"type": "REASONING_MESSAGE_CONTENT", "messageId": "r", "delta": "hm"},
            {"type": "REASONING_END", "messageId": "r"},
            {"type": "TEXT_MESSAGE_START", "messageId": "a", "role": "assistant"},
            {"type": "TEXT_MESSAGE_CONTENT", "messageId": "a", "delta": "Let me "},
            {"type": "TEXT_MESSAGE_CONTENT", "messageId": "a", "delta": "see."},
            {"type": "TEXT_MESSAGE_END", "messageId": "a"},
            {"type": "TOOL_CALL_START", "toolCallId": "t", "toolCallName": "weather", "parentMessageId": "a"},
            {"type": "TOOL_CALL_ARGS", "toolCallId": "t", "delta": '{"city": '},
            {"type": "TOOL_CALL_ARGS", "toolCallId": "t", "delta": '"Oslo"}'},
            {"type": "TOOL_CALL_END", "toolCallId": "t"},
            {"type": "TOOL_CALL_RESULT", "messageId": "b", "toolCallId": "t", "content": "rain"},
            {"type": "RAW", "event": {"x": 1}},
            {"type": "CUSTOM", "name": "chart", "value": [1, 2]},
            {"type": "TEXT_MESSAGE_CHUNK", "messageId": "c", "role": "assistant", "delta": "It rains."},
            FINISHED,
        ),
    )
    parts = [{key: part[key] for key in part if key not in {"state", "providerExecuted"}} for part in folded(items)]
    assert parts == [
        {"type": "reasoning", "text": "hm"},
        {"type": "text", "text": "Let me see."},
        {"type": "dynamic-tool", "toolName": "weather", "toolCallId": "t", "input": {"city": "Oslo"}, "output": "rain"},
        {"type": "data-chart", "data": [1, 2]},
        {"type": "text", "text": "It rains."},
    ]


@pytest.mark.parametrize(
    "last", [[], [{**FINISHED, "outcome": {"type": "cancelled"}}], [{**FINISHED, "outcome": {"type": "interrupt"}}]]
)
async def test_a_run_that_ends_early_is_cut_off(last: list[dict[str, Any]]) -> None:
    text = {"type": "TEXT_MESSAGE_CONTENT", "messageId": "a", "delta": "some"}
    items, _ = await collect(AgUiResponder, *agui(text, *last))
    assert items == [{"type": "text-delta", "id": "a", "delta": "some"}, CutOff(TurnReason.CUT_BY_PROVIDER)]


async def test_an_error_of_an_agent_fails() -> None:
    with pytest.raises(ResponderFailure, match="it broke"):
        await collect(AgUiResponder, *agui({"type": "RUN_ERROR", "message": "it broke"}))


async def test_an_endpoint_receives_ui_messages_and_its_chunks_are_passed_on() -> None:
    chunks = [
        {"type": "start", "messageId": "x"},
        {"type": "text-start", "id": "1"},
        {"type": "text-delta", "id": "1", "delta": "yes"},
        {"type": "text-end", "id": "1"},
    ]
    items, body = await collect(UiStreamResponder, *map(event, chunks), event({"type": "finish"}), DONE)
    assert items == chunks
    assert [(one["role"], one["parts"]) for one in body["messages"]] == [
        ("user", [{"type": "text", "text": "hello"}]),
        ("assistant", [{"type": "text", "text": "hi"}]),
        ("user", [{"type": "text", "text": "now?"}]),
    ]
    assert (body["id"], body["messageId"], body["system"]) == ("chat-1", "turn-1", "Be brief.")


@pytest.mark.parametrize("end", [[], [event({"type": "abort"})]])
async def test_an_endpoint_that_ends_early_is_cut_off(end: list[bytes]) -> None:
    chunk = {"type": "text-delta", "id": "1", "delta": "some"}
    items, _ = await collect(UiStreamResponder, event(chunk), *end)
    assert items == [chunk, CutOff(TurnReason.CUT_BY_PROVIDER)]


async def test_an_error_of_an_endpoint_fails() -> None:
    with pytest.raises(ResponderFailure, match="it broke"):
        await collect(UiStreamResponder, event({"type": "error", "errorText": "it broke"}))
