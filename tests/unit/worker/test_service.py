from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import ANYONE, StoredMessage
from roomcast.chat.ports import Prompt, Responder, SystemClock
from roomcast.contract.rest import SendMessage
from roomcast.contract.text import MAX_CONTENT_CHARS
from roomcast.responders.demo import DemoResponder
from roomcast.worker.service import Worker, WorkerOptions, clean
from support.backend import Backend, open_backend


class Scripted:
    """Does what its script says: yields each text, raises each exception, waits for each event."""

    name = "demo"

    def __init__(self, *script: str | Exception | asyncio.Event) -> None:
        self.script = script
        self.prompts: list[Prompt] = []
        self.asked = asyncio.Event()

    async def respond(self, prompt: Prompt) -> AsyncIterator[str]:
        self.prompts.append(prompt)
        self.asked.set()
        for step in self.script:
            match step:
                case str():
                    yield step
                case asyncio.Event():
                    await step.wait()
                case Exception():
                    raise step


@asynccontextmanager
async def working(
    backend: Backend, responder: Responder, options: WorkerOptions | None = None
) -> AsyncIterator[Worker]:
    """A worker at work, woken by sends, as the product has it."""
    worker = Worker(backend.store.turns, backend.writer, {responder.name: responder}, SystemClock(), options)
    backend.writer._wake_worker = worker.wake
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def ask(backend: Backend, content: str = "hello", chat_id: str = "c") -> None:
    await backend.writer.send(ANYONE, SendMessage(chatId=chat_id, role="USER", content=content))


async def messages(backend: Backend, count: int, chat_id: str = "c") -> list[StoredMessage]:
    """The chat's messages, once there are ``count``."""
    news = asyncio.Event()
    subscription = await backend.log.subscribe(chat_id, lambda _epoch, _entries: news.set())
    async with asyncio.timeout(10):
        while True:
            news.clear()
            found, _ = await backend.store.chats.messages(chat_id, before=None, after=0, limit=100)
            if len(found) >= count:
                await subscription.close()
                return list(found)
            await news.wait()


