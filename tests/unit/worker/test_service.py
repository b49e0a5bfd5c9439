from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import ANYONE, Ending, StoredMessage
from roomcast.chat.ports import Prompt, Responder, SystemClock
from roomcast.contract.events import TurnStatus
from roomcast.contract.rest import SendMessage
from roomcast.contract.text import MAX_CONTENT_CHARS
from roomcast.responders.demo import DemoResponder
from roomcast.worker.service import PermanentFailure, Worker, WorkerOptions, to_content
from support.backend import Backend, open_backend


class ScriptedResponder:
    """Follows its script: yields each text, raises each exception, waits for each event."""

    name = "demo"

    def __init__(self, *script: str | Exception | asyncio.Event) -> None:
        self.script = script
        self.prompts: list[Prompt] = []
        self.called = asyncio.Event()

    async def respond(self, prompt: Prompt) -> AsyncIterator[str]:
        self.prompts.append(prompt)
        self.called.set()
        for step in self.script:
            match step:
                case str():
                    yield step
                case asyncio.Event():
                    await step.wait()
                case Exception():
                    raise step


@asynccontextmanager
async def running_worker(
    backend: Backend, responder: Responder, options: WorkerOptions | None = None
) -> AsyncIterator[Worker]:
    """A running worker, woken by each send, as in the product."""
    worker = Worker(backend.store.turns, backend.turns, {responder.name: responder}, SystemClock(), options)
    backend.writer._publishing.wake_worker = worker.wake
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
    """The chat's messages, as soon as there are ``count`` with a text."""
    appended = asyncio.Event()
    subscription = await backend.log.subscribe(chat_id, lambda _epoch, _entries: appended.set())
    async with asyncio.timeout(10):
        while True:
            appended.clear()
            found, _ = await backend.store.chats.messages(chat_id, before=None, after=0, limit=100)
            written = [message for message in found if message.content]
            if len(written) >= count:
                await subscription.close()
                return written
            await appended.wait()


