"""A responder and a stream that follow the script of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from roomcast.chat.answers.answer import Answer, fold
from roomcast.chat.answers.chunks import decode_chunks
from roomcast.chat.ports import AnswerItem, Prompt, TurnFrame
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.eventlog.memory_streams import MemoryTurnStreams

#: An item to yield, an exception to raise, an event to wait for, or seconds to sleep.
Step = AnswerItem | Exception | asyncio.Event | float


class ScriptedResponder:
    """Follows its script; a list of scripts is one for each call.

    Attributes:
        prompts: The prompts of all calls.
        called: Set by each call.
        closed: Set when an iterator was closed before the end of its script.
    """

    name = "demo"

    def __init__(self, *script: Step, calls: list[tuple[Step, ...]] | None = None) -> None:
        self.script = script
        self.calls = calls or []
        self.prompts: list[Prompt] = []
        self.called = asyncio.Event()
        self.closed = asyncio.Event()

    def respond(self, prompt: Prompt) -> AsyncIterator[AnswerItem]:
        """See the port."""
        self.prompts.append(prompt)
        self.called.set()
        return self._follow(self.calls.pop(0) if self.calls else self.script)

    async def _follow(self, script: tuple[Step, ...]) -> AsyncIterator[AnswerItem]:
        try:
            for step in script:
                match step:
                    case asyncio.Event():
                        await step.wait()
                    case Exception():
                        raise step
                    case int() | float():
                        await asyncio.sleep(step)
                    case _:
                        yield step
        except (asyncio.CancelledError, GeneratorExit):
            self.closed.set()
            raise


class ResumableScript(ScriptedResponder):
    """A scripted responder whose provider keeps the answer: ``resumes`` has what follows each reference."""

    def __init__(self, *script: Step, resumes: dict[str, tuple[Step, ...]]) -> None:
        super().__init__(*script)
        self.resumes = resumes
        self.resumed: list[str] = []
        self.cancelled: list[str] = []

    def resume(self, prompt: Prompt, ref: str) -> AsyncIterator[AnswerItem]:
        """See the port."""
        self.prompts.append(prompt)
        self.resumed.append(ref)
        self.called.set()
        return self._follow(self.resumes[ref])

    async def cancel(self, ref: str) -> None:
        """See the port."""
        self.cancelled.append(ref)


class ScriptedStreams(MemoryTurnStreams):
    """The streams in memory, with faults: ``failure`` is raised before each use, or after it if ``late``.

    Attributes:
        published: Each frame or announcement that readers received, with its loop time.
        calls: Number of writes that were tried.
        expired: The turns whose streams are to be removed.
    """

    def __init__(self) -> None:
        super().__init__(MemoryEventLog())
        self.published: list[tuple[float, TurnFrame]] = []
        self.failure: Exception | None = None
        self.late = False
        self.calls = 0
        self.expired: set[str] = set()

    async def append(self, chat_id: str, frame: TurnFrame) -> None:
        """See the port."""
        before = self.frames(frame.turn_id)
        self._begin()
        await super().append(chat_id, frame)
        if self.frames(frame.turn_id) != before:
            self._publish(frame)
        self._fail(late=True)

    async def seed(self, chat_id: str, frame: TurnFrame) -> None:
        """See the port."""
        self._begin()
        await super().seed(chat_id, frame)
        self._publish(frame.announcement())
        self._fail(late=True)

    async def read(self, chat_id: str, turn_id: str) -> Sequence[TurnFrame]:
        """See the port."""
        self._fail(late=False)
        return await super().read(chat_id, turn_id)

    async def expire(self, chat_id: str, turn_id: str) -> None:
        """See the port."""
        self._fail(late=False)
        self.expired.add(turn_id)

    def lose(self) -> None:
        """Lose all streams."""
        self._streams.clear()
        self._size_bytes = 0

    def frames(self, turn_id: str) -> list[TurnFrame]:
        """The frames of a turn; empty if its stream is absent."""
        return [frame for (_, of), stream in self._streams.items() if of == turn_id for frame in stream.frames]

    def answer(self, turn_id: str) -> Answer:
        """The answer that a reader of the stream has."""
        frame = fold(self.frames(turn_id))
        return Answer.from_chunks(decode_chunks(frame.chunks), frame.last)

    def chunks(self, turn_id: str) -> list[Any]:
        """All chunks in the stream."""
        return [chunk for frame in self.frames(turn_id) for chunk in decode_chunks(frame.chunks)]

    def _begin(self) -> None:
        self.calls += 1
        self._fail(late=False)

    def _fail(self, *, late: bool) -> None:
        if self.failure is not None and self.late == late:
            raise self.failure

    def _publish(self, frame: TurnFrame) -> None:
        self.published.append((asyncio.get_running_loop().time(), frame))
