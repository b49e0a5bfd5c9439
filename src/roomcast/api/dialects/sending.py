"""The answer of a turn as a stream of a dialect: its chunks, pauses, the limits of open streams, errors.

Layer: api.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from roomcast.api.problems import problem_response
from roomcast.chat.errors import ChatError, StoreUnavailable
from roomcast.chat.ports.responder import Chunk
from roomcast.realtime.options import CUT_AT_DRAIN

logger = logging.getLogger(__name__)

#: Below the idle limits of common proxies (60 s), for streams of answers that wait in a queue or think.
PAUSE_S: Final = 15.0
#: Streams of one process, over HTTP and websockets. Each holds a follower of a turn.
MAX_STREAMS: Final = 2_000
#: Those of Python's ``str.splitlines``, which httpx uses, that JSON does not escape.
_LINE_ENDS: Final = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}
TOO_MANY: Final = "this process streams too many answers; repeat the request"


class OpenStreams:
    """Counts the streams that are open."""

    def __init__(self, limit: int = MAX_STREAMS) -> None:
        self._left = limit

    def take(self) -> bool:
        """Open one; False: too many are open."""
        if not self._left:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Close one."""
        self._left += 1


async def with_pauses(
    chunks: AsyncGenerator[Chunk], check: Callable[[], Awaitable[None]]
) -> AsyncGenerator[Chunk | None]:
    """The chunks, and None after each `PAUSE_S` without one.

    Args:
        chunks: The chunks of a turn; closed at the end.
        check: Called every `PAUSE_S`; fails if the caller may no longer read the chat.
    """
    waiting: asyncio.Future[Chunk] | None = None
    checked_at = time.monotonic()
    async with aclosing(chunks):
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(anext(chunks))
                done, _ = await asyncio.wait({waiting}, timeout=PAUSE_S)
                if time.monotonic() - checked_at >= PAUSE_S:
                    checked_at = time.monotonic()
                    try:
                        await check()
                    except StoreUnavailable:
                        logger.debug("access to a streamed answer was not checked: the database is unavailable")
                if not done:
                    yield None
                    continue
                try:
                    chunk = waiting.result()
                except StopAsyncIteration:
                    return
                waiting = None
                yield chunk
        finally:
            if waiting is not None:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)


def error_text(error: Exception) -> str:
    """What a client may know of an error after its stream has begun. Unexpected errors are logged."""
    match error:
        case StoreUnavailable():
            return "the database is unavailable; repeat the request"
        case ChatError():
            return str(error)
        case HTTPException():
            return str(error.detail)
        case RequestValidationError():
            return "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors()[:3])
    logger.error("a stream of an answer failed", exc_info=error)
    return "internal error; the cause was logged, and a retry may succeed"


def encode(message: Mapping[str, Any]) -> str:
    """A message as JSON on one line, also for clients that take other characters than LF for line ends."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).translate(_LINE_ENDS)


class EventStream(StreamingResponse):
    """A response of server-sent events, which ends early when its client leaves or the process drains.

    Args:
        streams: The open streams of the process.
        messages: The messages; None: a comment that keeps the connection open.
        last: Data of the last event, as it is; None: the stream ends after the messages.
        headers: Further headers.
    """

    def __init__(
        self,
        streams: OpenStreams,
        messages: AsyncGenerator[Mapping[str, Any] | None],
        *,
        last: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        # A proxy must neither store the stream nor wait for its end.
        no_buffers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(
            _events(messages, last), headers={**no_buffers, **(headers or {})}, media_type="text/event-stream"
        )
        self._streams = streams
        self._messages = messages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream, or 503 if too many are open."""
        async with aclosing(self._messages):
            if not self._streams.take():
                await problem_response(503, TOO_MANY, headers={"Retry-After": "5"})(scope, receive, send)
                return
            try:
                if (cut := scope.get("extensions", {}).get(CUT_AT_DRAIN)) is not None:
                    cut["mark"]()
                await super().__call__(scope, receive, send)
            finally:
                self._streams.give_back()


async def _events(messages: AsyncIterator[Mapping[str, Any] | None], last: str | None) -> AsyncIterator[bytes]:
    yield b": open\n\n"
    async for message in messages:
        yield b": keep-alive\n\n" if message is None else f"data: {encode(message)}\n\n".encode()
    if last is not None:
        yield f"data: {last}\n\n".encode()
