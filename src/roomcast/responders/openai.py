"""OpenAI's Chat Completions API, as compatible servers speak it too: vLLM, Ollama, LiteLLM and others.

Layer: responders. Source: OpenAI API reference, "Chat Completions", "Streaming".
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from roomcast.chat.answers.chunks import clean_text
from roomcast.chat.model import StoredMessage
from roomcast.chat.ports import AnswerItem, CutOff, Prompt, PromptFile, ResponderFailure, Usage
from roomcast.contract.events import TurnReason
from roomcast.responders.http_stream import EventStreamClient, reported_error
from roomcast.responders.options import OpenAiOptions
from roomcast.responders.tools import Tool, run_tool, to_tools

#: A model that still calls tools after so many requests is cut off.
MAX_ROUNDS: Final = 16
#: More calls in one response, or longer arguments of all of them, are an error: they are kept until they are complete.
MAX_CALLS: Final = 64
MAX_ARGUMENT_CHARS: Final = 262_144
_CUTS: Final = {"length": TurnReason.TOO_LONG, "content_filter": TurnReason.FILTERED}


@dataclass(slots=True)
class _Call:
    """A call of a tool, whose arguments arrive in pieces."""

    index: object
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class _Round:
    """What one request has returned so far."""

    text: str = ""
    calls: list[_Call] = field(default_factory=list)
    argument_chars: int = 0
    thinking: bool = False
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
        # Whether the server accepts the option that asks for the numbers of tokens.
        self._counts_tokens = True

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
            async with aclosing(self._request(prompt, messages, round_)) as items:
                async for item in items:
                    if isinstance(item, Usage):
                        spent = [spent[0] + item.input_tokens, spent[1] + item.output_tokens]
                        yield Usage(*spent)
                    else:
                        yield item
            if (cut := _cut_off(round_)) is not None:
                yield cut
            if cut is not None or not round_.calls:
                return
            for number, call in enumerate(round_.calls):
                call.id = call.id or f"call-{len(messages)}-{number}"
            messages.append(_assistant(round_.text, round_.calls))
            for call in round_.calls:
                async with aclosing(self._run(call, messages)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            yield {"type": "start-step"}
        yield CutOff(TurnReason.TOO_LONG)

    async def _request(
        self, prompt: Prompt, messages: Sequence[dict[str, Any]], round_: _Round
    ) -> AsyncGenerator[AnswerItem]:
        body: dict[str, Any] = {"model": prompt.model or self._options.model, "messages": messages, "stream": True}
        if self._counts_tokens:
            body["stream_options"] = {"include_usage": True}
        if self._tools:
            body["tools"] = [_to_function(tool) for tool in self._tools.values()]
        url = f"{self._options.base_url.rstrip('/')}/chat/completions"
        try:
            async with self._client.open("POST", url, body) as events:
                async for event in events:
                    if event.get("error"):
                        raise reported_error(event["error"])
                    if isinstance(usage := event.get("usage"), dict):
                        yield Usage(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
                    for choice in _objects(event.get("choices"))[:1]:
                        for item in _read_choice(choice, round_):
                            yield item
        except ResponderFailure as failure:
            if self._counts_tokens and failure.kind in {"400", "422"} and "stream_options" in str(failure):
                self._counts_tokens = False
                failure.retryable, failure.retry_after_s = True, 0.0
            raise

    async def _run(self, call: _Call, messages: list[dict[str, Any]]) -> AsyncGenerator[AnswerItem]:
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
    messages = (*prompt.history, prompt.message)
    return [*system, *(_to_message(message, prompt.files.get(message.id, ())) for message in messages)]


def parsed_arguments(text: str) -> Any:
    """The arguments of a call; the text itself if it is no JSON."""
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text


def _to_message(message: StoredMessage, files: Sequence[PromptFile]) -> dict[str, Any]:
    content: Any = message.content
    if files:
        content = [{"type": "text", "text": message.content}, *map(_to_part, files)]
    return {"role": "assistant" if message.role == "AI" else "user", "content": content}


def _to_part(file: PromptFile) -> dict[str, Any]:
    if file.text is None:
        return {"type": "image_url", "image_url": {"url": file.url}}
    return {"type": "text", "text": f"{file.name}:\n{clean_text(file.text)}"}


def _to_function(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _assistant(text: str, calls: Sequence[_Call]) -> dict[str, Any]:
    return {
        "role": "assistant",
        # An escaped surrogate pair may arrive in two pieces, and a lone surrogate cannot be sent.
        "content": clean_text(text) or None,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": clean_text(call.arguments) or "{}"},
            }
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
            round_.thinking = True
            items.append({"type": "reasoning-delta", "id": "reasoning", "delta": thought})
        text = delta.get("content")
        pieces = _objects(delta.get("tool_calls"))
        if round_.thinking and (text or pieces):
            round_.thinking = False
            items.append({"type": "reasoning-end", "id": "reasoning"})
        if isinstance(text, str) and text:
            round_.text += text
            items.append(text)
        for piece in pieces:
            _add_call(piece, round_)
    finish = choice.get("finish_reason")
    if isinstance(finish, str):
        round_.finish = finish
    return items


def _cut_off(round_: _Round) -> CutOff | None:
    if round_.finish in _CUTS:
        return CutOff(_CUTS[round_.finish])
    if round_.finish is not None:
        return None
    if not round_.text and not round_.calls:
        raise ResponderFailure("the stream ended without an answer", retryable=True, kind="cut")
    return CutOff(TurnReason.CUT_BY_PROVIDER)


def _add_call(piece: dict[str, Any], round_: _Round) -> None:
    index, call_id, function = piece.get("index"), piece.get("id"), piece.get("function")
    function = function if isinstance(function, dict) else {}
    call = next((call for call in reversed(round_.calls) if call.index == index), None)
    # Some servers send whole calls without an index, or all with the same one.
    other = call is not None and call.id and isinstance(call_id, str) and call_id not in {"", call.id}
    if call is None or other or (index is None and function.get("name")):
        if len(round_.calls) >= MAX_CALLS:
            raise ResponderFailure(f"the model calls more than {MAX_CALLS} tools at once", kind="too-long")
        call = _Call(index)
        round_.calls.append(call)
    if isinstance(call_id, str) and call_id:
        call.id = call_id
    name, arguments = function.get("name"), function.get("arguments")
    round_.argument_chars += sum(len(text) for text in (name, arguments) if isinstance(text, str))
    if round_.argument_chars > MAX_ARGUMENT_CHARS:
        raise ResponderFailure(f"arguments of more than {MAX_ARGUMENT_CHARS} characters", kind="too-long")
    if isinstance(name, str) and name != call.name:
        call.name += name
    if isinstance(arguments, str):
        call.arguments += arguments


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
