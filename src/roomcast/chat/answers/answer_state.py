"""The state of an answer that grows: a fold of published chunks into the parts of a ``UIMessage``.

Ids of published text and reasoning parts are their indexes, "0", "1", …, so that any process can continue an answer.

Layer: chat. Source: npm ``ai`` 7, ``src/ui/process-ui-message-stream.ts``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from roomcast.chat.answers.chunks import ChunkRejected
from roomcast.chat.ports.responder import Chunk

#: Joins the text parts of an answer in its content.
SEPARATOR: Final = "\n\n"
#: The states of a tool call in their order.
_CALL_STATES: Final = ("input-streaming", "input-available", "output-available", "output-error")

TextKind = Literal["text", "reasoning"]


class Diverged(ValueError):
    """The later answer does not continue the earlier one: it lacks something that was published."""


@dataclass(slots=True)
class Part:
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
        """The text so far."""
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    @property
    def is_open(self) -> bool:
        """Whether text may be added to this text or reasoning."""
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


class AnswerState:
    """What published chunks have built.

    Attributes:
        last: Number of the last chunk from which the answer was made; -1 if there is none. Chunks that are added later
            are numbered by their publisher, which merges them before.
    """

    def __init__(self) -> None:
        self.last = -1
        self._parts: list[Part] = []
        # The chunks that begin and end the stream, which belong to no part.
        self._start: Chunk | None = None
        self._end: Chunk | None = None
        self._calls: dict[str, Part] = {}
        self._chars: dict[TextKind, int] = {"text": 0, "reasoning": 0}
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
    def from_parts(cls, parts: Sequence[Mapping[str, Any]], last: int = -1) -> Self:
        """The answer with stored parts."""
        answer = cls()
        for stored in parts:
            fields = dict(stored)
            names = {"text": "text", "reasoning": "text", "dynamic-tool": "rawInput"}
            text = fields.pop(names.get(fields["type"], ""), "")
            answer._append(Part(fields), text)
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
        return self.since(AnswerState())

    def since(self, earlier: AnswerState) -> list[Chunk]:
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
                self._append(Part({"type": text_kind(chunk), "state": "streaming"}))
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
                self._append(Part({"type": "step-start"}))
            case _ if kind.startswith("tool-"):
                self._apply_tool(chunk)
            case _:
                same = self._same_data(chunk)
                if same is None:
                    self._append(Part(dict(chunk)))
                else:
                    self._change(same, chunk)

    def _apply_tool(self, chunk: Chunk) -> None:
        state = chunk["type"].removeprefix("tool-")
        state = {"input-start": "input-streaming", "input-error": "output-error"}.get(state, state)
        changes = {name: value for name, value in chunk.items() if name not in {"type", "dynamic"}} | {"state": state}
        part = self._calls.get(chunk["toolCallId"])
        if part is None:
            self._append(Part({"type": "dynamic-tool", "toolName": chunk["toolName"], **changes}))
            return
        replaced = {"output", "preliminary", "errorText"}
        kept = {name: value for name, value in part.fields.items() if name not in replaced}
        part.pieces, part.held, part.chars = [], "", 0
        self._change(part, kept | changes)

    def _same_data(self, fields: Mapping[str, Any]) -> Part | None:
        """The data part that has the same type and id, and is replaced."""
        if "id" not in fields:
            return None
        key = fields["type"], fields["id"]
        return next((part for part in self._parts if (part.fields["type"], part.fields.get("id")) == key), None)

    def _append(self, part: Part, text: str = "") -> None:
        self._parts.append(part)
        if part.fields["type"] == "dynamic-tool":
            self._calls[part.fields["toolCallId"]] = part
        if part.fields["type"] not in self._chars:
            self._change(part, part.fields)
        if text:
            self._extend(part, text)

    def _extend(self, part: Part, text: str) -> None:
        kind = part.fields["type"]
        if kind in self._chars:
            separator = len(SEPARATOR) if kind == "text" and self._chars["text"] and not part.pieces else 0
            self._chars[kind] += separator + len(text)
        part.pieces.append(text)
        part.chars += len(text)

    def _change(self, part: Part, fields: Mapping[str, Any]) -> None:
        size = len(json.dumps(fields, ensure_ascii=False).encode())
        self._json_bytes += size - part.size
        part.fields, part.size = dict(fields), size


def text_kind(chunk: Chunk) -> TextKind:
    """Whether a chunk is of a text or a reasoning part."""
    return "text" if chunk["type"].startswith("text") else "reasoning"


def _continuation(index: int, earlier: Part, later: Part) -> list[Chunk]:
    """The chunks that continue an earlier state of a part.

    Raises:
        Diverged: see `AnswerState.since`.
    """
    known, chunks = earlier.chunks(index), later.chunks(index)
    if known == chunks:
        return []
    same = all(earlier.fields.get(name) == later.fields.get(name) for name in ("type", "id", "toolCallId"))
    if same and "data" in later.fields and "id" in later.fields:
        return chunks
    if same and chunks[0] == known[0] and (earlier.is_open or earlier.fields.get("state") == "input-streaming"):
        # Only the growing text differs, and the end may follow it.
        if later.text.startswith(earlier.text):
            name = "delta" if earlier.is_open else "inputTextDelta"
            rest = later.text[len(earlier.text) :]
            return [
                {**chunk, name: rest} if name in chunk else chunk for chunk in chunks[1:] if rest or name not in chunk
            ]
    elif same and "toolCallId" in later.fields:
        rank = _CALL_STATES.index
        if rank(earlier.fields["state"]) <= rank(later.fields["state"]):
            return chunks[1:] if chunks[0] == known[0] else chunks
    raise Diverged(f"part {index} of the answer does not continue its earlier state")
