"""OpenAI's Responses API. The provider keeps a response, so that another worker can continue an answer.

Layer: responders. Source: OpenAI API reference, "Responses", "Streaming events", "Background mode".
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from roomcast.chat.ports import AnswerItem, CutOff, Prompt, Reference, ResponderFailure, Usage
from roomcast.contract.events import TurnReason
from roomcast.responders.http_stream import EventStreamClient, reported_error
from roomcast.responders.openai import MAX_ROUNDS, parsed_arguments, to_messages
from roomcast.responders.options import OpenAiOptions
from roomcast.responders.tools import Tool, run_tool, to_tools

logger = logging.getLogger(__name__)

#: Connections for one response.
_MAX_CONNECTIONS: Final = 3
MAX_NUMBER: Final = 1_000_000_000
# LiteLLM's ids have 500 characters.
_ID: Final = re.compile(r"[A-Za-z0-9_.~=-]{1,1000}")
_REFERENCE: Final = re.compile(rf"({_ID.pattern}):([0-9]{{1,9}})")
_CUTS: Final = {"max_output_tokens": TurnReason.TOO_LONG, "content_filter": TurnReason.FILTERED}
_TEXTS: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})
_THOUGHTS: Final = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})
_THOUGHT_ENDS: Final = frozenset({"response.reasoning_summary_text.done", "response.reasoning_text.done"})
_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.cancelled"})


@dataclass(slots=True)
class _Response:
    """One response of the provider, as far as it was read: ``number`` is that of the last event."""

    id: str | None = None
    number: int = -1
    done: bool = False
    cut: TurnReason | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)


class OpenAiResponsesResponder:
    """Answers with a model behind the Responses API.

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
        self._url = f"{options.base_url.rstrip('/')}/responses"

    @property
    def name(self) -> str:
        """See the port."""
        return self._name

    async def respond(self, prompt: Prompt) -> AsyncIterator[AnswerItem]:
        """See the port."""
        body = {"input": [_to_input(message) for message in to_messages(prompt) if message["role"] != "system"]}
        answer = self._answer(prompt, "POST", self._url, {**self._body(prompt), **body}, _Response())
        async with aclosing(answer) as items:
            async for item in items:
                yield item

    async def resume(self, prompt: Prompt, ref: str) -> AsyncIterator[AnswerItem]:
        """See the port."""
        match = _REFERENCE.fullmatch(ref)
        if match is None:
            raise ResponderFailure("the reference has another format: another version wrote it")
        response = _Response(match[1], int(match[2]))
        async with aclosing(self._answer(prompt, "GET", self._continuation(response), None, response)) as items:
            async for item in items:
                yield item

    async def cancel(self, ref: str) -> None:
        """See the port."""
        match = _REFERENCE.fullmatch(ref)
        if match is not None:
            await self._client.send("POST", f"{self._url}/{match[1]}/cancel")

    async def _answer(
        self, prompt: Prompt, method: str, url: str, body: dict[str, Any] | None, response: _Response
    ) -> AsyncGenerator[AnswerItem]:
        """Read a response; run the tools that it calls, and read the responses to their results."""
        spent = [0, 0]
        for _ in range(MAX_ROUNDS):
            async with aclosing(self._read_whole(method, url, body, response)) as items:
                async for item in items:
                    if isinstance(item, Usage):
                        spent = [spent[0] + item.input_tokens, spent[1] + item.output_tokens]
                        yield Usage(*spent)
                    else:
                        yield item
            if response.cut is not None or not response.done:
                yield CutOff(response.cut or TurnReason.CUT_BY_PROVIDER)
                return
            if not response.calls:
                return
            outputs = []
            for call in response.calls:
                call_id, arguments = str(call.get("call_id")), call.get("arguments") or ""
                yield {
                    "type": "tool-input-available",
                    "toolCallId": call_id,
                    "toolName": str(call.get("name")),
                    "input": parsed_arguments(arguments),
                }
                chunk, text = await run_tool(self._tools, call_id, str(call.get("name")), arguments)
                yield chunk
                outputs.append({"type": "function_call_output", "call_id": call_id, "output": text})
            yield {"type": "start-step"}
            body = {**self._body(prompt), "previous_response_id": response.id, "input": outputs}
            method, url, response = "POST", self._url, _Response()
        yield CutOff(TurnReason.TOO_LONG)

    def _continuation(self, response: _Response) -> str:
        return f"{self._url}/{response.id}?stream=true&starting_after={response.number}"

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": prompt.model or self._options.model,
            "stream": True,
            # The provider goes on without this connection, and keeps the response.
            "background": True,
            "store": True,
        }
        if prompt.system is not None:
            body["instructions"] = prompt.system
        if self._tools:
            body["tools"] = [
                {
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                    "strict": False,
                }
                for tool in self._tools.values()
            ]
        return body

    async def _read_whole(
        self, method: str, url: str, body: dict[str, Any] | None, response: _Response
    ) -> AsyncGenerator[AnswerItem]:
        """Read a response, again from where the connection was lost."""
        for tries_left in reversed(range(_MAX_CONNECTIONS)):
            before = response.number
            try:
                async with aclosing(self._read(method, url, body, response)) as items:
                    async for item in items:
                        yield item
                if response.done:
                    return
            except ResponderFailure as failure:
                if not tries_left or failure.kind not in {"connect", "connection", "timeout"} or response.id is None:
                    raise
            if response.id is None or response.number == before:
                return
            logger.info("the connection to the provider was lost; the answer is continued")
            method, url, body = "GET", self._continuation(response), None

    async def _read(
        self, method: str, url: str, body: dict[str, Any] | None, response: _Response
    ) -> AsyncGenerator[AnswerItem]:
        async with self._client.open(method, url, body) as events:
            async for event in events:
                number = event.get("sequence_number")
                if isinstance(number, int) and number <= response.number:
                    continue
                for item in _read_event(event, response):
                    yield item
                if response.id is not None and isinstance(number, int) and number < MAX_NUMBER:
                    response.number = number
                    yield Reference(f"{response.id}:{number}")
                if response.done:
                    return


