"""A resume returns an answer so far, and the chunks after it follow on the connection without a gap or a repeat."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomcast.chat.answers.answer import Answer
from roomcast.chat.ports import TurnFrame
from roomcast.contract.errors import ErrorCode
from roomcast.contract.gateway import ResumeAnswerAck
from roomcast.gateway.delivery.answers import LiveAnswers
from roomcast.gateway.delivery.feeds import Feeds
from roomcast.gateway.delivery.joins import Joins
from roomcast.gateway.delivery.resumes import Resumes
from roomcast.gateway.ports import Refused
from support.answer_view import AnswerView, text_of
from support.gateway_model import ClientSocket, Database, LocalRooms, ModelStreams, UnreliableLog
from support.virtual_time import run_in_virtual_time

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Writer:
    """The worker's side of turn ``t1``: an answer of numbered chunks, one letter in each delta."""

    def __init__(self, streams: ModelStreams) -> None:
        self.streams = streams
        self.generation = 1
        self.answer = Answer()
        self.text = ""
        self.chunks: list[Any] = [*self.answer.begin("t1"), *self.answer.add({"type": "text-start", "id": "0"})]
        self.unsent = list(self.chunks)
        self.last = -1

    def write(self, count: int) -> TurnFrame:
        """The next frame, with ``count`` letters."""
        for _ in range(count):
            letter = LETTERS[len(self.text) % 26]
            self.text += letter
            self.unsent += self.answer.add({"type": "text-delta", "id": "0", "delta": letter})
        chunks, self.unsent = self.unsent, []
        first, self.last = self.last + 1, self.last + len(chunks)
        return TurnFrame("t1", self.generation, first, self.last, json.dumps(chunks).encode())

    async def append(self, count: int = 1) -> None:
        await self.streams.append("a", self.write(count))

    async def take_over(self) -> None:
        """Another worker goes on, with the answer so far in one frame."""
        self.generation += 1
        chunks = json.dumps(self.answer.snapshot()).encode()
        await self.streams.seed("a", TurnFrame("t1", self.generation, 0, self.last, chunks))


class World:
    def __init__(self, random: Random | None = None) -> None:
        self.log = UnreliableLog()
        self.database = Database(self.log)
        self.rooms = LocalRooms()
        self.streams = ModelStreams(self.log)
        self.answers = LiveAnswers(self.rooms)
        self.feeds = Feeds(self.log, self.database, self.rooms, signals=self.answers.take)
        self.joins = Joins(self.feeds, self.database)
        self.resumes = Resumes(self.streams, self.answers, self.joins)
        self.writer = Writer(self.streams)
        self.log.random = random

    async def join(self, *, stream: bool = True, user: str | None = None) -> ClientSocket:
        socket = self.rooms.socket()
        await self.joins.join(socket, "a", user, None, stream=stream)
        return socket

    async def resume(self, socket: ClientSocket, turn_id: str = "t1") -> ResumeAnswerAck:
        return await self.resumes.resume(socket.sid, "a", turn_id)

    def during_the_read(self, work: Awaitable[None], *, before: bool = False) -> None:
        """Do ``work`` once, during the next read of a stream: after the stream has been read, or before it."""
        real = self.streams.read

        async def read(chat_id: str, turn_id: str) -> Any:
            self.streams.read = real  # type: ignore[method-assign]  # for one call
            if before:
                await work
            found = await real(chat_id, turn_id)
            if not before:
                await work
            return found

        self.streams.read = read  # type: ignore[method-assign]  # for one call


async def refusal(resume: Awaitable[object]) -> ErrorCode:
    with pytest.raises(Refused) as raised:
        await resume
    return raised.value.code


def test_a_snapshot_has_the_chunks_so_far_and_the_next_one_follows() -> None:
    async def main() -> None:
        world = World()
        for count in (3, 1, 2):
            await world.writer.append(count)
        socket = await world.join()
        ack = await world.resume(socket)
        assert (ack.generation, ack.first, ack.last, text_of(ack.chunks)) == (1, 0, 7, "abcdef")
        assert len(ack.chunks) < 8
        await world.writer.append()
        [(name, data)] = socket.frames
        assert (name, data["first"]) == ("ai-chunk", 8)

    run_in_virtual_time(main())


@pytest.mark.parametrize("before", [True, False])
def test_frames_that_arrive_during_the_read_are_in_the_snapshot_once(before) -> None:
    async def main() -> None:
        world = World()
        await world.writer.append(2)
        socket = await world.join()
        world.during_the_read(world.writer.append(3), before=before)
        ack = await world.resume(socket)
        assert (ack.last, text_of(ack.chunks)) == (6, "abcde")
        assert [data["last"] for _, data in socket.frames] == [6]

    run_in_virtual_time(main())


