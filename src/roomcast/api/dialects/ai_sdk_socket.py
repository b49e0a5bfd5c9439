"""The AI SDK's ``WebSocketChatTransport``: several requests, of any chats, on one websocket at ``/api/ai/ws``.

A client's frame is ``send``, ``resume`` or ``abort``, the server's ``start``, ``chunk``, ``end``, ``error`` or
``no-active``; each has the ``requestId``. ``send`` and ``resume`` have headers, and are authenticated by
``authorization``, since a browser can set no header of a websocket; a token in the URL is not read. ``abort``, which
``useChat`` sends for ``stop()``, stops the answer for all; a closed socket does not.

Layer: api. Source: npm ``ai`` 7, ``src/ui/websocket-chat-transport.ts``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from contextlib import aclosing, suppress
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, WebSocket
from pydantic import Field, StringConstraints, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocketDisconnect, WebSocketState

from roomcast.api.dialects.ai_sdk import ChatRequest, stream_turn, turn_of
from roomcast.api.dialects.asking import Conversation
from roomcast.api.dialects.sending import TOO_MANY, OpenStreams, encode, error_text
from roomcast.api.options import ApiOptions
from roomcast.api.problems import problem_response
from roomcast.api.services import ApiServices
from roomcast.auth.scopes import ServiceScope
from roomcast.contract.model import Payload
from roomcast.contract.text import ChatId
from roomcast.observability.logs import LIMITED
from roomcast.realtime.options import ServerOptions
from roomcast.realtime.requests.origins import OriginPolicy

logger = logging.getLogger(__name__)

#: The transport connects when it has something to send.
FIRST_FRAME_S: Final = 15.0
#: Clients connect again when they need it.
IDLE_S: Final = 300.0
#: Requests of one socket that are streamed at once.
MAX_REQUESTS: Final = 32
#: Sockets that have not sent a valid token yet. Each may hold an unfinished frame; beyond it the first one is closed.
MAX_UNKNOWN: Final = 64
_POLICY_VIOLATION: Final = 1008
_GOING_AWAY: Final = 1001
#: A close frame has at most 123 bytes of reason; JSON pointers and texts of Pydantic are ASCII.
_MAX_REASON_CHARS: Final = 120

RequestId = Annotated[str, StringConstraints(min_length=1, max_length=128)]

router = APIRouter()


class _Resume(Payload):
    type: Literal["resume"]
    request_id: RequestId
    id: ChatId
    headers: Annotated[dict[str, str], Field(default_factory=dict)]


class _Send(ChatRequest):
    type: Literal["send"]
    request_id: RequestId
    headers: Annotated[dict[str, str], Field(default_factory=dict)]


class _Abort(Payload):
    type: Literal["abort"]
    request_id: RequestId


class _AnyRequest(Payload):
    request_id: RequestId


_REQUEST: Final = TypeAdapter(_AnyRequest)
_FRAME: Final[TypeAdapter[_Send | _Resume | _Abort]] = TypeAdapter(
    Annotated[_Send | _Resume | _Abort, Field(discriminator="type")]
)


class _Request:
    """One request of a socket.

    Attributes:
        turn_id: The turn that is streamed; None: not known yet.
        aborted: Whether the client has aborted it.
        task: Answers it.
    """

    def __init__(self, chat: Conversation) -> None:
        self.chat = chat
        self.turn_id: str | None = None
        self.aborted = False
        self.task: asyncio.Task[None] | None = None


class UnknownSockets:
    """The sockets that have not sent a valid token yet, the oldest first."""

    def __init__(self) -> None:
        self._sockets: dict[_Socket, None] = {}

    def add(self, socket: _Socket) -> None:
        """Add one, and close the oldest if there are too many."""
        self._sockets[socket] = None
        if len(self._sockets) > MAX_UNKNOWN:
            oldest = next(iter(self._sockets))
            self.discard(oldest)
            oldest.close_soon()

    def discard(self, socket: _Socket) -> None:
        """The socket has sent a valid token, or ended."""
        self._sockets.pop(socket, None)


class _Socket:
    """One accepted websocket."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        state = websocket.app.state
        self._services: ApiServices = state.services
        self._streams: OpenStreams = state.streams
        self._unknown: UnknownSockets = state.unknown_sockets
        self._requests: dict[str, _Request] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle_s = FIRST_FRAME_S
        self._idle: asyncio.Timeout | None = None

    def close_soon(self) -> None:
        """Close the socket as if it were idle."""
        self._idle_s = 0.0
        if self._idle is not None:
            self._idle.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Process frames until the socket closes. Its requests end with it; their turns and its stops go on."""
        self._unknown.add(self)
        try:
            while (text := await self._receive()) is not None and await self._process(text):
                pass
        finally:
            self._unknown.discard(self)
            for request in self._requests.values():
                # One that was aborted before its turn is known stops the turn first.
                if request.task is not None and not request.aborted:
                    request.task.cancel()
            while self._tasks:
                await asyncio.wait(self._tasks)

    async def _receive(self) -> str | None:
        """The next frame; None: the socket has closed, or was idle for too long."""
        while True:
            try:
                async with asyncio.timeout(self._idle_s) as self._idle:
                    message = await self._websocket.receive()
            except TimeoutError:
                if self._requests:
                    continue
                await self._close(_GOING_AWAY, "idle")
                return None
            finally:
                self._idle = None
            return message.get("text") or "" if message["type"] == "websocket.receive" else None

    async def _process(self, text: str) -> bool:
        """Process a frame; False: the socket was closed, since the frame belongs to no request."""
        try:
            frame = _FRAME.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            problem = f"invalid frame: {'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
            try:
                await self._send("error", _REQUEST.validate_json(text).request_id, errorText=problem)
            except ValidationError:
                await self._close(_POLICY_VIOLATION, problem[:_MAX_REASON_CHARS])
                return False
            return True
        if isinstance(frame, _Abort):
            self._abort(frame.request_id)
        elif frame.request_id in self._requests or len(self._requests) >= MAX_REQUESTS:
            await self._close(_POLICY_VIOLATION, f"a requestId in use, or more than {MAX_REQUESTS} requests")
            return False
        else:
            await self._begin(frame)
        return True

    async def _begin(self, frame: _Send | _Resume) -> None:
        authorization = next((value for name, value in frame.headers.items() if name.lower() == "authorization"), None)
        try:
            # Both kinds of requests may be aborted, which stops the turn.
            request = _Request(await Conversation.begin(self._services, authorization, ServiceScope.WRITE, frame.id))
        except HTTPException as error:
            await self._send("error", frame.request_id, errorText=error_text(error))
            return
        self._unknown.discard(self)
        self._idle_s = IDLE_S
        self._requests[frame.request_id] = request
        request.task = self._start(self._answer(frame, request))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _abort(self, request_id: str) -> None:
        request = self._requests.get(request_id)
        if request is None or request.aborted:
            return
        request.aborted = True
        if request.turn_id is not None and request.task is not None:
            request.task.cancel()
            self._start(_stop(request.chat, request.turn_id))

    async def _answer(self, frame: _Send | _Resume, request: _Request) -> None:
        request_id = frame.request_id
        if not self._streams.take():
            del self._requests[request_id]
            await self._send("error", request_id, errorText=TOO_MANY)
            return
        try:
            await self._stream(frame, request)
        except Exception as error:  # noqa: BLE001 - the client gets the error of its request
            await self._send("error", request_id, errorText=error_text(error))
        finally:
            self._streams.give_back()
            self._requests.pop(request_id, None)

    async def _stream(self, frame: _Send | _Resume, request: _Request) -> None:
        request_id = frame.request_id
        if isinstance(frame, _Send):
            turn_id = await turn_of(request.chat, frame)
        else:
            turn = await request.chat.active()
            if turn is None:
                await self._send("no-active", request_id)
                return
            turn_id = turn.id
            await self._send("start", request_id)
        request.turn_id = turn_id
        if request.aborted and turn_id is not None:
            await _stop(request.chat, turn_id)
            return
        sequence = 0
        async with aclosing(stream_turn(request.chat, turn_id)) as chunks:
            async for chunk in chunks:
                if chunk is not None:
                    await self._send("chunk", request_id, sequence=sequence, chunk=chunk)
                    sequence += 1
        await self._send("end", request_id)

    async def _send(self, kind: str, request_id: str, **fields: Any) -> None:
        """Send a frame, unless the socket has closed."""
        if self._is_open:
            frame: Mapping[str, Any] = {"type": kind, "requestId": request_id, **fields}
            with suppress(WebSocketDisconnect):
                await self._websocket.send_text(encode(frame))

    async def _close(self, code: int, reason: str) -> None:
        if self._is_open:
            with suppress(WebSocketDisconnect):
                await self._websocket.close(code, reason)

    @property
    def _is_open(self) -> bool:
        states = (self._websocket.client_state, self._websocket.application_state)
        return WebSocketState.DISCONNECTED not in states


async def _stop(chat: Conversation, turn_id: str) -> None:
    try:
        await chat.stop(turn_id)
    except Exception as error:  # noqa: BLE001 - an abort has no answer
        logger.warning("an abort did not stop its turn: %s", error_text(error), extra={"turn_id": turn_id})


@router.websocket("/api/ai/ws")
async def serve(websocket: WebSocket) -> None:
    """Serve one websocket."""
    options: ApiOptions = websocket.app.state.options
    policy = OriginPolicy(ServerOptions(cors_allowed_origins=options.allowed_origins))
    headers, secure = websocket.headers, websocket.url.scheme == "wss"
    if not policy.allows_origin(headers.get("origin"), headers.get("host"), secure=secure):
        facts = {"origin": headers.get("origin"), "setting": "ALLOWED_ORIGINS", LIMITED: "origin"}
        logger.info("handshake refused", extra=facts)
        problem = problem_response(403, "pages of this origin may not connect; ALLOWED_ORIGINS lists those that may")
        await websocket.send_denial_response(problem)
        return
    await websocket.accept()
    await _Socket(websocket).run()