def _thought(event: dict[str, Any]) -> str:
    # LiteLLM's deltas have no index.
    return f"{event.get('item_id')}-{event.get('summary_index', event.get('content_index', 0))}"


def _read_event(event: dict[str, Any], response: _Response) -> list[AnswerItem]:
    kind = event.get("type")
    delta = event.get("delta")
    if kind in _TEXTS | _THOUGHTS:
        if not isinstance(delta, str) or not delta:
            return []
        return [delta if kind in _TEXTS else {"type": "reasoning-delta", "id": _thought(event), "delta": delta}]
    if kind in _THOUGHT_ENDS:
        return [{"type": "reasoning-end", "id": _thought(event)}]
    state = event.get("response")
    state = state if isinstance(state, dict) else {}
    if isinstance(found := state.get("id"), str) and _ID.fullmatch(found):
        response.id = found
    if kind in {"error", "response.failed"}:
        raise reported_error(state.get("error") or {key: event.get(key) for key in ("code", "message")})
    return _read_end(str(kind), state, response) if kind in _ENDS else []


def _read_end(kind: str, state: dict[str, Any], response: _Response) -> list[AnswerItem]:
    response.done = True
    if kind == "response.incomplete":
        details = state.get("incomplete_details")
        cause = details.get("reason") if isinstance(details, dict) else None
        response.cut = _CUTS.get(str(cause), TurnReason.CUT_BY_PROVIDER)
    elif kind == "response.cancelled":
        response.cut = TurnReason.CUT_BY_PROVIDER
    output = state.get("output")
    items = output if isinstance(output, list) else []
    response.calls = [item for item in items if isinstance(item, dict) and item.get("type") == "function_call"]
    usage = state.get("usage")
    if not isinstance(usage, dict):
        return []
    counts = (usage.get("input_tokens"), usage.get("output_tokens"))
    return [Usage(*(count if isinstance(count, int) else 0 for count in counts))]


def _to_input(message: dict[str, Any]) -> dict[str, Any]:
    """A message of Chat Completions as the Responses API has it: the parts of its content have other names."""
    content = message["content"]
    if isinstance(content, str):
        return message
    parts = [
        {"type": "input_text", "text": part["text"]}
        if part["type"] == "text"
        else {"type": "input_image", "image_url": part["image_url"]["url"]}
        for part in content
    ]
    return {**message, "content": parts}
