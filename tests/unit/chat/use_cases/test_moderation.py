from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from roomcast.chat.errors import ChatNotFound, MessageRefused, ModerationUnavailable
from roomcast.chat.model import ANYONE, Caller
from roomcast.chat.use_cases.moderation import MAX_FAILURES, PAUSE_S, Moderation, ModerationLimits, WhenAway
from roomcast.chat.use_cases.writing import ChatWriter
from roomcast.contract.moderation import Review, Verdict
from roomcast.contract.rest import CreateChat, EditMessage, NewCustomEvent, SendMessage
from roomcast.moderation.function import FunctionModerator
from support.backend import open_backend
from support.virtual_time import run_in_virtual_time

REVIEW = Review(kind="send", chat_id="c", user_id="ann", role="USER", content="hello")


class Hook:
    """A hook that answers with ``verdict`` and records what it is asked."""

    def __init__(self, answer: Callable[[Review], Awaitable[Verdict]] | None = None) -> None:
        self.asked: list[Review] = []
        self.verdict = Verdict(action="pass")
        self.failing = False
        self._answer = answer

    async def review(self, review: Review) -> Verdict:
        self.asked.append(review)
        if self.failing:
            raise OSError("refused")
        return self.verdict if self._answer is None else await self._answer(review)


def message(content: str, **fields: str) -> SendMessage:
    return SendMessage.model_validate({"chatId": "c", "role": "USER", "content": content} | fields)


class Monotonic:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_an_absent_hook_is_asked_by_one_message_for_each_pause() -> None:
    hook, clock = Hook(), Monotonic()
    moderation = Moderation(hook, ModerationLimits("pass"), clock)
    hook.failing = True
    for _ in range(MAX_FAILURES + 20):
        assert await moderation.review(REVIEW) == "hello"
    assert len(hook.asked) == MAX_FAILURES
    clock.now += PAUSE_S
    for _ in range(10):
        await moderation.review(REVIEW)
    assert len(hook.asked) == MAX_FAILURES + 1
    clock.now += PAUSE_S
    hook.failing = False
    for _ in range(10):
        await moderation.review(REVIEW)
    assert len(hook.asked) == MAX_FAILURES + 11
    assert moderation.outcomes == {"failed": MAX_FAILURES + 1, "paused": 29, "pass": 10}


