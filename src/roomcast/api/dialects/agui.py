"""AG-UI 1.0: the events of a run, translated from the chunks of a turn.

One answer is one assistant message, with the id of the turn. Its text is the stored ``content``, whatever parts and
tools it has. Each part of reasoning is a message of its own. A tool call has its arguments in one event, once they are
complete.

A run can be resumed from what the client has. Each event of a text has ``metadata: {epoch, seq}``, where seq is the
number of characters (code points) of that message so far. The official client keeps this metadata in its messages and
sends it with each request, so a run that continues an answer begins where the message of the request ends.

Layer: api. Source: AG-UI 1.0 schema (npm ``@ag-ui/core`` 1.0); for the order of events ``verify.ts`` in
``@ag-ui/client`` 1.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from roomcast.chat.answers.answer_state import SEPARATOR
from roomcast.chat.ports.responder import Chunk
from roomcast.contract.text import MAX_SEQ

PROTOCOL_VERSION: Final = "1.0"

Event = dict[str, Any]

_TEXT_EVENTS: Final = ("TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END")
_REASONING_EVENTS: Final = ("REASONING_MESSAGE_START", "REASONING_MESSAGE_CONTENT", "REASONING_MESSAGE_END")
_IGNORED: Final = frozenset({"start", "start-step", "reasoning-start"})


@dataclass(frozen=True, slots=True)
class Known:
    """What the client has of an answer.

    Attributes:
        texts: The text that it has of each message; a number if it names only its position in it.
        calls: Ids of the tool calls of which it has the arguments.
        results: Ids of the tool calls of which it has the result.
    """

    texts: Mapping[str, str | int] = field(default_factory=dict)
    calls: frozenset[str] = frozenset()
    results: frozenset[str] = frozenset()


def read_known(messages: Sequence[dict[str, Any]], turn_id: str, epoch: str) -> Known:
    """What the messages of a request have of an answer. Messages without a text may name a position in ``metadata``."""
    texts: dict[str, str | int] = {}
    calls: set[str] = set()
    results: set[str] = set()
    for message in messages:
        message_id, content = message.get("id"), message.get("content")
        if not isinstance(message_id, str) or not (message_id == turn_id or message_id.startswith(f"{turn_id}-")):
            continue
        if isinstance(call_id := message.get("toolCallId"), str):
            results.add(call_id)
        metadata = message.get("metadata")
        seq = metadata.get("seq") if isinstance(metadata, dict) and metadata.get("epoch") == epoch else None
        if isinstance(content, str) and content:
            texts[message_id] = content
        elif type(seq) is int and 0 <= seq <= MAX_SEQ:
            texts[message_id] = seq
        tool_calls = message.get("toolCalls")
        for call in tool_calls if isinstance(tool_calls, list) else ():
            match call:
                case {"id": str(call_id), "function": {"arguments": str(arguments)}} if arguments:
                    calls.add(call_id)
    return Known(texts, frozenset(calls), frozenset(results))


class _Stream:
    """A message whose text grows: opened by the first characters that the client does not have.

    Attributes:
        seq: Number of characters so far.
    """

    def __init__(self, message_id: str, names: Sequence[str], epoch: str, known: str | int) -> None:
        self._id = message_id
        self._start, self._content, self._end = names
        self._is_text = names is _TEXT_EVENTS
        self._epoch = epoch
        self._known = known
        self._skip = known if isinstance(known, int) else len(known)
        self._open = False
        self._differs = False
        self.seq = 0

    @property
    def diverges(self) -> bool:
        """Whether the client has another text than this one."""
        return self._differs or self._skip > self.seq

    def add(self, text: str) -> Iterator[Event]:
        skipped = text[: max(0, self._skip - self.seq)]
        if skipped and isinstance(self._known, str) and not self._known.startswith(skipped, self.seq):
            self._differs = True
        self.seq += len(text)
        new = text[len(skipped) :]
        if not new or self._differs:
            return
        if not self._open:
            self._open = True
            if not self._is_text:
                yield {"type": "REASONING_START", "messageId": self._id}
            role = "assistant" if self._is_text else "reasoning"
            yield {"type": self._start, "messageId": self._id, "role": role}
        metadata = {"epoch": self._epoch, "seq": self.seq}
        yield {"type": self._content, "messageId": self._id, "delta": new, "metadata": metadata}

    def close(self) -> Iterator[Event]:
        if self._open:
            self._open = False
            yield {"type": self._end, "messageId": self._id}
            if not self._is_text:
                yield {"type": "REASONING_END", "messageId": self._id}


class Run:
    """One run: follows a turn from its beginning, and leaves out what the client has.

    Args:
        thread_id: As in the request; the chat.
        run_id: As in the request.
        turn_id: The turn; None if there is none to follow.
        epoch: The current epoch.
        known: What the client has of the turn's answer.

    Attributes:
        ended: Whether the event that ends the run was returned.
    """

    def __init__(
        self, thread_id: str, run_id: str, turn_id: str | None, epoch: str, known: Known | None = None
    ) -> None:
        self._run = {"threadId": thread_id, "runId": run_id}
        self._turn_id = turn_id
        self._epoch = epoch
        self._known = known or Known()
        self._text = self._stream(turn_id or "", _TEXT_EVENTS)
        self._reasoning: dict[str, _Stream] = {}
        # The text parts: the first is written, the others wait, since all are one message.
        self._parts: dict[str, list[str]] = {}
        self._ended_parts: set[str] = set()
        self._begun: str | None = None
        self._calls: set[str] = set()  # open: started, without an end
        self.ended = False

    def start(self) -> list[Event]:
        """The event before all others."""
        metadata = {"epoch": self._epoch} | ({} if self._turn_id is None else {"turnId": self._turn_id})
        return [{"type": "RUN_STARTED", **self._run, "protocolVersion": PROTOCOL_VERSION, "metadata": metadata}]

    def add(self, chunk: Chunk) -> list[Event]:
        """The events of the next chunk."""
        return list(self._add(chunk))

    def finish(self, *, cancelled: bool = False) -> list[Event]:
        """The events that end the run with the end of the answer."""
        return list(self._finish(cancelled=cancelled))

    def fail(self, message: str, code: str) -> list[Event]:
        """The events that end the run with an error."""
        return list(self._fail(message, code))

    def _add(self, chunk: Chunk) -> Iterator[Event]:
        match chunk["type"]:
            case "text-start" | "text-delta" | "text-end":
                yield from self._add_text(chunk)
            case "reasoning-delta":
                yield from self._reasoning_of(chunk).add(chunk["delta"])
            case "reasoning-end":
                yield from self._reasoning_of(chunk).close()
            case str(kind) if kind.startswith("tool-"):
                yield from self._add_tool(chunk)
            case "finish" | "abort" as kind:
                yield from self._finish(cancelled=kind == "abort")
            case "error":
                yield from self._fail(chunk["errorText"], "answer-failed")
            case str(kind) if kind not in _IGNORED:
                yield {"type": "CUSTOM", "name": kind, "value": dict(chunk)}

    def _add_text(self, chunk: Chunk) -> Iterator[Event]:
        pieces = self._parts.setdefault(chunk["id"], [])
        if chunk["type"] == "text-delta":
            pieces.append(chunk["delta"])
        elif chunk["type"] == "text-end":
            self._ended_parts.add(chunk["id"])
        yield from self._write_text()

    def _add_tool(self, chunk: Chunk) -> Iterator[Event]:
        match chunk["type"]:
            case "tool-input-start":
                yield from self._start_call(chunk)
            case "tool-input-available":
                yield from self._end_call(chunk)
            case "tool-input-error":
                yield from self._end_call(chunk)
                yield from self._result(chunk)
            case "tool-output-available" | "tool-output-error":
                yield from self._result(chunk)

    def _write_text(self) -> Iterator[Event]:
        """Write the first text part, and the next one once it has ended."""
        while self._parts:
            part_id, pieces = next(iter(self._parts.items()))
            if text := "".join(pieces):
                pieces.clear()
                if self._begun != part_id and self._text.seq:
                    text = SEPARATOR + text
                self._begun = part_id
                yield from self._text.add(text)
            if part_id not in self._ended_parts:
                return
            del self._parts[part_id]

    def _reasoning_of(self, chunk: Chunk) -> _Stream:
        message_id = f"{self._turn_id}-{chunk['id']}"
        if message_id not in self._reasoning:
            self._reasoning[message_id] = self._stream(message_id, _REASONING_EVENTS)
        return self._reasoning[message_id]

    def _stream(self, message_id: str, names: Sequence[str]) -> _Stream:
        return _Stream(message_id, names, self._epoch, self._known.texts.get(message_id, 0))

    def _start_call(self, chunk: Chunk) -> Iterator[Event]:
        call_id = chunk["toolCallId"]
        if call_id not in self._known.calls and call_id not in self._calls:
            self._calls.add(call_id)
            yield {
                "type": "TOOL_CALL_START",
                "toolCallId": call_id,
                "toolCallName": chunk["toolName"],
                "parentMessageId": self._turn_id,
            }

    def _end_call(self, chunk: Chunk) -> Iterator[Event]:
        yield from self._start_call(chunk)
        call_id = chunk["toolCallId"]
        if call_id in self._calls:
            self._calls.remove(call_id)
            yield {"type": "TOOL_CALL_ARGS", "toolCallId": call_id, "delta": _json(chunk.get("input"))}
            yield {"type": "TOOL_CALL_END", "toolCallId": call_id}

    def _result(self, chunk: Chunk) -> Iterator[Event]:
        call_id = chunk["toolCallId"]
        if call_id in self._known.results or chunk.get("preliminary"):
            return
        output = chunk["errorText"] if "errorText" in chunk else chunk.get("output")
        yield {
            "type": "TOOL_CALL_RESULT",
            "messageId": f"{self._turn_id}-{call_id}",
            "toolCallId": call_id,
            "content": output if isinstance(output, str) else _json(output),
            "role": "tool",
        }

    def _finish(self, *, cancelled: bool) -> Iterator[Event]:
        yield from self._close()
        if any(stream.diverges for stream in (self._text, *self._reasoning.values())):
            yield from self._fail("the answer does not continue the messages of the request; load them again", "reset")
            return
        outcome = {"type": "cancelled" if cancelled else "success"}
        yield {"type": "RUN_FINISHED", **self._run, "outcome": outcome}
        self.ended = True

    def _fail(self, message: str, code: str) -> Iterator[Event]:
        yield from self._close()
        yield {"type": "RUN_ERROR", "message": message, "code": code}
        self.ended = True

    def _close(self) -> Iterator[Event]:
        """Close what is open, as the end of a run requires."""
        self._ended_parts.update(self._parts)
        yield from self._write_text()
        yield from self._text.close()
        for stream in self._reasoning.values():
            yield from stream.close()
        for call_id in sorted(self._calls):
            yield {"type": "TOOL_CALL_END", "toolCallId": call_id}
        self._calls.clear()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