async def logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Wait until the log says so."""
    said = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Watcher(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text in record.getMessage():
                loop.call_soon_threadsafe(said.set)

    watcher = Watcher()
    logging.getLogger("roomcast.worker").addHandler(watcher)
    try:
        if text not in caplog.text:
            async with asyncio.timeout(10):
                await said.wait()
    finally:
        logging.getLogger("roomcast.worker").removeHandler(watcher)


async def nothing_is_left(backend: Backend) -> None:
    """No turn is pending or running."""
    far = SystemClock().now().replace(year=2999)
    assert await backend.store.turns.claim_turn(far, far) is None


async def test_a_user_message_is_answered_by_the_demo_in_its_language(tmp_path: Path) -> None:
    async with open_backend(tmp_path, responder="demo") as backend, working(backend, DemoResponder()):
        await ask(backend, "hello there")
        await ask(backend, "你好", "d")
        question, answer = await messages(backend, 2)
        assert (question.role, answer.role, answer.seq) == ("USER", "AI", 2)
        assert "demo" in answer.content
        assert "hello there" in answer.content
        assert "示範" in (await messages(backend, 2, "d"))[1].content


async def test_the_pieces_are_collected_and_the_history_is_shown(tmp_path: Path) -> None:
    responder = Scripted("one ", "two")
    async with open_backend(tmp_path, responder="demo") as backend, working(backend, responder):
        await ask(backend, "first")
        await messages(backend, 2)
        await ask(backend, "second")
        assert (await messages(backend, 4))[3].content == "one two"
    assert [message.content for message in responder.prompts[1].history] == ["first", "one two"]


async def test_ai_messages_and_chats_without_responder_are_not_answered(tmp_path: Path) -> None:
    responder = Scripted("answer")
    async with open_backend(tmp_path, responder="demo") as backend, working(backend, responder):
        await backend.writer.send(ANYONE, SendMessage(chatId="c", role="AI", content="I speak"))
        await ask(backend)
        await messages(backend, 3)
    assert len(responder.prompts) == 1


async def test_turns_that_waited_for_a_worker_are_answered_at_its_start(tmp_path: Path) -> None:
    async with open_backend(tmp_path, responder="demo") as backend:
        for number in range(3):
            await ask(backend, f"question {number}")
        async with working(backend, Scripted("answer")):
            found = await messages(backend, 6)
    assert [message.role for message in found] == ["USER"] * 3 + ["AI"] * 3


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ((RuntimeError("no model today"),), "no model today"),
        (("half an answer", RuntimeError("cut off")), "cut off"),
        ((), "said nothing"),
        ((" ", "\0"), "said nothing"),
    ],
)
async def test_a_responder_that_fails_ends_its_turn_and_the_worker_lives(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, script: tuple[str | Exception, ...], reason: str
) -> None:
    responder = Scripted(*script)
    async with open_backend(tmp_path, responder="demo") as backend, working(backend, responder):
        await ask(backend)
        await logged(caplog, "an AI turn failed")
        assert reason in caplog.text
        responder.script = ("better now",)
        await ask(backend)
        assert [message.content for message in await messages(backend, 3)][2] == "better now"
        await nothing_is_left(backend)


async def test_an_answer_that_takes_too_long_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = WorkerOptions(turn_timeout_s=0.01)
    async with open_backend(tmp_path, responder="demo") as backend:
        async with working(backend, Scripted(asyncio.Event()), options):
            await ask(backend)
            await logged(caplog, "an AI turn failed")
        await nothing_is_left(backend)


async def test_a_responder_that_is_not_here_fails_the_turn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_backend(tmp_path, responder="gone") as backend, working(backend, Scripted("x")):
        await ask(backend)
        await logged(caplog, "an AI turn failed")
        assert "no responder 'gone'" in caplog.text


async def test_a_worker_that_is_stopped_hands_its_turn_back_at_once(tmp_path: Path) -> None:
    async with open_backend(tmp_path, responder="demo") as backend:
        stuck = Scripted(asyncio.Event())
        async with working(backend, stuck):
            await ask(backend)
            await stuck.asked.wait()
        async with working(backend, Scripted("answer")):
            assert [message.content for message in await messages(backend, 2)] == ["hello", "answer"]


async def test_a_message_that_kills_workers_is_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = WorkerOptions(max_attempts=2)
    async with open_backend(tmp_path, responder="demo") as backend:
        await ask(backend)
        for _ in range(2):
            deadly = Scripted(asyncio.Event())
            async with working(backend, deadly, options):
                await deadly.asked.wait()
        async with working(backend, Scripted("answer"), options):
            await logged(caplog, "an AI turn failed")
        await nothing_is_left(backend)


async def test_a_turn_that_was_taken_over_is_answered_once(tmp_path: Path) -> None:
    free = asyncio.Event()
    slow = Scripted(free, "from the first worker")
    async with open_backend(tmp_path, responder="demo") as backend, working(backend, slow):
        await ask(backend)
        await slow.asked.wait()
        # Its lease ends unseen (a suspended process), and another worker claims the turn.
        later = SystemClock().now().replace(year=2999)
        other = await backend.store.turns.claim_turn(later, later)
        assert other is not None
        await backend.writer.answer(other, "from the second worker")
        slow.script = ("next",)
        free.set()
        await ask(backend, "again")
        contents = [message.content for message in await messages(backend, 4)]
        assert contents == ["hello", "from the second worker", "again", "next"]


async def test_a_lost_lease_stops_the_responder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stuck = Scripted(asyncio.Event())
    options = WorkerOptions(lease_s=0.05)
    async with open_backend(tmp_path, responder="demo") as backend, working(backend, stuck, options):
        await ask(backend)
        await stuck.asked.wait()
        later = SystemClock().now().replace(year=2999)
        assert await backend.store.turns.claim_turn(later, later) is not None
        await logged(caplog, "taken over")


async def test_a_database_that_is_away_for_a_while_delays_the_answer_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_backend(tmp_path, responder="demo") as backend:
        claim: Callable[..., object] = backend.store.turns.claim_turn
        failures = iter([StoreUnavailable("away"), StoreUnavailable("still away")])

        async def unsteady(*args: object) -> object:
            if error := next(failures, None):
                raise error
            return await claim(*args)  # type: ignore[misc] # the real method

        monkeypatch.setattr(backend.store.turns, "claim_turn", unsteady)
        async with working(backend, Scripted("answer"), WorkerOptions(retry_s=0.001)):
            await ask(backend)
            await messages(backend, 2)
    assert "cannot look for AI turns" in caplog.text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("a\0b", "ab"), ("a\ud800b", "a\ufffdb"), ("\ud83d\ude00", "😀"), ("x" * 40_000, "x" * MAX_CONTENT_CHARS)],
)
def test_an_answer_becomes_text_that_a_message_may_have(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
