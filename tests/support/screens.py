"""What a client shows of one answer, through reconnects, by the documented rules of a client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import httpx
import socketio.exceptions

from support.clients import ChatClient, get

FINAL = {"complete", "stopped", "incomplete", "failed"}
#: Whatever a cut connection may raise.
_CUT = (TimeoutError, ConnectionError, aiohttp.ClientError, httpx.HTTPError, socketio.exceptions.SocketIOError)


class Screen:
    """Shows the answer of a turn until it has ended.

    Args:
        api_url: Where whole messages are read.
        gateway_url: Called for each connection.
        chat_id: The chat.
        turn_id: The turn.

    Attributes:
        shown: Each text that was shown, in order.
        turn: The final turn; None before its end.
        ended_at: Loop time of the end.
        fetched: Whether the text at the end was read whole, because chunks were missing.
        connections: Number of connections so far.
    """

    def __init__(self, api_url: str, gateway_url: Callable[[], str], chat_id: str, turn_id: str) -> None:
        self.shown: list[str] = []
        self.chunk_times: list[float] = []
        self.turn: dict[str, Any] | None = None
        self.ended_at = 0.0
        self.fetched = False
        self.connections = 0
        self._api_url = api_url
        self._gateway_url = gateway_url
        self._chat_id = chat_id
        self._turn_id = turn_id
        self._generation, self._last = 0, -1
        self._parts: dict[str, str] = {}
        self._client: ChatClient | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def text(self) -> str:
        """What is shown."""
        return self.shown[-1] if self.shown else ""

    def start(self) -> None:
        """Begin to follow; returns at once."""
        self._task = asyncio.create_task(self._run())

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def finished(self, limit_s: float = 30.0) -> dict[str, Any]:
        """Wait for the end; the final turn."""
        assert self._task is not None
        async with asyncio.timeout(limit_s):
            await asyncio.shield(self._task)
        assert self.turn is not None
        return self.turn

    async def cut(self) -> None:
        """Cut the connection, as a network does."""
        if self._client is not None and (socket := self._client._client.eio.ws) is not None:
            await socket.close()

    def reload(self) -> None:
        """Forget everything, as a reloaded page does, and begin again."""
        assert self._task is not None
        self._task.cancel()
        self._generation, self._last, self._parts = 0, -1, {}
        self.shown.append("")
        self.start()

    async def stop(self) -> float:
        """Stop the answer; the loop time of the request."""
        assert self._client is not None
        began = asyncio.get_running_loop().time()
        ack = await self._client.call("ai-stop", {"chatId": self._chat_id, "turnId": self._turn_id})
        assert ack["ok"] is True, ack
        return began

    async def _run(self) -> None:
        while self.turn is None:
            try:
                async with ChatClient(self._gateway_url()) as client:
                    self._client = client
                    self.connections += 1
                    await self._follow(client)
            except _CUT:
                await asyncio.sleep(0.05)
            finally:
                self._client = None

    async def _follow(self, client: ChatClient) -> None:
        ack = await client.call("join-chat", {"chatId": self._chat_id, "stream": True})
        if not ack["ok"]:
            raise TimeoutError(ack)
        message = await self._stored()
        if message is not None and message["turn"]["status"] in FINAL:
            self._end(message["turn"], message)
            return
        await self._resume(client)
        gone = asyncio.create_task(client.disconnected.wait())
        try:
            while self.turn is None:
                event = asyncio.create_task(client.next_event(60))
                await asyncio.wait({event, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not event.done():
                    event.cancel()
                    return
                await self._take(client, *event.result())
        finally:
            gone.cancel()

    async def _take(self, client: ChatClient, name: str, data: Any) -> None:
        if name == "ai-chunk" and data["turnId"] == self._turn_id:
            self.chunk_times.append(asyncio.get_running_loop().time())
            if not self._accept(data):
                await self._resume(client)
        elif name == "ai-end" and data["id"] == self._turn_id:
            turn = data["turn"]
            exact = self._last == turn["last"]
            self._end(turn, None if exact else await self._must_be_stored())
        elif name == "ai-status" and data["turn"]["id"] == self._turn_id and data["turn"]["status"] in FINAL:
            self._end(data["turn"], None)
        elif name == "resync":
            message = await self._stored()
            if message is not None and message["turn"]["status"] in FINAL:
                self._end(message["turn"], message)

    def _accept(self, event: Mapping[str, Any]) -> bool:
        generation = event.get("generation", 1)
        if generation < self._generation or (generation == self._generation and event["last"] <= self._last):
            return True
        if event["first"] == 0:
            self._parts = {}
        elif generation != self._generation or event["first"] != self._last + 1 or not event["chunks"]:
            return False
        self._apply(generation, event)
        return True

    def _apply(self, generation: int, event: Mapping[str, Any]) -> None:
        self._generation, self._last = generation, event["last"]
        for chunk in event["chunks"]:
            if chunk["type"] == "text-start":
                self._parts[chunk["id"]] = ""
            elif chunk["type"] == "text-delta":
                self._parts[chunk["id"]] += chunk["delta"]
        self._show("\n\n".join(filter(None, self._parts.values())))

    def _show(self, text: str) -> None:
        if text != self.text or not self.shown:
            self.shown.append(text)

    async def _resume(self, client: ChatClient) -> None:
        for _ in range(20):
            ack = await client.call("ai-resume", {"chatId": self._chat_id, "turnId": self._turn_id})
            if ack["ok"]:
                if (ack["generation"], ack["last"]) > (self._generation, self._last):
                    self._parts = {}
                    self._apply(ack["generation"], ack)
                return
            await asyncio.sleep(0.25)
        raise TimeoutError(ack)

    async def _stored(self) -> dict[str, Any] | None:
        page = await get(f"{self._api_url}/api/chats/{self._chat_id}/messages")
        return next((message for message in page["messages"] if message["id"] == self._turn_id), None)

    async def _must_be_stored(self) -> dict[str, Any]:
        message = await self._stored()
        assert message is not None
        return message

    def _end(self, turn: dict[str, Any], message: Mapping[str, Any] | None) -> None:
        if message is not None:
            self.fetched = True
            self._show(message["content"])
        self.ended_at = asyncio.get_running_loop().time()
        self.turn = turn
