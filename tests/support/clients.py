"""Chat clients for tests: python-socketio's own client, with everything that it got in order of arrival.

async with ChatClient(server.gateway_url) as ada:
    ack = await ada.join("c1")
    await send(server.api_url, "c1", "hello")
    message = await ada.next_message()
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from types import TracebackType
from typing import Any, Self

import aiohttp
import httpx
import socketio

LIMIT_S = 5.0


class _Response(aiohttp.ClientResponse):
    """Lets go of its connection without a warning: python-engineio does not read the answer to a refused poll."""

    def __del__(self, *_: Any) -> None:
        if self._connection is not None:
            self._connection.release()
            self._connection = None


class ChatClient:
    """One Socket.IO connection.

    Attributes:
        received: Events and acks as they came: ``(name, data)``; the ack of a join is ``("ack:join-chat", ack)``.
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
        self._taken = 0

    async def __aenter__(self) -> Self:
        # Given from outside, since the engine leaves its own session open when the server ends the connection.
        self._http = aiohttp.ClientSession(response_class=_Response)
        self._client = socketio.AsyncClient(reconnection=False, http_session=self._http)
        self._client.on("*", self._on_event)
        self._client.on("disconnect", self._on_disconnect)
        try:
            await self._connect()
        except BaseException:
            await self._http.close()
            raise
        return self

    async def _connect(self) -> None:
        await self._client.connect(
            self.url, headers=self._headers, auth=self._auth, transports=self._transports, wait_timeout=LIMIT_S
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client.connected:
            # python-engineio forgets to say goodbye while a POST of its own is under way: its last poll then stays open
            # until the server's next ping. One that is stuck is left behind.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LIMIT_S):
                    await self._client.eio.queue.join()
        await self._client.disconnect()
        await self._http.close()

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
            self._note(f"ack:{event}", answer[0] if answer else None)
            if not done.done():
                done.set_result(answer[0] if answer else None)

        await self._client.emit(event, args, callback=acknowledged)
        return await asyncio.wait_for(done, LIMIT_S)

    async def join(self, chat_id: str, *, since: dict[str, Any] | None = None) -> dict[str, Any]:
        """Join a chat; the ack."""
        payload = chat_id if since is None else {"chatId": chat_id, "since": since}
        ack: dict[str, Any] = await self.call("join-chat", payload)
        return ack

    async def next_event(self, limit_s: float = LIMIT_S) -> tuple[str, Any]:
        """The next event that was not taken yet; acks are passed over."""
        async with asyncio.timeout(limit_s):
            while True:
                while self._taken < len(self.received):
                    name, data = self.received[self._taken]
                    self._taken += 1
                    if not name.startswith("ack:"):
                        return name, data
                self._arrived.clear()
                await self._arrived.wait()

    async def next_message(self, limit_s: float = LIMIT_S) -> dict[str, Any]:
        """The next event but ``presence``, which has to be ``new-msg``."""
        name, data = await self.next_event(limit_s)
        while name == "presence":
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
        self._note(event, args[0] if args else None)

    async def _on_disconnect(self, *_reason: Any) -> None:
        self.disconnected.set()

    def _note(self, name: str, data: Any) -> None:
        self.received.append((name, data))
        self._arrived.set()


class PollingClient:
    """One Socket.IO connection by bare HTTP long-polling, one request at a time: what came before what is certain."""

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
        """Join a chat; the ack."""
        payload = json.dumps(["join-chat", {"chatId": chat_id, "since": since}])
        await self._post(f"420{payload}")
        while True:
            await self.poll()
            for name, data in self.received:
                if name == "ack:join-chat":
                    ack: dict[str, Any] = data
                    return ack

    async def poll(self) -> None:
        """Take what the server has, or comes to have."""
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
    """Send a message through the API; the message as it was stored."""
    body = {"chatId": chat_id, "role": "USER", "content": content, **fields}
    token = body.pop("token", None)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with _http() as client:
        answer = await client.post(f"{api_url}/api/chat/messages", json=body, headers=headers)
    answer.raise_for_status()
    message: dict[str, Any] = answer.json()
    return message


async def get(url: str, **params: Any) -> Any:
    """What a GET answers, which has to be a success in JSON."""
    async with _http() as client:
        answer = await client.get(url, params=params)
    answer.raise_for_status()
    return answer.json()


def _http() -> httpx.AsyncClient:
    # Without TLS there are no authorities to load, which takes longer than the request.
    return httpx.AsyncClient(timeout=LIMIT_S, verify=False)  # noqa: S501 - loopback
