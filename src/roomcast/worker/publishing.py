"""Publishes the chunks of an answer: merged, numbered, in frames, through outages of the stream's engine.

Chunks wait for `WorkerOptions.coalesce_s`. The deltas of one part are merged meanwhile, and while the engine is away.
The stream is written again from the answer when it was lost, and when it is much larger than the answer.

Layer: worker. Source: docs/decisions/0010-ai-turns.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from roomcast.backoff import Backoff, should_log
from roomcast.chat.answers.answer import Answer
from roomcast.chat.answers.chunks import encode_chunks, merge
from roomcast.chat.errors import TurnLost
from roomcast.chat.model import Turn
from roomcast.chat.ports import (
    MAX_FRAME_BYTES,
    Chunk,
    LogNotStored,
    LogUnavailable,
    StreamGap,
    StreamTaken,
    TurnFrame,
    TurnStreams,
)
from roomcast.worker.counters import WorkerCounters
from roomcast.worker.options import WorkerOptions

logger = logging.getLogger(__name__)

#: Waiting chunks are merged at the latest when there are this many, so that an outage holds little memory.
_MERGE_ABOVE: Final = 256
#: A stream may exceed twice the size of its answer by this much, so that short answers are never written again.
_SLACK_BYTES: Final = 65_536
_FIRST_PAUSE_S: Final = 0.1
_MAX_PAUSE_S: Final = 1.0


class ChunkPublisher:
    """Publishes the answer of one claim.

    Args:
        streams: Where to.
        turn: The claimed turn.
        answer: Holds every chunk that is passed to `add`.
        before_first: Awaited before the first frame; must not return before the database says that chunks may have been
            published.
        lease_held: Whether the lease of the claim is valid. Without it nothing is written.
        on_failure: Called if publishing fails for good, for example with `TurnLost`.
        options: Times.
        counters: What was published.
    """

    def __init__(
        self,
        streams: TurnStreams,
        turn: Turn,
        answer: Answer,
        *,
        before_first: Callable[[], Awaitable[None]],
        lease_held: Callable[[], bool],
        on_failure: Callable[[Exception], None],
        options: WorkerOptions,
        counters: WorkerCounters,
    ) -> None:
        self._streams = streams
        self._turn = turn
        self._answer = answer
        self._before_first = before_first
        self._lease_held = lease_held
        self._options = options
        self._counters = counters
        self._began_at = asyncio.get_running_loop().time()
        self._backoff = Backoff(_FIRST_PAUSE_S, _MAX_PAUSE_S)
        self._on_failure = on_failure
        self._pending: list[Chunk] = []
        self._merge_above = _MERGE_ABOVE
        self._cut = -1  # number of the last chunk in a frame
        self._ref: str | None = None
        # Why the stream is replaced before the next frame; None: it is not.
        self._replaces: str | None = None
        self._stream_bytes = 0
        self._compact_above = _SLACK_BYTES
        self._due = asyncio.Event()
        self._scheduled = False
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def started(self) -> bool:
        """Whether there is a chunk."""
        return self._task is not None

    @property
    def last(self) -> int:
        """Number of the last chunk."""
        self._merge()
        return self._cut + len(self._pending)

    @property
    def ref(self) -> str | None:
        """The position at the provider after exactly the chunks so far; None if it is unknown."""
        return self._ref

    def take_over(self, last: int, ref: str | None, cause: str = "takeover") -> None:
        """Replace the stream of another publisher by the answer, whose chunks end with ``last``, and continue it."""
        self._cut, self._ref, self._replaces = last, ref, cause
        self._start()
        self._due.set()

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Publish chunks soon: the first one at once, others with those of `WorkerOptions.coalesce_s`."""
        if not chunks:
            return
        self._ref = None
        if self._task is None:
            self._start()
            self._due.set()
        elif not self._scheduled:
            asyncio.get_running_loop().call_later(self._options.coalesce_s, self._due.set)
        self._scheduled = True
        self._pending += chunks
        if len(self._pending) > self._merge_above:
            self._merge()
            self._merge_above = 2 * len(self._pending) + _MERGE_ABOVE

    def note(self, ref: str) -> None:
        """Note the position at the provider after the chunks so far."""
        self._ref = ref

    async def finish(self) -> int:
        """Publish what is left, within `WorkerOptions.flush_s`; return the number of the last chunk."""
        self._closing = True
        self._due.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=self._options.flush_s)
            self.abandon()
        self._cut, self._pending = self.last, []
        return self._cut

    def abandon(self) -> None:
        """Publish nothing more."""
        if self._task is not None:
            self._task.cancel()

    def _merge(self) -> None:
        self._pending = merge(self._pending)

    def _start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            if self._replaces is None:
                await self._before_first()
            while not (self._closing and not self._pending):
                await self._due.wait()
                self._due.clear()
                await self._flush()
        except Exception as error:  # noqa: BLE001 - the callback logs it
            self._on_failure(error)

    async def _flush(self) -> None:
        self._scheduled = False
        if self._replaces is not None:
            # A new generation voids whatever the earlier worker may still write.
            await self._seed(self._replaces)
            self._replaces = None
        self._merge()
        left = len(self._pending)
        while left > 0 and self._pending:
            count, encoded = self._next_chunks(left)
            left -= count
            del self._pending[:count]
            first, self._cut = self._cut + 1, self._cut + count
            drained = not self._pending
            frame = self._frame(first, encoded, self._ref if drained else None)
            too_large = self._stream_bytes > self._compact_above and not self._closing
            compacted = self._whole() if drained and too_large else None
            await self._send(frame, compacted)

    def _next_chunks(self, at_most: int) -> tuple[int, bytes]:
        """How many of the next chunks fit into one frame, and their JSON. One always fits."""
        count, encoded = at_most, encode_chunks(self._pending[:at_most])
        while count > 1 and len(encoded) > MAX_FRAME_BYTES:
            count //= 2
            encoded = encode_chunks(self._pending[:count])
        return count, encoded

    def _frame(self, first: int, chunks: bytes, ref: str | None) -> TurnFrame:
        claim = self._turn.claim
        return TurnFrame(claim.turn_id, claim.generation, first, self._cut, chunks, ref)

    def _whole(self) -> TurnFrame:
        """The answer so far as one frame. No chunk may be pending."""
        return self._frame(0, encode_chunks(self._answer.snapshot()), self._ref)

    async def _send(self, frame: TurnFrame, compacted: TurnFrame | None) -> None:
        while True:
            await self._until_lease_is_held()
            try:
                await self._streams.append(self._turn.chat_id, frame)
            except StreamGap:
                await self._seed("lost")
                break
            except LogNotStored:
                break  # published
            except StreamTaken:
                raise self._lost() from None
            except LogUnavailable as error:
                await self._pause(error)
            else:
                self._stream_bytes += len(frame.chunks)
                if compacted is not None:
                    await self._compact(compacted)
                break
        self._backoff.reset()
        if frame.first == 0:
            self._counters.first_chunk_s.observe(asyncio.get_running_loop().time() - self._began_at)
        self._counters.frames += 1
        self._counters.chunks += frame.last - frame.first + 1

    async def _seed(self, cause: str) -> None:
        """Write the whole answer, with the pending chunks, until it succeeds."""
        while True:
            await self._until_lease_is_held()
            self._cut, self._pending = self.last, []
            frame = self._whole()
            try:
                await self._streams.seed(self._turn.chat_id, frame)
            except LogNotStored:
                break  # readers fetch the answer at its end
            except StreamTaken:
                raise self._lost() from None
            except LogUnavailable as error:
                await self._pause(error)
            else:
                self._seeded(frame, cause)
                break
        self._backoff.reset()

    async def _compact(self, frame: TurnFrame) -> None:
        try:
            await self._streams.seed(self._turn.chat_id, frame)
        except StreamTaken:
            raise self._lost() from None
        except LogUnavailable:
            return  # the next frame tries again
        self._seeded(frame, "compacted")

    def _seeded(self, frame: TurnFrame, cause: str) -> None:
        self._counters.seeds[cause] += 1
        self._stream_bytes = len(frame.chunks)
        self._compact_above = 2 * len(frame.chunks) + _SLACK_BYTES

    async def _until_lease_is_held(self) -> None:
        while not self._lease_held():  # noqa: ASYNC110 - time takes the lease away, without an event
            await asyncio.sleep(_FIRST_PAUSE_S)

    async def _pause(self, error: Exception) -> None:
        pause_s = self._backoff.next_s()
        if should_log(self._backoff.failures):
            facts = {"turn_id": self._turn.claim.turn_id, "chat_id": self._turn.chat_id}
            logger.info("cannot publish an answer, retrying in %.1f s: %s", pause_s, error, extra=facts)
        await asyncio.sleep(pause_s)

    def _lost(self) -> TurnLost:
        return TurnLost(self._turn.claim.turn_id, self._turn.claim.generation)
