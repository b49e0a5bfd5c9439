"""An answer that grows: turns what a responder yields into safe chunks of the AI SDK's UI message stream.

What is done with each type of chunk:

- kept: ``text-*``, ``reasoning-*``, ``tool-input-*``, ``tool-output-*``, ``source-url``, ``source-document``, ``file``,
  ``reasoning-file``, ``data-*``, ``start-step``. Provider metadata and citations are left out.
- changed: ``tool-output-denied`` becomes an error, since a part needs an approval to be denied; every tool is dynamic.
- ignored: ``start``, ``finish``, ``abort``, ``error``, ``message-metadata``, ``finish-step``, transient data. The
  worker writes the start and the end, and messages have no metadata.
- rejected: all others, such as approvals, ``reset-step`` (published text is not taken back) and unknown types.

Layer: chat. Source: npm ``ai`` 7, ``src/ui/process-ui-message-stream.ts``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from roomcast.chat.answers.answer_state import SEPARATOR, AnswerState, Part, TextKind, text_kind
from roomcast.chat.answers.chunks import (
    MAX_DELTA_CHARS,
    MAX_ERROR_CHARS,
    MAX_VALUE_BYTES,
    ChunkRejected,
    decode_chunks,
    encode_chunks,
    read_labels,
    read_text,
    read_url,
    read_value,
    split_held,
)
from roomcast.chat.ports.responder import Chunk
from roomcast.chat.ports.turn_streams import TurnFrame
from roomcast.contract.text import MAX_CONTENT_CHARS

MAX_REASONING_CHARS: Final = MAX_CONTENT_CHARS
MAX_PARTS: Final = 500
#: All parts but texts and reasoning, as JSON. Beyond half of it, values are truncated to `LEAST_VALUE_BYTES`, so that
#: an answer with large results of tools can go on.
MAX_JSON_BYTES: Final = 262_144
LEAST_VALUE_BYTES: Final = 256

_REASONING_CUT: Final = "\n[The rest of the reasoning was left out: it is too long.]"
_NO_RESULT: Final = "The answer ended before the tool returned a result."
_DENIED: Final = "The call was denied."
_IGNORED: Final = frozenset({"start", "finish", "abort", "error", "message-metadata", "finish-step"})
_DATA_TYPE: Final = re.compile(r"data-[!-~]{1,100}")
_CALL_ID: Final = re.compile(r"[!-~]{1,128}")


class Answer(AnswerState):
    """An answer that grows. Adding a delta costs the same whatever the length of the answer.

    Attributes:
        full: Whether a limit is reached and something was left out. Nothing is added any more: end the turn as
            ``too-long``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        # A responder's ids of open parts → their indexes, and of tool calls → their published ids.
        self._open: dict[tuple[TextKind, str | None], int] = {}
        self._call_ids: dict[str, str] = {}

    def begin(self, message_id: str) -> list[Chunk]:
        """Begin the stream; the chunk to publish, or none if the answer continues one that has begun."""
        return [] if self._start else self._put([], {"type": "start", "messageId": message_id})

    def end(self, chunk: Chunk) -> list[Chunk]:
        """End the stream.

        Args:
            chunk: ``finish``, ``abort`` or ``error``.

        Returns:
            The chunks that close the open parts, then the given one.
        """
        ends: list[Chunk] = []
        for index, part in enumerate(self._parts):
            call = {name: part.fields.get(name) for name in ("toolCallId", "toolName")}
            match part.fields:
                case {"type": "text" | "reasoning" as kind, "state": "streaming"}:
                    self._put(ends, {"type": f"{kind}-end", "id": str(index)})
                case {"state": "input-streaming"}:
                    failed = {"type": "tool-input-error", "dynamic": True, **call, "errorText": _NO_RESULT}
                    self._put(ends, {**failed, "input": part.text})
                case {"state": "input-available"}:
                    failed = {"type": "tool-output-error", "toolCallId": call["toolCallId"]}
                    self._put(ends, {**failed, "errorText": _NO_RESULT})
        return self._put(ends, chunk)

    def add(self, item: Chunk | str) -> list[Chunk]:
        """Add what a responder yielded: a chunk, or a string, which continues the current text part.

        Returns:
            The chunks to publish: safe, with short ids, each below 32 KiB as JSON. None after the end, and once the
            answer is full.

        Raises:
            ChunkRejected: the chunk is malformed or unsupported. The answer has not changed.
        """
        if self.full or self._end:
            return []
        if isinstance(item, str):
            return self._add_piece(item)
        chunk: Any = item  # a responder may yield anything
        kind = chunk.get("type") if isinstance(chunk, Mapping) else None
        if not isinstance(kind, str):
            raise ChunkRejected("unknown", "the chunk is not an object with a type")
        if (adder := self._ADDERS.get(kind)) is not None:
            return adder(self, chunk)
        if kind.startswith("data-"):
            return self._add_data(chunk)
        if kind in _IGNORED:
            return []
        raise ChunkRejected("unknown", "the type of the chunk is not supported")

    def _add_piece(self, text: str) -> list[Chunk]:
        last = len(self._parts) - 1
        continues = last >= 0 and self._parts[last].is_open and self._parts[last].fields["type"] == "text"
        return self._grow("text", None, last if continues else None, text)

    def _add_text_start(self, chunk: Chunk) -> list[Chunk]:
        return self._open_part(text_kind(chunk), _id(chunk))

    def _add_text_delta(self, chunk: Chunk) -> list[Chunk]:
        kind, key, delta = text_kind(chunk), _id(chunk), chunk.get("delta")
        if not isinstance(delta, str):
            raise ChunkRejected(chunk["type"], "delta is not a string")
        return self._grow(kind, key, self._find(kind, key), delta)

    def _add_text_end(self, chunk: Chunk) -> list[Chunk]:
        return self._close(text_kind(chunk), _id(chunk))

    def _find(self, kind: TextKind, key: str | None) -> int | None:
        """The open part of a responder's id; after a takeover, which loses these ids, the newest open part."""
        if (index := self._open.get((kind, key))) is not None:
            return index
        known = set(self._open.values())
        for index in range(len(self._parts) - 1, -1, -1):
            part = self._parts[index]
            if part.is_open and part.fields["type"] == kind and index not in known:
                self._open[kind, key] = index
                return index
        return None

    def _open_part(self, kind: TextKind, key: str | None) -> list[Chunk]:
        closed = self._close(kind, key) if (kind, key) in self._open else []
        if self._is_full():
            return closed
        index = self._open[kind, key] = len(self._parts)
        return self._put(closed, {"type": f"{kind}-start", "id": str(index)})

    def _close(self, kind: TextKind, key: str | None) -> list[Chunk]:
        index = self._find(kind, key)
        if index is None:
            return []
        del self._open[kind, key]
        return self._put([], {"type": f"{kind}-end", "id": str(index)})

    def _grow(self, kind: TextKind, key: str | None, index: int | None, delta: str) -> list[Chunk]:
        """Add a delta to the part with an index, or to a new one."""
        chunks: list[Chunk] = []
        if index is None:
            if not delta:
                return []
            chunks = self._open_part(kind, key)
            if self.full:
                return chunks
            index = len(self._parts) - 1
        part = self._parts[index]
        text, part.held = split_held(part.held + delta)
        text = self._fit(kind, part, text)
        for start in range(0, len(text), MAX_DELTA_CHARS):
            piece = text[start : start + MAX_DELTA_CHARS]
            self._put(chunks, {"type": f"{kind}-delta", "id": str(index), "delta": piece})
        return chunks

    def _fit(self, kind: TextKind, part: Part, text: str) -> str:
        """The start of a delta that fits into the limits."""
        if kind == "reasoning":
            room = MAX_REASONING_CHARS - self._chars[kind]
            if len(text) <= room:
                return text
            return text[:room] + _REASONING_CUT if room >= 0 else ""
        room = MAX_CONTENT_CHARS - self._chars[kind]
        if not part.pieces and self._chars[kind]:
            room -= len(SEPARATOR)
        if len(text) <= room:
            return text
        self.full = True
        return text[: max(room, 0)]

    def _is_full(self) -> bool:
        self.full = len(self._parts) >= MAX_PARTS or self._json_bytes >= MAX_JSON_BYTES
        return self.full

    def _add_tool_start(self, chunk: Chunk) -> list[Chunk]:
        head = self._tool_head(chunk)
        return [] if self._is_full() else self._put([], {"type": "tool-input-start", **self._new_call(chunk, head)})

    def _add_tool_delta(self, chunk: Chunk) -> list[Chunk]:
        call_id, part = self._call(chunk)
        delta = chunk.get("inputTextDelta")
        if part.fields["state"] != "input-streaming" or not isinstance(delta, str):
            raise ChunkRejected(chunk["type"], "the input of the call is complete, or inputTextDelta is not a string")
        text, part.held = split_held(part.held + delta)
        # The input itself follows; an input that is too long is truncated there.
        text = text[: max(MAX_DELTA_CHARS - part.chars, 0)]
        if not text:
            return []
        return self._put([], {"type": "tool-input-delta", "toolCallId": call_id, "inputTextDelta": text})

    def _add_tool_input(self, chunk: Chunk) -> list[Chunk]:
        head = self._tool_head(chunk)
        values = {"input": self._value(chunk, "input")}
        if chunk["type"] == "tool-input-error":
            values["errorText"] = read_text(chunk, "errorText", MAX_ERROR_CHARS)
        known = self._calls.get(self._call_ids.get(head["toolCallId"], head["toolCallId"]))
        if known is not None and known.fields["state"] == "input-streaming":
            head["toolCallId"] = known.fields["toolCallId"]
        elif self._is_full():
            return []
        else:
            head = self._new_call(chunk, head)
        return self._put([], {"type": chunk["type"], **head, **values})

    def _add_tool_output(self, chunk: Chunk) -> list[Chunk]:
        call_id, part = self._call(chunk)
        state = part.fields["state"]
        if state != "input-available" and not (state == "output-available" and part.fields.get("preliminary")):
            raise ChunkRejected(chunk["type"], "the call has no complete input, or has its result")
        if chunk["type"] == "tool-output-available":
            result: dict[str, Any] = {"output": self._value(chunk, "output")}
            if chunk.get("preliminary") is True:
                result["preliminary"] = True
            return self._put([], {"type": "tool-output-available", "toolCallId": call_id, **result})
        denied = chunk["type"] == "tool-output-denied"
        text = _DENIED if denied else read_text(chunk, "errorText", MAX_ERROR_CHARS)
        return self._put([], {"type": "tool-output-error", "toolCallId": call_id, "errorText": text})

    def _tool_head(self, chunk: Chunk) -> dict[str, Any]:
        """What begins each call, with the responder's id."""
        call_id = chunk.get("toolCallId")
        if not isinstance(call_id, str):
            raise ChunkRejected(chunk["type"], "toolCallId is not a string")
        head = {"toolCallId": call_id, "toolName": read_text(chunk, "toolName"), "dynamic": True}
        head |= read_labels(chunk, "title")
        return head | {"providerExecuted": True} if chunk.get("providerExecuted") is True else head

    def _new_call(self, chunk: Chunk, head: dict[str, Any]) -> dict[str, Any]:
        """Give a call its published id: the responder's, unless it is malformed or was used before."""
        wanted = call_id = head["toolCallId"]
        if wanted in self._calls or not _CALL_ID.fullmatch(wanted):
            call_id = f"call-{len(self._parts)}"
        if call_id in self._calls:
            raise ChunkRejected(chunk["type"], "toolCallId was used before")
        self._call_ids[wanted] = call_id
        return head | {"toolCallId": call_id}

    def _call(self, chunk: Chunk) -> tuple[str, Part]:
        """The published id of the call that a chunk names, and its part."""
        wanted = chunk.get("toolCallId")
        call_id = self._call_ids.get(wanted, wanted) if isinstance(wanted, str) else ""
        if call_id not in self._calls:
            raise ChunkRejected(chunk["type"], "toolCallId is not that of a call")
        return call_id, self._calls[call_id]

    def _value(self, chunk: Chunk, name: str) -> Any:
        room = MAX_JSON_BYTES // 2 - self._json_bytes
        return read_value(chunk, name, max(LEAST_VALUE_BYTES, min(MAX_VALUE_BYTES, room)))

    def _add_source(self, chunk: Chunk) -> list[Chunk]:
        kind = chunk["type"]
        fields = {"type": kind}
        if kind.startswith("source"):
            fields["sourceId"] = read_text(chunk, "sourceId")
        if kind == "source-document":
            fields |= {"mediaType": read_text(chunk, "mediaType"), "title": read_text(chunk, "title")}
            fields |= read_labels(chunk, "filename")
        elif kind == "source-url":
            fields |= {"url": read_url(chunk)} | read_labels(chunk, "title")
        else:
            fields |= {"url": read_url(chunk), "mediaType": read_text(chunk, "mediaType")}
        return [] if self._is_full() else self._put([], fields)

    def _add_data(self, chunk: Chunk) -> list[Chunk]:
        if not _DATA_TYPE.fullmatch(chunk["type"]):
            raise ChunkRejected("data", "the name is longer than 100 characters, or not ASCII")
        if chunk.get("transient") is True:
            return []
        fields = {"type": chunk["type"], **read_labels(chunk, "id"), "data": self._value(chunk, "data")}
        if self._same_data(fields) is None and self._is_full():
            return []
        return self._put([], fields)

    def _add_step(self, _chunk: Chunk) -> list[Chunk]:
        # The AI SDK looks for the start of an input in the current step only.
        if any(part.fields.get("state") == "input-streaming" for part in self._parts) or self._is_full():
            return []
        return self._put([], {"type": "start-step"})

    _ADDERS: ClassVar[Mapping[str, Callable[[Answer, Chunk], list[Chunk]]]] = {
        "text-start": _add_text_start,
        "text-delta": _add_text_delta,
        "text-end": _add_text_end,
        "reasoning-start": _add_text_start,
        "reasoning-delta": _add_text_delta,
        "reasoning-end": _add_text_end,
        "tool-input-start": _add_tool_start,
        "tool-input-delta": _add_tool_delta,
        "tool-input-available": _add_tool_input,
        "tool-input-error": _add_tool_input,
        "tool-output-available": _add_tool_output,
        "tool-output-error": _add_tool_output,
        "tool-output-denied": _add_tool_output,
        "source-url": _add_source,
        "source-document": _add_source,
        "file": _add_source,
        "reasoning-file": _add_source,
        "start-step": _add_step,
    }

    def _put(self, chunks: list[Chunk], chunk: Chunk) -> list[Chunk]:
        """Apply a safe chunk, and append it to those to publish."""
        self.apply(chunk)
        chunks.append(chunk)
        return chunks


def _id(chunk: Chunk) -> str:
    """The responder's id of a text or reasoning part."""
    value = chunk.get("id")
    if not isinstance(value, str):
        raise ChunkRejected(chunk["type"], "id is not a string")
    return value


def fold(frames: Sequence[TurnFrame]) -> TurnFrame:
    """One frame from 0 with the chunks of all, in the fewest chunks.

    Args:
        frames: All frames of a stream, in order from 0; at least one.

    Raises:
        ChunkRejected: another program wrote a frame.
    """
    newest = frames[-1]
    chunks = [chunk for frame in frames for chunk in decode_chunks(frame.chunks)]
    folded = encode_chunks(Answer.from_chunks(chunks).snapshot())
    return TurnFrame(newest.turn_id, newest.generation, 0, newest.last, folded, newest.ref)
