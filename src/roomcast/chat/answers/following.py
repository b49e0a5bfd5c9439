"""One reader of a turn: its chunks from the beginning to the end, whatever the channel and the stream lose.

A follower holds what its reader has. Frames on the chat's channel continue it; a gap in their numbers is filled from
the stream or, if the stream is lost, from the answer in the database. The turn ends as the database says: an event on
the channel shows the end, and without one the follower looks after `LOOK_S`.

Text that was yielded is never taken back. After a takeover the new worker may be behind: nothing is yielded until it
has caught up. If its text is another one, also that of a moderation hook, the last chunk is an ``error`` that says so.

Layer: chat. Source: docs/decisions/0010-ai-turns.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from roomcast.chat.answers.answer_state import AnswerState, Diverged
from roomcast.chat.answers.chunks import END_TYPES, ChunkRejected, decode_chunks, ending_chunk
from roomcast.chat.errors import StoreUnavailable, TurnNotFound
from roomcast.chat.model import StoredMessage
from roomcast.chat.ports import (
    ChatStore,
    Chunk,
    EventLog,
    LogEntry,
    LogUnavailable,
    Subscription,
    TurnFrame,
    TurnStore,
    TurnStreams,
    decode_frame,
)
from roomcast.contract.events import TurnStatus

logger = logging.getLogger(__name__)

#: Seconds without a frame after which the follower looks into the database: for ends whose event was lost.
LOOK_S: Final = 3.0
#: Least seconds between two looks for missing frames, while the stream does not have them either.
_RETRY_S: Final = 1.0
#: Frames that wait for a slow reader; beyond it they are dropped and read from the stream later.
_MAX_WAITING_BYTES: Final = 262_144
_ANEW: Final = "the answer was written anew, or replaced by the moderation; load the messages of the chat"


class _Inbox:
    """What arrived on the chat's channel for one turn, limited in size.

    Attributes:
        frames: Frames, in the order in which they arrived.
        lost: Whether frames were dropped.
        ended: Whether an event may be the end of the turn.
    """

    def __init__(self, turn_id: str) -> None:
        self.frames: deque[TurnFrame] = deque()
        self.lost = False
        self.ended = False
        self._turn_id = turn_id
        self._needle = b'"%b"' % turn_id.encode()
        self._bytes = 0
        self._arrived = asyncio.Event()

    def take_entries(self, _epoch: str, entries: Sequence[LogEntry]) -> None:
        """A `FeedSink`."""
        for entry in entries:
            if self._needle in entry.args and not entry.args.startswith(b'["ai-tool"'):
                self.ended = True
                self._arrived.set()

    def take_signal(self, payload: bytes) -> None:
        """A `SignalSink`."""
        frame = decode_frame(payload)
        if frame is None or frame.turn_id != self._turn_id:
            return
        self._bytes += len(frame.chunks)
        if self._bytes > _MAX_WAITING_BYTES:
            self.frames.clear()
            self._bytes, self.lost = 0, True
        else:
            self.frames.append(frame)
        self._arrived.set()

    def drop_first(self) -> None:
        """Drop the oldest frame."""
        self._bytes -= len(self.frames.popleft().chunks)

    async def wait(self, limit_s: float) -> None:
        """Return when something has arrived since the last call, at the latest after ``limit_s``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._arrived.wait()
        self._arrived.clear()


