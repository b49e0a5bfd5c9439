"""The streams of turns in Redis, shared by several processes.

Each turn has a list of frames. A script checks the generation and the numbers, stores a frame and publishes it as a
signal on the chat's channel, atomically. Redis may lose the list at any time: an append then finds a gap, and the
writer seeds the stream.

Layer: eventlog. Source: docs/decisions/0010.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Final

from roomcast.chat.ports import (
    LogNotStored,
    LogUnavailable,
    StreamGap,
    StreamTaken,
    TurnFrame,
    decode_frame,
    encode_frame,
)
from roomcast.eventlog.redis import scripts
from roomcast.eventlog.redis.codec import encode_signal
from roomcast.eventlog.redis.keys import chat_keys, stream_key
from roomcast.eventlog.redis.options import RedisLogOptions
from roomcast.eventlog.stream_options import StreamOptions
from roomcast.redis_client import Commands, Outcome, RedisUnavailable, ScriptBatches, ScriptCall

# The first element of the answers of ``lua/stream.lua``; otherwise the frame is stored.
_GAP: Final = 0
_REFUSED: Final = 2
_TAKEN: Final = 3


class RedisTurnStreams:
    """`chat.ports.TurnStreams` in Redis.

    Args:
        commands: Connections for commands.
        options: How long streams are kept.
        log_options: The prefix of the log whose channels carry the signals.

    Attributes:
        writes: Whether Redis stores and publishes frames.
        reads: Whether Redis answers reads of streams.
    """

    def __init__(
        self, commands: Commands, options: StreamOptions | None = None, log_options: RedisLogOptions | None = None
    ) -> None:
        self._commands = commands
        # Many turns append at the same time, each of them one frame.
        self._appends = ScriptBatches(commands, scripts.APPEND_FRAME)
        self._options = options or StreamOptions()
        self._prefix = (log_options or RedisLogOptions()).prefix
        self.writes = Outcome("append to an answer", "its chunks follow later")
        self.reads = Outcome("read of an answer", "the text comes from the database")

    async def append(self, chat_id: str, frame: TurnFrame) -> None:
        """See the port."""
        answer = self._appends.run(*self._call(chat_id, frame, frame))
        await self._write(answer)

    async def seed(self, chat_id: str, frame: TurnFrame) -> None:
        """See the port."""
        answer = self._commands.run(scripts.SEED_STREAM, *self._call(chat_id, frame, frame.announcement()))
        await self._write(answer)

    async def read(self, chat_id: str, turn_id: str) -> Sequence[TurnFrame]:
        """See the port."""
        keys = [stream_key(self._prefix, chat_id, turn_id)]
        answer = await _answer(self.reads, self._commands.run(scripts.READ_STREAM, keys, []))
        self.reads.succeed()
        # Before each frame is the size of the stream (``lua/stream.lua``).
        frames = [decode_frame(element.partition(b" ")[2]) for element in answer]
        known = [frame for frame in frames if frame is not None and frame.turn_id == turn_id]
        return known if len(known) == len(frames) and _is_contiguous(known) else ()

    async def expire(self, chat_id: str, turn_id: str) -> None:
        """See the port."""
        keys = [stream_key(self._prefix, chat_id, turn_id)]
        await _answer(self.writes, self._commands.run(scripts.EXPIRE_STREAM, keys, [self._ttl_ms(ended=True)]))

    def _call(self, chat_id: str, stored: TurnFrame, published: TurnFrame) -> ScriptCall:
        keys = [stream_key(self._prefix, chat_id, stored.turn_id), chat_keys(self._prefix, chat_id).channel]
        return keys, [
            self._ttl_ms(ended=False),
            stored.generation,
            stored.first,
            stored.last,
            encode_frame(stored),
            encode_signal(encode_frame(published)),
            self._options.max_bytes,
        ]

    async def _write(self, running: Awaitable[Any]) -> None:
        answer = await _answer(self.writes, running)
        if answer[0] == _REFUSED:
            refusal = RedisUnavailable.of_reply(answer[1].decode(errors="replace"))
            self.writes.fail(refusal)
            raise LogNotStored(str(refusal)) from refusal
        self.writes.succeed()
        if answer[0] == _GAP:
            raise StreamGap
        if answer[0] == _TAKEN:
            raise StreamTaken

    def _ttl_ms(self, *, ended: bool) -> int:
        return max(1, round(1_000 * (self._options.ended_ttl_s if ended else self._options.idle_ttl_s)))


async def _answer(outcome: Outcome, running: Awaitable[Any]) -> Any:
    """The answer of a script.

    Raises:
        LogUnavailable: the script failed.
    """
    try:
        return await running
    except RedisUnavailable as error:
        outcome.fail(error)
        raise LogUnavailable(str(error)) from error


def _is_contiguous(frames: Sequence[TurnFrame]) -> bool:
    """Whether the frames are of one generation and have every number from 0."""
    following = 0
    for frame in frames:
        if frame.first != following or frame.generation != frames[0].generation:
            return False
        following = frame.last + 1
    return True
