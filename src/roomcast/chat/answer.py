"""The state of an answer that grows: a fold of chunks of the AI SDK's UI message stream into the parts of a message.

A responder's chunks enter through `Answer.add`, which makes them safe and returns the chunks to publish. Published
chunks are folded by `Answer.apply`. Ids of published parts are their indexes, "0", "1", …, so that any process can
continue an answer. What is done with each type:

- kept: ``text-*``, ``reasoning-*``, ``tool-input-*``, ``tool-output-*``, ``source-url``, ``source-document``, ``file``,
  ``reasoning-file``, ``data-*``, ``start-step``. Provider metadata and citations are left out.
- changed: ``tool-output-denied`` becomes an error, since a part needs an approval to be denied; every tool is dynamic.
- ignored: ``start``, ``finish``, ``abort``, ``error``, ``message-metadata``, ``finish-step``, transient data. The
  worker writes the start and the end, and messages have no metadata.
- rejected: all others, such as approvals, ``reset-step`` (published text is not taken back) and unknown types.

Layer: chat. Source: npm ``ai`` 7, ``src/ui/process-ui-message-stream.ts``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, Self

from roomcast.chat.chunks import (
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

#: Joins the text parts of an answer in its `content`.
SEPARATOR: Final = "\n\n"
MAX_REASONING_CHARS: Final = MAX_CONTENT_CHARS
MAX_PARTS: Final = 500
#: All parts but texts and reasoning, as JSON. Beyond it values are truncated to `LEAST_VALUE_BYTES`.
MAX_JSON_BYTES: Final = 131_072
LEAST_VALUE_BYTES: Final = 256

_REASONING_CUT: Final = "\n[The rest of the reasoning was left out: it is too long.]"
_NO_RESULT: Final = "The answer ended before the tool returned a result."
_DENIED: Final = "The call was denied."
_IGNORED: Final = frozenset({"start", "finish", "abort", "error", "message-metadata", "finish-step"})
_ENDS: Final = frozenset({"finish", "abort", "error"})
_DATA_TYPE: Final = re.compile(r"data-[!-~]{1,100}")
_CALL_ID: Final = re.compile(r"[!-~]{1,128}")

Part = Mapping[str, Any]
_Kind = Literal["text", "reasoning"]


class Diverged(ValueError):
    """The later answer does not continue the earlier one: text that was published is missing in it."""


@dataclass(slots=True)
class _Part:
    """One part of an answer.

    Attributes:
        fields: The part of the ``UIMessage``, without the text that grows.
        pieces: That text: ``text``, or ``rawInput`` of a tool whose input is streaming.
        chars: Length of that text.
        held: A high surrogate, whose low surrogate may begin the next delta.
        size: Bytes of the fields as JSON; 0 for text and reasoning.
    """

    fields: dict[str, Any]
    pieces: list[str] = field(default_factory=list)
    chars: int = 0
    held: str = ""
    size: int = 0

    @property
    def text(self) -> str:
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    @property
    def is_open(self) -> bool:
        return self.fields.get("state") == "streaming"

    def export(self) -> dict[str, Any]:
        """The part of the ``UIMessage``."""
        match self.fields:
            case {"type": "text" | "reasoning" as kind, "state": state}:
                return {"type": kind, "text": self.text, "state": state}
            case {"state": "input-streaming"}:
                return {**self.fields, "rawInput": self.text}
        return dict(self.fields)

    def chunks(self, index: int) -> list[Chunk]:
        """The fewest chunks that build the part."""
        fields = self.fields
        match fields:
            case {"type": "text" | "reasoning" as kind}:
                built: list[Chunk] = [{"type": f"{kind}-start", "id": str(index)}]
                if text := self.text:
                    built.append({"type": f"{kind}-delta", "id": str(index), "delta": text})
                if not self.is_open:
                    built.append({"type": f"{kind}-end", "id": str(index)})
                return built
            case {"type": "dynamic-tool"}:
                return self._tool_chunks()
            case {"type": "step-start"}:
                return [{"type": "start-step"}]
        return [dict(fields)]

    def _tool_chunks(self) -> list[Chunk]:
        fields = self.fields
        call_id, state = fields["toolCallId"], fields["state"]
        kept = ("toolCallId", "toolName", "title", "providerExecuted")
        head = {"dynamic": True} | {name: fields[name] for name in kept if name in fields}
        if state == "input-streaming":
            start: list[Chunk] = [{"type": "tool-input-start", **head}]
            if text := self.text:
                start.append({"type": "tool-input-delta", "toolCallId": call_id, "inputTextDelta": text})
            return start
        chunks: list[Chunk] = [{"type": "tool-input-available", **head, "input": fields["input"]}]
        if state != "input-available":
            names = ("output", "preliminary") if state == "output-available" else ("errorText",)
            result = {name: fields[name] for name in names if name in fields}
            chunks.append({"type": f"tool-{state}", "toolCallId": call_id, **result})
        return chunks


class Answer:
    """An answer that grows. Adding a delta costs the same whatever the length of the answer.

    Attributes:
        last: Number of the last published chunk; -1 before the first. The writer raises it by the number of chunks that
            it publishes, after they are merged; `fold` sets it.
        full: Whether a limit of the answer is reached and something was left out. Nothing is added any more: end the
            turn as ``too-long``.
    """

    def __init__(self) -> None:
        self.last = -1
        self.full = False
        self._parts: list[_Part] = []
        # The chunks that begin and end the stream, which belong to no part.
        self._start: Chunk | None = None
        self._end: Chunk | None = None
        # Published ids of tool calls → parts; the responder's ids of open parts → indexes, of calls → published ids.
        self._calls: dict[str, _Part] = {}
        self._open: dict[tuple[_Kind, str | None], int] = {}
        self._call_ids: dict[str, str] = {}
        self._chars: dict[_Kind, int] = {"text": 0, "reasoning": 0}
        self._json_bytes = 0

    @classmethod
    def from_chunks(cls, chunks: Sequence[Chunk], last: int | None = None) -> Self:
        """The answer that published chunks build.

        Args:
            chunks: All chunks from the first, merged or not.
            last: Number of the last chunk; None if the chunks are not merged.

        Raises:
            ChunkRejected: the chunks are not those of an answer.
        """
        answer = cls()
        for chunk in chunks:
            answer.apply(chunk)
        answer.last = len(chunks) - 1 if last is None else last
        return answer

    @classmethod
    def from_parts(cls, parts: Sequence[Part], last: int = -1) -> Self:
        """The answer with stored parts."""
        answer = cls()
        for stored in parts:
            fields = dict(stored)
            names = {"text": "text", "reasoning": "text", "dynamic-tool": "rawInput"}
            text = fields.pop(names.get(fields["type"], ""), "")
            answer._append(_Part(fields), text)
        answer.last = last
        return answer

    def parts(self) -> tuple[dict[str, Any], ...]:
        """The parts of a ``UIMessage``."""
        return tuple(part.export() for part in self._parts)

    def content(self) -> str:
        """The text: that of all text parts."""
        texts = (part.text for part in self._parts if part.fields["type"] == "text")
        return SEPARATOR.join(text for text in texts if text)

    def snapshot(self) -> list[Chunk]:
        """The fewest chunks that build the answer: at most 3 a part, and those that begin and end the stream."""
        return self.since(Answer())

    def since(self, earlier: Answer) -> list[Chunk]:
        """The chunks that continue an earlier state of the answer.

        Raises:
            Diverged: the earlier state has text or parts that this one lacks.
        """
        chunks = [] if self._start is None or earlier._start is not None else [self._start]
        if len(earlier._parts) > len(self._parts):
            raise Diverged("the earlier answer has more parts")
        for index, part in enumerate(self._parts):
            if index < len(earlier._parts):
                chunks += _continuation(index, earlier._parts[index], part)
            else:
                chunks += part.chunks(index)
        return chunks if self._end is None or earlier._end is not None else [*chunks, self._end]

    # --- Chunks of a responder ---

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
        if kind in _IGNORED:
            return []
        adder = Answer._add_data if kind.startswith("data-") else self._ADDERS.get(kind)
        if adder is None:
            raise ChunkRejected("unknown", "the type of the chunk is not supported")
        return adder(self, chunk)

    def _add_piece(self, text: str) -> list[Chunk]:
        if self._parts and self._parts[-1].is_open and self._parts[-1].fields["type"] == "text":
            return self._grow("text", len(self._parts) - 1, text)
        if not text:
            return []
        opened = self._open_part("text", None)
        return opened if self.full else opened + self._grow("text", len(self._parts) - 1, text)

    def _add_text_start(self, chunk: Chunk) -> list[Chunk]:
        return self._open_part(_kind(chunk), _id(chunk))

    def _add_text_delta(self, chunk: Chunk) -> list[Chunk]:
        kind, key, delta = _kind(chunk), _id(chunk), chunk.get("delta")
        if not isinstance(delta, str):
            raise ChunkRejected(chunk["type"], "delta is not a string")
        opened: list[Chunk] = []
        index = self._find(kind, key)
        if index is None:
            if not delta:
                return []
            opened = self._open_part(kind, key)
            if self.full:
                return opened
            index = len(self._parts) - 1
        return opened + self._grow(kind, index, delta)

    def _add_text_end(self, chunk: Chunk) -> list[Chunk]:
        return self._close(_kind(chunk), _id(chunk))

    def _find(self, kind: _Kind, key: str | None) -> int | None:
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

    def _open_part(self, kind: _Kind, key: str | None) -> list[Chunk]:
        closed = self._close(kind, key) if (kind, key) in self._open else []
        if self._is_full():
            return closed
        index = self._open[kind, key] = len(self._parts)
        return self._put(closed, {"type": f"{kind}-start", "id": str(index)})

    def _close(self, kind: _Kind, key: str | None) -> list[Chunk]:
        index = self._find(kind, key)
        if index is None:
            return []
        del self._open[kind, key]
        return self._put([], {"type": f"{kind}-end", "id": str(index)})

    def _grow(self, kind: _Kind, index: int, delta: str) -> list[Chunk]:
        part = self._parts[index]
        text, part.held = split_held(part.held + delta)
        text = self._fit(kind, part, text)
        chunks: list[Chunk] = []
        for start in range(0, len(text), MAX_DELTA_CHARS):
            piece = text[start : start + MAX_DELTA_CHARS]
            self._put(chunks, {"type": f"{kind}-delta", "id": str(index), "delta": piece})
        return chunks

    def _fit(self, kind: _Kind, part: _Part, text: str) -> str:
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

    def _call(self, chunk: Chunk) -> tuple[str, _Part]:
        """The published id of the call that a chunk names, and its part."""
        wanted = chunk.get("toolCallId")
        call_id = self._call_ids.get(wanted, wanted) if isinstance(wanted, str) else ""
        if call_id not in self._calls:
            raise ChunkRejected(chunk["type"], "toolCallId is not that of a call")
        return call_id, self._calls[call_id]

    def _value(self, chunk: Chunk, name: str) -> Any:
        room = MAX_JSON_BYTES - self._json_bytes
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

    def _same_data(self, fields: Mapping[str, Any]) -> _Part | None:
        """The data part that has the same type and id."""
        if "id" not in fields:
            return None
        same = (
            part
            for part in self._parts
            if (part.fields["type"], part.fields.get("id")) == (fields["type"], fields["id"])
        )
        return next(same, None)

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

    # --- Published chunks ---

    def _put(self, chunks: list[Chunk], chunk: Chunk) -> list[Chunk]:
        """Apply a safe chunk, and append it to those to publish."""
        self.apply(chunk)
        chunks.append(chunk)
        return chunks

    def apply(self, chunk: Chunk) -> None:
        """Fold a published chunk. It does not count in `last`.

        Raises:
            ChunkRejected: the chunk does not follow the earlier ones; the answer has not changed.
        """
        try:
            self._apply(chunk)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ChunkRejected("unknown", f"the chunk does not follow the earlier ones ({error!r})") from error

    def _apply(self, chunk: Chunk) -> None:
        kind = chunk["type"]
        match kind:
            case "text-delta" | "reasoning-delta":
                self._extend(self._parts[int(chunk["id"])], chunk["delta"])
            case "text-start" | "reasoning-start":
                self._append(_Part({"type": _kind(chunk), "state": "streaming"}))
            case "text-end" | "reasoning-end":
                part = self._parts[int(chunk["id"])]
                part.fields["state"], part.held = "done", ""
            case "tool-input-delta":
                self._extend(self._calls[chunk["toolCallId"]], chunk["inputTextDelta"])
            case "start":
                self._start = chunk
            case "finish" | "abort" | "error":
                self._end = chunk
            case "start-step":
                self._append(_Part({"type": "step-start"}))
            case _ if kind.startswith("tool-"):
                self._apply_tool(chunk)
            case _:
                same = self._same_data(chunk)
                if same is None:
                    self._append(_Part(dict(chunk)))
                else:
                    self._change(same, chunk)

    def _apply_tool(self, chunk: Chunk) -> None:
        state = chunk["type"].removeprefix("tool-")
        state = {"input-start": "input-streaming", "input-error": "output-error"}.get(state, state)
        changes = {name: value for name, value in chunk.items() if name not in {"type", "dynamic"}} | {"state": state}
        part = self._calls.get(chunk["toolCallId"])
        if part is None:
            self._append(_Part({"type": "dynamic-tool", "toolName": chunk["toolName"], **changes}))
            return
        kept = {name: value for name, value in part.fields.items() if name != "preliminary"}
        part.pieces, part.held, part.chars = [], "", 0
        self._change(part, kept | changes)

    def _append(self, part: _Part, text: str = "") -> None:
        self._parts.append(part)
        if part.fields["type"] == "dynamic-tool":
            self._calls[part.fields["toolCallId"]] = part
        if part.fields["type"] not in self._chars:
            self._change(part, part.fields)
        if text:
            self._extend(part, text)

    def _extend(self, part: _Part, text: str) -> None:
        kind = part.fields["type"]
        if kind in self._chars:
            separator = len(SEPARATOR) if kind == "text" and self._chars["text"] and not part.pieces else 0
            self._chars[kind] += separator + len(text)
        part.pieces.append(text)
        part.chars += len(text)

    def _change(self, part: _Part, fields: Mapping[str, Any]) -> None:
        size = len(json.dumps(fields, ensure_ascii=False).encode())
        self._json_bytes += size - part.size
        part.fields, part.size = dict(fields), size


def _kind(chunk: Chunk) -> _Kind:
    """Whether a chunk is of a text or a reasoning part."""
    return "text" if chunk["type"].startswith("text") else "reasoning"


def _id(chunk: Chunk) -> str:
    """The responder's id of a text or reasoning part."""
    value = chunk.get("id")
    if not isinstance(value, str):
        raise ChunkRejected(chunk["type"], "id is not a string")
    return value


