"""A responder that answers with everything that it received: ``support.context_responder:answer``."""

from __future__ import annotations

from collections.abc import AsyncIterator

from roomcast.chat.ports import Prompt


async def answer(prompt: Prompt) -> AsyncIterator[str]:
    """Yield the system prompt and the texts of the history and of the question."""
    yield prompt.system or "no system prompt"
    for message in (*prompt.history, prompt.message):
        yield f" {message.content}"
        for file in prompt.files.get(message.id, ()):
            yield f" {file.text}"
