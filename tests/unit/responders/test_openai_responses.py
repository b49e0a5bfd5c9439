"""The Responses API, against a server of the tests."""

from __future__ import annotations

from typing import Any

import pytest

from roomcast.chat.model import StoredMessage
from roomcast.chat.ports import AnswerItem, CutOff, Prompt, Reference, ResponderFailure, ResumableResponder, Usage
from roomcast.contract.events import TurnReason
from roomcast.responders.openai_responses import OpenAiResponsesResponder
from roomcast.responders.options import OpenAiOptions
from support.backend import START
from support.provider import Answer, Provider, event, running_provider

PROMPT = Prompt(message=StoredMessage("m", "c", "e", 1, "USER", "hello", "ann", None, START), system="Be brief.")


def make(provider: Provider, **more: Any) -> OpenAiResponsesResponder:
    return OpenAiResponsesResponder(OpenAiOptions(model="model-1", base_url=f"{provider.url}/v1"), **more)


def stream(number: int, kind: str, **fields: Any) -> bytes:
    return event({"type": kind, "sequence_number": number, **fields})


def created(response_id: str = "resp_1") -> bytes:
    return stream(0, "response.created", response={"id": response_id, "status": "in_progress"})


def text(number: int, delta: str) -> bytes:
    return stream(number, "response.output_text.delta", item_id="msg_1", delta=delta)


def completed(number: int, output: Any = (), kind: str = "response.completed", **more: Any) -> bytes:
    usage = {"input_tokens": 7, "output_tokens": 3}
    return stream(number, kind, response={"id": "resp_1", "output": list(output), "usage": usage, **more})


async def collect(provider: Provider, **more: Any) -> list[AnswerItem]:
    return [item async for item in make(provider, **more).respond(PROMPT)]


def without_references(items: list[AnswerItem]) -> list[AnswerItem]:
    return [item for item in items if not isinstance(item, Reference)]


async def test_each_text_is_followed_by_the_reference_to_continue_after_it() -> None:
    thought = stream(1, "response.reasoning_summary_text.delta", item_id="rs_1", summary_index=0, delta="hm")
    async with running_provider(Answer([created(), thought, text(2, "he"), text(3, "y"), completed(4)])) as provider:
        assert isinstance(make(provider), ResumableResponder)
        assert await collect(provider) == [
            Reference("resp_1:0"),
            {"type": "reasoning-delta", "id": "rs_1-0", "delta": "hm"},
            Reference("resp_1:1"),
            "he",
            Reference("resp_1:2"),
            "y",
            Reference("resp_1:3"),
            Usage(7, 3),
            Reference("resp_1:4"),
        ]
    assert provider.requests[0].body == {
        "model": "model-1",
        "input": [{"role": "user", "content": "hello"}],
        "instructions": "Be brief.",
        "stream": True,
        "background": True,
        "store": True,
    }


async def test_another_worker_continues_after_a_reference() -> None:
    async with running_provider(Answer([text(3, "y"), completed(4)])) as provider:
        items = [item async for item in make(provider).resume(PROMPT, "resp_1:2")]
    assert without_references(items) == ["y", Usage(7, 3)]
    (request,) = provider.requests
    assert (request.method, request.path) == ("GET", "/v1/responses/resp_1?stream=true&starting_after=2")


async def test_an_answer_goes_on_after_the_connection_was_lost() -> None:
    # The declared length is never reached.
    lost = Answer([created(), text(1, "he")], headers={"Content-Length": "100000"})
    rest = Answer([text(1, "he"), text(2, "y"), completed(3)])
    async with running_provider(lost, rest) as provider:
        items = await collect(provider)
    assert without_references(items) == ["he", "y", Usage(7, 3)]
    assert provider.requests[1].path == "/v1/responses/resp_1?stream=true&starting_after=1"


async def test_a_reference_with_a_long_id_is_understood() -> None:
    async with running_provider(Answer([created("resp_" + "x=" * 230), completed(1)])) as provider:
        (reference,) = [item for item in await collect(provider) if isinstance(item, Reference)][:1]
        assert [item async for item in make(provider).resume(PROMPT, reference.ref)]


@pytest.mark.parametrize("response_id", ["../files", "a b", "a?b", "x" * 1001, "a\0"])
async def test_an_id_that_could_change_the_address_is_not_used(response_id: str) -> None:
    async with running_provider(Answer([created(response_id), text(1, "hey"), event({"type": "error"})])) as provider:
        items = make(provider).respond(PROMPT)
        assert await anext(items) == "hey"
        with pytest.raises(ResponderFailure):
            await anext(items)


@pytest.mark.parametrize("ref", ["", "resp_1", "resp_1:x", "a:b:1", "../x:1"])
async def test_a_foreign_reference_is_refused(ref: str) -> None:
    async with running_provider(Answer()) as provider:
        with pytest.raises(ResponderFailure, match="another format"):
            await anext(make(provider).resume(PROMPT, ref))
    assert provider.requests == []


async def test_a_cancellation_reaches_the_provider() -> None:
    async with running_provider(Answer()) as provider:
        await make(provider).cancel("resp_1:7")
    assert [(request.method, request.path) for request in provider.requests] == [
        ("POST", "/v1/responses/resp_1/cancel")
    ]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (completed(2, kind="response.incomplete", incomplete_details={"reason": "max_output_tokens"}), "too-long"),
        (completed(2, kind="response.incomplete", incomplete_details={"reason": "content_filter"}), "filtered"),
        (completed(2, kind="response.cancelled"), "cut-by-provider"),
        (b"", "cut-by-provider"),
    ],
)
async def test_an_answer_that_ended_early_is_cut_off(end: bytes, reason: str) -> None:
    async with running_provider(Answer([created(), text(1, "some"), end])) as provider:
        items = await collect(provider)
    assert "some" in items
    assert items[-1] == CutOff(TurnReason(reason))


@pytest.mark.parametrize(
    "failure",
    [
        stream(2, "error", code="server_error", message="it broke"),
        stream(2, "response.failed", response={"id": "resp_1", "error": {"code": "x", "message": "it broke"}}),
    ],
)
async def test_an_error_of_the_provider_fails(failure: bytes) -> None:
    async with running_provider(Answer([created(), failure])) as provider:
        with pytest.raises(ResponderFailure, match="it broke"):
            await collect(provider)


def weather(city: str) -> str:
    """The weather of a city."""
    return f"rain in {city}"


async def test_tools_are_called_and_their_results_returned_to_the_model() -> None:
    call = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Oslo"}'}
    answers = Answer([created(), completed(1, [call])]), Answer([created("resp_2"), text(1, "It rains."), completed(2)])
    async with running_provider(*answers) as provider:
        items = without_references(await collect(provider, tools=[weather]))
    assert items == [
        Usage(7, 3),
        {"type": "tool-input-available", "toolCallId": "call_1", "toolName": "weather", "input": {"city": "Oslo"}},
        {"type": "tool-output-available", "toolCallId": "call_1", "output": "rain in Oslo"},
        {"type": "start-step"},
        "It rains.",
        Usage(14, 6),
    ]
    assert [tool["name"] for tool in provider.requests[0].body["tools"]] == ["weather"]
    second = provider.requests[1].body
    assert second["previous_response_id"] == "resp_1"
    assert second["input"] == [{"type": "function_call_output", "call_id": "call_1", "output": "rain in Oslo"}]