#: The states of a tool call in their order.
_CALL_STATES: Final = ("input-streaming", "input-available", "output-available", "output-error")


def _continuation(index: int, earlier: _Part, later: _Part) -> list[Chunk]:
    """The chunks that continue an earlier state of a part.

    Raises:
        Diverged: see `Answer.since`.
    """
    known, chunks = earlier.chunks(index), later.chunks(index)
    if known == chunks:
        return []
    kind, call_id = later.fields["type"], later.fields.get("toolCallId")
    same = (earlier.fields["type"], earlier.fields.get("toolCallId")) == (kind, call_id)
    if same and kind.startswith("data-"):
        return chunks
    if same and chunks[0] == known[0] and (earlier.is_open or earlier.fields.get("state") == "input-streaming"):
        # Only the growing text differs, and the end may follow it.
        if later.text.startswith(earlier.text):
            name = "delta" if earlier.is_open else "inputTextDelta"
            rest = later.text[len(earlier.text) :]
            return [
                {**chunk, name: rest} if name in chunk else chunk for chunk in chunks[1:] if rest or name not in chunk
            ]
    elif same and call_id is not None:
        rank = _CALL_STATES.index
        if rank(earlier.fields["state"]) <= rank(later.fields["state"]):
            return chunks[1:] if chunks[0] == known[0] else chunks
    raise Diverged(f"part {index} of the answer does not continue its earlier state")


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
