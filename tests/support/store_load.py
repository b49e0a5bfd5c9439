"""Load on a store, as from replicas of the API: ``python -m support.store_load URL NAME SENDERS SECONDS``.

As a program it prints its `Tally` as one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from roomcast.chat.commands import NewChat, NewMessage
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.ids import new_id
from roomcast.chat.model import StoredEvent
from roomcast.chat.ports import ChatStore
from roomcast.store.opening import open_store
from roomcast.store.options import DatabaseOptions

CHAT = "busy"


@dataclass
class Tally:
    """The results of a group of senders.

    Attributes:
        acknowledged: Seq by ``client_msg_id``.
        seconds: Duration of each acknowledged send.
        failed: Attempts that raised an error.
        elapsed_s: From the first send to the last answer.
    """

    acknowledged: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    elapsed_s: float = 0.0

    @property
    def figures(self) -> str:
        """Throughput and latency as text."""
        ordered = sorted(self.seconds)
        p99 = ordered[len(ordered) * 99 // 100] * 1000
        return f"{len(ordered) / self.elapsed_s:.0f} sends/s, p99 {p99:.0f} ms, {self.failed} failed attempts"


def message(key: str, chat_id: str = CHAT) -> NewMessage:
    """A message that needs no membership and creates its chat."""
    now = datetime.now(UTC)
    creates = NewChat(chat_id, None, None, now)
    return NewMessage(new_id(), chat_id, "USER", f"text of {key}", "ann", key, now, creates=creates)


async def send_until_acknowledged(store: ChatStore, key: str, tally: Tally, chat_id: str = CHAT) -> None:
    """Send one message as a client does: repeat the same key until it is acknowledged."""
    while True:
        started = time.perf_counter()
        try:
            committed = await store.commit(message(key, chat_id))
        except StoreUnavailable:
            tally.failed += 1
            await asyncio.sleep(0.02)
        else:
            tally.acknowledged[key] = committed.event.seq
            tally.seconds.append(time.perf_counter() - started)
            return


async def load(store: ChatStore, name: str, senders: int, seconds: float, *, pause_s: float = 0.0) -> Tally:
    """Let ``senders`` senders send for ``seconds``, each with random pauses of at most ``pause_s``."""
    tally = Tally()
    started = time.perf_counter()

    async def sender(number: int) -> None:
        count = 0
        while time.perf_counter() - started < seconds:
            await send_until_acknowledged(store, f"{name}-{number}-{count}", tally)
            count += 1
            if pause_s:
                await asyncio.sleep(random.uniform(0, pause_s))

    await asyncio.gather(*(sender(number) for number in range(senders)))
    tally.elapsed_s = time.perf_counter() - started
    return tally


async def load_from_processes(url: str, names: Iterable[str], senders: int, seconds: float) -> list[Tally]:
    """As `load`, from one process for each name at the same time."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, __file__, url, name, str(senders), str(seconds), stdout=asyncio.subprocess.PIPE
        )
        for name in names
    ]
    outputs = await asyncio.gather(*(process.communicate() for process in processes))
    assert all(process.returncode == 0 for process in processes)
    return [Tally(**json.loads(output)) for output, _ in outputs]


async def all_events(store: ChatStore, chat_id: str = CHAT) -> list[StoredEvent]:
    """All events of a chat, read page by page."""
    events: list[StoredEvent] = []
    while True:
        page, head = await store.events_after(chat_id, events[-1].seq if events else 0, 500)
        events += page
        if not page or page[-1].seq == head:
            return events


async def check_exact(store: ChatStore, tallies: Iterable[Tally], chat_id: str = CHAT) -> int:
    """Check that seqs have no gap and each acknowledged message is stored once, at its seq; returns the count."""
    events = await all_events(store, chat_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    stored = {json.loads(event.payload)["clientMsgId"]: event.seq for event in events}
    assert len(stored) == len(events)
    for tally in tallies:
        assert tally.acknowledged.items() <= stored.items()
    return len(events)


async def _main(url: str, name: str, senders: str, seconds: str) -> None:
    async with open_store(DatabaseOptions(url=url)) as store:
        tally = await load(store.chats, name, int(senders), float(seconds), pause_s=0.005)
    sys.stdout.write(json.dumps(asdict(tally)))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
