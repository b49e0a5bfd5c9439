"""Writes the answer of one turn as a worker does: numbered chunks, frames, seeds, and a takeover by another worker."""

from __future__ import annotations

from roomcast.chat.answers.answer import Answer, fold
from roomcast.chat.answers.answer_state import AnswerState
from roomcast.chat.answers.chunks import decode_chunks, encode_chunks, merge
from roomcast.chat.model import Checkpoint
from roomcast.chat.ports import Chunk, LogNotStored, StreamGap, TurnFrame, TurnStreams

CALL = {"type": "tool-input-available", "toolCallId": "c1", "toolName": "search", "input": {"q": "tea"}}
RESULT = {"type": "tool-output-available", "toolCallId": "c1", "output": [1, 2]}
#: One item of each kind, then words.
ITEMS: list[Chunk | str] = [
    {"type": "reasoning-start", "id": "r"},
    {"type": "reasoning-delta", "id": "r", "delta": "hm"},
    {"type": "reasoning-end", "id": "r"},
    *("Let ", "me ", "look. "),
    {"type": "start-step"},
    {"type": "tool-input-start", "toolCallId": "c1", "toolName": "search"},
    {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '{"q":'},
    CALL,
    {"type": "data-progress", "id": "p", "data": 1},
    {"type": "data-progress", "id": "p", "data": 2},
    RESULT,
    {"type": "source-url", "sourceId": "s", "url": "https://example.org/"},
    *(f"word{number} " for number in range(60)),
]


class AnswerWriter:
    """Writes `ITEMS`, or other items.

    Attributes:
        answer: What it has written.
        last: Number of the last chunk.
        position: Number of the items so far: the position at the provider.
    """

    def __init__(self, streams: TurnStreams, chat_id: str, turn_id: str) -> None:
        self.streams = streams
        self.chat_id = chat_id
        self.turn_id = turn_id
        self.answer = Answer()
        self.generation = 1
        self.last = -1
        self.position = 0
        self._pending: list[Chunk] = []

    async def begin(self) -> None:
        await self.publish(self.answer.begin(self.turn_id))

    async def write(self, *items: Chunk | str) -> None:
        self.hold(*items)
        await self.publish([])

    def hold(self, *items: Chunk | str) -> None:
        """Add items that are published with the next ones, merged with them."""
        self.position += len(items)
        for item in items:
            self._pending += self.answer.add(item)

    async def write_next(self, count: int) -> None:
        """Write the next items of `ITEMS`."""
        await self.write(*ITEMS[self.position : self.position + count])

    async def publish(self, chunks: list[Chunk]) -> None:
        chunks, self._pending = merge([*self._pending, *chunks]), []
        if not chunks:
            return
        first, self.last = self.last + 1, self.last + len(chunks)
        try:
            await self.streams.append(self.chat_id, self._frame(first, chunks))
        except StreamGap:
            await self.seed()
        except LogNotStored:
            pass  # published

    async def seed(self) -> None:
        await self.streams.seed(self.chat_id, self._frame(0, self.answer.snapshot()))

    def checkpoint(self) -> Checkpoint:
        """As a worker does, with the chunks that are not yet published; the last one may grow until then."""
        return Checkpoint(self.last + len(merge(self._pending)), self.answer.parts(), str(self.position))

    async def take_over(self, checkpoint: Checkpoint | None) -> None:
        """Continue after the stream or, if it is lost, after the checkpoint, as another worker."""
        self.generation += 1
        self._pending = []
        if frames := await self.streams.read(self.chat_id, self.turn_id):
            whole = fold(frames)
            self._continue(Answer.from_chunks(decode_chunks(whole.chunks), whole.last), whole.ref)
        elif checkpoint is not None and checkpoint.last >= 0:
            self._continue(Answer.from_parts(checkpoint.parts, checkpoint.last), checkpoint.ref)
            self.answer.begin(self.turn_id)
        else:
            self._continue(Answer(), None)
            await self.begin()
            return
        await self.seed()

    def _continue(self, answer: Answer, ref: str | None) -> None:
        self.answer, self.last, self.position = answer, answer.last, int(ref or 0)

    def _frame(self, first: int, chunks: list[Chunk]) -> TurnFrame:
        encoded = encode_chunks(chunks)
        return TurnFrame(self.turn_id, self.generation, first, self.last, encoded, str(self.position))


def parts_of(chunks: list[Chunk]) -> tuple[dict[str, object], ...]:
    """The parts that a reader of the chunks has."""
    return AnswerState.from_chunks(chunks).parts()
