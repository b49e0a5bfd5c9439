"""The streams of turns in one process, for `roomcast up`; also the reference implementation of the port.

Layer: eventlog.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from roomcast.chat.ports import EventLog, StreamGap, StreamTaken, TurnFrame, encode_frame
from roomcast.eventlog.stream_options import StreamOptions


@dataclass(slots=True)
class _Stream:
    generation: int
    expires_at: float
    frames: list[TurnFrame] = field(default_factory=list)


class MemoryTurnStreams:
    """`chat.ports.TurnStreams` in memory.

    Args:
        log: Carries the signals.
        options: The limits.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self, log: EventLog, options: StreamOptions | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._options = options or StreamOptions()
        self._clock = clock
        # The stream with the oldest frame first.
        self._streams: OrderedDict[tuple[str, str], _Stream] = OrderedDict()

    async def append(self, chat_id: str, frame: TurnFrame) -> None:
        """See the port."""
        stream = self._find(chat_id, frame)
        if stream is None or stream.generation < frame.generation:
            if frame.first > 0:
                raise StreamGap
            stream = _Stream(frame.generation, 0.0)
        elif frame.last <= stream.frames[-1].last:
            return
        elif frame.first != stream.frames[-1].last + 1 or len(stream.frames) >= self._options.max_frames:
            raise StreamGap
        self._store(chat_id, stream, frame)
        await self._log.signal(chat_id, encode_frame(frame))

    async def seed(self, chat_id: str, frame: TurnFrame) -> None:
        """See the port."""
        self._find(chat_id, frame)
        self._store(chat_id, _Stream(frame.generation, 0.0), frame)
        await self._log.signal(chat_id, encode_frame(frame.announcement()))

    async def read(self, chat_id: str, turn_id: str) -> Sequence[TurnFrame]:
        """See the port."""
        stream = self._streams.get((chat_id, turn_id))
        return () if stream is None or stream.expires_at < self._clock() else tuple(stream.frames)

    async def expire(self, chat_id: str, turn_id: str) -> None:
        """See the port."""
        stream = self._streams.get((chat_id, turn_id))
        if stream is not None:
            stream.expires_at = min(stream.expires_at, self._clock() + self._options.ended_ttl_s)

    def _find(self, chat_id: str, frame: TurnFrame) -> _Stream | None:
        """The stream of the frame's turn.

        Raises:
            StreamTaken: it belongs to a later generation.
        """
        self._drop_expired()
        stream = self._streams.get((chat_id, frame.turn_id))
        if stream is not None and stream.generation > frame.generation:
            raise StreamTaken
        return stream

    def _drop_expired(self) -> None:
        """Drop the streams at the front that have expired: those of ended turns move there once they are the oldest."""
        while self._streams:
            key, stream = next(iter(self._streams.items()))
            if stream.expires_at >= self._clock():
                return
            del self._streams[key]

    def _store(self, chat_id: str, stream: _Stream, frame: TurnFrame) -> None:
        stream.frames.append(frame)
        stream.expires_at = self._clock() + self._options.idle_ttl_s
        self._streams[chat_id, frame.turn_id] = stream
        self._streams.move_to_end((chat_id, frame.turn_id))
        if len(self._streams) > self._options.max_streams:
            self._streams.popitem(last=False)
