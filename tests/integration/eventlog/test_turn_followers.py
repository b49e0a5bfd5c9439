"""Followers of a turn over a real Redis and a real database, while the channel and the stream are lost at random."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from roomcast.chat.answers.chunks import ending_chunk
from roomcast.chat.answers.following import LOOK_S, TurnFollower
from roomcast.chat.model import ANYONE, Ending, Turn
from roomcast.chat.ports import Chunk
from roomcast.contract.events import TurnStatus
from roomcast.contract.rest import SendMessage
from roomcast.eventlog.redis import RedisEventLog, RedisTurnStreams
from roomcast.redis_client import Commands, RedisAddress, RedisOptions
from support.answer_writer import ITEMS, AnswerWriter, parts_of
from support.backend import Backend, open_backend
from support.redis_server import RedisServer
from support.redis_topology import redis_cluster

CHAT = "team"


class Replica:
    """What one process has of Redis, and its followers."""

    def __init__(self, options: RedisOptions) -> None:
        self.commands = Commands(options)
        self.log = RedisEventLog(options, commands=self.commands)
        self.streams = RedisTurnStreams(self.commands)

    async def open(self, stack: AsyncExitStack) -> Replica:
        stack.push_async_callback(self.commands.close)
        await stack.enter_async_context(self.log)
        return self

    async def follow(self, backend: Backend, turn_id: str) -> list[Chunk]:
        follower = TurnFollower(self.log, self.streams, backend.store.chats, backend.store.turns)
        async with aclosing(follower.follow(CHAT, turn_id)) as chunks:
            return [chunk async for chunk in chunks]


class Worker:
    """Claims the turn of a question, and writes its answer."""

    def __init__(self, backend: Backend, streams: RedisTurnStreams) -> None:
        self.backend = backend
        self.streams = streams

    async def claim(self) -> Turn:
        now = datetime.now(UTC)
        turn = await self.backend.store.turns.claim_turn(now + timedelta(hours=1), now + timedelta(hours=2))
        assert turn is not None
        return turn

    async def ask(self) -> str:
        command = SendMessage.model_validate({"chatId": CHAT, "role": "USER", "content": "tea?"})
        await self.backend.writer.send(ANYONE, command)
        active = await self.backend.store.turns.active_turn(CHAT)
        assert active is not None
        return active.id

    async def start(self) -> None:
        self.turn = await self.backend.turns.start(await self.claim())
        self.writer = AnswerWriter(self.streams, CHAT, self.turn.claim.turn_id)
        await self.writer.begin()

    async def checkpoint(self) -> None:
        await self.backend.turns.checkpoint(self.turn, self.writer.checkpoint(), self.writer.answer.content())

    async def take_over(self) -> None:
        """As after a crash: the lease has ended, and another worker claims the turn."""
        await self.backend.store.turns.release_turn(self.turn.claim)
        self.turn = await self.claim()
        await self.writer.take_over(self.turn.checkpoint)

    async def end(self) -> None:
        writer = self.writer
        await writer.publish(writer.answer.end(ending_chunk(TurnStatus.COMPLETE, None)))
        parts, content = writer.answer.parts(), writer.answer.content()
        await self.backend.turns.end(self.turn, Ending(TurnStatus.COMPLETE, None, content, parts, writer.last))
        await self.streams.expire(CHAT, self.turn.claim.turn_id)


def options_of(server: RedisServer) -> RedisOptions:
    return RedisOptions(addresses=(RedisAddress("127.0.0.1", server.port),), retry_min_s=0.01, retry_max_s=0.1)


@pytest.mark.parametrize("seed", range(3))
async def test_every_follower_ends_with_the_stored_answer(tmp_path: Path, server: RedisServer, seed: int) -> None:
    random = Random(seed)
    async with AsyncExitStack() as stack:
        writing, reading = [await Replica(options_of(server)).open(stack) for _ in range(2)]
        backend = await stack.enter_async_context(open_backend(tmp_path, log=writing.log, responder="demo"))
        worker = Worker(backend, writing.streams)
        turn_id = await worker.ask()
        followers = [asyncio.create_task(reading.follow(backend, turn_id))]
        await worker.start()
        while worker.writer.position < len(ITEMS):
            match random.choice(("write",) * 6 + ("join", "cut", "lose", "checkpoint", "take over")):
                case "write":
                    await worker.writer.write_next(random.randint(1, 3))
                    await asyncio.sleep(random.choice((0, 0.01)))
                case "join":
                    followers.append(asyncio.create_task(random.choice((writing, reading)).follow(backend, turn_id)))
                case "cut":
                    server.command("CLIENT", "KILL", "TYPE", "pubsub")
                case "lose":
                    server.command("FLUSHALL")
                case "checkpoint":
                    await worker.checkpoint()
                case "take over":
                    await worker.checkpoint()
                    await worker.take_over()
        await worker.end()
        async with asyncio.timeout(LOOK_S + 10):
            followed = await asyncio.gather(*followers, reading.follow(backend, turn_id))
        message = await backend.store.chats.message(CHAT, turn_id)
        assert message is not None
        assert message.content == worker.writer.answer.content()
        for chunks in followed:
            assert parts_of(chunks) == tuple(message.parts or ())
            assert chunks[-1] == {"type": "finish", "finishReason": "stop"}


async def test_the_streams_of_all_chats_work_in_a_cluster(tmp_path: Path) -> None:
    with redis_cluster(tmp_path, replicas=False) as nodes:
        async with AsyncExitStack() as stack:
            writing, reading = [await Replica(nodes.options()).open(stack) for _ in range(2)]
            chats = [f"chat-{number}" for number in range(12)]
            arrived: list[asyncio.Queue[bytes]] = [asyncio.Queue() for _ in chats]
            for chat, queue in zip(chats, arrived, strict=True):
                await reading.log.subscribe(chat, lambda _epoch, _entries: None, queue.put_nowait)
            writers = [AnswerWriter(writing.streams, chat, "turn") for chat in chats]
            for writer, queue in zip(writers, arrived, strict=True):
                await writer.begin()
                await writer.write("hello")
                async with asyncio.timeout(10):
                    assert [(await queue.get()).startswith(b"T turn 1") for _ in range(2)] == [True, True]
                frames = await reading.streams.read(writer.chat_id, "turn")
                assert [frame.last for frame in frames] == [0, writer.last]
