"""``ai-resume``: the chunks of an answer so far, for a socket that joined in its middle or missed some.

The stream of the turn is read, and the frames that arrive meanwhile are added to it. The rule: the ack contains every
frame that was emitted to the socket before it, so the next new chunk on the connection is ``last + 1``. A frame that
arrives after the ack, and was published before the read, is in the snapshot already. So a client needs no buffer:

- Until the ack it ignores the turn's ``ai-chunk``. The snapshot replaces what it has, except if both have the same
  generation and the snapshot ends earlier: the stream lost frames that the client has.
- It ignores an ``ai-chunk`` of a lower generation, and one of its own with ``last <= own``.
- It applies one of its own generation with ``first == own + 1``, and resumes again at any other.

Callers that ask for the same turn share a read, so a thousand clients that reconnect cost one.

Layer: gateway. Source: docs/decisions/0010-ai-turns.md.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Final

from roomcast.chat.answers.answer import fold
from roomcast.chat.ports import LogUnavailable, TurnFrame, TurnStreams
from roomcast.contract.errors import ErrorCode
from roomcast.contract.gateway import ResumeAnswerAck
from roomcast.gateway.delivery.answers import LiveAnswers
from roomcast.gateway.delivery.joins import Joins
from roomcast.gateway.ports import Refused

#: Resumes of one socket in progress or ended within ``_PERIOD_S``. To read a long answer takes 10 ms of this process.
_MAX_RESUMES: Final = 8
_PERIOD_S: Final = 1.0
#: A read that lacks a frame is repeated: the stream was replaced meanwhile, or is lost.
_MAX_READS: Final = 3
#: Frames kept during one read, about ten seconds of an answer. Beyond them the client sees a gap, and resumes again.
_MAX_ARRIVED: Final = 256

_UNAVAILABLE: Final = "the answer cannot be read at the moment: try again soon"


class _Read:
    """One read of a stream, shared by its callers.

    Attributes:
        stored: The read.
        arrived: Frames that were emitted since the read began.
        callers: The number of callers that have no ack yet.
    """

    __slots__ = ("_ack", "arrived", "callers", "stored")

    def __init__(self, stored: asyncio.Task[Sequence[TurnFrame]]) -> None:
        self.stored = stored
        self.arrived: list[TurnFrame] = []
        self.callers = 0
        self._ack: tuple[int, ResumeAnswerAck] | None = None

    def ack(self, chat_id: str, turn_id: str) -> ResumeAnswerAck | None:
        """The snapshot of now, after the read; None: read again."""
        if self._ack is None or self._ack[0] != len(self.arrived):
            frames = _continued(self.stored.result(), self.arrived)
            if frames is None:
                return None
            ack = ResumeAnswerAck(chat_id=chat_id, turn_id=turn_id, generation=0, first=0, last=-1, chunks=[])
            if frames:
                folded = fold(frames)
                ack = ack.model_copy(
                    update={
                        "generation": folded.generation,
                        "last": folded.last,
                        "chunks": json.loads(folded.chunks),
                    }
                )
            self._ack = len(self.arrived), ack
        return self._ack[1]


class Resumes:
    """Answers ``ai-resume``.

    Args:
        streams: The streams of the turns.
        answers: Emits the frames that arrive.
        joins: Which socket receives the chunks of which chat.

    Attributes:
        counters: Resumes by outcome: ``read``, ``empty``, or the error code.
    """

    def __init__(self, streams: TurnStreams, answers: LiveAnswers, joins: Joins) -> None:
        self.counters: Counter[str] = Counter()
        self._streams = streams
        self._joins = joins
        # By chat id and turn id; the last one may be in progress, the others have callers that have not run yet.
        self._reads: dict[tuple[str, str], list[_Read]] = {}
        # Resumes by socket id, until a second after their ends.
        self._recent: Counter[str] = Counter()
        answers.on_frame = self._keep

    async def resume(self, sid: str, chat_id: str, turn_id: str) -> ResumeAnswerAck:
        """Read the chunks of a turn. The caller must send the returned ack in the same loop turn.

        Args:
            sid: The client's socket.
            chat_id: A chat that it follows with ``stream``.
            turn_id: A turn of that chat.

        Raises:
            Refused: ``forbidden``, or ``unavailable`` (the client should retry).
        """
        try:
            ack = await self._resume(sid, chat_id, turn_id)
        except Refused as error:
            self.counters[error.code.value] += 1
            raise
        self.counters["read" if ack.last >= 0 else "empty"] += 1
        return ack

    async def _resume(self, sid: str, chat_id: str, turn_id: str) -> ResumeAnswerAck:
        self._joins.check_stream(sid, chat_id)
        if self._recent[sid] >= _MAX_RESUMES:
            raise Refused(ErrorCode.UNAVAILABLE, f"a socket may resume {_MAX_RESUMES} times a second: try again soon")
        self._recent[sid] += 1
        try:
            for _ in range(_MAX_READS):
                ack = await self._snapshot(chat_id, turn_id)
                # The socket may have left, and its user may have been removed, during the read.
                self._joins.check_stream(sid, chat_id)
                if ack is not None:
                    return ack
        except LogUnavailable as error:
            raise Refused(ErrorCode.UNAVAILABLE, _UNAVAILABLE) from error
        finally:
            asyncio.get_running_loop().call_later(_PERIOD_S, self._forget, sid)
        raise Refused(ErrorCode.UNAVAILABLE, _UNAVAILABLE)

    def _forget(self, sid: str) -> None:
        self._recent[sid] -= 1
        if not self._recent[sid]:
            del self._recent[sid]

    async def _snapshot(self, chat_id: str, turn_id: str) -> ResumeAnswerAck | None:
        reads = self._reads.setdefault((chat_id, turn_id), [])
        if not reads or reads[-1].stored.done():
            reads.append(_Read(asyncio.ensure_future(self._streams.read(chat_id, turn_id))))
        read = reads[-1]
        read.callers += 1
        try:
            # The cancellation of one caller must not cancel the read that others share.
            await asyncio.shield(read.stored)
            return read.ack(chat_id, turn_id)
        finally:
            read.callers -= 1
            if not read.callers:
                read.stored.cancel()
                reads.remove(read)
                if not reads:
                    del self._reads[chat_id, turn_id]

    def _keep(self, chat_id: str, frame: TurnFrame) -> None:
        for read in self._reads.get((chat_id, frame.turn_id), ()):
            if len(read.arrived) < _MAX_ARRIVED:
                read.arrived.append(frame)


def _continued(stored: Sequence[TurnFrame], arrived: Sequence[TurnFrame]) -> list[TurnFrame] | None:
    """The stored frames and those of the arrived ones that continue them; None if others are missing between them."""
    frames = list(stored)
    for frame in arrived:
        generation, last = (frames[-1].generation, frames[-1].last) if frames else (frame.generation, -1)
        if frame.generation < generation or (frame.generation == generation and frame.last <= last):
            continue
        # A frame without chunks announces a stream that was replaced.
        if frame.generation != generation or frame.first != last + 1 or frame.last < frame.first:
            return None
        frames.append(frame)
    return frames