async def test_a_hook_that_takes_too_long_is_away_and_each_message_waits_for_the_deadline_only() -> None:
    async def never(_review: Review) -> Verdict:
        await asyncio.Event().wait()
        raise AssertionError

    moderation = Moderation(Hook(never), ModerationLimits("refuse", deadline_s=0.02, concurrent=1))
    outcomes = await asyncio.gather(*(moderation.review(REVIEW) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ModerationUnavailable] * 3


async def test_the_number_of_concurrent_reviews_is_limited() -> None:
    running, most = 0, 0

    async def count(_review: Review) -> Verdict:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return Verdict(action="pass")

    moderation = Moderation(Hook(count), ModerationLimits(concurrent=3))
    await asyncio.gather(*(moderation.review(REVIEW) for _ in range(20)))
    assert most == 3


@pytest.mark.parametrize("when_away", ["pass", "refuse"])
def test_a_burst_neither_passes_unreviewed_nor_counts_as_a_failure_of_the_hook(when_away: WhenAway) -> None:
    async def slow(_review: Review) -> Verdict:
        await asyncio.sleep(0.9)
        return Verdict(action="pass")

    async def burst() -> None:
        moderation = Moderation(Hook(slow), ModerationLimits(when_away, deadline_s=1.0, concurrent=2))
        outcomes = await asyncio.gather(*(moderation.review(REVIEW) for _ in range(20)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [str] * 4 + [ModerationUnavailable] * 16
        assert moderation.outcomes == {"pass": 4, "busy": 16}

    run_in_virtual_time(burst())


async def test_a_function_answers_with_nothing_a_verdict_or_its_fields() -> None:
    answers: list[object] = [None, Verdict(action="mask", content="***"), {"action": "refuse", "reason": "no"}]

    async def function(_review: Review) -> object:
        return answers.pop(0)

    moderation = Moderation(FunctionModerator(function))
    assert [await moderation.review(REVIEW) for _ in range(2)] == ["hello", "***"]
    with pytest.raises(MessageRefused, match=r"^no$"):
        await moderation.review(REVIEW)


@pytest.mark.parametrize(
    "answer", [{"action": "mask"}, {"action": "pass", "content": "x"}, {"action": "maybe"}, "pass"]
)
async def test_what_is_no_verdict_counts_as_none(answer: object) -> None:
    async def function(_review: Review) -> object:
        return answer

    with pytest.raises(ModerationUnavailable):
        await Moderation(FunctionModerator(function)).review(REVIEW)


async def test_the_stored_text_is_the_masked_one_in_message_and_events(tmp_path: Path) -> None:
    hook = Hook()
    async with open_backend(tmp_path) as backend:
        writer = ChatWriter(backend.store.chats, backend.relay, moderation=Moderation(hook))
        hook.verdict = Verdict(action="mask", content="masked")
        command = message("confidential", clientMsgId="k", userId="ann")
        await writer.send(ANYONE, command)
        assert (await writer.send(ANYONE, command)).created is False
        assert len(hook.asked) == 1
        (stored,), _ = await backend.store.chats.messages("c", before=None, after=None, limit=9)
        assert stored.content == "masked"
        events, _ = await backend.store.chats.events_after("c", 0, 9)
        assert not [event for event in events if b"confidential" in event.payload]
    assert b"confidential" not in (tmp_path / "roomcast.db").read_bytes()


async def test_a_refused_text_is_not_stored_and_edits_are_reviewed(tmp_path: Path) -> None:
    hook = Hook()
    async with open_backend(tmp_path) as backend:
        writer = ChatWriter(backend.store.chats, backend.relay, moderation=Moderation(hook))
        sent = await writer.send(ANYONE, message("hello"))
        (stored,), head = await backend.store.chats.messages("c", before=None, after=None, limit=9)
        hook.verdict = Verdict(action="refuse", reason="be kind")
        with pytest.raises(MessageRefused, match="be kind"):
            await writer.send(ANYONE, message("bad"))
        with pytest.raises(MessageRefused, match="be kind"):
            await writer.edit(ANYONE, "c", stored.id, EditMessage(content="bad"))
        assert [review.kind for review in hook.asked] == ["send", "send", "edit"]
        assert await backend.store.chats.events_after("c", 0, 9) == ([sent.event], head)


async def test_the_text_of_a_user_who_is_no_member_is_not_shown_to_the_hook(tmp_path: Path) -> None:
    hook = Hook()
    async with open_backend(tmp_path) as backend:
        writer = ChatWriter(backend.store.chats, backend.relay, moderation=Moderation(hook))
        await writer.send(ANYONE, message("hello"))
        with pytest.raises(ChatNotFound):
            await writer.send(Caller("eve"), message("hello"))
    assert len(hook.asked) == 1


async def test_a_function_that_blocks_misses_its_deadline_and_delays_nothing_else() -> None:
    released = threading.Event()

    async def block(_review: Review) -> None:
        released.wait()

    function = FunctionModerator(block)
    moderation = Moderation(function, ModerationLimits("refuse", deadline_s=0.05))
    with pytest.raises(ModerationUnavailable):  # the event loop of the process goes on
        await moderation.review(REVIEW)
    released.set()
    await function.close()


async def test_titles_and_the_data_of_events_are_reviewed(tmp_path: Path) -> None:
    hook = Hook()
    async with open_backend(tmp_path) as backend:
        writer = ChatWriter(backend.store.chats, backend.relay, moderation=Moderation(hook))
        hook.verdict = Verdict(action="mask", content="***")
        chat = await writer.create_chat(Caller("ann"), CreateChat(title="bad"))
        assert chat.title == "***"
        hook.verdict = Verdict(action="refuse")
        with pytest.raises(MessageRefused):
            await writer.keeping.rename(Caller("ann"), chat.id, "bad")
        with pytest.raises(ChatNotFound):  # of others the hook learns nothing
            await writer.keeping.rename(Caller("eve"), chat.id, "bad")
        event = NewCustomEvent.model_validate(
            {"chatId": chat.id, "id": "e", "name": "order.paid", "data": {"note": "bad"}}
        )
        with pytest.raises(MessageRefused):
            await writer.custom_events.publish([event])
        hook.verdict = Verdict(action="mask", content="no object")
        with pytest.raises(MessageRefused):
            await writer.custom_events.publish([event])
        hook.verdict = Verdict(action="mask", content='{"note": "***"}')
        await writer.custom_events.publish([event])
        (stored,) = await backend.store.chats.recent_events(chat.id, 1)
        assert json.loads(stored.payload)["data"] == {"note": "***"}
    assert [review.kind for review in hook.asked] == ["title", "title", "event", "event", "event"]
    assert hook.asked[-1].content == '{"note": "bad"}'
