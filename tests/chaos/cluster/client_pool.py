"""Many chat clients on one event loop, and a check that each of them got everything exactly once.

A member does what the SDK does: it keeps a cursor, joins with it, drops repeats, and pages through REST after a
``resync`` or a jump in seq.

    async with ClientPool(ports, [api.api_url], Plan(members=200, chats=("team",)), seed) as pool:
        await pool.ready()
        await pool.send(3_000, per_s=150)
        await pool.caught_up()
        report = await pool.check()
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp

from chaos.cluster.oracle import ChatMessage, ConnectionRecord, JoinAck, ResyncNotice, check_chat
from chaos.cluster.socketio_client import SocketIoClient, connect_to_first, rotate

#: Longest that a connection, a join or a request may take before it counts as failed.
STEP_LIMIT_S = 5.0
PAGE = 200
#: Time after the last expected event in which a repeat would still be noticed.
QUIET_S = 1.0
#: REST connections that the members share.
REST_CONNECTIONS = 32
#: Parsed messages that are kept, for all members of their chat.
_PARSED = 4_096


@dataclass(frozen=True)
class Plan:
    """The clients.

    Attributes:
        members: Clients in all, spread evenly over the chats and the gateways.
        chats: Ids of the chats.
        reconnect_s: Shortest and longest pause before the first attempt to reconnect, as the SDK jitters it.
        senders: Concurrent senders, each of which waits for the answer to a message before it sends the next.
    """

    members: int
    chats: tuple[str, ...]
    senders: int = 20
    reconnect_s: tuple[float, float] = (0.2, 1.0)


@dataclass
class Counters:
    """Counts and timings of a run.

    Attributes:
        cuts: Connections that ended after their join.
        refused: Connections that failed before the end of their join.
        jumps: Events that came with a gap before them.
        pages: REST requests for events.
        resets: Times that a client dropped its messages because of a new epoch.
        delays_s: From the first attempt to send a message to its arrival at a member.
        sends_s: From a POST to its answer.
    """

    cuts: int = 0
    refused: int = 0
    joins: int = 0
    recovered: int = 0
    resyncs: int = 0
    jumps: int = 0
    pages: int = 0
    resets: int = 0
    repeats: int = 0
    failed_sends: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    join_errors: list[str] = field(default_factory=list)
    joined_at: list[float] = field(default_factory=list)
    delays_s: array[float] = field(default_factory=lambda: array("d"))
    sends_s: array[float] = field(default_factory=lambda: array("d"))

    def delay_s(self, share: float) -> float:
        """The delay below which that share of the deliveries lies."""
        return percentile(self.delays_s, share)

    def peak_joins(self, since: float, width_s: float = 0.1) -> int:
        """Most joins within one slice of time after ``since``."""
        slices = Counter(int((at - since) / width_s) for at in self.joined_at if at >= since)
        return max(slices.values(), default=0)


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which that share lies; 0.0 without values."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


class Member:
    """One client in one chat."""

    def __init__(self, pool: ClientPool, number: int, chat: str) -> None:
        self.number = number
        self.chat = chat
        self.epoch = ""
        self.seq = 0
        self.applied: list[ChatMessage] = []
        self.connections: list[ConnectionRecord] = []
        self.client: SocketIoClient | None = None
        self.joined = asyncio.Event()
        self._joined_once = False
        self._pool = pool
        # While pages are fetched, live events wait here.
        self._buffering = True
        self._buffer: list[ChatMessage] = []
        self._resync_seq = 0
        self._catching_up: asyncio.Task[None] | None = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    async def run(self) -> None:
        """Stay connected until cancelled."""
        pool = self._pool
        attempt = 0
        while True:
            try:
                await self._session(await self._connect(first=not self._joined_once))
                attempt = 0
            except (OSError, TimeoutError):
                pool.counters.refused += 1
            finally:
                self._end_session()
            attempt += 1
            low, high = pool.plan.reconnect_s
            await asyncio.sleep(pool.random.uniform(low, high) * min(2 ** (attempt - 1), 3))

    async def _connect(self, *, first: bool) -> SocketIoClient:
        """The first connection goes to this member's gateway, later ones to a random one that accepts."""
        if self._catching_up is not None:
            await self._catching_up
        self._buffering = True
        return await connect_to_first(self._pool.ports(self.number if first else None), self._event)

    async def _session(self, client: SocketIoClient) -> None:
        self.client = client
        async with asyncio.timeout(STEP_LIMIT_S):
            await client.open()
            self.connections.append(ConnectionRecord(self.number, self.epoch, self.seq))
            payload = {"chatId": self.chat, "since": {"epoch": self.epoch, "seq": self.seq}}
            ack = await client.call("join-chat", payload, self._acknowledged)
        counters = self._pool.counters
        if not ack.get("ok"):
            counters.join_errors.append(str(ack.get("error")))
            raise ConnectionError("join refused")
        counters.joins += 1
        counters.recovered += bool(ack["recovered"])
        counters.joined_at.append(time.monotonic())
        if ack.get("reset"):
            self._reset(ack["epoch"])
        await self._catch_up(fetch=not ack["recovered"])
        self.joined.set()
        self._joined_once = True
        await asyncio.shield(client.closed)
        counters.cuts += 1

    def _end_session(self) -> None:
        self.joined.clear()
        if self.connections:
            self.connections[-1].ended = True
        if self.client is not None:
            self.client.abort()
            self.client = None

    def cut(self) -> None:
        """Lose the connection, as after a network failure."""
        if self.client is not None:
            self.client.abort()

    def connection_is_behind(self, seq: int) -> bool:
        """Whether its connection is open and has not received ``seq``, even if the member fetched it from REST."""
        connection = self.connections[-1]
        return not connection.ended and connection.position < seq

    def _acknowledged(self, ack: Any) -> None:
        if ack.get("ok"):
            reset = ack.get("reset", False)
            self.connections[-1].received.append(JoinAck(ack["epoch"], ack["seq"], ack["recovered"], reset))

    def _event(self, name: str, data: Any, raw: bytes) -> None:
        if name == "new-msg":
            message = self._pool.parse(data, raw)
            self.connections[-1].received.append(message)
            if self._buffering:
                self._buffer.append(message)
            elif not self._apply(message):
                self._pool.counters.jumps += 1
                self._buffer.append(message)
                self._start_catching_up()
        elif name == "resync":
            notice = data()
            self._pool.counters.resyncs += 1
            self.connections[-1].received.append(ResyncNotice(notice["epoch"], notice["seq"], notice["reset"]))
            self._resync_seq = notice["seq"]
            if not self._buffering:
                self._start_catching_up()

    def _start_catching_up(self) -> None:
        self._buffering = True
        self._catching_up = asyncio.create_task(self._catch_up(fetch=True))

    async def _catch_up(self, *, fetch: bool) -> None:
        """Fetch pages until the buffered events follow the cursor; later events are applied as they come."""
        while True:
            if fetch:
                await self._fetch_pages()
            self._buffer.sort()
            buffered, self._buffer = self._buffer, []
            ahead = [message for message in buffered if not self._apply(message)]
            if not ahead and self.seq >= self._resync_seq:
                break
            self._buffer = ahead
            fetch = True
        self._buffering = False

    async def _fetch_pages(self) -> None:
        while True:
            page = await self._pool.get(f"/api/chats/{self.chat}/events", after=self.seq, epoch=self.epoch, limit=PAGE)
            self._pool.counters.pages += 1
            if page["reset"]:
                self._reset(page["epoch"])
                continue
            for event in page["events"]:
                assert self._apply(ChatMessage.from_json(event["data"])), "REST left a gap"
            if not page["more"]:
                return

    def _reset(self, epoch: str) -> None:
        self._pool.counters.resets += 1
        self.epoch, self.seq, self.applied = epoch, 0, []

    def _apply(self, message: ChatMessage) -> bool:
        """Apply the next message and drop a repeat; False if a message before it is missing."""
        if message.seq <= self.seq:
            self._pool.counters.repeats += 1
            return True
        if message.seq > self.seq + 1:
            return False
        self.seq, self.epoch = message.seq, message.epoch
        self.applied.append(message)
        self._pool.count_delivery(message)
        while self._waiters and self._waiters[0][0] <= self.seq:
            waiter = self._waiters.pop(0)[1]
            if not waiter.done():
                waiter.set_result(None)
        return True

    async def wait_for(self, seq: int) -> None:
        """Wait until ``seq`` is applied."""
        if self.seq < seq:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((seq, waiter))
            self._waiters.sort(key=lambda item: item[0])
            await waiter