@pytest.mark.parametrize("before", [True, False])
def test_a_stream_that_another_worker_continues_during_the_read_is_read_again(before) -> None:
    async def take_over_and_write(world: World) -> None:
        await world.writer.take_over()
        await world.writer.append()

    async def main() -> None:
        world = World()
        await world.writer.append(2)
        socket = await world.join()
        world.during_the_read(take_over_and_write(world), before=before)
        ack = await world.resume(socket)
        assert (ack.generation, text_of(ack.chunks)) == (2, "abc")
        assert world.streams.reads == (1 if before else 2)

    run_in_virtual_time(main())


def test_callers_share_a_read_and_each_gets_the_snapshot_of_its_own_ack() -> None:
    async def main() -> None:
        world = World(Random(1))
        await world.writer.append(2)
        sockets = [await world.join() for _ in range(50)]
        reads = world.streams.reads
        gate = asyncio.Event()

        async def wait() -> None:
            await gate.wait()

        world.during_the_read(wait())
        early = [asyncio.create_task(world.resume(socket)) for socket in sockets[:25]]
        await asyncio.sleep(1)
        await world.writer.append()
        late = [asyncio.create_task(world.resume(socket)) for socket in sockets[25:]]
        await asyncio.sleep(1)
        gate.set()
        acks = await asyncio.gather(*early, *late)
        assert {(ack.last, text_of(ack.chunks)) for ack in acks} == {(4, "abc")}
        assert world.streams.reads == reads + 1
        # A resume after the acks reads again.
        assert (await world.resume(sockets[0])).last == 4
        assert world.streams.reads == reads + 2
        assert world.resumes._reads == {}

    run_in_virtual_time(main())


def test_a_caller_that_is_cancelled_does_not_end_the_read_of_the_others() -> None:
    async def main() -> None:
        world = World()
        await world.writer.append(2)
        first, second = await world.join(), await world.join()
        world.during_the_read(asyncio.sleep(1))
        cancelled = asyncio.create_task(world.resume(first))
        other = asyncio.create_task(world.resume(second))
        await asyncio.sleep(0.5)
        cancelled.cancel()
        assert (await other).last == 3
        world.during_the_read(asyncio.sleep(1))
        alone = asyncio.create_task(world.resume(first))
        await asyncio.sleep(0.5)
        alone.cancel()
        await asyncio.gather(alone, return_exceptions=True)
        assert world.resumes._reads == {}

    run_in_virtual_time(main())


def test_a_turn_without_chunks_here_has_an_empty_snapshot() -> None:
    async def main() -> None:
        world = World()
        ack = await world.resume(await world.join(), "unknown")
        assert (ack.turn_id, ack.first, ack.last, ack.chunks) == ("unknown", 0, -1, [])
        assert world.resumes.counters == {"empty": 1}

    run_in_virtual_time(main())


def test_a_socket_resumes_only_the_chats_that_it_follows_with_stream() -> None:
    async def main() -> None:
        world = World()
        await world.writer.append()
        stranger, plain = world.rooms.socket(), await world.join(stream=False)
        assert await refusal(world.resume(stranger)) is ErrorCode.FORBIDDEN
        assert await refusal(world.resume(plain)) is ErrorCode.FORBIDDEN
        assert world.streams.reads == 0
        assert world.resumes.counters == {"forbidden": 2}

    run_in_virtual_time(main())


def test_a_member_that_is_removed_during_the_read_gets_no_snapshot() -> None:
    async def remove(world: World) -> None:
        world.database.remove("a", "bob")
        await world.database.publish("a")

    async def main() -> None:
        world = World()
        world.database.members = {"ada", "bob"}
        await world.writer.append()
        socket = await world.join(user="bob")
        world.during_the_read(remove(world))
        assert await refusal(world.resume(socket)) is ErrorCode.FORBIDDEN

    run_in_virtual_time(main())


def test_no_snapshot_is_sent_while_memberships_are_being_confirmed() -> None:
    async def main() -> None:
        world = World()
        world.database.members = {"ada"}
        await world.writer.append()
        socket = await world.join(user="ada")
        feed = await world.feeds.acquire("a")
        world.database.available = False
        feed._resync(feed.position, reset=False)
        assert await refusal(world.resume(socket)) is ErrorCode.UNAVAILABLE
        world.database.available = True
        await asyncio.sleep(20)
        assert (await world.resume(socket)).last == 2
        await world.feeds.close()

    run_in_virtual_time(main())


