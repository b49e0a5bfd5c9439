"""Chat Completions, against a server of the tests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from roomcast.chat.model import StoredMessage
from roomcast.chat.ports import AnswerItem, CutOff, Prompt, ResponderFailure, Usage
from roomcast.contract.events import TurnReason
from roomcast.responders.openai import OpenAiResponder
from roomcast.responders.options import OpenAiOptions, StreamLimits
from support.backend import START
from support.provider import DONE, Answer, Provider, chat_chunk, event, running_provider


def message(content: str, role: Any = "USER") -> StoredMessage:
    return StoredMessage("m", "c", "e", 1, role, content, "ann", None, START)


PROMPT = Prompt(message=message("and now?"), history=(message("hello"), message("hi", "AI")), system="Be brief.")


def make(provider: Provider, **more: Any) -> OpenAiResponder:
    limits = StreamLimits(connect_s=5, read_s=more.pop("read_s", 5))
    options = OpenAiOptions(model="model-1", base_url=f"{provider.url}/v1", api_key="key-1", limits=limits)
    return OpenAiResponder(options, **more)


async def collect(provider: Provider, prompt: Prompt = PROMPT, **more: Any) -> list[AnswerItem]:
    return [item async for item in make(provider, **more).respond(prompt)]


async def test_the_request_has_the_system_prompt_the_history_and_the_key() -> None:
    async with running_provider(Answer([chat_chunk("yes", "stop"), DONE])) as provider:
        assert await collect(provider) == ["yes"]
    (request,) = provider.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.headers["authorization"] == "Bearer key-1"
    assert request.body == {
        "model": "model-1",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": "and now?"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_the_chat_chooses_the_model() -> None:
    async with running_provider(Answer([chat_chunk("yes", "stop")])) as provider:
        await collect(provider, Prompt(message=message("hello"), model="model-2"))
    assert provider.requests[0].body["model"] == "model-2"


async def test_text_reasoning_and_usage_are_read_over_any_cut_of_the_bytes() -> None:
    stream = b"".join(
        [
            chat_chunk(None, role="assistant"),
            chat_chunk("", reasoning_content="hm "),
            chat_chunk(None, reasoning="and so"),
            chat_chunk("你好 "),
            chat_chunk("\U0001f600"),
            chat_chunk(None, "stop"),
            chat_chunk(usage={"prompt_tokens": 7, "completion_tokens": 3}),
            DONE,
        ]
    )
    for size in (1, 7, len(stream)):
        parts = [stream[start : start + size] for start in range(0, len(stream), size)]
        async with running_provider(Answer(parts)) as provider:
            assert await collect(provider) == [
                {"type": "reasoning-delta", "id": "reasoning", "delta": "hm "},
                {"type": "reasoning-delta", "id": "reasoning", "delta": "and so"},
                {"type": "reasoning-end", "id": "reasoning"},
                "你好 ",
                "\U0001f600",
                Usage(7, 3),
            ]


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", TurnReason.TOO_LONG), ("content_filter", TurnReason.FILTERED)]
)
async def test_an_answer_that_the_provider_ended_early_is_cut_off(finish: str, reason: TurnReason) -> None:
    async with running_provider(Answer([chat_chunk("some"), chat_chunk(None, finish), DONE])) as provider:
        assert await collect(provider) == ["some", CutOff(reason)]


async def test_a_stream_that_ends_without_a_reason_is_cut_off() -> None:
    async with running_provider(Answer([chat_chunk("some")])) as provider:
        assert await collect(provider) == ["some", CutOff(TurnReason.CUT_BY_PROVIDER)]


async def test_a_stream_without_any_answer_fails_and_may_be_retried() -> None:
    async with running_provider(Answer([DONE])) as provider:
        with pytest.raises(ResponderFailure) as failure:
            await collect(provider)
    assert failure.value.retryable


@pytest.mark.parametrize(
    ("answer", "retryable", "retry_after_s", "reason"),
    [
        (Answer([b"slow down"], 429, {"Retry-After": "7"}), True, 7.0, TurnReason.RATE_LIMITED),
        (Answer([b"slow down"], 429, {"Retry-After": "²"}), True, None, TurnReason.RATE_LIMITED),
        (Answer([b"overloaded"], 503), True, None, TurnReason.PROVIDER_UNREACHABLE),
        (Answer([b'{"error": {"message": "no such model"}}'], 404), False, None, TurnReason.PROVIDER_REFUSED),
    ],
)
async def test_a_refusal_says_whether_a_retry_may_help(
    answer: Answer, retryable: bool, retry_after_s: float | None, reason: TurnReason
) -> None:
    async with running_provider(answer) as provider:
        with pytest.raises(ResponderFailure) as failure:
            await collect(provider)
    found = failure.value
    assert (found.retryable, found.retry_after_s, found.reason) == (retryable, retry_after_s, reason)
    assert found.kind == str(answer.status)
    assert "key-1" not in str(found)


async def test_without_a_server_the_failure_may_be_retried() -> None:
    async with running_provider() as provider:
        pass
    with pytest.raises(ResponderFailure) as failure:
        await collect(provider)
    assert (failure.value.retryable, failure.value.kind) == (True, "connect")


async def test_a_silent_provider_runs_into_the_time_limit() -> None:
    async with running_provider(Answer([chat_chunk("some"), 30.0])) as provider:
        items = make(provider, read_s=0.1).respond(PROMPT)
        assert await anext(items) == "some"
        with pytest.raises(ResponderFailure) as failure:
            await anext(items)
    assert failure.value.reason is TurnReason.TIMEOUT


async def test_an_error_within_the_stream_fails() -> None:
    stream = [chat_chunk("some"), event({"error": {"message": "the model crashed", "code": 500}})]
    async with running_provider(Answer(stream)) as provider:
        with pytest.raises(ResponderFailure, match="the model crashed"):
            await collect(provider)


async def test_malformed_events_are_skipped_up_to_a_limit() -> None:
    bad = [b"data: {\n\n", b"data: 5\n\n", event({"choices": None}), event({"choices": [{"delta": None}]})]
    async with running_provider(Answer([*bad, chat_chunk("yes", "stop")])) as provider:
        assert await collect(provider) == ["yes"]
    async with running_provider(Answer([b"data: {\n\n" * 30])) as provider:
        with pytest.raises(ResponderFailure, match="no JSON objects"):
            await collect(provider)


async def test_closing_the_iterator_closes_the_connection() -> None:
    async with running_provider(Answer([chat_chunk("some"), asyncio.Event()])) as provider:
        items = make(provider).respond(PROMPT)
        assert await anext(items) == "some"
        await items.aclose()  # type: ignore[attr-defined]  # every async generator has it
        request = await provider.request(0)
        async with asyncio.timeout(5):
            await request.closed.wait()


def weather(city: str) -> str:
    """The weather of a city."""
    return f"rain in {city}"


async def test_tools_are_called_and_their_results_returned_to_the_model() -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    first = Answer(
        [
            chat_chunk("Let me see."),
            chat_chunk(None, tool_calls=[call]),
            chat_chunk(None, tool_calls=[{"index": 0, "function": {"arguments": '{"city": '}}]),
            chat_chunk(None, tool_calls=[{"index": 0, "function": {"arguments": '"Oslo"}'}}]),
            chat_chunk(None, "tool_calls"),
            chat_chunk(usage={"prompt_tokens": 10, "completion_tokens": 5}),
            DONE,
        ]
    )
    second = Answer(
        [chat_chunk("It rains.", "stop"), chat_chunk(usage={"prompt_tokens": 20, "completion_tokens": 2}), DONE]
    )
    async with running_provider(first, second) as provider:
        items = await collect(provider, tools=[weather])
    assert items == [
        "Let me see.",
        Usage(10, 5),
        {"type": "tool-input-available", "toolCallId": "call_1", "toolName": "weather", "input": {"city": "Oslo"}},
        {"type": "tool-output-available", "toolCallId": "call_1", "output": "rain in Oslo"},
        {"type": "start-step"},
        "It rains.",
        Usage(30, 7),
    ]
    assert [tool["function"]["name"] for tool in provider.requests[0].body["tools"]] == ["weather"]
    assert provider.requests[1].body["messages"][-2:] == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "rain in Oslo"},
    ]


def called(index: int | None, call_id: str | None, arguments: str | None, name: str | None = None) -> bytes:
    return chat_chunk(
        None, tool_calls=[{"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}]
    )


@pytest.mark.parametrize(
    "pieces",
    [
        [called(0, "a", '{"city": "Oslo"}', "weather"), called(1, "b", '{"city": "Rome"}', "weather")],
        # All with the same index, or without one.
        [called(0, "a", '{"city": "Oslo"}', "weather"), called(0, "b", '{"city": "Rome"}', "weather")],
        [called(None, "a", '{"city": "Oslo"}', "weather"), called(None, "b", '{"city": "Rome"}', "weather")],
        # Pieces of two calls in turns; the id and the name are repeated, or empty.
        [
            called(0, "a", '{"city"', "weather"),
            called(1, "b", '{"city"', "weather"),
            called(0, "a", ': "Oslo"}', "weather"),
            called(1, "", ': "Rome"}', ""),
        ],
    ],
)
async def test_calls_are_put_together_as_servers_send_them(pieces: list[bytes]) -> None:
    answers = Answer([*pieces, chat_chunk(None, "tool_calls")]), Answer([chat_chunk("yes", "stop")])
    async with running_provider(*answers) as provider:
        items = await collect(provider, tools=[weather])
    outputs = [item for item in items if isinstance(item, dict) and item["type"] == "tool-output-available"]
    assert [(item["toolCallId"], item["output"]) for item in outputs] == [("a", "rain in Oslo"), ("b", "rain in Rome")]


@pytest.mark.parametrize(
    "pieces", [[called(0, "a", "x" * 10_000, "weather")] * 27, [called(n, f"c{n}", "{}", "weather") for n in range(65)]]
)
async def test_endless_calls_fail(pieces: list[bytes]) -> None:
    async with running_provider(Answer([*pieces, asyncio.Event()])) as provider:
        with pytest.raises(ResponderFailure) as failure:
            await collect(provider, tools=[weather])
    assert failure.value.kind == "too-long"


async def test_a_surrogate_pair_in_two_pieces_is_sent_back_as_one_character() -> None:
    call = called(0, "a", '{"city": "Oslo"}', "weather")
    halves = [
        b'data: {"choices": [{"delta": {"content": "\\ud83d"}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "\\ude00"}}]}\n\n',
    ]
    answers = Answer([*halves, call, chat_chunk(None, "tool_calls")]), Answer([chat_chunk("yes", "stop")])
    async with running_provider(*answers) as provider:
        await collect(provider, tools=[weather])
    assert provider.requests[1].body["messages"][-2]["content"] == "\U0001f600"


async def test_a_server_that_refuses_the_option_for_tokens_is_asked_without_it() -> None:
    refusal = Answer([b'{"error": {"message": "Extra inputs are not permitted: stream_options"}}'], 400)
    async with running_provider(refusal, Answer([chat_chunk("yes", "stop")])) as provider:
        responder = make(provider)
        with pytest.raises(ResponderFailure) as failure:
            await anext(responder.respond(PROMPT))
        assert (failure.value.retryable, failure.value.retry_after_s) == (True, 0.0)
        assert [item async for item in responder.respond(PROMPT)] == ["yes"]
    assert "stream_options" not in provider.requests[1].body


@pytest.mark.parametrize(
    ("error", "retryable", "reason"),
    [
        ({"code": 500}, True, TurnReason.RESPONDER_ERROR),
        ({"code": "429"}, True, TurnReason.RATE_LIMITED),
        ({"type": "invalid_request_error"}, False, TurnReason.RESPONDER_ERROR),
        ("overloaded", True, TurnReason.RESPONDER_ERROR),
    ],
)
async def test_an_error_event_says_whether_a_retry_may_help(error: object, retryable: bool, reason: TurnReason) -> None:
    async with running_provider(Answer([event({"error": error})])) as provider:
        with pytest.raises(ResponderFailure) as failure:
            await collect(provider)
    assert (failure.value.retryable, failure.value.reason) == (retryable, reason)


async def test_a_model_that_only_calls_tools_is_cut_off() -> None:
    call = {"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    endless = Answer([chat_chunk(None, tool_calls=[call]), chat_chunk(None, "tool_calls"), DONE])
    async with running_provider(endless) as provider:
        items = await collect(provider, tools=[weather])
    assert items[-1] == CutOff(TurnReason.TOO_LONG)
    assert len(provider.requests) == 16


@pytest.mark.parametrize(
    ("body", "logged"),
    [
        (
            b'{"error": {"message": "no such model", "type": "x", "code": null, "input": "secret"}}',
            "message: no such model",
        ),
        (b'{"detail": [{"loc": ["body"], "msg": "bad", "input": "secret"}]}', "an error object without a message"),
        (b"<html>secret</html>", "a text of 19 characters"),
        (b'["secret"]', "a value of the type list"),
    ],
)
async def test_the_failure_repeats_no_part_of_the_request(body: bytes, logged: str) -> None:
    async with running_provider(Answer([body], 422)) as provider:
        with pytest.raises(ResponderFailure, match=logged) as failure:
            await collect(provider)
    assert "secret" not in str(failure.value)