class ClientPool:
    """The members, the senders and the check.

    Args:
        ports: Ports of the gateways.
        apis: Base URLs of the APIs, which are used in turn.
        plan: The clients.
        seed: Seed of every random choice.

    Attributes:
        acknowledged: Client id of each acknowledged message → chat, seq, id.
        heads: Highest acknowledged seq of each chat.
        sent: Messages that were to be sent so far.
    """

    def __init__(self, ports: Sequence[int], apis: Sequence[str], plan: Plan, seed: int) -> None:
        self.plan = plan
        self.random = random.Random(seed)
        self.counters = Counters()
        self.members = [Member(self, n, plan.chats[n % len(plan.chats)]) for n in range(plan.members)]
        self.acknowledged: dict[str, tuple[str, int, str]] = {}
        self.heads: dict[str, int] = defaultdict(int)
        self.sent = 0
        self._ports = list(ports)
        self._apis = list(apis)
        self._requests = 0
        self._sent_at: dict[str, float] = {}
        self._parsed: dict[bytes, ChatMessage] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        # Enough connections for every sender: waiting for one would count as time that the API takes.
        connections = aiohttp.TCPConnector(limit=REST_CONNECTIONS + self.plan.senders)
        self._http = aiohttp.ClientSession(connector=connections, timeout=aiohttp.ClientTimeout(total=STEP_LIMIT_S))
        for chat in self.plan.chats:
            epoch = (await self.get(f"/api/chats/{chat}/messages"))["epoch"]
            for member in self.members:
                if member.chat == chat:
                    member.epoch = epoch
        self._tasks = [asyncio.create_task(member.run()) for member in self.members]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [*self._tasks, *(member._catching_up for member in self.members if member._catching_up)]
        clients = [member.client for member in self.members if member.client]
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(client.closed for client in clients))
        await self._http.close()
        # A member that failed before the end is an error of the run.
        for result in results:
            if isinstance(result, Exception) and error is None:
                raise result

    def ports(self, number: int | None) -> list[int]:
        """The gateways in the order in which a connection tries them; None: a random one is the first."""
        return rotate(self._ports, self.random.randrange(len(self._ports)) if number is None else number)

    def parse(self, data: Callable[[], Any], raw: bytes) -> ChatMessage:
        """The message in a frame. All members of a chat get the same bytes, which are parsed once."""
        message = self._parsed.get(raw)
        if message is None:
            if len(self._parsed) >= _PARSED:
                self._parsed.clear()
            message = self._parsed[raw] = ChatMessage.from_json(data())
        return message

    def count_delivery(self, message: ChatMessage) -> None:
        """Record how long a message took."""
        sent = self._sent_at.get(message.client_id or "")
        if sent is not None:
            self.counters.delays_s.append(time.monotonic() - sent)

    async def ready(self, limit_s: float = 20.0) -> None:
        """Wait until every member has joined."""
        async with asyncio.timeout(limit_s):
            await asyncio.gather(*(member.joined.wait() for member in self.members))

    async def get(self, path: str, **params: Any) -> Any:
        """GET from an API, repeated until it succeeds."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self._http.get(f"{self._next_api()}{path}", params=params) as answer:
                    if answer.status == 200:
                        return await answer.json()
                    assert answer.status >= 500, (path, answer.status, await answer.text())
            await asyncio.sleep(self.random.uniform(0.1, 0.5))

    def _next_api(self) -> str:
        self._requests += 1
        return self._apis[self._requests % len(self._apis)]

    async def send(self, count: int, per_s: float) -> None:
        """Send ``count`` messages at a steady rate, divided among the senders; each is repeated until acknowledged."""
        began, first = time.monotonic(), self.sent
        self.sent += count
        numbers = (range(first + sender, first + count, self.plan.senders) for sender in range(self.plan.senders))
        await asyncio.gather(*(self._sender(n, own, began - first / per_s, per_s) for n, own in enumerate(numbers)))

    async def _sender(self, sender: int, numbers: range, began: float, per_s: float) -> None:
        for number in numbers:
            await asyncio.sleep(began + number / per_s - time.monotonic())
            chat = self.plan.chats[number // self.plan.senders % len(self.plan.chats)]
            await self._send(chat, f"{sender}-{number}")

    async def _send(self, chat: str, client_id: str) -> None:
        body = {"chatId": chat, "role": "USER", "content": f"message {client_id}", "clientMsgId": client_id}
        self._sent_at[client_id] = time.monotonic()
        while True:
            began = time.monotonic()
            try:
                async with self._http.post(f"{self._next_api()}/api/chat/messages", json=body) as answer:
                    if answer.status in {200, 201}:
                        message = await answer.json()
                        self.counters.sends_s.append(time.monotonic() - began)
                        self.acknowledged[client_id] = (chat, message["seq"], message["id"])
                        self.heads[chat] = max(self.heads[chat], message["seq"])
                        return
                    assert answer.status >= 500, (answer.status, await answer.text())
                    self.counters.failures[str(answer.status)] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                self.counters.failures[repr(error)] += 1
            self.counters.failed_sends += 1
            await asyncio.sleep(self.random.uniform(0.05, 0.3))

    async def caught_up(self, limit_s: float = 30.0, *, without: Sequence[Member] = ()) -> float:
        """Wait until every member has every message acknowledged so far; the seconds that took."""
        began = time.monotonic()
        heads = dict(self.heads)
        members = [member for member in self.members if member not in without]
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.gather(*(member.wait_for(heads.get(member.chat, 0)) for member in members))
        except TimeoutError:
            late = [(m.number, m.seq, m.joined.is_set()) for m in members if m.seq < heads.get(m.chat, 0)]
            raise AssertionError(f"{len(late)} members are behind {heads}: {late[:10]}; {self.summary()}") from None
        return time.monotonic() - began

    async def check(self) -> str:
        """Fail unless every client got everything exactly once; call it after the load, once all have caught up.

        Returns:
            One line of figures.
        """
        assert self.sent, "nothing was sent"
        assert len(self.acknowledged) == self.sent, f"{self.sent} were sent; {self.summary()}"
        unconnected = [member.number for member in self.members if not member.connections]
        assert not unconnected, f"{len(unconnected)} members never had a connection: {unconnected[:10]}"
        await self._quiet()
        for chat in self.plan.chats:
            stored = await self._stored(chat)
            acknowledged = {c: (seq, id_) for c, (where, seq, id_) in self.acknowledged.items() if where == chat}
            members = [member for member in self.members if member.chat == chat]
            connections = [connection for member in members for connection in member.connections]
            check_chat(stored, acknowledged, {member.number: member.applied for member in members}, connections)
        # No run restores a database, so no client may lose its messages to a new epoch.
        assert self.counters.resets == 0, self.summary()
        return self.summary()

    async def _quiet(self) -> None:
        """Wait until each open connection has received the head, and then long enough for a repeat to arrive."""
        with contextlib.suppress(TimeoutError):  # the check names those that are behind
            async with asyncio.timeout(STEP_LIMIT_S):
                while any(member.connection_is_behind(self.heads[member.chat]) for member in self.members):  # noqa: ASYNC110 - see below
                    await asyncio.sleep(0.02)  # a record has no event
        await asyncio.sleep(QUIET_S)

    async def _stored(self, chat: str) -> list[ChatMessage]:
        found: list[ChatMessage] = []
        while True:
            page = await self.get(f"/api/chats/{chat}/events", after=len(found), limit=PAGE)
            found += [ChatMessage.from_json(event["data"]) for event in page["events"]]
            if not page["more"]:
                return found

    def summary(self) -> str:
        """One line of figures."""
        counters = self.counters
        return (
            f"{len(self.members)} clients, {len(self.acknowledged)} messages, {len(counters.delays_s)} applied; "
            f"delay p50 {counters.delay_s(0.5) * 1000:.0f} ms, p99 {counters.delay_s(0.99) * 1000:.0f} ms, "
            f"max {counters.delay_s(1) * 1000:.0f} ms; {counters.joins} joins ({counters.recovered} recovered), "
            f"{counters.cuts} cuts, {counters.refused} refused, {counters.resyncs} resyncs, {counters.jumps} jumps, "
            f"{counters.pages} REST pages, {counters.resets} resets, {counters.repeats} repeats dropped, "
            f"{counters.failed_sends} failed sends {counters.failures.most_common(3)}, "
            f"join errors {Counter(counters.join_errors).most_common(3)}"
        )
