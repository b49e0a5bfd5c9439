"""Chat clients for tests: python-socketio's client, which records what it receives in order of arrival.

async with ChatClient(server.gateway_url) as ada:
    ack = await ada.join("c1")
    await send(server.api_url, "c1", "hello")
    message = await ada.next_message()
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import aiohttp
import httpx
import socketio

LIMIT_S = 5.0


@contextlib.asynccontextmanager
async def http_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session for python-socketio's ``http_session``, which closes every response.

    python-engineio does not read the answer to a refused poll. If its body arrives late, the connection stays in a
    reference cycle, and its ResourceWarning fails the test in which the collector finds it.
    """
    responses: list[aiohttp.ClientResponse] = []

    async def keep(_session: object, _context: object, end: aiohttp.TraceRequestEndParams) -> None:
        responses.append(end.response)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(keep)
    async with aiohttp.ClientSession(trace_configs=[trace]) as session:
        try:
            yield session
        finally:
            for response in responses:
                response.close()


class ChatClient:
    """One Socket.IO connection.

    Attributes:
        received: Events and acks in order of arrival: ``(name, data)``; a join's ack is ``("ack:join-chat", ack)``.
    """

    def __init__(
        self,
        url: str,
        *,
        transports: tuple[str, ...] = ("websocket",),
        auth: Any = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.url = url
        self.received: list[tuple[str, Any]] = []
        self.disconnected = asyncio.Event()
        self._transports = list(transports)
        self._auth = auth
        self._headers = headers or {}
        self._arrived = asyncio.Event()
        self._returned = 0

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(http_session())
            self._client = socketio.AsyncClient(reconnection=False, http_session=session)
            self._client.on("*", self._on_event)
            self._client.on("disconnect", self._on_disconnect)
            await self._client.connect(
                self.url, headers=self._headers, auth=self._auth, transports=self._transports, wait_timeout=LIMIT_S
            )
            self._session = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client.connected:
            # python-engineio does not send its close packet while a POST is in flight. Its last poll would then stay
            # open until the server's next ping.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LIMIT_S):
                    await self._client.eio.queue.join()
        await self._client.disconnect()
        await self._session.aclose()

    @property
    def transport(self) -> str:
        """``websocket`` or ``polling``."""
        return str(self._client.transport())

    async def emit(self, event: str, *args: Any) -> None:
        """Emit without an ack."""
        await self._client.emit(event, args)

    async def call(self, event: str, *args: Any) -> Any:
        """Emit and wait for the ack."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def acknowledged(*answer: Any) -> None:
            self._record(f"ack:{event}", answer[0] if answer else None)
            if not done.done():
                done.set_result(answer[0] if answer else None)

        await self._client.emit(event, args, callback=acknowledged)
        return await asyncio.wait_for(done, LIMIT_S)

    async def join(self, chat_id: str, *, since: dict[str, Any] | None = None) -> dict[str, Any]:
        """Join a chat and return the ack."""
        payload = chat_id if since is None else {"chatId": chat_id, "since": since}
        ack: dict[str, Any] = await self.call("join-chat", payload)
        return ack

    async def next_event(self, limit_s: float = LIMIT_S) -> tuple[str, Any]:
        """The next event that no call has returned yet; acks are skipped."""
        async with asyncio.timeout(limit_s):
            while True:
                while self._returned < len(self.received):
                    name, data = self.received[self._returned]
                    self._returned += 1
                    if not name.startswith("ack:"):
                        return name, data
                self._arrived.clear()
                await self._arrived.wait()

    async def next_message(self, limit_s: float = LIMIT_S) -> dict[str, Any]:
        """The next event other than ``presence`` and ``ai-status``; fail unless it is ``new-msg``."""
        name, data = await self.next_event(limit_s)
        while name in {"presence", "ai-status"}:
            name, data = await self.next_event(limit_s)
        assert name == "new-msg", (name, data)
        message: dict[str, Any] = data
        return message

    def messages(self, chat_id: str | None = None) -> list[dict[str, Any]]:
        """Every ``new-msg`` so far."""
        return [
            data for name, data in self.received if name == "new-msg" and (chat_id is None or data["chatId"] == chat_id)
        ]

    async def _on_event(self, event: str, *args: Any) -> None:
        self._record(event, args[0] if args else None)

    async def _on_disconnect(self, *_reason: Any) -> None:
        self.disconnected.set()

    def _record(self, name: str, data: Any) -> None:
        self.received.append((name, data))
        self._arrived.set()


class PollingClient:
    """One Socket.IO connection over plain HTTP long-polling, one request at a time, so that the order is certain."""

    def __init__(self, url: str) -> None:
        self.received: list[tuple[str, Any]] = []
        self._address = f"{url}/socket.io/?EIO=4&transport=polling"
        self._http = httpx.AsyncClient(timeout=LIMIT_S)

    async def __aenter__(self) -> Self:
        opened = await self._http.get(self._address)
        self._address += f"&sid={json.loads(opened.text[1:])['sid']}"
        await self._post("40")
        await self.poll()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._post("1")
        await self._http.aclose()

    async def join(self, chat_id: str, *, since: dict[str, Any]) -> dict[str, Any]:
        """Join a chat and return the ack."""
        payload = json.dumps(["join-chat", {"chatId": chat_id, "since": since}])
        await self._post(f"420{payload}")
        while True:
            await self.poll()
            for name, data in self.received:
                if name == "ack:join-chat":
                    ack: dict[str, Any] = data
                    return ack

    async def poll(self) -> None:
        """Wait for the next packets and record their events."""
        answer = await self._http.get(self._address)
        answer.raise_for_status()
        for packet in answer.text.split("\x1e"):
            if packet == "2":
                await self._post("3")
            elif packet.startswith("430["):
                self.received.append(("ack:join-chat", json.loads(packet[3:])[0]))
            elif packet.startswith("42["):
                name, data = json.loads(packet[2:])
                self.received.append((name, data))

    async def _post(self, packet: str) -> None:
        answer = await self._http.post(self._address, content=packet, headers={"Content-Type": "text/plain"})
        answer.raise_for_status()


async def send(api_url: str, chat_id: str, content: str, **fields: Any) -> dict[str, Any]:
    """Send a message through the API and return it as it was stored."""
    body = {"chatId": chat_id, "role": "USER", "content": content, **fields}
    token = body.pop("token", None)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with _http() as client:
        answer = await client.post(f"{api_url}/api/chat/messages", json=body, headers=headers)
    answer.raise_for_status()
    message: dict[str, Any] = answer.json()
    return message


async def get(url: str, **params: Any) -> Any:
    """The JSON answer to a GET; fail unless it succeeds."""
    async with _http() as client:
        answer = await client.get(url, params=params)
    answer.raise_for_status()
    return answer.json()


def _http() -> httpx.AsyncClient:
    # Loading the certificate authorities would take longer than the request.
    return httpx.AsyncClient(timeout=LIMIT_S, verify=False)  # noqa: S501 - loopback
