"""A commit that nobody knows of: the connection died between it and its answer, or the process that made it did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import ANYONE, Caller, MemberAction, StoredEvent
from roomcast.chat.ports import ChatStore, LogEntry
from roomcast.chat.relay import Relay, RelayOptions
from roomcast.chat.writing import ChatOptions, ChatWriter
from roomcast.contract.events import EventType
from roomcast.contract.rest import CreateChat, SendMessage
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.store.opening import open_store
from roomcast.store.options import DatabaseOptions
from support.backend import new_message
from support.clients import ChatClient, send
from support.ports import free_port
from support.postgres_server import PostgresServer
from support.processes import Roomcast
from support.tcp_proxy import TcpProxy
from support.waiting import until

SERVICE = Caller(service=True)
LIMIT_S = 10.0


@dataclass
class World:
    """A back end whose database is behind a proxy; its relay sweeps when it is told to."""

    proxy: TcpProxy
    store: ChatStore
    writer: ChatWriter
    log: MemoryEventLog
    news: list[tuple[int, str | None]]
    wakes: list[None]
    _fed: list[int] = field(default_factory=list)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, chat_id: str) -> None:
        await self.log.subscribe(chat_id, self._feed)

    def _feed(self, _epoch: str, entries: Sequence[LogEntry]) -> None:
        self._fed += [entry.seq for entry in entries]
        self._moved.set()

    async def fed(self, seqs: list[int]) -> None:
        """Returns once a follower has got just these."""
        async with asyncio.timeout(LIMIT_S):
            while len(self._fed) < len(seqs):
                self._moved.clear()
                await self._moved.wait()
        assert self._fed == seqs

    async def settled(self) -> None:
        """Returns once nothing is on its way to the log, or to the marks."""

        async def nothing_is() -> bool:
            return not await self.store.unpublished(1)

        await until(nothing_is)


@asynccontextmanager
async def world(server: PostgresServer) -> AsyncIterator[World]:
    name = server.create_database()
    log = MemoryEventLog()
    news: list[tuple[int, str | None]] = []
    wakes: list[None] = []

    class Listener:
        def committed(self, event: StoredEvent, actor_id: str | None) -> None:
            news.append((event.seq, actor_id))

    async with TcpProxy(server.port) as proxy:
        url = server.url(name).replace(f":{server.port}/", f":{proxy.port}/")
        async with open_store(DatabaseOptions(url=url)) as store:
            relay = Relay(store.chats, log, RelayOptions(mark_delay_s=0, retry_min_s=0.01, sweep_every_s=None))
            writer = ChatWriter(
                store.chats,
                relay,
                listener=Listener(),
                wake_worker=lambda: wakes.append(None),
                options=ChatOptions(default_responder="demo"),
            )
            await relay.start()
            relay._sweep_wanted.clear()  # the sweep at the start would look as well
            try:
                yield World(proxy, store.chats, writer, log, news, wakes)
            finally:
                await relay.stop()


def message(number: int) -> SendMessage:
    fields = {
        "chatId": "c",
        "role": "USER",
        "content": f"text of {number}",
        "clientMsgId": f"k{number}",
        "userId": "ann",
    }
    return SendMessage.model_validate(fields)


async def test_a_message_whose_commit_got_no_answer_is_published_before_anybody_repeats_it(
    postgres: PostgresServer,
) -> None:
    async with world(postgres) as here:
        await here.follow("c")
        await here.writer.send(ANYONE, message(1))
        await here.fed([1])
        await here.settled()
        here.proxy.lose_answer_to(b"text of 2")
        with pytest.raises(StoreUnavailable):
            await here.writer.send(ANYONE, message(2))
        await here.fed([1, 2])
        await here.settled()
        # Who caused it is known again with the repeat: that tells the people of the chat, once, and the worker.
        assert (here.news, len(here.wakes)) == ([(1, "ann")], 1)
        for _ in range(2):
            repeat = await here.writer.send(ANYONE, message(2))
            assert (repeat.created, repeat.event.seq) == (False, 2)
            assert (here.news, len(here.wakes)) == ([(1, "ann"), (2, "ann")], 2)
        await here.fed([1, 2])


async def test_members_whose_change_got_no_answer_are_published(postgres: PostgresServer) -> None:
    async with world(postgres) as here:
        await here.follow("c")
        here.proxy.lose_answer_to(EventType.MEMBER_ADDED.encode())
        with pytest.raises(StoreUnavailable):
            await here.writer.create_chat(SERVICE, CreateChat(id="c", members=["ann"]))
        await here.fed([1])
        await here.settled()
        here.proxy.lose_answer_to(EventType.MEMBER_REMOVED.encode())
        with pytest.raises(StoreUnavailable):
            await here.writer.change_member(SERVICE, "c", "ann", MemberAction.REMOVE)
        await here.fed([1, 2])


async def test_what_another_process_left_is_published_by_one_without_redis(postgres: PostgresServer) -> None:
    url = postgres.url(postgres.create_database())
    ports = free_port(), free_port()
    command = ["up", "--api-port", str(ports[0]), "--gateway-port", str(ports[1])]
    env = {"DATABASE_URL": url, "ROOMCAST_RESPONDER": "none"}
    with Roomcast(command, api_port=ports[0], gateway_port=ports[1], env=env) as server:
        async with ChatClient(server.gateway_url) as ann, open_store(DatabaseOptions(url=url)) as other:
            assert (await ann.join("c"))["ok"] is True
            await send(server.api_url, "c", "one")
            assert (await ann.next_message())["seq"] == 1
            # Committed, and its process did not live to publish it.
            await other.chats.append_message(new_message(content="two"))
            assert (await ann.next_message(LIMIT_S))["content"] == "two"