async def wait_for_log(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Wait until a log record contains ``text``."""
    logged = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Watcher(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text in record.getMessage():
                loop.call_soon_threadsafe(logged.set)

    watcher = Watcher()
    logging.getLogger("roomcast.worker").addHandler(watcher)
    try:
        if text not in caplog.text:
            async with asyncio.timeout(10):
                await logged.wait()
    finally:
        logging.getLogger("roomcast.worker").removeHandler(watcher)


async def no_turn_is_left(backend: Backend) -> None:
    """No turn is pending or running."""
    far = SystemClock().now().replace(year=2999)
    assert await backend.store.turns.claim_turn(far, far) is None


async def test_a_user_message_is_answered_by_the_demo_in_its_language(tmp_path: Path) -> None:
    async with open_backend(tmp_path, responder="demo") as backend, running_worker(backend, DemoResponder()):
        await ask(backend, "hello there")
        await ask(backend, "你好", "d")
        question, answer = await messages(backend, 2)
        assert (question.role, answer.role, answer.place, answer.seq) == ("USER", "AI", 2, 3)
        assert "demo" in answer.content
        assert "hello there" in answer.content
        assert "示範" in (await messages(backend, 2, "d"))[1].content


async def test_the_pieces_are_joined_and_the_history_is_passed(tmp_path: Path) -> None:
    responder = ScriptedResponder("one ", "two")
    async with open_backend(tmp_path, responder="demo") as backend, running_worker(backend, responder):
        await ask(backend, "first")
        await messages(backend, 2)
        await ask(backend, "second")
        assert (await messages(backend, 4))[3].content == "one two"
    assert [message.content for message in responder.prompts[1].history] == ["first", "one two"]


async def test_ai_messages_and_chats_without_responder_are_not_answered(tmp_path: Path) -> None:
    responder = ScriptedResponder("answer")
    async with open_backend(tmp_path, responder="demo") as backend, running_worker(backend, responder):
        await backend.writer.send(ANYONE, SendMessage(chatId="c", role="AI", content="I speak"))
        await ask(backend)
        await messages(backend, 3)
    assert len(responder.prompts) == 1


async def test_turns_that_waited_for_a_worker_are_answered_at_its_start(tmp_path: Path) -> None:
    async with open_backend(tmp_path, responder="demo") as backend:
        for number in range(3):
            await ask(backend, f"question {number}")
        async with running_worker(backend, ScriptedResponder("answer")):
            found = await messages(backend, 6)
    assert [message.role for message in found] == ["USER"] * 3 + ["AI"] * 3


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ((RuntimeError("no model today"),), "no model today"),
        (("half an answer", RuntimeError("cut off")), "cut off"),
        ((), "no text"),
        ((" ", "\0"), "no text"),
    ],
)
async def test_a_failing_responder_ends_its_turn_but_not_the_worker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, script: tuple[str | Exception, ...], reason: str
) -> None:
    responder = ScriptedResponder(*script)
    async with open_backend(tmp_path, responder="demo") as backend, running_worker(backend, responder):
        await ask(backend)
        await wait_for_log(caplog, "an AI turn failed")
        assert reason in caplog.text
        responder.script = ("better now",)
        await ask(backend)
        assert [message.content for message in await messages(backend, 3)][2] == "better now"
        await no_turn_is_left(backend)


async def test_an_answer_that_takes_too_long_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = WorkerOptions(turn_timeout_s=0.01)
    async with open_backend(tmp_path, responder="demo") as backend:
        async with running_worker(backend, ScriptedResponder(asyncio.Event()), options):
            await ask(backend)
            await wait_for_log(caplog, "an AI turn failed")
        await no_turn_is_left(backend)


async def test_a_turn_for_an_unknown_responder_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_backend(tmp_path, responder="gone") as backend, running_worker(backend, ScriptedResponder("x")):
        await ask(backend)
        await wait_for_log(caplog, "an AI turn failed")
        assert "no responder 'gone'" in caplog.text


async def test_a_stopped_worker_releases_its_turn_at_once(tmp_path: Path) -> None:
    async with open_backend(tmp_path, responder="demo") as backend:
        stuck = ScriptedResponder(asyncio.Event())
        async with running_worker(backend, stuck):
            await ask(backend)
            await stuck.called.wait()
        async with running_worker(backend, ScriptedResponder("answer")):
            assert [message.content for message in await messages(backend, 2)] == ["hello", "answer"]


async def test_a_turn_fails_after_max_attempts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = WorkerOptions(max_attempts=2)
    async with open_backend(tmp_path, responder="demo") as backend:
        await ask(backend)
        now = SystemClock().now()
        for _ in range(2):  # by workers that end without a trace
            assert await backend.store.turns.claim_turn(now, now - timedelta(seconds=1)) is not None
        async with running_worker(backend, ScriptedResponder("answer"), options):
            await wait_for_log(caplog, "an AI turn failed")
        await no_turn_is_left(backend)


async def test_a_turn_that_was_taken_over_is_answered_once(tmp_path: Path) -> None:
    free = asyncio.Event()
    slow = ScriptedResponder(free, "from the first worker")
    async with open_backend(tmp_path, responder="demo") as backend, running_worker(backend, slow):
        await ask(backend)
        await slow.called.wait()
        # The process is suspended while its lease ends, and another worker claims the turn.
        later = SystemClock().now().replace(year=2999)
        other = await backend.store.turns.claim_turn(later, later)
        assert other is not None
        await backend.turns.end(other, Ending(TurnStatus.COMPLETE, content="from the second worker"))
        slow.script = ("next",)
        free.set()
        await ask(backend, "again")
        contents = [message.content for message in await messages(backend, 4)]
        assert contents == ["hello", "from the second worker", "again", "next"]


async def test_a_lost_lease_stops_the_responder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stuck = ScriptedResponder(asyncio.Event())
    options = WorkerOptions(lease_s=0.05)
    async with open_backend(tmp_path, responder="demo") as backend, running_worker(backend, stuck, options):
        await ask(backend)
        await stuck.called.wait()
        later = SystemClock().now().replace(year=2999)
        assert await backend.store.turns.claim_turn(later, later) is not None
        await wait_for_log(caplog, "taken over")


async def test_an_unavailable_database_only_delays_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_backend(tmp_path, responder="demo") as backend:
        claim: Callable[..., object] = backend.store.turns.claim_turn
        failures = iter([StoreUnavailable("away"), StoreUnavailable("still away")])

        async def failing_claim(*args: object) -> object:
            if error := next(failures, None):
                raise error
            return await claim(*args)  # type: ignore[misc] # the real method

        monkeypatch.setattr(backend.store.turns, "claim_turn", failing_claim)
        async with running_worker(backend, ScriptedResponder("answer"), WorkerOptions(retry_s=0.001)):
            await ask(backend)
            await messages(backend, 2)
    assert "cannot claim AI turns" in caplog.text


@pytest.mark.parametrize(
    ("text", "content"),
    [("a\0b", "ab"), ("a\ud800b", "a\ufffdb"), ("\ud83d\ude00", "😀"), ("x" * 40_000, "x" * MAX_CONTENT_CHARS)],
)
def test_an_answer_is_converted_to_valid_content(text: str, content: str) -> None:
    assert to_content(text) == content


@pytest.mark.parametrize("text", ["", " \n", "\0", "\u200b\ufeff"])
def test_an_answer_that_shows_nothing_fails(text: str) -> None:
    with pytest.raises(PermanentFailure):
        to_content(text)
