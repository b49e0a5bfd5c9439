"""`ChunkPublisher`, in virtual time, over a stream that can be taken away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from roomcast.chat.answers.answer import Answer
from roomcast.chat.answers.chunks import decode_chunks
from roomcast.chat.errors import TurnLost
from roomcast.chat.model import StoredMessage, Turn, TurnClaim
from roomcast.chat.ports import MAX_FRAME_BYTES, LogNotStored, LogUnavailable, TurnFrame
from roomcast.worker.counters import WorkerCounters
from roomcast.worker.options import WorkerOptions
from roomcast.worker.publishing import ChunkPublisher
from support.backend import START
from support.scripted import ScriptedStreams
from support.virtual_time import run_in_virtual_time
from support.waiting import until

QUESTION = StoredMessage("m", "c", "e", 1, "USER", "hello", "ann", None, START)


class Rig:
    """A publisher, its answer and its stream."""

    def __init__(
        self,
        options: WorkerOptions | None = None,
        before_first: Callable[[], Awaitable[None]] | None = None,
        generation: int = 1,
    ) -> None:
        self.streams = ScriptedStreams()
        self.answer = Answer()
        self.held = True
        self.failures: list[Exception] = []
        self.counters = WorkerCounters()
        self.turn = Turn(TurnClaim("t", generation, "c"), "c", QUESTION, "demo")

        async def at_once() -> None:
            pass

        self.publisher = ChunkPublisher(
            self.streams,
            self.turn,
            self.answer,
            before_first=before_first or at_once,
            lease_held=lambda: self.held,
            on_failure=self.failures.append,
            options=options or WorkerOptions(),
            counters=self.counters,
        )

    def say(self, *texts: str) -> None:
        for text in texts:
            chunks = self.answer.add(text)
            self.publisher.add([*self.answer.begin("t"), *chunks])

    async def end(self) -> int:
        self.publisher.add(self.answer.end({"type": "finish"}))
        return await self.publisher.finish()

    @property
    def streamed(self) -> str:
        """The text in the stream."""
        return self.streams.answer("t").content()

    @property
    def frames(self) -> list[TurnFrame]:
        return self.streams.frames("t")

    @property
    def numbers(self) -> list[tuple[int, int]]:
        return [(frame.first, frame.last) for frame in self.frames]


def virtual(scenario: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """The test in virtual time."""

    def test() -> None:
        run_in_virtual_time(scenario())

    test.__name__ = scenario.__name__
    return test


@virtual
async def test_the_first_chunk_is_published_at_once_and_later_ones_are_merged() -> None:
    rig = Rig()
    rig.say("a")
    await asyncio.sleep(0.001)
    assert rig.numbers == [(0, 2)]
    for text in "bcdefgh":
        rig.say(text)
        await asyncio.sleep(0.01)
    await rig.end()
    # The first, 40 ms after "b" came, and the end.
    assert [at for at, _ in rig.streams.published] == pytest.approx([0, 0.041, 0.071], abs=0.001)
    chunks = decode_chunks(rig.frames[1].chunks)
    assert [chunk["delta"] for chunk in chunks] == ["bcde"]
    assert rig.streamed == "abcdefgh"


@virtual
async def test_the_database_knows_of_the_first_chunk_before_it_is_published() -> None:
    stored = asyncio.Event()

    async def before_first() -> None:
        await stored.wait()

    rig = Rig(before_first=before_first)
    rig.say("a", "b")
    await asyncio.sleep(1)
    assert rig.streams.calls == 0
    stored.set()
    await asyncio.sleep(0.001)
    assert rig.streamed == "ab"


@virtual
async def test_a_frame_has_at_most_its_maximum_size() -> None:
    rig = Rig()
    rig.say("x")
    await asyncio.sleep(0.001)
    for _ in range(30):
        rig.say("\u0001" * 1_000)
    await rig.end()
    assert len(rig.frames) > 3
    assert all(len(frame.chunks) <= MAX_FRAME_BYTES for frame in rig.frames)
    assert rig.streamed == "x" + "\u0001" * 30_000
    assert all(one[1] + 1 == next_[0] for one, next_ in pairwise(rig.numbers))


@pytest.mark.parametrize("late", [False, True])
def test_an_outage_merges_what_waits_and_ends_without_a_repeat(late: bool) -> None:
    async def scenario() -> None:
        rig = Rig()
        rig.say("0")
        await asyncio.sleep(0.001)
        rig.streams.failure, rig.streams.late = LogUnavailable("away"), late
        for _ in range(3_000):
            rig.say("ab")
            await asyncio.sleep(0.01)
        assert len(rig.publisher._pending) <= 512
        rig.streams.failure = None
        before = asyncio.get_running_loop().time()
        await until(lambda: rig.streamed == "0" + "ab" * 3_000)
        assert asyncio.get_running_loop().time() - before < 2
        assert await rig.end() == rig.frames[-1].last

    run_in_virtual_time(scenario())


@virtual
async def test_a_lost_stream_is_written_again_with_what_waits() -> None:
    rig = Rig()
    rig.say("one ")
    await asyncio.sleep(0.001)
    rig.streams.lose()
    rig.say("two")
    await asyncio.sleep(0.1)
    assert [frame.first for frame in rig.frames] == [0]
    assert rig.streamed == "one two"
    rig.say(" three")
    assert await rig.end() == rig.frames[-1].last
    assert rig.streamed == "one two three"
    assert rig.counters.seeds == {"lost": 1}


@virtual
async def test_a_long_stream_is_compacted_now_and_then() -> None:
    rig = Rig()
    sent = 0
    for _ in range(5_000):
        rig.say("12345")
        sent += 5
        await asyncio.sleep(0.041)
    await rig.end()
    assert rig.streamed == "12345" * (sent // 5)
    size = sum(len(frame.chunks) for frame in rig.frames)
    assert size <= 3 * sent + 70_000
    assert 1 <= rig.counters.seeds["compacted"] <= 5
    # No reader has to fetch anything: the announcement of a compacted stream ends where the frame before it ended.
    frames = [frame for _, frame in rig.streams.published]
    assert all(frame.first == before.last + 1 for before, frame in pairwise(frames))


@virtual
async def test_nothing_is_written_without_a_lease() -> None:
    rig = Rig()
    rig.say("a")
    await asyncio.sleep(0.001)
    calls = rig.streams.calls
    rig.held = False
    rig.say("b")
    await asyncio.sleep(5)
    assert rig.streams.calls == calls
    rig.held = True
    await asyncio.sleep(0.2)
    assert rig.streamed == "ab"


@virtual
async def test_a_stream_of_a_later_generation_ends_the_publishing() -> None:
    rig = Rig()
    rig.say("a")
    await asyncio.sleep(0.001)
    await rig.streams.seed("c", TurnFrame("t", 2, 0, 2, b"[]"))
    rig.say("b")
    await asyncio.sleep(0.1)
    assert [type(error) for error in rig.failures] == [TurnLost]


@virtual
async def test_an_engine_that_refuses_to_store_does_not_hold_up_the_answer() -> None:
    rig = Rig()
    rig.say("a")
    await asyncio.sleep(0.001)
    rig.streams.failure = LogNotStored("OOM")
    rig.say("b")
    await asyncio.sleep(0.1)
    rig.streams.failure = None
    rig.say("c")
    await asyncio.sleep(0.1)
    assert rig.streamed == "abc"


@virtual
async def test_the_end_waits_a_bounded_time_for_the_stream_and_numbers_what_is_left() -> None:
    rig = Rig()
    rig.say("a")
    await asyncio.sleep(0.001)
    rig.streams.failure = LogUnavailable("away")
    rig.say("b")
    began = asyncio.get_running_loop().time()
    last = await rig.end()
    assert asyncio.get_running_loop().time() - began <= 0.5
    assert last == 2 + 3  # the delta, the end of the text, the finish


@virtual
async def test_a_frame_has_a_reference_only_if_it_is_exact() -> None:
    rig = Rig()
    rig.say("a")
    rig.publisher.note("r1")
    await asyncio.sleep(0.001)
    rig.say("b")
    rig.publisher.note("r2")
    rig.say("c")
    await asyncio.sleep(0.1)
    rig.say("d")
    rig.publisher.note("r3")
    await asyncio.sleep(0.1)
    assert [frame.ref for frame in rig.frames] == ["r1", None, "r3"]


@virtual
async def test_a_takeover_replaces_the_stream_before_it_continues() -> None:
    rig = Rig(generation=2)
    await rig.streams.seed("c", TurnFrame("t", 1, 0, 7, b"[]"))
    rig.answer.add("from the dead worker")
    rig.answer.begin("t")
    rig.publisher.take_over(7, None)
    await asyncio.sleep(0.001)
    assert rig.numbers == [(0, 7)]
    rig.say(", and from this one")
    await asyncio.sleep(0.1)
    assert rig.numbers == [(0, 7), (8, 8)]
    assert rig.streamed == "from the dead worker, and from this one"
    assert {frame.generation for frame in rig.frames} == {2}


@virtual
async def test_a_takeover_that_ends_at_once_voids_the_stream_of_the_dead_worker() -> None:
    rig = Rig(generation=2)
    await rig.streams.seed("c", TurnFrame("t", 1, 0, 7, b"[]"))
    rig.answer.add("from the dead worker")
    rig.answer.begin("t")
    rig.publisher.take_over(7, None)
    assert await rig.end() == 9
    assert {frame.generation for frame in rig.frames} == {2}
    assert rig.streamed == "from the dead worker"
