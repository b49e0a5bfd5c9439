from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from roomcast.chat.answer import Answer, fold
from roomcast.chat.answer_state import AnswerState
from roomcast.chat.chunks import encode_chunks, ending_chunk, merge
from roomcast.chat.errors import StoreUnavailable, TurnNotFound
from roomcast.chat.following import LOOK_S, TurnFollower
from roomcast.chat.model import StoredMessage, StoredTurn
from roomcast.chat.ports import (
    Chunk,
    FeedSink,
    LogEntry,
    LogUnavailable,
    SignalSink,
    StreamGap,
    Subscription,
    TurnFrame,
    encode_frame,
)
from roomcast.contract.events import TurnReason, TurnStatus
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.eventlog.memory_streams import MemoryTurnStreams
from support.virtual_time import run_in_virtual_time

CHAT, TURN = "chat-1", "turn-1"
ANEW = "the answer was written anew after a failure; load the messages of the chat"


class Rows:
    """The row of a turn and that of its answer."""

    def __init__(self) -> None:
        self.state: StoredTurn | None = StoredTurn(TURN, "question-1")
        self.answer: StoredMessage | None = None
        self.available = True
        self.reads = 0

    async def turn(self, chat_id: str, turn_id: str) -> StoredTurn | None:
        await asyncio.sleep(0)
        self.reads += 1
        if not self.available:
            raise StoreUnavailable("down")
        return self.state if (chat_id, turn_id) == (CHAT, TURN) else None

    async def message(self, chat_id: str, message_id: str) -> StoredMessage | None:
        await asyncio.sleep(0)
        return self.answer if (chat_id, message_id) == (CHAT, TURN) else None

    def write(self, status: TurnStatus, answer: Answer, generation: int, last: int, reason: Any = None) -> None:
        assert self.state is not None
        turn = replace(self.state, status=status, generation=generation, last=last, reason=reason, place=2)
        time = datetime(2026, 11, 28, tzinfo=UTC)
        content, parts = answer.content(), answer.parts()
        self.state = turn
        self.answer = StoredMessage(TURN, CHAT, "e", 2, "AI", content, None, None, time, turn=turn, parts=parts)


class LossyLog(MemoryEventLog):
    """Loses and repeats what each subscriber receives."""

    def __init__(self, random: Random | None = None) -> None:
        super().__init__()
        self.random = random
        self.subscriptions = 0
        self.available = True
        self.deaf = False

    def times(self) -> int:
        if self.deaf:
            return 0
        return 1 if self.random is None else self.random.choice((0, 1, 1, 1, 2))

    async def subscribe(self, chat_id: str, sink: FeedSink, signals: SignalSink | None = None) -> Subscription:
        if not self.available:
            raise LogUnavailable("down")

        def take(epoch: str, entries: Any) -> None:
            for _ in range(self.times()):
                sink(epoch, entries)

        def take_signal(payload: bytes) -> None:
            for _ in range(self.times()):
                if signals is not None:
                    signals(payload)

        subscription = await super().subscribe(chat_id, take, take_signal)
        self.subscriptions += 1
        close = subscription.close

        class Counted:
            async def close(_self) -> None:
                self.subscriptions -= 1
                await close()

        return Counted()


class World:
    """A worker that writes one answer, and the followers of its turn."""

    def __init__(self, random: Random | None = None) -> None:
        self.log = LossyLog(random)
        self.clock = 0.0
        self.streams = MemoryTurnStreams(self.log, clock=lambda: self.clock)
        self.rows = Rows()
        self.follower = TurnFollower(self.log, self.streams, self.rows, self.rows)  # type: ignore[arg-type]
        self.answer = Answer()
        self.generation = 0
        self.last = -1
        self.position = 0
        self.checkpointed = 0
        self.seq = 0

    async def notify(self, args: bytes = b'["ai-status",{"turn":{"id":"turn-1"}}]') -> None:
        self.seq += 1
        await self.log.append(CHAT, "e", [LogEntry(self.seq, args)])

    async def start(self) -> None:
        self.generation += 1
        self.rows.write(TurnStatus.STREAMING, self.answer, self.generation, -1)
        await self.notify()
        await self.publish(self.answer.begin(TURN))

    async def publish(self, chunks: list[Chunk]) -> None:
        if not chunks:
            return
        chunks = merge(chunks)
        first, self.last = self.last + 1, self.last + len(chunks)
        frame = TurnFrame(TURN, self.generation, first, self.last, encode_chunks(chunks), str(self.position))
        try:
            await self.streams.append(CHAT, frame)
        except StreamGap:
            await self.seed()

    async def seed(self) -> None:
        whole = TurnFrame(TURN, self.generation, 0, self.last, encode_chunks(self.answer.snapshot()))
        await self.streams.seed(CHAT, fold([replace(whole, ref=str(self.position))]))

    async def write(self, *items: Chunk | str) -> None:
        self.position += len(items)
        await self.publish([chunk for item in items for chunk in self.answer.add(item)])

    def checkpoint(self) -> None:
        self.checkpointed = self.position
        self.rows.write(TurnStatus.STREAMING, self.answer, self.generation, self.last)

    async def take_over(self) -> None:
        """Another worker continues after the stream or, if it is lost, after the checkpoint."""
        self.generation += 1
        frames = await self.streams.read(CHAT, TURN)
        answer = Answer()
        if frames:
            whole = fold(frames)
            answer, self.position = Answer.from_chunks(chunks_of(whole), whole.last), int(whole.ref or 0)
        elif self.rows.answer is not None and self.rows.answer.turn is not None:
            answer = Answer.from_parts(self.rows.answer.parts or (), self.rows.answer.turn.last)
            self.position = self.checkpointed
        self.answer, self.last = answer, answer.last
        assert self.rows.state is not None
        if self.last >= 0:
            answer.begin(TURN)
            await self.seed()
        else:
            await self.publish(answer.begin(TURN))

    async def end(self, status: TurnStatus = TurnStatus.COMPLETE, reason: TurnReason | None = None) -> None:
        await self.publish(self.answer.end(ending_chunk(status, reason)))
        self.rows.write(status, self.answer, self.generation, self.last, reason)
        await self.notify(b'["new-msg",{"id":"turn-1","role":"AI"}]')
        await self.streams.expire(CHAT, TURN)

    async def follow(self, pause_s: float = 0.0) -> list[Chunk]:
        chunks: list[Chunk] = []
        async with aclosing(self.follower.follow(CHAT, TURN)) as followed:
            async for chunk in followed:
                chunks.append(chunk)
                await asyncio.sleep(pause_s)
        return chunks


