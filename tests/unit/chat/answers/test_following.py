from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from roomcast.chat.answers.answer import Answer
from roomcast.chat.answers.answer_state import AnswerState
from roomcast.chat.answers.chunks import ending_chunk
from roomcast.chat.answers.following import LOOK_S, TurnFollower
from roomcast.chat.errors import StoreUnavailable, TurnNotFound
from roomcast.chat.model import Checkpoint, StoredMessage, StoredTurn
from roomcast.chat.ports import (
    Chunk,
    FeedSink,
    LogEntry,
    LogUnavailable,
    SignalSink,
    Subscription,
    TurnFrame,
    encode_frame,
)
from roomcast.contract.events import TurnReason, TurnStatus
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.eventlog.memory_streams import MemoryTurnStreams
from support.answer_writer import ITEMS, AnswerWriter, parts_of
from support.virtual_time import run_in_virtual_time

CHAT, TURN = "chat-1", "turn-1"
FINISH = {"type": "finish", "finishReason": "stop"}
ANEW = "the answer was written anew, or replaced by the moderation; load the messages of the chat"


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
        self.available = True
        self.loses_signals = False

    def times(self) -> int:
        if self.loses_signals:
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

        return await super().subscribe(chat_id, take, take_signal)

    @property
    def subscriptions(self) -> int:
        return sum(map(len, self._sinks.values()))


class World(AnswerWriter):
    """A worker that writes one answer, and the followers of its turn."""

    def __init__(self, random: Random | None = None) -> None:
        self.log = LossyLog(random)
        self.clock = 0.0
        super().__init__(MemoryTurnStreams(self.log, clock=lambda: self.clock), CHAT, TURN)
        self.rows = Rows()
        self.follower = TurnFollower(self.log, self.streams, self.rows, self.rows)  # type: ignore[arg-type]  # only what it reads
        self.checkpointed = Checkpoint(-1, ())
        self.seq = 0

    async def notify(self, args: bytes = b'["ai-status",{"turn":{"id":"turn-1"}}]') -> None:
        self.seq += 1
        await self.log.append(CHAT, "e", [LogEntry(self.seq, args)])

    async def start(self) -> None:
        self.save()
        await self.notify()
        await self.begin()

    def save(self) -> None:
        self.checkpointed = self.checkpoint()
        self.rows.write(TurnStatus.STREAMING, self.answer, self.generation, self.checkpointed.last)

    def save_with_waiting(self) -> None:
        self.hold(*ITEMS[self.position : self.position + 2])
        self.save()

    async def resume(self) -> None:
        await self.take_over(self.checkpointed)

    def lose_stream(self) -> None:
        self.clock += 1_000

    def fail_reads(self) -> None:
        self.rows.available = not self.rows.available

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


def text_of(chunks: list[Chunk]) -> str:
    return AnswerState.from_chunks(chunks).content()


def kinds(chunks: list[Chunk]) -> list[str]:
    return [chunk["type"] for chunk in chunks]


async def settle() -> None:
    await asyncio.sleep(0.01)


#: Replaces its earlier value, so that the stream grows and the answer does not.
LARGE = {"type": "data-progress", "id": "p", "data": "y" * 8_000}


async def play(random: Random, steps: list[str]) -> None:
    world = World(random)
    followers: list[asyncio.Task[list[Chunk]]] = []

    def join() -> None:
        followers.append(asyncio.create_task(world.follow(random.choice((0.0, 0.0, 0.3)))))

    join()
    await asyncio.sleep(random.choice((0.0, 5.0)))
    await world.start()
    await world.write_next(random.randint(0, 20))
    for step in steps:
        match step:
            case "write":
                await world.write_next(random.randint(1, 5))
            case "wait":
                await asyncio.sleep(random.choice((0.0, 0.05, 1.0, 4.0)))
            case "join":
                join()
            case "take over":
                await world.resume()
            case _:
                {"lose": world.lose_stream, "save": world.save_with_waiting, "outage": world.fail_reads}[step]()
        await asyncio.sleep(random.choice((0.0, 0.01)))
    while world.position < len(ITEMS):
        await world.write_next(random.randint(1, 5))
        await asyncio.sleep(random.choice((0.0, 0.05)))
    await world.end()
    world.rows.available = True
    join()
    for chunks in await asyncio.gather(*followers):
        note(f"{chunks}")
        assert kinds(chunks).count("start") == 1
        assert (chunks[0]["type"], chunks[-1]) == ("start", FINISH)
        assert parts_of(chunks) == world.answer.parts()
    assert world.log.subscriptions == 0


