"""The streams of turns in one process, for `roomcast up`; also the reference implementation of the port.

Layer: eventlog.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from roomcast.chat.ports import EventLog, StreamGap, StreamTaken, TurnFrame, encode_frame
from roomcast.eventlog.stream_options import StreamOptions

#: Memory of a frame without its chunks, estimated.
_FRAME_BYTES: Final = 512


@dataclass(slots=True)
class _Stream:
    generation: int
    expires_at: float = 0.0
    size_bytes: int = 0
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
        # Those of ended turns first, then the one whose last frame is the oldest.
        self._streams: OrderedDict[tuple[str, str], _Stream] = OrderedDict()
        self._size_bytes = 0

    async def append(self, chat_id: str, frame: TurnFrame) -> None:
        """See the port."""
        stream = self._find(chat_id, frame)
        if stream is None or stream.generation < frame.generation:
            if frame.first > 0:
                raise StreamGap
            stream = _Stream(frame.generation)
        elif frame.last <= stream.frames[-1].last:
            return
        elif frame.first != stream.frames[-1].last + 1 or stream.size_bytes + _size(frame) > self._options.max_bytes:
            raise StreamGap
        self._store(chat_id, stream, frame)
        await self._log.signal(chat_id, encode_frame(frame))

    async def seed(self, chat_id: str, frame: TurnFrame) -> None:
        """See the port."""
        self._find(chat_id, frame)
        self._store(chat_id, _Stream(frame.generation), frame)
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
            self._streams.move_to_end((chat_id, turn_id), last=False)

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
        """Drop the streams at the front that have expired."""
        while self._streams:
            key, stream = next(iter(self._streams.items()))
            if stream.expires_at >= self._clock():
                return
            self._drop(key)

    def _drop(self, key: tuple[str, str]) -> None:
        stream = self._streams.pop(key, None)
        if stream is not None:
            self._size_bytes -= stream.size_bytes

    def _store(self, chat_id: str, stream: _Stream, frame: TurnFrame) -> None:
        key = chat_id, frame.turn_id
        self._drop(key)
        stream.frames.append(frame)
        stream.size_bytes += _size(frame)
        stream.expires_at = self._clock() + self._options.idle_ttl_s
        self._size_bytes += stream.size_bytes
        self._streams[key] = stream  # at the end
        while self._size_bytes > self._options.memory_bytes and len(self._streams) > 1:
            self._drop(next(iter(self._streams)))


def _size(frame: TurnFrame) -> int:
    return _FRAME_BYTES + len(frame.chunks)
