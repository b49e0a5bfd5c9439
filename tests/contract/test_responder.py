"""The contract of `chat.ports.Responder`, over every implementation; providers are servers of the tests."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from pydantic import TypeAdapter

from roomcast.chat.answers.answer import Answer as FoldedAnswer
from roomcast.chat.answers.chunks import ChunkRejected
from roomcast.chat.model import StoredMessage
from roomcast.chat.ports import AnswerItem, CutOff, Prompt, Responder, ResponderFailure, ResumableResponder
from roomcast.contract.events import TurnReason
from roomcast.contract.text import Content
from roomcast.responders.agui import AgUiResponder
from roomcast.responders.demo import DemoResponder
from roomcast.responders.function import FunctionResponder
from roomcast.responders.openai import OpenAiResponder
from roomcast.responders.openai_responses import OpenAiResponsesResponder
from roomcast.responders.options import EndpointOptions, OpenAiOptions
from roomcast.responders.ui_stream import UiStreamResponder
from support.backend import START
from support.provider import Answer, chat_chunk, event, running_provider

TEXTS = ["Hello ", "你好", " \U0001f600", "!"]


async def _stream(_prompt: Prompt) -> AsyncIterator[str]:
    for text in TEXTS:
        yield text


def _steps(_prompt: Prompt) -> Iterator[str]:
    yield from TEXTS


async def _whole(_prompt: Prompt) -> str:
    return "".join(TEXTS)


@dataclass(frozen=True)
class Remote:
    """A responder with a provider: how it is made, and the provider's stream."""

    make: Callable[[str], Responder]
    start: Sequence[bytes]
    text: Callable[[str], bytes]
    end: Sequence[bytes]


def _endpoint(url: str) -> EndpointOptions:
    return EndpointOptions(url=url)


def _openai(url: str) -> OpenAiOptions:
    return OpenAiOptions(model="model-1", base_url=url)


LOCAL: dict[str, Callable[[], Responder]] = {
    "demo": lambda: DemoResponder(words_per_s=math.inf),
    "async generator": lambda: FunctionResponder("team:stream", _stream),
    "generator": lambda: FunctionResponder("team:steps", _steps),
    "async function": lambda: FunctionResponder("team:whole", _whole),
}
REMOTE: dict[str, Remote] = {
    "openai chat": Remote(
        lambda url: OpenAiResponder(_openai(url)),
        [chat_chunk(None, role="assistant")],
        chat_chunk,
        [chat_chunk(None, "stop")],
    ),
    "openai responses": Remote(
        lambda url: OpenAiResponsesResponder(_openai(url)),
        [event({"type": "response.created", "response": {"id": "resp_1"}})],
        lambda text: event({"type": "response.output_text.delta", "delta": text}),
        [event({"type": "response.completed", "response": {"id": "resp_1"}})],
    ),
    "agui": Remote(
        lambda url: AgUiResponder(_endpoint(url)),
        [event({"type": "RUN_STARTED"}), event({"type": "TEXT_MESSAGE_START", "messageId": "1"})],
        lambda text: event({"type": "TEXT_MESSAGE_CONTENT", "messageId": "1", "delta": text}),
        [event({"type": "TEXT_MESSAGE_END", "messageId": "1"}), event({"type": "RUN_FINISHED"})],
    ),
    "http": Remote(
        lambda url: UiStreamResponder(_endpoint(url)),
        [event({"type": "start"}), event({"type": "text-start", "id": "1"})],
        lambda text: event({"type": "text-delta", "id": "1", "delta": text}),
        [event({"type": "text-end", "id": "1"}), event({"type": "finish"})],
    ),
}


@pytest.fixture(params=[*LOCAL, *REMOTE])
async def responder(request: pytest.FixtureRequest) -> AsyncIterator[Responder]:
    """Every responder."""
    if request.param in LOCAL:
        yield LOCAL[request.param]()
        return
    remote = REMOTE[request.param]
    script = Answer([*remote.start, *(remote.text(text) for text in TEXTS), *remote.end])
    async with running_provider(script) as provider:
        yield remote.make(provider.url)


@pytest.fixture(params=REMOTE)
def remote(request: pytest.FixtureRequest) -> Remote:
    """Every responder that has a provider."""
    return REMOTE[request.param]


def prompt(content: str, history: int = 0) -> Prompt:
    earlier = tuple(
        StoredMessage(f"m{n}", "c", "e", n, "USER", str(n), None, None, START) for n in range(1, history + 1)
    )
    return Prompt(
        message=StoredMessage("m", "c", "e", history + 1, "USER", content, "ann", None, START),
        history=earlier,
        turn_id="turn-1",
    )