STEPS = ("write",) * 6 + ("wait", "save", "join") * 2 + ("lose", "take over", "outage")


@given(seed=st.integers(0, 2**32), steps=st.lists(st.sampled_from(STEPS), max_size=40))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_follower_ends_with_the_stored_answer_whatever_is_lost(seed: int, steps: list[str]) -> None:
    run_in_virtual_time(play(Random(seed), steps))


async def following(world: World, *, queued: bool = False) -> asyncio.Task[list[Chunk]]:
    if not queued:
        await world.start()
    task = asyncio.create_task(world.follow())
    await settle()
    return task


Test = Callable[[World], Coroutine[Any, Any, None]]


def in_virtual_time(test: Test) -> Callable[[], None]:
    def run() -> None:
        run_in_virtual_time(test(World()))

    run.__name__ = test.__name__
    return run


@in_virtual_time
async def test_a_follower_that_joins_late_gets_few_chunks_then_each_as_it_is_written(world: World) -> None:
    await world.start()
    for number in range(50):
        await world.write(f"{number} ")
    task = asyncio.create_task(world.follow())
    await settle()
    for word in ("and ", "on"):
        await world.write(word)
        await settle()
    await world.end()
    chunks = await task
    before = "".join(f"{number} " for number in range(50))
    assert [chunk.get("delta") for chunk in chunks] == [None, None, before, "and ", "on", None, None]
    assert kinds(chunks)[-2:] == ["text-end", "finish"]


@in_virtual_time
async def test_a_turn_without_losses_is_not_read_per_frame(world: World) -> None:
    task = await following(world)
    before = world.rows.reads
    for _ in range(200):
        await world.write("word ")
        await asyncio.sleep(0.05)
    assert world.rows.reads == before
    await world.end()
    assert text_of(await task) == "word " * 200


@in_virtual_time
async def test_a_missing_frame_is_read_from_the_stream_when_the_next_one_arrives(world: World) -> None:
    task = await following(world)
    await world.write("one ")
    await asyncio.sleep(1)
    world.log.loses_signals = True
    await world.write("two ")
    world.log.loses_signals = False
    await world.write("three ")
    await settle()
    assert world.rows.reads == 2
    await world.end()
    chunks = await task
    assert [chunk["delta"] for chunk in chunks if "delta" in chunk] == ["one ", "two three "]


@in_virtual_time
async def test_frames_that_the_stream_lacks_too_are_not_asked_for_at_every_frame(world: World) -> None:
    task = await following(world)
    world.log.loses_signals = True
    await world.write("lost ")
    world.log.loses_signals = False
    before = world.rows.reads
    for _ in range(100):
        world.lose_stream()
        frame = TurnFrame(TURN, 1, world.last + 2, world.last + 2, b'[{"type":"text-delta","id":"0","delta":"x"}]')
        await world.log.signal(CHAT, encode_frame(frame))
        await asyncio.sleep(0.02)
    assert world.rows.reads - before <= 5
    await world.end()
    assert text_of(await task) == "lost "


@in_virtual_time
async def test_a_lost_end_is_found_in_the_database(world: World) -> None:
    task = await following(world)
    await world.write("all")
    world.log.loses_signals = True
    await world.end()
    async with asyncio.timeout(10):
        chunks = await task
    assert (text_of(chunks), chunks[-1]) == ("all", FINISH)