class _Progress:
    """How far the frames are, and how far the reader is.

    Both are the same state, unless the reader is ahead: of a new worker that has not caught up, or by a checkpoint.
    """

    def __init__(self) -> None:
        self._newest = self._shown = AnswerState()
        self._generation = 0

    def take(self, frame: TurnFrame, added: list[Chunk]) -> bool:
        """Apply a frame, and append the chunks that it adds for the reader. False: frames before it are missing.

        Raises:
            ChunkRejected: the frame is not one of a worker.
            Diverged: the text is not the one that the reader has.
        """
        if frame.generation > self._generation and frame.first == 0:
            self._generation, self._newest = frame.generation, AnswerState()
        newest = self._newest
        if (frame.generation, frame.last) <= (self._generation, newest.last):
            return True
        if frame.generation > self._generation or frame.first > newest.last + 1:
            return False
        chunks = decode_chunks(frame.chunks)
        if len(chunks) == frame.last + 1 - frame.first:
            chunks = chunks[newest.last + 1 - frame.first :]
        elif newest.last >= 0:
            return False  # merged chunks, of which the reader has a part
        for number, chunk in enumerate(chunks, newest.last + 1):
            newest.apply(chunk)
            newest.last = number
            if newest is self._shown:
                added += _without_end([chunk])
        newest.last = frame.last
        added += self._difference()
        return True

    def restore(self, answer: AnswerState, generation: int) -> list[Chunk]:
        """The chunks that the stream adds for the reader.

        Raises:
            Diverged: as for `take`.
        """
        if (generation, answer.last) <= (self._generation, self._newest.last):
            return []
        self._generation, self._newest = generation, answer
        return self._difference()

    def show(self, answer: AnswerState) -> list[Chunk]:
        """The chunks that a checkpoint adds for the reader.

        Frames do not continue it: its last chunk may have grown before it was published.
        """
        try:
            chunks = answer.since(self._shown)
        except Diverged:
            return []  # older than what the reader has
        if chunks:
            self._shown = answer
        return _without_end(chunks)

    def finish(self, answer: AnswerState) -> list[Chunk]:
        """The chunks from what the reader has to the whole answer.

        Raises:
            Diverged: the reader has a text that is not the answer's.
        """
        return _without_end(answer.since(self._shown))

    def _difference(self) -> list[Chunk]:
        if self._newest is self._shown:
            return []
        try:
            chunks = self._newest.since(self._shown)
        except Diverged:
            # The reader is ahead; if the texts differ, this raises as well.
            self._shown.since(self._newest)
            return []
        self._shown = self._newest
        return _without_end(chunks)


