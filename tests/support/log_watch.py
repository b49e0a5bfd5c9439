"""Helpers for tests of event logs: entries, a sink that can be awaited, a measure of blocked loops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from roomcast.chat.ports import Appended, EventLog, Gap, Head, LogEntry, LogUnavailable
from support.stopwatch import Stopwatch


def entries(first: int, last: int, *, size: int = 0) -> list[LogEntry]:
    """Contiguous entries; ``size`` pads each argument array."""
    padding = "x" * size
    return [LogEntry(seq, f'["new-msg",{{"seq":{seq},"p":"{padding}"}}]'.encode()) for seq in range(first, last + 1)]


class Sink:
    """Records seqs; `reached` waits without sleeping."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self._changed = asyncio.Event()

    def __call__(self, epoch: str, entries: Sequence[LogEntry]) -> None:
        self.seqs.extend(entry.seq for entry in entries)
        self._changed.set()

    async def reached(self, seq: int, *, limit_s: float = 10.0) -> list[int]:
        """The seqs, once ``seq`` is the newest."""
        async with asyncio.timeout(limit_s):
            while not self.seqs or self.seqs[-1] < seq:
                self._changed.clear()
                await self._changed.wait()
        return self.seqs


async def publish(log: EventLog, chat_id: str, epoch: str, seq: int) -> None:
    """Append entry ``seq`` as the relay does: fill gaps, and retry while Redis is unreachable."""
    first = seq
    while True:
        try:
            match await log.append(chat_id, epoch, entries(first, seq)):
                case Gap(None):
                    await log.seed(chat_id, Head(epoch, seq), entries(max(1, seq - 199), seq))
                    return
                case Gap(Head(seq=last)):
                    first = last + 1
                case Appended():
                    return
        except LogUnavailable:
            await asyncio.sleep(0.02)  # as the relay pauses


async def publish_until_received(log: EventLog, chat_id: str, epoch: str, sink: Sink, seq: int) -> int:
    """Publish entries from ``seq`` on until one is delivered, and return its seq.

    During a failover, commands and subscriptions may use different masters for a moment. Entries of that time are
    delivered only because gateways compare heads after `on_reconnect`, which a log alone does not do.
    """
    async with asyncio.timeout(20):
        while True:
            await publish(log, chat_id, epoch, seq)
            with contextlib.suppress(TimeoutError):
                await sink.reached(seq, limit_s=1)
                return seq
            seq += 1


@dataclass
class LoopWatch:
    """The longest time that callbacks have blocked the loop.

    Waiting for a processor does not count, nor does garbage that other tests left.
    """

    worst_s: float = 0.0


@contextlib.asynccontextmanager
async def watching_loop(step_s: float = 0.005) -> AsyncIterator[LoopWatch]:
    """Measure how long the loop is blocked."""
    watch = LoopWatch()

    async def tick() -> None:
        while True:
            stopwatch = Stopwatch()
            await asyncio.sleep(step_s)
            watch.worst_s = max(watch.worst_s, stopwatch.elapsed_s - step_s)

    gc.collect()
    gc.freeze()
    task = asyncio.create_task(tick())
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        gc.unfreeze()