@in_virtual_time
async def test_the_end_waits_for_the_database(world: World) -> None:
    task = await following(world)
    await world.write("text")
    await world.publish(world.answer.end(FINISH))
    await asyncio.sleep(30)
    assert not task.done()
    await world.end()
    assert kinds(await task).count("finish") == 1


@in_virtual_time
async def test_a_queued_turn_yields_nothing_until_it_starts(world: World) -> None:
    async with aclosing(world.follower.follow(CHAT, TURN)) as chunks:
        first = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(60)
        assert not first.done()
        await world.start()
        assert await first == {"type": "start", "messageId": TURN}


ENDS = [
    (TurnStatus.COMPLETE, None, {"type": "finish", "finishReason": "stop"}),
    (TurnStatus.STOPPED, TurnReason.BY_USER, {"type": "abort"}),
    (TurnStatus.INCOMPLETE, TurnReason.TOO_LONG, {"type": "finish", "finishReason": "length"}),
    (TurnStatus.INCOMPLETE, TurnReason.FILTERED, {"type": "finish", "finishReason": "content-filter"}),
    (TurnStatus.INCOMPLETE, TurnReason.WORKER_LOST, {"type": "error", "errorText": "worker-lost"}),
    (TurnStatus.FAILED, TurnReason.RATE_LIMITED, {"type": "error", "errorText": "rate-limited"}),
]


@pytest.mark.parametrize(("status", "reason", "last"), ENDS)
def test_the_last_chunk_says_how_the_turn_ended(status: TurnStatus, reason: TurnReason | None, last: Chunk) -> None:
    async def main() -> None:
        world = World()
        task = await following(world, queued=True)
        assert world.rows.state is not None
        # Ended in the queue: no worker wrote a stream.
        world.rows.state = replace(world.rows.state, status=status, reason=reason)
        await world.notify()
        assert await task == [{"type": "start", "messageId": TURN}, last]

    run_in_virtual_time(main())


@in_virtual_time
async def test_a_new_worker_that_is_behind_is_followed_once_it_has_caught_up(world: World) -> None:
    task = await following(world)
    await world.write("one ")
    world.save()
    await world.write("two ", "three ")
    await settle()
    world.lose_stream()
    await world.resume()
    await world.write("two ")
    await settle()
    await world.write("three ", "four")
    await world.end()
    chunks = await task
    assert text_of(chunks) == "one two three four"
    assert chunks[-1] == FINISH


@in_virtual_time
async def test_a_new_worker_with_another_text_ends_the_stream_with_an_error(world: World) -> None:
    task = await following(world)
    await world.write("one ")
    world.save()
    await world.write("two ")
    await settle()
    world.lose_stream()
    await world.resume()
    await world.write("zwei ")
    async with asyncio.timeout(10):
        await task
    assert (await task)[-1] == {"type": "error", "errorText": ANEW}
    assert text_of(await task) == "one two "


@in_virtual_time
async def test_an_end_that_lacks_text_of_the_stream_is_an_error(world: World) -> None:
    task = await following(world)
    await world.write("one ")
    world.save()
    await world.write("two ")
    await settle()
    world.lose_stream()
    world.generation += 1
    world.answer = Answer.from_parts([{"type": "text", "text": "one ", "state": "done"}])
    world.rows.write(TurnStatus.INCOMPLETE, world.answer, 2, 1, TurnReason.WORKER_LOST)
    await world.notify()
    assert (await task)[-1] == {"type": "error", "errorText": ANEW}


@in_virtual_time
async def test_a_late_frame_of_an_earlier_generation_changes_nothing(world: World) -> None:
    task = await following(world)
    await world.write("one ")
    await world.resume()
    await settle()
    late = TurnFrame(TURN, 1, world.last + 1, world.last + 1, b'[{"type":"text-delta","id":"0","delta":"late"}]')
    await world.log.signal(CHAT, encode_frame(late))
    await asyncio.sleep(2)
    await world.write("two")
    await asyncio.sleep(2)
    await world.end()
    assert text_of(await task) == "one two"


