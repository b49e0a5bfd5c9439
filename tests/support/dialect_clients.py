"""Clients of the dialects as small as the tests need: the AI SDK over SSE and websocket, and AG-UI.

Each reads one stream, and can be cut at any event.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import connect


async def read_events(response: httpx.Response) -> AsyncIterator[Any]:
    """The JSON of each server-sent event, and ``[DONE]`` as it is. Comments are left out."""
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
            yield data if data == "[DONE]" else json.loads(data)
        else:
            assert line == "" or line.startswith(":"), line


def user_message(message_id: str, text: str) -> dict[str, Any]:
    """A ``UIMessage`` of a user."""
    return {"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}


def question(chat_id: str, message_id: str, text: str, **changes: Any) -> dict[str, Any]:
    """The body of ``DefaultChatTransport``."""
    return {
        "id": chat_id,
        "messages": [user_message(message_id, text)],
        "trigger": "submit-message",
        **changes,
    }


class UiMessage:
    """The assistant message that ``useChat`` builds from chunks.

    Attributes:
        id: As the ``start`` chunk names it.
        ended: The chunk that ended it.
    """

    def __init__(self) -> None:
        self.id: str | None = None
        self.ended: Mapping[str, Any] | None = None
        self._texts: dict[str, str] = {}
        self._done: set[str] = set()

    @property
    def text(self) -> str:
        """Its text parts."""
        return "\n\n".join(text for text in self._texts.values() if text)

    def apply(self, chunk: Mapping[str, Any]) -> None:
        """Apply the next chunk, by the rules of ``process-ui-message-stream.ts``."""
        assert self.ended is None, f"{chunk} after the end"
        match chunk["type"]:
            case "start":
                assert self.id is None
                self.id = chunk.get("messageId")
            case "text-start":
                assert chunk["id"] not in self._texts
                self._texts[chunk["id"]] = ""
            case "text-delta":
                assert chunk["id"] not in self._done
                self._texts[chunk["id"]] += chunk["delta"]
            case "text-end":
                assert chunk["id"] in self._texts
                self._done.add(chunk["id"])
            case "finish" | "abort" | "error":
                self.ended = chunk


class ChatSocket:
    """A client of the frames of ``WebSocketChatTransport``."""

    def __init__(self, websocket: Any, headers: Mapping[str, str]) -> None:
        self.websocket = websocket
        self._headers = dict(headers)

    async def send(self, kind: str, request_id: str, **fields: Any) -> None:
        """Send a frame."""
        frame = {"type": kind, "requestId": request_id, **fields}
        if kind != "abort":
            frame |= {"headers": self._headers, "body": {}}
        await self.websocket.send(json.dumps(frame))

    async def receive(self) -> dict[str, Any]:
        """The next frame."""
        frame: dict[str, Any] = json.loads(await self.websocket.recv())
        return frame

    async def chunks(self, request_id: str) -> AsyncIterator[dict[str, Any]]:
        """The chunks of a request, whose sequence is checked, up to ``end``."""
        expected = 0
        while True:
            frame = await self.receive()
            assert frame["requestId"] == request_id
            if frame["type"] == "end":
                return
            if frame["type"] == "start":
                continue
            assert (frame["type"], frame["sequence"]) == ("chunk", expected), frame
            expected += 1
            yield frame["chunk"]


@asynccontextmanager
async def open_socket(url: str, headers: Mapping[str, str] | None = None, **options: Any) -> AsyncIterator[ChatSocket]:
    """A websocket of the API at this base URL, whose frames have these headers."""
    async with connect(f"{url.replace('http', 'ws', 1)}/api/ai/ws", **options) as websocket:
        yield ChatSocket(websocket, headers or {})
