"""The live stream of a turn: the chunks of its answer, in numbered frames, until the turn has ended.

Layer: chat. Contract suite: tests/contract/test_turn_streams.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol


@dataclass(frozen=True, slots=True)
class TurnFrame:
    """Consecutive chunks of an answer.

    Attributes:
        generation: The generation of the claim under which the frame was written.
        first: Number of the first chunk, from 0.
        last: Number of the last chunk; ``first - 1`` if there is no chunk: the frame only announces that chunks up to
            ``last`` can be read.
        chunks: A JSON array in UTF-8, of chunks of the AI SDK's UI message stream. It has one element per number or, if
            ``first`` is 0, fewer: the deltas of each part are merged.
        ref: Position at the provider after the last chunk, opaque; None if the responder cannot resume.
    """

    turn_id: str
    generation: int
    first: int
    last: int
    chunks: bytes
    ref: str | None = None

    def announcement(self) -> TurnFrame:
        """The empty frame that announces this one."""
        return replace(self, first=self.last + 1, chunks=b"[]")


class StreamGap(Exception):
    """The stream does not end before the frame: it is absent, or lacks chunks. Seed it."""


class StreamTaken(Exception):
    """A later generation writes the stream; nothing was written."""


class TurnStreams(Protocol):
    """Stores the frames of each turn in order, and publishes them as signals (`encode_frame`) on the chat's channel.

    A stream may be lost at any time. It has a TTL, and its size is limited by its writer, which replaces many frames by
    one with `seed`. Every method may raise `LogUnavailable`; after a failed `append` the outcome is unknown, and a
    repeat of it writes nothing twice.
    """

    async def append(self, chat_id: str, frame: TurnFrame) -> None:
        """Store and publish a frame that follows the last one; a frame that is stored already is not stored again.

        Raises:
            StreamGap: the frame does not follow the last one; nothing was written.
            StreamTaken: the stream belongs to a later generation.
            LogNotStored: the frame was only published.
        """

    async def seed(self, chat_id: str, frame: TurnFrame) -> None:
        """Replace the stream by one frame from 0, and publish an empty frame that announces it.

        Raises:
            StreamTaken: the stream belongs to a later generation.
            LogNotStored: nothing was stored, and the announcement was published.
        """

    async def read(self, chat_id: str, turn_id: str) -> Sequence[TurnFrame]:
        """All frames in order, without gaps from 0; empty if the stream is absent."""

    async def expire(self, chat_id: str, turn_id: str) -> None:
        """Have the stream removed soon: its turn has ended, and late readers find the message in the database."""


#: The largest array of chunks in one frame; a writer splits longer ones. A frame from 0 may be larger.
MAX_FRAME_BYTES: Final = 49_152

_FRAME: Final = re.compile(rb"T ([A-Za-z0-9_-]{1,128}) ([0-9]{1,9}) ([0-9]{1,9}) (-1|[0-9]{1,9}) ([!-~]{1,1024})\n")
_STOP: Final = re.compile(rb"X ([A-Za-z0-9_-]{1,128})")


def encode_frame(frame: TurnFrame) -> bytes:
    """The frame as a signal, and as an element of the stored stream: a header line, then the chunks."""
    ref = "-" if frame.ref is None else frame.ref
    header = f"T {frame.turn_id} {frame.generation} {frame.first} {frame.last} {ref}\n"
    return header.encode() + frame.chunks


def decode_frame(payload: bytes) -> TurnFrame | None:
    """The frame in a signal; None if the signal is of another kind, or malformed. The chunks are not decoded."""
    match = _FRAME.match(payload)
    if match is None:
        return None
    turn_id, generation, first, last, ref = match.groups()
    chunks = payload[match.end() :]
    if not (chunks.startswith(b"[") and chunks.endswith(b"]")):
        return None
    return TurnFrame(
        turn_id.decode(), int(generation), int(first), int(last), chunks, None if ref == b"-" else ref.decode()
    )


def encode_stop(turn_id: str) -> bytes:
    """The signal that a stop of a turn is stored."""
    return b"X " + turn_id.encode()


def decode_stop(payload: bytes) -> str | None:
    """The id of the turn that a signal stops; None if the signal is of another kind, or malformed."""
    match = _STOP.fullmatch(payload)
    return None if match is None else match[1].decode()