@in_virtual_time
async def test_of_a_frame_that_the_reader_has_in_part_the_rest_is_added(world: World) -> None:
    task = await following(world)
    await world.write("one ")
    both = b'[{"type":"text-delta","id":"0","delta":"one "},{"type":"text-delta","id":"0","delta":"two"}]'
    await world.log.signal(CHAT, encode_frame(TurnFrame(TURN, 1, world.last, world.last + 1, both)))
    await settle()
    world.hold("two")
    await world.end()
    assert [chunk["delta"] for chunk in await task if "delta" in chunk] == ["one ", "two"]


@in_virtual_time
async def test_without_a_channel_the_answer_grows_with_its_checkpoints(world: World) -> None:
    world.log.available = False
    task = await following(world)
    await world.write("one ")
    world.lose_stream()
    world.save()
    await asyncio.sleep(LOOK_S + 0.1)
    await world.write("two")
    world.lose_stream()
    await world.end()
    assert [chunk["delta"] for chunk in await task if "delta" in chunk] == ["one ", "two"]


@in_virtual_time
async def test_a_checkpoint_with_a_chunk_that_grows_is_no_base_for_the_next_frames(world: World) -> None:
    await world.start()
    await world.write("one ")
    world.hold("two ")
    world.save()
    task = await following(world, queued=True)
    await world.write("three ")
    await world.write("four")
    await settle()
    await world.end()
    assert text_of(await task) == "one two three four"
    assert (await task)[-1] == FINISH


@pytest.mark.parametrize(
    "chunks",
    [b"[]", b"[1]", b"[}]", b'[{"no":1}]', b'[{"type":"text-delta","id":"9","delta":"x"}]', b'[{"type":"tool-x"}]'],
)
def test_a_frame_of_another_program_is_replaced_by_the_stream(chunks: bytes) -> None:
    async def main() -> None:
        world = World()
        task = await following(world)
        await world.write("one ")
        await world.log.signal(CHAT, encode_frame(TurnFrame(TURN, 1, world.last + 1, world.last + 1, chunks)))
        await world.log.signal(CHAT, b"T nonsense")
        await world.write("two")
        await world.end()
        assert text_of(await task) == "one two"

    run_in_virtual_time(main())


@in_virtual_time
async def test_a_slow_reader_delays_no_other_and_holds_few_frames(world: World) -> None:
    await world.start()
    go_on = asyncio.Event()
    slow: list[Chunk] = []

    async def read_slowly() -> None:
        async with aclosing(world.follower.follow(CHAT, TURN)) as chunks:
            async for chunk in chunks:
                slow.append(chunk)
                await go_on.wait()

    reader = asyncio.create_task(read_slowly())
    fast = asyncio.create_task(world.follow())
    await settle()
    for _ in range(200):
        await world.write(LARGE)
        await asyncio.sleep(0.01)
    go_on.set()
    await asyncio.sleep(2)
    assert len(slow) < 40
    await world.end()
    await reader
    assert len(await fast) > 200
    for chunks in (slow, await fast):
        assert parts_of(chunks) == world.answer.parts()


@in_virtual_time
async def test_closing_a_follower_ends_its_subscription(world: World) -> None:
    await world.start()
    followed = world.follower.follow(CHAT, TURN)
    await anext(followed)
    assert world.log.subscriptions == 1
    await followed.aclose()
    assert world.log.subscriptions == 0
    task = await following(world, queued=True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.log.subscriptions == 0


@in_virtual_time
async def test_an_unknown_turn_is_not_followed(world: World) -> None:
    world.rows.state = None
    with pytest.raises(TurnNotFound):
        await world.follow()
    assert world.log.subscriptions == 0


@in_virtual_time
async def test_an_unavailable_database_delays_the_end_only(world: World) -> None:
    task = await following(world)
    world.rows.available = False
    await world.write("one")
    await world.end()
    await asyncio.sleep(10)
    assert not task.done()
    world.rows.available = True
    assert text_of(await task) == "one"