def test_an_answer_that_cannot_be_read_is_unavailable() -> None:
    async def main() -> None:
        world = World()
        await world.writer.append()
        socket = await world.join()
        world.log.available = False
        assert await refusal(world.resume(socket)) is ErrorCode.UNAVAILABLE
        world.log.available = True
        # Frames that are only published leave a gap after the stored ones.
        world.streams.stores = False
        await world.writer.append()
        world.streams.reads = 0
        read = world.streams.read

        async def append_and_read(chat_id: str, turn_id: str) -> Any:
            found = await read(chat_id, turn_id)
            await world.writer.append()
            return found

        world.streams.read = append_and_read  # type: ignore[method-assign]  # a read that is overtaken
        assert await refusal(world.resume(socket)) is ErrorCode.UNAVAILABLE
        assert world.streams.reads == 3

    run_in_virtual_time(main())


def test_a_socket_may_resume_eight_times_a_second() -> None:
    async def main() -> None:
        world = World()
        socket, other = await world.join(), await world.join()
        gate = asyncio.Event()
        real = world.streams.read

        async def slow(chat_id: str, turn_id: str) -> Any:
            await gate.wait()
            return await real(chat_id, turn_id)

        world.streams.read = slow  # type: ignore[method-assign]  # a read that takes long
        waiting = [asyncio.create_task(world.resume(socket, f"t{n}")) for n in range(8)]
        await asyncio.sleep(0)
        assert await refusal(world.resume(socket)) is ErrorCode.UNAVAILABLE
        waiting.append(asyncio.create_task(world.resume(other)))
        gate.set()
        assert [ack.last for ack in await asyncio.gather(*waiting)] == [-1] * 9
        await asyncio.sleep(0.9)
        assert await refusal(world.resume(socket)) is ErrorCode.UNAVAILABLE
        await asyncio.sleep(0.2)
        assert (await world.resume(socket)).last == -1
        await asyncio.sleep(2)
        assert world.resumes._recent == {}

    run_in_virtual_time(main())


class Viewer(ClientSocket):
    """A client with the rules of `roomcast.gateway.delivery.resumes`."""

    def __init__(self, world: World) -> None:
        super().__init__(f"v{len(world.rooms.sockets)}", world.rooms)
        world.rooms.sockets[self.sid] = self
        self.world = world
        self.view = AnswerView()
        self.resuming: asyncio.Task[None] | None = None

    def send(self, message: Any) -> None:
        name, data = json.loads(message.message("/").text[2:])
        if name != "ai-chunk" or self.resuming is not None:
            return
        if not self.view.accept(data):
            self.resume()

    def resume(self) -> None:
        self.resuming = asyncio.create_task(self._resume())

    async def _resume(self) -> None:
        while True:
            try:
                ack = await self.world.resume(self)
            except Refused as refused:
                assert refused.code is ErrorCode.UNAVAILABLE  # noqa: PT017 - the only valid code
                await asyncio.sleep(0.1)
            else:
                break
        self.view.replace(ack.model_dump())
        self.resuming = None


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    steps=st.lists(st.sampled_from(["write", "write", "write", "view", "lose", "take over"]), max_size=40),
)
def test_every_viewer_has_the_text_of_the_answer_after_any_losses_and_takeovers(seed, steps) -> None:
    async def main() -> None:
        world = World(Random(seed))
        viewers: list[Viewer] = []
        for step in steps:
            match step:
                case "write":
                    world.log.drops_deliveries = False
                    await world.writer.append(1 + seed % 3)
                case "lose":
                    world.log.drops_deliveries = True
                    await world.writer.append()
                case "take over":
                    await world.writer.take_over()
                case _:
                    viewer = Viewer(world)
                    await world.joins.join(viewer, "a", None, None, stream=True)
                    viewer.resume()
                    viewers.append(viewer)
            await asyncio.sleep(world.log.random.choice((0, 0.001, 0.03)) if world.log.random else 0)
        world.log.drops_deliveries = False
        await world.writer.append()
        await world.log.wait_for_deliveries()
        await asyncio.sleep(5)
        assert {viewer.view.text for viewer in viewers} <= {world.writer.text}
        assert all(viewer.view.last == world.writer.last for viewer in viewers)
        assert world.resumes._reads == {}
        await world.feeds.close()

    run_in_virtual_time(main())