def chunks_of(frame: TurnFrame) -> list[Chunk]:
    return AnswerState.from_chunks(__import__("json").loads(frame.chunks)).snapshot()


def text_of(chunks: list[Chunk]) -> str:
    return AnswerState.from_chunks(chunks).content()


def kinds(chunks: list[Chunk]) -> list[str]:
    return [chunk["type"] for chunk in chunks]


async def settle() -> None:
    await asyncio.sleep(0.01)


CALL = {"type": "tool-input-available", "toolCallId": "c1", "toolName": "search", "input": {"q": "tea"}}
RESULT = {"type": "tool-output-available", "toolCallId": "c1", "output": [1, 2]}
ITEMS: list[Chunk | str] = [
    {"type": "reasoning-start", "id": "r"},
    {"type": "reasoning-delta", "id": "r", "delta": "hm"},
    {"type": "reasoning-end", "id": "r"},
    *("Let ", "me ", "look. "),
    {"type": "start-step"},
    {"type": "tool-input-start", "toolCallId": "c1", "toolName": "search"},
    {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '{"q":'},
    CALL,
    {"type": "data-progress", "id": "p", "data": 1},
    {"type": "data-progress", "id": "p", "data": 2},
    RESULT,
    {"type": "source-url", "sourceId": "s", "url": "https://example.org/"},
    *(f"word{number} " for number in range(30)),
]


async def play(random: Random, steps: list[str]) -> None:
    world = World(random)
    followers = [asyncio.create_task(world.follow(random.choice((0.0, 0.0, 0.3))))]
    await asyncio.sleep(random.choice((0.0, 5.0)))
    await world.start()
    for step in steps:
        match step:
            case "write":
                count = random.randint(1, 5)
                await world.write(*ITEMS[world.position : world.position + count])
            case "join":
                followers.append(asyncio.create_task(world.follow(random.choice((0.0, 0.0, 0.3)))))
            case "lose":
                world.clock += 1_000
            case "checkpoint":
                world.checkpoint()
            case "take over":
                await world.take_over()
            case "outage":
                world.rows.available = not world.rows.available
            case "wait":
                await asyncio.sleep(random.choice((0.0, 0.05, 1.0, 4.0)))
    while world.position < len(ITEMS):
        await world.write(*ITEMS[world.position : world.position + 3])
        await asyncio.sleep(random.choice((0.0, 0.05)))
    await world.end()
    world.rows.available = True
    followers.append(asyncio.create_task(world.follow()))
    for chunks in await asyncio.gather(*followers):
        note(f"{chunks}")
        assert kinds(chunks).count("start") == 1
        assert (chunks[0]["type"], chunks[-1]) == ("start", {"type": "finish", "finishReason": "stop"})
        assert AnswerState.from_chunks(chunks).parts() == world.answer.parts()
    assert world.log.subscriptions == 0


STEPS = ("write",) * 6 + ("wait",) * 3 + ("join", "lose", "checkpoint", "take over", "outage")


@given(seed=st.integers(0, 2**32), steps=st.lists(st.sampled_from(STEPS), max_size=40))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_follower_ends_with_the_stored_answer_whatever_is_lost(seed: int, steps: list[str]) -> None:
    run_in_virtual_time(play(Random(seed), steps))
