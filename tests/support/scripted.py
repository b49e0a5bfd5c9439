"""A responder and a stream that follow the script of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from roomcast.chat.answer import Answer, fold
from roomcast.chat.chunks import decode_chunks
from roomcast.chat.ports import AnswerItem, Prompt, StreamGap, StreamTaken, TurnFrame

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


class ScriptedStreams:
    """`roomcast.chat.ports.TurnStreams` in memory. ``failure`` is raised before each use, or after it if ``late``."""

    def __init__(self) -> None:
        self.streams: dict[str, list[TurnFrame]] = {}
        self.generations: dict[str, int] = {}
        self.published: list[tuple[float, TurnFrame]] = []
        self.failure: Exception | None = None
        self.late = False
        self.calls = 0
        self.expired: set[str] = set()

    async def append(self, _chat_id: str, frame: TurnFrame) -> None:
        """See the port."""
        self._begin(frame)
        stored = self.streams.get(frame.turn_id, [])
        last = stored[-1].last if stored else -1
        if frame.first > last + 1:
            raise StreamGap
        if frame.first == last + 1:
            self.streams[frame.turn_id] = [*stored, frame]
            self._publish(frame)
        self._fail(late=True)

    async def seed(self, _chat_id: str, frame: TurnFrame) -> None:
        """See the port."""
        self._begin(frame)
        self.streams[frame.turn_id] = [frame]
        self._publish(replace(frame, first=frame.last + 1, chunks=b"[]"))
        self._fail(late=True)

    async def read(self, _chat_id: str, turn_id: str) -> list[TurnFrame]:
        """See the port."""
        self._fail(late=False)
        return list(self.streams.get(turn_id, ()))

    async def expire(self, _chat_id: str, turn_id: str) -> None:
        """See the port."""
        self._fail(late=False)
        self.expired.add(turn_id)

    def answer(self, turn_id: str) -> Answer:
        """The answer that a reader of the stream has."""
        frame = fold(self.streams[turn_id])
        return Answer.from_chunks(decode_chunks(frame.chunks), frame.last)

    def chunks(self, turn_id: str) -> list[Any]:
        """All chunks in the stream."""
        return [chunk for frame in self.streams[turn_id] for chunk in decode_chunks(frame.chunks)]

    def _begin(self, frame: TurnFrame) -> None:
        self.calls += 1
        self._fail(late=False)
        if frame.generation < self.generations.get(frame.turn_id, 0):
            raise StreamTaken
        self.generations[frame.turn_id] = frame.generation

    def _fail(self, *, late: bool) -> None:
        if self.failure is not None and self.late == late:
            raise self.failure

    def _publish(self, frame: TurnFrame) -> None:
        self.published.append((asyncio.get_running_loop().time(), frame))
