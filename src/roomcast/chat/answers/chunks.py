"""Chunks of an answer: their limits, their texts and values made safe, their merging and their encoding.

The vocabulary is that of the AI SDK's UI message stream. `roomcast.chat.answers.answer` decides which chunks are kept.

Layer: chat. Source: npm ``ai`` 7, ``src/ui-message-stream/ui-message-chunks.ts``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from roomcast.chat.ports.responder import Chunk
from roomcast.contract.events import TurnReason, TurnStatus

#: The longest delta. A longer one is split: a code point needs up to 6 bytes in JSON, and a chunk with one delta must
#: remain below 32 KiB, so that it fits into a frame.
MAX_DELTA_CHARS: Final = 5_000
#: The largest input or result of a tool, or value of a data part, as JSON in UTF-8. Larger ones are truncated.
MAX_VALUE_BYTES: Final = 16_384
#: Values nested more deeply are cut. Pydantic refuses to write more than 255 levels.
MAX_VALUE_DEPTH: Final = 32
MAX_LABEL_CHARS: Final = 128
MAX_ERROR_CHARS: Final = 1_000
MAX_URL_CHARS: Final = 4_096

# No scheme that runs code; a path is relative to the page's origin.
_URL: Final = re.compile(rf"(?:https?://|data:|/)[^\s\x00-\x1f\x7f]{{0,{MAX_URL_CHARS}}}", re.IGNORECASE)


class ChunkRejected(ValueError):
    """A chunk is malformed or unsupported, and was left out.

    Attributes:
        kind: The type of the chunk if it is known, for logs and metrics; else ``unknown``.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


def clean_text(text: str) -> str:
    """The text without U+0000 and lone surrogates, neither of which PostgreSQL stores. Surrogate pairs are joined."""
    if "\0" in text:
        text = text.replace("\0", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return text


def split_held(text: str) -> tuple[str, str]:
    """The cleaned text, and a high surrogate at its end, whose low surrogate may begin the next delta."""
    if text.isascii() and "\0" not in text:
        return text, ""
    text = text.replace("\0", "")
    if text and "\ud800" <= text[-1] <= "\udbff":
        return clean_text(text[:-1]), text[-1]
    return clean_text(text), ""


def read_text(chunk: Chunk, name: str, limit: int = MAX_LABEL_CHARS) -> str:
    """A text of a chunk, cleaned; a longer one is cut and ends with an ellipsis.

    Raises:
        ChunkRejected: the value is absent or no text.
    """
    value = chunk.get(name)
    if not isinstance(value, str):
        raise ChunkRejected(chunk["type"], f"{name} is not a string")
    value = clean_text(value[: 2 * limit + 1])
    return value if len(value) <= limit else f"{value[: limit - 1]}…"


def read_labels(chunk: Chunk, *names: str) -> dict[str, str]:
    """Those of the optional texts that the chunk has."""
    return {name: read_text(chunk, name) for name in names if chunk.get(name) is not None}


def read_url(chunk: Chunk) -> str:
    """The ``url`` of a chunk: http, https, data, or a path.

    Raises:
        ChunkRejected: it is absent, too long, or of another scheme.
    """
    value = chunk.get("url")
    if not isinstance(value, str) or not _URL.fullmatch(value):
        raise ChunkRejected(
            chunk["type"], f"url is not an http, https or data URL of at most {MAX_URL_CHARS} characters"
        )
    return clean_text(value)


def read_value(chunk: Chunk, name: str, limit_bytes: int = MAX_VALUE_BYTES) -> Any:
    """A JSON value of a chunk, copied and cleaned; null if it is absent.

    A value that is larger than the limit is replaced by ``{"truncated": <start of its JSON>, "bytes": <its size>}``.

    Raises:
        ChunkRejected: the value cannot be written as JSON.
    """
    try:
        value = _clean_value(chunk.get(name), MAX_VALUE_DEPTH)
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ChunkRejected(chunk["type"], f"{name} is not a JSON value ({type(error).__name__})") from error
    size = len(text.encode())
    if size <= limit_bytes:
        return value
    # The start is written as JSON again, in which a character needs at most 4 bytes.
    return {"truncated": text[: limit_bytes // 4 - 16], "bytes": size}


def _clean_value(value: Any, depth: int) -> Any:
    """A copy of a JSON value with clean texts and at most ``depth`` levels."""
    match value:
        case str():
            return clean_text(value)
        case None | bool() | int():
            return value
        case float():
            # JSON has neither NaN nor infinity; models' tools return them.
            return value if math.isfinite(value) else None
        case Mapping() | list() | tuple() if depth == 0:
            return "[cut: nested too deeply]"
        case Mapping():
            return {clean_text(str(key)): _clean_value(item, depth - 1) for key, item in value.items()}
        case list() | tuple():
            return [_clean_value(item, depth - 1) for item in value]
    raise TypeError(f"{type(value).__name__} is not JSON")


def merge(chunks: Sequence[Chunk]) -> list[Chunk]:
    """The same answer in fewer chunks: deltas of a part are joined, and earlier values of a part are left out.

    The size of the result is bounded by that of the answer, whatever the number of the chunks. Chunks of different
    parts may change places, except for those that begin parts.
    """
    merged: list[dict[str, Any]] = []
    places: dict[tuple[str, str], int] = {}
    for chunk in chunks:
        kind = chunk["type"]
        name = {"text-delta": "delta", "reasoning-delta": "delta", "tool-input-delta": "inputTextDelta"}.get(kind)
        part_id = chunk.get("toolCallId", chunk.get("id"))
        if part_id is not None and (name or kind == "tool-output-available" or kind.startswith("data-")):
            place = places.setdefault((kind, part_id), len(merged))
            if place < len(merged):
                if name is None:
                    merged[place] = dict(chunk)
                    continue
                if len(merged[place][name]) + len(chunk[name]) <= MAX_DELTA_CHARS:
                    merged[place][name] += chunk[name]
                    continue
                places[kind, part_id] = len(merged)
        merged.append(dict(chunk))
    return list(merged)


def encode_chunks(chunks: Sequence[Chunk]) -> bytes:
    """The chunks as a JSON array in UTF-8, as in `TurnFrame.chunks`."""
    return json.dumps(chunks, ensure_ascii=False, separators=(",", ":")).encode()


def decode_chunks(data: bytes) -> list[Chunk]:
    """The chunks of a frame.

    Raises:
        ChunkRejected: another program wrote the frame.
    """
    try:
        chunks = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ChunkRejected("unknown", "the frame is not JSON") from error
    if not isinstance(chunks, list) or not all(isinstance(chunk, dict) for chunk in chunks):
        raise ChunkRejected("unknown", "the frame is not an array of objects")
    return chunks


#: The types of the chunk that ends a stream.
END_TYPES: Final = frozenset({"finish", "abort", "error"})
_FINISH_REASONS: Final = {TurnReason.TOO_LONG: "length", TurnReason.FILTERED: "content-filter"}


def ending_chunk(status: TurnStatus, reason: TurnReason | None) -> Chunk:
    """The last chunk of a turn that ends with a final status."""
    if status is TurnStatus.COMPLETE:
        return {"type": "finish", "finishReason": "stop"}
    if status is TurnStatus.STOPPED:
        return {"type": "abort"}
    if status is TurnStatus.INCOMPLETE and reason in _FINISH_REASONS:
        return {"type": "finish", "finishReason": _FINISH_REASONS[reason]}
    return {"type": "error", "errorText": str(reason)}
