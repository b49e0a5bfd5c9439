"""A team's own HTTP endpoint that answers with the AI SDK's UI message stream.

Layer: responders. Source: AI SDK 7, "Stream Protocols", "Data Stream Protocol"; `DefaultChatTransport` for the request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from roomcast.chat.model import StoredMessage
from roomcast.chat.ports import AnswerItem, CutOff, Prompt, PromptFile, ResponderFailure
from roomcast.contract.events import TurnReason
from roomcast.responders.http_stream import EventStreamClient, describe_error
from roomcast.responders.options import EndpointOptions


class UiStreamResponder:
    """Answers with an endpoint that a ``useChat`` of the AI SDK could call.

    Args:
        options: How to reach the endpoint.
        name: The name by which chats refer to the responder.
    """

    def __init__(self, options: EndpointOptions, name: str = "http") -> None:
        self._options = options
        self._name = name
        self._client = EventStreamClient(options.headers, options.limits)

    @property
    def name(self) -> str:
        """See the port."""
        return self._name

    async def respond(self, prompt: Prompt) -> AsyncIterator[AnswerItem]:
        """See the port."""
        async with self._client.open("POST", self._options.url, _body(prompt)) as events:
            async for event in events:
                match event.get("type"):
                    case "error":
                        text = describe_error({"message": event.get("errorText")})
                        raise ResponderFailure(f"the endpoint reported: {text}", kind="error-event")
                    case "abort":
                        yield CutOff(TurnReason.CUT_BY_PROVIDER)
                        return
                    case "finish":
                        return
                    case _:
                        yield event
        yield CutOff(TurnReason.CUT_BY_PROVIDER)


def _body(prompt: Prompt) -> dict[str, Any]:
    body = {
        "id": prompt.message.chat_id,
        "messages": [
            _to_ui_message(message, prompt.files.get(message.id, ())) for message in (*prompt.history, prompt.message)
        ],
        "trigger": "submit-message",
        "messageId": prompt.turn_id,
        "system": prompt.system,
        "model": prompt.model,
    }
    return {key: value for key, value in body.items() if value is not None}


def _to_ui_message(message: StoredMessage, files: Sequence[PromptFile]) -> dict[str, Any]:
    role = "assistant" if message.role == "AI" else "user"
    parts = [{"type": "file", "mediaType": file.type, "filename": file.name, "url": file.url} for file in files]
    return {"id": message.id, "role": role, "parts": [{"type": "text", "text": message.content}, *parts]}
