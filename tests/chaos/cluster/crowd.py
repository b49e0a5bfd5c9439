"""Many cheap chat clients on one event loop, and the one question that every chaos run asks: was it Exact?

Exact: every acknowledged message once, in chat order, the same for every client. A member does what the SDK does: it
keeps a cursor, joins with it, drops what it has, and pages through REST when the server or a jump in seq says so.

    async with Crowd(ports, [api.api_url], Plan(members=200, chats=("team",)), seed) as crowd:
        await crowd.ready()
        await crowd.send(3_000, per_s=150)
        await crowd.caught_up()
        report = await crowd.exact()
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

from chaos.cluster.oracle import Connection, Joined, Resynced, Told, judge
from chaos.cluster.wire import Wire, connect_to_one, in_turn

#: Longest that a connection, a join or a request may take before it counts as failed.
STEP_LIMIT_S = 5.0
PAGE = 200
#: What a gateway sends once too often may come late.
QUIET_S = 1.0
#: At one time, for what members fetch.
REST_CONNECTIONS = 32
_MEMO = 4_096


@dataclass(frozen=True)
class Plan:
    """How many clients, and where.

    Attributes:
        members: Clients in all, spread evenly over the chats and the gateways.
        chats: The chats.
        reconnect_s: Shortest and longest first pause before a connection is tried again, as the SDK jitters it.
        senders: Who send, each one message after the other.
    """

    members: int
    chats: tuple[str, ...]
    senders: int = 20
    reconnect_s: tuple[float, float] = (0.2, 1.0)


@dataclass
class Tally:
    """What happened, for the report."""

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

    def percentile(self, share: float) -> float:
        """Of the seconds from a send to its arrival at a member."""
        return percentile(self.delays_s, share)

    def wave(self, since: float, width_s: float = 0.1) -> int:
        """Most joins within one slice of time after ``since``."""
        slices = Counter(int((at - since) / width_s) for at in self.joined_at if at >= since)
        return max(slices.values(), default=0)


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which that share lies; 0.0 of nothing."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


class Member:
    """One client in one chat."""

    def __init__(self, crowd: Crowd, number: int, chat: str) -> None:
        self.number = number
        self.chat = chat
        self.epoch = ""
        self.seq = 0
        self.applied: list[Told] = []
        #: Everything that its connections brought, for the oracle.
        self.connections: list[Connection] = []
        self.wire: Wire | None = None
        self.joined = asyncio.Event()
        self.joined_once = False
        self._crowd = crowd
        self._buffer: list[Told] = []
        self._busy = True
        # What a resync said: REST has everything up to there.
        self._owed = 0
        self._fetching: asyncio.Task[None] | None = None
        self._marks: list[tuple[int, asyncio.Future[None]]] = []

    async def run(self) -> None:
        """Stay connected until cancelled."""
        crowd = self._crowd
        attempt = 0
        while True:
            try:
                await self._session(await self._connect(first=not self.joined_once))
                attempt = 0
            except (OSError, TimeoutError):
                crowd.tally.refused += 1
            finally:
                self._end_session()
            attempt += 1
            low, high = crowd.plan.reconnect_s
            await asyncio.sleep(crowd.random.uniform(low, high) * min(2 ** (attempt - 1), 3))

    async def _connect(self, *, first: bool) -> Wire:
        """As a load balancer does it: at first evenly, later to any gateway; one that is down is passed over."""
        if self._fetching is not None:
            await self._fetching
        self._busy = True
        return await connect_to_one(self._crowd.ports(self.number if first else None), self._event)

    async def _session(self, wire: Wire) -> None:
        self.wire = wire
        async with asyncio.timeout(STEP_LIMIT_S):
            await wire.open()
            self.connections.append(Connection(self.number, self.epoch, self.seq))
            payload = {"chatId": self.chat, "since": {"epoch": self.epoch, "seq": self.seq}}
            ack = await wire.call("join-chat", payload, self._acknowledged)
        tally = self._crowd.tally
        if not ack.get("ok"):
            tally.join_errors.append(str(ack.get("error")))
            raise ConnectionError("join refused")
        tally.joins += 1
        tally.recovered += bool(ack["recovered"])
        tally.joined_at.append(time.monotonic())
        if ack.get("reset"):
            self._reset(ack["epoch"])
        await self._settle(fetch=not ack["recovered"])
        self.joined.set()
        self.joined_once = True
        await asyncio.shield(wire.closed)
        tally.cuts += 1

    def _end_session(self) -> None:
        self.joined.clear()
        if self.connections:
            self.connections[-1].ended = True
        if self.wire is not None:
            self.wire.abort()
            self.wire = None

    def cut(self) -> None:
        """Lose the connection, as a client does whose network goes."""
        if self.wire is not None:
            self.wire.abort()

    def is_brought_less_than(self, seq: int) -> bool:
        """Whether its connection lives and has not come as far, whatever it fetched itself."""
        connection = self.connections[-1]
        return not connection.ended and connection.position < seq

    def _acknowledged(self, ack: Any) -> None:
        """Note the join's ack between what came before and after it."""
        if ack.get("ok"):
            reset = ack.get("reset", False)
            self.connections[-1].seen.append(Joined(ack["epoch"], ack["seq"], ack["recovered"], reset))

    def _event(self, name: str, data: Any, raw: bytes) -> None:
        if name == "new-msg":
            message = self._crowd.read(data, raw)
            self.connections[-1].seen.append(message)
            if self._busy:
                self._buffer.append(message)
            elif not self._apply(message):
                self._crowd.tally.jumps += 1
                self._buffer.append(message)
                self._fetch()
        elif name == "resync":
            notice = data()
            self._crowd.tally.resyncs += 1
            self.connections[-1].seen.append(Resynced(notice["epoch"], notice["seq"], notice["reset"]))
            self._owed = notice["seq"]
            if not self._busy:
                self._fetch()

    def _fetch(self) -> None:
        self._busy = True
        self._fetching = asyncio.create_task(self._settle(fetch=True))

    async def _settle(self, *, fetch: bool) -> None:
        """Bring the cursor to where what was buffered fits; then live events apply as they come."""
        while True:
            if fetch:
                await self._pages()
            self._buffer.sort()
            held, self._buffer = self._buffer, []
            missing = [message for message in held if not self._apply(message)]
            if not missing and self.seq >= self._owed:
                break
            self._buffer = missing
            fetch = True
        self._busy = False

    async def _pages(self) -> None:
        while True:
            page = await self._crowd.get(f"/api/chats/{self.chat}/events", after=self.seq, epoch=self.epoch, limit=PAGE)
            self._crowd.tally.pages += 1
            if page["reset"]:
                self._reset(page["epoch"])
                continue
            for event in page["events"]:
                assert self._apply(Told.of(event["data"])), "REST left a gap"
            if not page["more"]:
                return

    def _reset(self, epoch: str) -> None:
        self._crowd.tally.resets += 1
        self.epoch, self.seq, self.applied = epoch, 0, []

    def _apply(self, message: Told) -> bool:
        """Take a message in; False: something before it is missing."""
        if message.seq <= self.seq:
            self._crowd.tally.repeats += 1
            return True
        if message.seq > self.seq + 1:
            return False
        self.seq, self.epoch = message.seq, message.epoch
        self.applied.append(message)
        self._crowd.arrived(message)
        while self._marks and self._marks[0][0] <= self.seq:
            mark = self._marks.pop(0)[1]
            if not mark.done():
                mark.set_result(None)
        return True

    async def until(self, seq: int) -> None:
        """Wait until this seq was applied."""
        if self.seq < seq:
            mark = asyncio.get_running_loop().create_future()
            self._marks.append((seq, mark))
            self._marks.sort(key=lambda item: item[0])
            await mark


