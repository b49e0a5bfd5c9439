"""A client of AG-UI 1.0: any agent that speaks it (LangGraph, Pydantic AI, CrewAI and others) answers in a chat.

Layer: responders. Source: AG-UI 1.0, "Events", "RunAgentInput".
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from roomcast.chat.ports import AnswerItem, Chunk, CutOff, Prompt, ResponderFailure
from roomcast.contract.events import TurnReason
from roomcast.responders.http_stream import EventStreamClient, reported_error
from roomcast.responders.openai import MAX_ARGUMENT_CHARS, MAX_CALLS, parsed_arguments
from roomcast.responders.options import EndpointOptions

logger = logging.getLogger(__name__)

_THOUGHTS: Final = frozenset({"REASONING_MESSAGE_CONTENT", "REASONING_MESSAGE_CHUNK", "THINKING_TEXT_MESSAGE_CONTENT"})


@dataclass(slots=True)
class _Run:
    """What a run has sent so far. ``calls`` has name and arguments of the calls that are not complete."""

    calls: dict[str, list[str]] = field(default_factory=dict)
    argument_chars: int = 0
    current: str | None = None
    message: str | None = None
    finished: bool = False


class AgUiResponder:
    """Answers with an AG-UI agent. The thread is the chat, and the run is the turn.

    Args:
        options: How to reach the agent.
        name: The name by which chats refer to the responder.
    """

    def __init__(self, options: EndpointOptions, name: str = "agui") -> None:
        self._options = options
        self._name = name
        self._client = EventStreamClient(options.headers, options.limits)

    @property
    def name(self) -> str:
        """See the port."""
        return self._name

    async def respond(self, prompt: Prompt) -> AsyncIterator[AnswerItem]:
        """See the port."""
        run = _Run()
        async with self._client.open("POST", self._options.url, _input(prompt)) as events:
            async for event in events:
                for item in _read_event(event, run):
                    yield item
                if run.finished:
                    return
        # The agent closed the stream in the middle of the run.
        yield CutOff(TurnReason.CUT_BY_PROVIDER)


def _input(prompt: Prompt) -> dict[str, Any]:
    system = [] if prompt.system is None else [{"id": "system", "role": "system", "content": prompt.system}]
    messages = [
        {"id": message.id, "role": "assistant" if message.role == "AI" else "user", "content": message.content}
        for message in (*prompt.history, prompt.message)
    ]
    model = {} if prompt.model is None else {"model": prompt.model}
    return {
        "threadId": prompt.message.chat_id,
        "runId": prompt.turn_id,
        "messages": [*system, *messages],
        "state": {},
        "tools": [],
        "context": [],
        "forwardedProps": model,
    }


def _read_event(event: dict[str, Any], run: _Run) -> list[AnswerItem]:  # noqa: C901, PLR0911 - one case per event type
    kind, delta = event.get("type"), event.get("delta")
    match kind:
        case "TEXT_MESSAGE_START" | "TEXT_MESSAGE_CONTENT" | "TEXT_MESSAGE_CHUNK":
            message = event.get("messageId") or run.message
            items: list[AnswerItem] = []
            if run.message not in {None, message}:
                # Each message of the agent is a text part of its own.
                items.append({"type": "text-end", "id": str(run.message)})
            run.message = str(message)
            if isinstance(delta, str) and delta:
                items.append({"type": "text-delta", "id": run.message, "delta": delta})
            return items
        case _ if kind in _THOUGHTS:
            part = str(event.get("messageId") or "reasoning")
            return [{"type": "reasoning-delta", "id": part, "delta": delta}] if isinstance(delta, str) else []
        case "REASONING_MESSAGE_END" | "THINKING_TEXT_MESSAGE_END":
            return [{"type": "reasoning-end", "id": str(event.get("messageId") or "reasoning")}]
        case "TOOL_CALL_START" | "TOOL_CALL_ARGS" | "TOOL_CALL_CHUNK":
            return _read_call(event, run)
        case "TOOL_CALL_END":
            return _end_call(str(event.get("toolCallId")), run)
        case "TOOL_CALL_RESULT":
            call = str(event.get("toolCallId"))
            result: Chunk = {"type": "tool-output-available", "toolCallId": call, "output": event.get("content")}
            return [*_end_call(call, run), result]
        case "CUSTOM":
            return [{"type": f"data-{_word(event.get('name'))}", "data": event.get("value")}]
        case "STEP_STARTED":
            return [{"type": "start-step"}]
        case "RUN_ERROR":
            raise reported_error({key: event.get(key) for key in ("code", "message")})
        case "RUN_FINISHED":
            run.finished = True
            return _finish(event.get("outcome"), run)
    return []


def _read_call(event: dict[str, Any], run: _Run) -> list[AnswerItem]:
    call = str(event.get("toolCallId") or run.current)
    items = _end_call(run.current, run) if run.current not in {None, call} else []
    known = run.calls.setdefault(call, ["", ""])
    run.current = call
    known[0] = str(event.get("toolCallName") or known[0])
    if isinstance(delta := event.get("delta"), str):
        known[1] += delta
        run.argument_chars += len(delta)
    if len(run.calls) > MAX_CALLS or run.argument_chars > MAX_ARGUMENT_CHARS:
        raise ResponderFailure("the agent's calls of tools are too many or too long", kind="too-long")
    return items


def _end_call(call: str | None, run: _Run) -> list[AnswerItem]:
    known = None if call is None else run.calls.pop(call, None)
    if run.current == call:
        run.current = None
    if known is None:
        return []
    name, arguments = known
    run.argument_chars -= len(arguments)
    return [
        {"type": "tool-input-available", "toolCallId": call, "toolName": name, "input": parsed_arguments(arguments)}
    ]


def _finish(outcome: object, run: _Run) -> list[AnswerItem]:
    items = [item for call in list(run.calls) for item in _end_call(call, run)]
    kind = outcome.get("type") if isinstance(outcome, dict) else None
    if kind == "interrupt":
        # The agent waits for an approval, which chats do not offer.
        logger.warning("an AG-UI agent waits for an approval, which is not supported")
    return items if kind in {None, "success"} else [*items, CutOff(TurnReason.CUT_BY_PROVIDER)]


def _word(name: object) -> str:
    return "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "-" for char in str(name))[:64]
