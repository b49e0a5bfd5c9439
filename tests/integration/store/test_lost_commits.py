"""Commits whose outcome is unknown: the connection, or the process, ends between the commit and its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from roomcast.chat.commands import MemberAction
from roomcast.chat.delivery.relay import Relay, RelayOptions
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import ANYONE, Caller, StoredEvent
from roomcast.chat.ports import ChatStore, LogEntry
from roomcast.chat.use_cases.writing import ChatOptions, ChatWriter
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
class BackendBehindProxy:
    """A back end whose connection to the database passes a proxy. Its relay sweeps only on request."""

    proxy: TcpProxy
    store: ChatStore
    writer: ChatWriter
    log: MemoryEventLog
    notified: list[tuple[int, str | None]]
    wakes: list[None]
    _received: list[int] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, chat_id: str) -> None:
        await self.log.subscribe(chat_id, self._feed)

    def _feed(self, _epoch: str, entries: Sequence[LogEntry]) -> None:
        self._received += [entry.seq for entry in entries]
        self._changed.set()

    async def fed(self, seqs: list[int]) -> None:
        """Wait until the subscriber has received exactly these."""
        async with asyncio.timeout(LIMIT_S):
            while len(self._received) < len(seqs):
                self._changed.clear()
                await self._changed.wait()
        assert self._received == seqs

    async def settled(self) -> None:
        """Wait until every event is published and its outbox mark deleted."""

        async def outbox_is_empty() -> bool:
            return not await self.store.unpublished(1)

        await until(outbox_is_empty)


@asynccontextmanager
async def backend_behind_proxy(server: PostgresServer) -> AsyncIterator[BackendBehindProxy]:
    name = server.create_database()
    log = MemoryEventLog()
    notified: list[tuple[int, str | None]] = []
    wakes: list[None] = []

    class Listener:
        def committed(self, event: StoredEvent, actor_id: str | None) -> None:
            notified.append((event.seq, actor_id))

    async with TcpProxy(server.port) as proxy:
        url = server.url(name).replace(f":{server.port}/", f":{proxy.port}/")
        async with open_store(DatabaseOptions(url=url)) as store:
            relay = Relay(store.chats, log, RelayOptions(mark_delay_s=0, retry_min_s=0.01, sweep_every_s=None))
            writer = ChatWriter(
                store.chats,
                relay,
                listener=Listener(),
                wake_worker=lambda: wakes.append(None),
                options=ChatOptions(responders=("demo",)),
            )
            await relay.start()
            relay._sweep_wanted.clear()  # suppresses the sweep at the start
            try:
                yield BackendBehindProxy(proxy, store.chats, writer, log, notified, wakes)
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


async def test_a_message_whose_commit_got_no_answer_is_published_before_a_repeat(
    postgres: PostgresServer,
) -> None:
    async with backend_behind_proxy(postgres) as backend:
        await backend.follow("c")
        await backend.writer.send(ANYONE, message(1))
        await backend.fed([1])
        await backend.settled()
        backend.proxy.lose_answer_to(b"text of 2")
        with pytest.raises(StoreUnavailable):
            await backend.writer.send(ANYONE, message(2))
        await backend.fed([1, 2])
        await backend.settled()
        # The repeat brings back its author: the listener is notified once, and the worker is woken.
        assert (backend.notified, len(backend.wakes)) == ([(1, "ann")], 1)
        for _ in range(2):
            repeat = await backend.writer.send(ANYONE, message(2))
            assert (repeat.created, repeat.event.seq) == (False, 2)
            assert (backend.notified, len(backend.wakes)) == ([(1, "ann"), (2, "ann")], 2)
        await backend.fed([1, 2])


async def test_members_whose_change_got_no_answer_are_published(postgres: PostgresServer) -> None:
    async with backend_behind_proxy(postgres) as backend:
        await backend.follow("c")
        backend.proxy.lose_answer_to(EventType.MEMBER_ADDED.encode())
        with pytest.raises(StoreUnavailable):
            await backend.writer.create_chat(SERVICE, CreateChat(id="c", members=["ann"]))
        await backend.fed([1])
        await backend.settled()
        backend.proxy.lose_answer_to(EventType.MEMBER_REMOVED.encode())
        with pytest.raises(StoreUnavailable):
            await backend.writer.change_member(SERVICE, "c", "ann", MemberAction.REMOVE)
        await backend.fed([1, 2])


async def test_without_redis_a_process_publishes_what_another_one_committed(postgres: PostgresServer) -> None:
    url = postgres.url(postgres.create_database())
    ports = free_port(), free_port()
    command = ["up", "--api-port", str(ports[0]), "--gateway-port", str(ports[1])]
    env = {"DATABASE_URL": url, "ROOMCAST_RESPONDER": "none"}
    with Roomcast(command, api_port=ports[0], gateway_port=ports[1], env=env) as server:
        async with ChatClient(server.gateway_url) as ann, open_store(DatabaseOptions(url=url)) as other:
            assert (await ann.join("c"))["ok"] is True
            await send(server.api_url, "c", "one")
            assert (await ann.next_message())["seq"] == 1
            # Committed, but not published, as if its process had ended.
            await other.chats.commit(new_message(content="two"))
            assert (await ann.next_message(LIMIT_S))["content"] == "two"
