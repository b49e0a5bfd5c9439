"""Implementations of `chat.ports.Responder`, which answer USER messages; and what a team's own responder needs.

May import: chat, contract, backoff, loading.

| module | what |
|---|---|
| ``demo`` | quotes the message; needs no model |
| ``function`` | a team's own Python function |
| ``openai``, ``openai_responses`` | Chat Completions, of OpenAI and compatible servers; the Responses API |
| ``agui`` | any AG-UI agent |
| ``ui_stream`` | an endpoint that answers with the AI SDK's UI message stream |
| ``options`` | addresses, keys and time limits of providers |
| ``http_stream``, ``sse`` | requests to providers, and the server-sent events of their responses |
| ``threads`` | threads for functions that are not ``async`` |
| ``tools`` | functions that an answer calls |
"""

from roomcast.chat.ports import AnswerItem, CutOff, Prompt, ResponderFailure, Usage
from roomcast.responders.tools import Tool, ToolCall

__all__ = ["AnswerItem", "CutOff", "Prompt", "ResponderFailure", "Tool", "ToolCall", "Usage"]