class _Reader:
    """One reader of one turn.

    Attributes:
        ended: Whether the last chunk was returned.
    """

    def __init__(self, services: TurnFollower, chat_id: str, turn_id: str) -> None:
        self.ended = False
        self._services = services
        self._chat_id = chat_id
        self._turn_id = turn_id
        self._inbox = _Inbox(turn_id)
        self._progress = _Progress()
        self._subscription: Subscription | None = None
        self._now = asyncio.get_running_loop().time
        self._due = self._looked_at = self._now()

    async def advance(self) -> list[Chunk]:
        """Take a step: look into the database, take the frames that have arrived, or wait. Returns the new chunks.

        Raises:
            TurnNotFound: the chat has no such turn.
            Diverged: the text is not the one that the reader has.
        """
        if self._subscription is None:
            await self._subscribe()
        if self._inbox.ended or self._now() >= self._due:
            self._inbox.ended = self._inbox.lost = False
            chunks = await self._look()
            self._looked_at = self._now()
            self._due = self._looked_at + LOOK_S
            return chunks
        chunks, missing = self._take()
        if chunks:
            self._due = self._now() + LOOK_S
        if missing:
            self._due = min(self._due, self._looked_at + _RETRY_S)
        if not chunks and self._now() < self._due:
            await self._inbox.wait(self._due - self._now())
        return chunks

    async def close(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            await self._subscription.close()

    async def _subscribe(self) -> None:
        try:
            self._subscription = await self._services.log.subscribe(
                self._chat_id, self._inbox.take_entries, self._inbox.take_signal
            )
        except LogUnavailable as error:
            # Until a later attempt succeeds the answer grows with its checkpoints in the database.
            logger.info("a follower has no subscription: %s", error, extra=self._facts)

    def _take(self) -> tuple[list[Chunk], bool]:
        """The chunks of the waiting frames, and whether frames before or between them are missing."""
        chunks: list[Chunk] = []
        while self._inbox.frames and not self._inbox.lost:
            try:
                if not self._progress.take(self._inbox.frames[0], chunks):
                    return chunks, True
            except ChunkRejected as error:
                # Of another program: the stream has the worker's frame.
                logger.warning("malformed frame of an answer: %s", error, extra=self._facts)
                self._inbox.lost = True
            self._inbox.drop_first()
        return chunks, self._inbox.lost

    async def _look(self) -> list[Chunk]:
        """What the database and the stream have for the reader."""
        try:
            turn = await self._services.turns.turn(self._chat_id, self._turn_id)
            if turn is None:
                raise TurnNotFound(self._chat_id, self._turn_id)
            if turn.status is TurnStatus.QUEUED:
                return []
            message = await self._services.chats.message(self._chat_id, self._turn_id)
        except StoreUnavailable as error:
            logger.info("a follower cannot read its turn: %s", error, extra=self._facts)
            return []
        if message is not None and message.turn is not None:
            turn = message.turn  # of the same moment as the text
        stored = _stored_answer(turn.id, message)
        if turn.status is not TurnStatus.STREAMING:
            self.ended = True
            return [*self._progress.finish(stored), ending_chunk(turn.status, turn.reason)]
        streamed = await self._read_stream()
        return self._progress.show(stored) if streamed is None else self._progress.restore(*streamed)

    async def _read_stream(self) -> tuple[AnswerState, int] | None:
        """The answer in the stream, and its generation; None: the stream is absent."""
        try:
            frames = await self._services.streams.read(self._chat_id, self._turn_id)
            chunks = [chunk for frame in frames for chunk in decode_chunks(frame.chunks)]
            return (AnswerState.from_chunks(chunks, frames[-1].last), frames[-1].generation) if frames else None
        except (LogUnavailable, ChunkRejected) as error:
            logger.info("a follower cannot read a stream: %s", error, extra=self._facts)
            return None

    @property
    def _facts(self) -> dict[str, str]:
        """Fields of log lines."""
        return {"chat_id": self._chat_id, "turn_id": self._turn_id}


class TurnFollower:
    """Follows the turns of all chats.

    Attributes:
        log: The channels of the chats.
        streams: The frames of the active turns.
        chats: The answers in the database.
        turns: The turns in the database.
    """

    def __init__(self, log: EventLog, streams: TurnStreams, chats: ChatStore, turns: TurnStore) -> None:
        self.log = log
        self.streams = streams
        self.chats = chats
        self.turns = turns

    async def follow(self, chat_id: str, turn_id: str) -> AsyncGenerator[Chunk]:
        """Yield the chunks of a turn: ``start``, the answer so far in few chunks, then each as it is written.

        The last chunk is ``finish``, ``abort`` or ``error``, when the end is stored. A queued turn yields nothing until
        it starts or ends. The generator holds a subscription: close it (`contextlib.aclosing`).

        Raises:
            TurnNotFound: the chat has no such turn.
        """
        reader = _Reader(self, chat_id, turn_id)
        try:
            while not reader.ended:
                for chunk in await reader.advance():
                    yield chunk
        except Diverged:
            yield {"type": "error", "errorText": _ANEW}
        finally:
            await reader.close()


def _stored_answer(turn_id: str, message: StoredMessage | None) -> AnswerState:
    """The answer of a turn in the database."""
    parts = () if message is None else message.parts
    if parts is None and message is not None:
        parts = ({"type": "text", "text": message.content, "state": "done"},) if message.content else ()
    answer = AnswerState.from_parts(parts or ())
    answer.apply({"type": "start", "messageId": turn_id})
    return answer


def _without_end(chunks: Sequence[Chunk]) -> list[Chunk]:
    """The chunks without the one that ends the stream: a follower ends it when the end is stored."""
    return [chunk for chunk in chunks if chunk["type"] not in END_TYPES]