class Crowd:
    """The members, the senders and the oracle.

    Args:
        ports: Of the gateways.
        apis: Base URLs of the APIs; requests go round.
        plan: How many members, where.
        seed: Of everything that is left to chance here.
    """

    def __init__(self, ports: Sequence[int], apis: Sequence[str], plan: Plan, seed: int) -> None:
        self.plan = plan
        self.random = random.Random(seed)
        self.tally = Tally()
        self.members = [Member(self, n, plan.chats[n % len(plan.chats)]) for n in range(plan.members)]
        #: What was acknowledged: client id → (chat, seq, id).
        self.acknowledged: dict[str, tuple[str, int, str]] = {}
        self.heads: dict[str, int] = defaultdict(int)
        #: How many messages were to be sent; they are numbered through.
        self.sent = 0
        self._ports = list(ports)
        self._apis = list(apis)
        self._turn = 0
        self._sent_at: dict[str, float] = {}
        self._memo: dict[bytes, Told] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        # A sender that waits here for a connection would count as one that the API keeps waiting.
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
        tasks = [*self._tasks, *(member._fetching for member in self.members if member._fetching)]
        wires = [member.wire for member in self.members if member.wire]
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(wire.closed for wire in wires))
        await self._http.close()
        # A member that died of something else than the end is a defect that must be seen.
        for result in results:
            if isinstance(result, Exception) and error is None:
                raise result

    def ports(self, number: int | None) -> list[int]:
        """Where a member is sent, in this order: a given gateway first, or any."""
        return in_turn(self._ports, self.random.randrange(len(self._ports)) if number is None else number)

    def read(self, data: Callable[[], Any], raw: bytes) -> Told:
        """A message frame; members of one chat are sent the same bytes, which are parsed once."""
        message = self._memo.get(raw)
        if message is None:
            if len(self._memo) >= _MEMO:
                self._memo.clear()
            message = self._memo[raw] = Told.of(data())
        return message

    def arrived(self, message: Told) -> None:
        """Note how long a message took."""
        sent = self._sent_at.get(message.client_id or "")
        if sent is not None:
            self.tally.delays_s.append(time.monotonic() - sent)

    async def ready(self, limit_s: float = 20.0) -> None:
        """Wait until every member has joined."""
        async with asyncio.timeout(limit_s):
            await asyncio.gather(*(member.joined.wait() for member in self.members))

    async def get(self, path: str, **params: Any) -> Any:
        """GET from an API, tried again until it answers."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self._http.get(f"{self._api()}{path}", params=params) as answer:
                    if answer.status == 200:
                        return await answer.json()
                    assert answer.status >= 500, (path, answer.status, await answer.text())
            await asyncio.sleep(self.random.uniform(0.1, 0.5))

    def _api(self) -> str:
        self._turn += 1
        return self._apis[self._turn % len(self._apis)]

    async def send(self, count: int, per_s: float) -> None:
        """Send that many messages from several senders, each in its order, each until it is acknowledged."""
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
        # What a member waits for began with the first attempt.
        self._sent_at[client_id] = time.monotonic()
        while True:
            began = time.monotonic()
            try:
                async with self._http.post(f"{self._api()}/api/chat/messages", json=body) as answer:
                    if answer.status in {200, 201}:
                        message = await answer.json()
                        self.tally.sends_s.append(time.monotonic() - began)
                        self.acknowledged[client_id] = (chat, message["seq"], message["id"])
                        self.heads[chat] = max(self.heads[chat], message["seq"])
                        return
                    assert answer.status >= 500, (answer.status, await answer.text())
                    self.tally.failures[str(answer.status)] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                self.tally.failures[repr(error)] += 1
            self.tally.failed_sends += 1
            await asyncio.sleep(self.random.uniform(0.05, 0.3))

    async def caught_up(self, limit_s: float = 30.0, *, without: Sequence[Member] = ()) -> float:
        """Wait until every member has what is acknowledged at this moment; the seconds that took."""
        began = time.monotonic()
        heads = dict(self.heads)
        waited = [member for member in self.members if member not in without]
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.gather(*(member.until(heads.get(member.chat, 0)) for member in waited))
        except TimeoutError:
            late = [(m.number, m.seq, m.joined.is_set()) for m in waited if m.seq < heads.get(m.chat, 0)]
            raise AssertionError(f"{len(late)} members are behind {heads}: {late[:10]}; {self.summary()}") from None
        return time.monotonic() - began

    async def exact(self) -> str:
        """The oracle; call it once the load is over and everybody caught up.

        Returns:
            One line of what happened.
        """
        assert self.sent, "nothing was sent"
        assert len(self.acknowledged) == self.sent, f"{self.sent} were sent; {self.summary()}"
        strangers = [member.number for member in self.members if not member.connections]
        assert not strangers, f"{len(strangers)} members never had a connection: {strangers[:10]}"
        await self._quiet()
        for chat in self.plan.chats:
            truth = await self._truth(chat)
            acknowledged = {c: (seq, id_) for c, (where, seq, id_) in self.acknowledged.items() if where == chat}
            members = [member for member in self.members if member.chat == chat]
            connections = [connection for member in members for connection in member.connections]
            judge(truth, acknowledged, {member.number: member.applied for member in members}, connections)
        # No run here restores a database: nobody may be told to throw away what they have.
        assert self.tally.resets == 0, self.summary()
        return self.summary()

    async def _quiet(self) -> None:
        """Wait until nothing is on its way: connections that live have brought the head, and a while has passed."""
        with contextlib.suppress(TimeoutError):  # the oracle says who is behind
            async with asyncio.timeout(STEP_LIMIT_S):
                while any(member.is_brought_less_than(self.heads[member.chat]) for member in self.members):  # noqa: ASYNC110 - see below
                    await asyncio.sleep(0.02)  # nothing tells
        await asyncio.sleep(QUIET_S)

    async def _truth(self, chat: str) -> list[Told]:
        found: list[Told] = []
        while True:
            page = await self.get(f"/api/chats/{chat}/events", after=len(found), limit=PAGE)
            found += [Told.of(event["data"]) for event in page["events"]]
            if not page["more"]:
                return found

    def summary(self) -> str:
        """One line of figures."""
        tally = self.tally
        return (
            f"{len(self.members)} clients, {len(self.acknowledged)} messages, {len(tally.delays_s)} applied; "
            f"delay p50 {tally.percentile(0.5) * 1000:.0f} ms, p99 {tally.percentile(0.99) * 1000:.0f} ms, "
            f"max {tally.percentile(1) * 1000:.0f} ms; {tally.joins} joins ({tally.recovered} recovered), "
            f"{tally.cuts} cuts, {tally.refused} refused, {tally.resyncs} resyncs, {tally.jumps} jumps, "
            f"{tally.pages} REST pages, {tally.resets} resets, {tally.repeats} repeats dropped, "
            f"{tally.failed_sends} failed sends {tally.failures.most_common(3)}, "
            f"join errors {Counter(tally.join_errors).most_common(3)}"
        )