async def folded(items: AsyncIterator[AnswerItem]) -> str:
    """The text of an answer."""
    answer = FoldedAnswer()
    async for item in items:
        if isinstance(item, str | Mapping):
            # The worker leaves unknown chunks out too.
            with contextlib.suppress(ChunkRejected):
                answer.add(item)
    return answer.content()


@pytest.mark.parametrize(
    "content", ["hello", "你好", " ", "\n", "x" * 32_768, "界" * 32_768, "\u202e\x1b[31m", "```\n<b>"]
)
async def test_an_answer_is_valid_content(responder: Responder, content: str) -> None:
    answer = await folded(responder.respond(prompt(content)))
    assert answer
    TypeAdapter(Content).validate_python(answer)


async def test_a_text_in_pieces_is_the_whole_text(responder: Responder) -> None:
    if not isinstance(responder, DemoResponder):
        assert await folded(responder.respond(prompt("hello"))) == "".join(TEXTS)


async def test_it_answers_the_same_prompt_again_after_a_crash(responder: Responder) -> None:
    for _ in range(2):
        assert [piece async for piece in responder.respond(prompt("hello", history=3))]


async def test_it_can_be_cancelled_between_two_pieces(responder: Responder) -> None:
    answer = responder.respond(prompt("hello"))
    assert await anext(answer)
    await answer.aclose()  # type: ignore[attr-defined]  # every async generator has it


def test_its_name_is_short_enough_to_be_stored(responder: Responder) -> None:
    assert 1 <= len(responder.name) <= 64


async def _first_text(items: AsyncIterator[AnswerItem]) -> None:
    async for item in items:
        if item == "one" or (isinstance(item, dict) and item.get("delta") == "one"):
            return


@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_the_end_of_the_iterator_ends_the_request_to_the_provider(remote: Remote, how: str) -> None:
    async with running_provider(Answer([*remote.start, remote.text("one"), asyncio.Event()])) as provider:
        items = remote.make(provider.url).respond(prompt("hello"))
        await _first_text(items)
        if how == "closed":
            await items.aclose()  # type: ignore[attr-defined]  # every async generator has it
        else:
            waiting = asyncio.ensure_future(anext(items))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait({waiting})
        async with asyncio.timeout(5):
            await (await provider.request(0)).closed.wait()


async def test_a_provider_that_ends_in_the_middle_has_cut_off_the_answer(remote: Remote) -> None:
    async with running_provider(Answer([*remote.start, remote.text("one")])) as provider:
        items = [item async for item in remote.make(provider.url).respond(prompt("hello"))]
    assert items[-1] == CutOff(TurnReason.CUT_BY_PROVIDER)


@pytest.mark.parametrize(
    ("answer", "retryable", "reason", "kind"),
    [
        (Answer([b"key-1 later"], 429, {"Retry-After": "3"}), True, TurnReason.RATE_LIMITED, "429"),
        (Answer([b"broken"], 502), True, TurnReason.PROVIDER_UNREACHABLE, "502"),
        (Answer([b"no"], 401), False, TurnReason.PROVIDER_REFUSED, "401"),
        (Answer([b"data: " + b"x" * 2_000_000], 200), False, TurnReason.RESPONDER_ERROR, "too-long"),
    ],
)
async def test_a_refusal_is_a_failure(
    remote: Remote, answer: Answer, retryable: bool, reason: TurnReason, kind: str
) -> None:
    async with running_provider(answer) as provider:
        with pytest.raises(ResponderFailure) as failure:
            await anext(remote.make(provider.url).respond(prompt("hello")))
    found = failure.value
    assert (found.retryable, found.reason, found.kind) == (retryable, reason, kind)
    assert found.retry_after_s == (3.0 if kind == "429" else None)


async def test_no_cut_of_the_bytes_and_no_noise_between_events_changes_the_text(remote: Remote) -> None:
    noise = [b": still here\n\n", b"data: {\n\n", b"event: ping\ndata: []\n\n", event({"type": "NEW"})]
    whole = b"".join(
        [*noise, *remote.start, *(part for text in TEXTS for part in (*noise, remote.text(text))), *noise, *remote.end]
    )
    steps = [whole[start : start + 11] for start in range(0, len(whole), 11)]
    async with running_provider(Answer(steps)) as provider:
        assert await folded(remote.make(provider.url).respond(prompt("hello"))) == "".join(TEXTS)


def test_only_the_responses_api_can_resume(responder: Responder) -> None:
    assert isinstance(responder, ResumableResponder) == isinstance(responder, OpenAiResponsesResponder)
