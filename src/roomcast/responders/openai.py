"""OpenAI's Chat Completions API, as compatible servers speak it too: vLLM, Ollama, LiteLLM and others.

Layer: responders. Source: OpenAI API reference, "Chat Completions", "Streaming".
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from roomcast.chat.model import StoredMessage
from roomcast.chat.ports import AnswerItem, CutOff, Prompt, ResponderFailure, Usage
from roomcast.contract.events import TurnReason
from roomcast.responders.http_stream import EventStreamClient, describe_error
from roomcast.responders.options import OpenAiOptions
from roomcast.responders.tools import Tool, run_tool, to_tools

#: A model that still calls tools after so many requests is cut off.
MAX_ROUNDS: Final = 16
_CUTS: Final = {"length": TurnReason.TOO_LONG, "content_filter": TurnReason.FILTERED}


@dataclass(slots=True)
class _Call:
    """A call of a tool, whose arguments arrive in pieces."""

    id: str
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class _Round:
    """What one request has returned so far."""

    text: str = ""
    calls: dict[int, _Call] = field(default_factory=dict)
    finish: str | None = None


class OpenAiResponder:
    """Answers with a model behind Chat Completions.

    Args:
        options: How to reach the provider.
        tools: Functions that the model may call.
        name: The name by which chats refer to the responder.
    """

    def __init__(
        self, options: OpenAiOptions, tools: Sequence[Tool | Callable[..., Any]] = (), name: str = "openai"
    ) -> None:
        self._options = options
        self._tools = to_tools(tools)
        self._name = name
        self._client = EventStreamClient(options.headers, options.limits)

    @property
    def name(self) -> str:
        """See the port."""
        return self._name

    async def respond(self, prompt: Prompt) -> AsyncIterator[AnswerItem]:
        """See the port."""
        messages = to_messages(prompt)
        spent = [0, 0]
        for _ in range(MAX_ROUNDS):
            round_ = _Round()
            async for item in self._request(prompt, messages, round_):
                if isinstance(item, Usage):
                    spent = [spent[0] + item.input_tokens, spent[1] + item.output_tokens]
                    yield Usage(*spent)
                else:
                    yield item
            if round_.finish in _CUTS:
                yield CutOff(_CUTS[round_.finish])
                return
            if round_.finish is None:
                if not round_.text and not round_.calls:
                    raise ResponderFailure("the stream ended without an answer", retryable=True, kind="cut")
                yield CutOff(TurnReason.CUT_BY_PROVIDER)
                return
            if not round_.calls:
                return
            calls = list(round_.calls.values())
            messages.append(_assistant(round_.text, calls))
            for call in calls:
                async for chunk in self._run(call, messages):
                    yield chunk
            yield {"type": "start-step"}
        yield CutOff(TurnReason.TOO_LONG)

    async def _request(
        self, prompt: Prompt, messages: Sequence[dict[str, Any]], round_: _Round
    ) -> AsyncIterator[AnswerItem]:
        body: dict[str, Any] = {
            "model": prompt.model or self._options.model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self._tools:
            body["tools"] = [_to_function(tool) for tool in self._tools.values()]
        url = f"{self._options.base_url.rstrip('/')}/chat/completions"
        async with self._client.open("POST", url, body) as events:
            async for event in events:
                if event.get("error"):
                    raise ResponderFailure(
                        f"the provider reported: {describe_error(event['error'])}", kind="error-event"
                    )
                if isinstance(usage := event.get("usage"), dict):
                    yield Usage(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
                for choice in _objects(event.get("choices"))[:1]:
                    for item in _read_choice(choice, round_):
                        yield item

    async def _run(self, call: _Call, messages: list[dict[str, Any]]) -> AsyncIterator[AnswerItem]:
        yield {
            "type": "tool-input-available",
            "toolCallId": call.id,
            "toolName": call.name,
            "input": parsed_arguments(call.arguments),
        }
        chunk, text = await run_tool(self._tools, call.id, call.name, call.arguments)
        yield chunk
        messages.append({"role": "tool", "tool_call_id": call.id, "content": text})


def to_messages(prompt: Prompt) -> list[dict[str, Any]]:
    """The prompt as messages of Chat Completions."""
    system = [] if prompt.system is None else [{"role": "system", "content": prompt.system}]
    return [*system, *(_to_message(message) for message in (*prompt.history, prompt.message))]


def parsed_arguments(text: str) -> Any:
    """The arguments of a call; the text itself if it is no JSON."""
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


def _to_message(message: StoredMessage) -> dict[str, Any]:
    return {"role": "assistant" if message.role == "AI" else "user", "content": message.content}


def _to_function(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _assistant(text: str, calls: Sequence[_Call]) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": text or None,
        "tool_calls": [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}
            for call in calls
        ],
    }


def _read_choice(choice: dict[str, Any], round_: _Round) -> list[AnswerItem]:
    """The items of one chunk's choice. A compatible server may send any field as null, or leave it out."""
    items: list[AnswerItem] = []
    delta = choice.get("delta")
    if isinstance(delta, dict):
        # vLLM and DeepSeek call it reasoning_content, OpenRouter and Ollama reasoning.
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str) and thought:
            items.append({"type": "reasoning-delta", "id": "reasoning", "delta": thought})
        text = delta.get("content")
        if isinstance(text, str) and text:
            round_.text += text
            items.append(text)
        for piece in _objects(delta.get("tool_calls")):
            _add_call(piece, round_)
    finish = choice.get("finish_reason")
    if isinstance(finish, str):
        round_.finish = finish
    return items


def _add_call(piece: dict[str, Any], round_: _Round) -> None:
    index = piece.get("index")
    # Some servers send whole calls without an index.
    key = index if isinstance(index, int) else len(round_.calls)
    call = round_.calls.setdefault(key, _Call(f"call-{key}"))
    if isinstance(piece.get("id"), str) and piece["id"]:
        call.id = piece["id"]
    function = piece.get("function")
    if isinstance(function, dict):
        call.name += function.get("name") or ""
        call.arguments += function.get("arguments") or ""


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
