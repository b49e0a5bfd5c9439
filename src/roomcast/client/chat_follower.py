"""Every stored event of a chat, once and in order of seq, through restarts of gateways and APIs.

One loop: read the events that exist through REST, join with the cursor, then read frames. The events of the replay
precede the ack. Whatever is missing, for any cause (no complete replay, a gap, a `resync`), is read through REST. Any
failure ends the connection, and the loop begins again from the cursor.

Layer: client. Source: docs/design.md, "Joins" and "The client".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from roomcast.backoff import Backoff
from roomcast.client.api import Api
from roomcast.client.errors import Refused, Unreachable
from roomcast.client.gateway import GatewayConnection, open_gateway
from roomcast.contract.cursor import Cursor
from roomcast.contract.errors import ErrorCode
from roomcast.contract.events import (
    CHAT_ACTIVITY,
    CHAT_READ,
    PRESENCE,
    RESYNC,
    STORED_EVENTS,
    TYPING,
    EventType,
    Message,
)
from roomcast.contract.gateway import JoinChatAck
from roomcast.contract.rest import EventPage
from roomcast.contract.text import MAX_SEQ
from roomcast.wire.socketio import PacketType

#: The largest page of the API.
_PAGE: Final = 500
_FIRST_RETRY_S: Final = 0.5
_LONGEST_RETRY_S: Final = 10.0
#: Events of the chat that are not stored; `chat-activity` has the seq of another event.
_NOT_STORED: Final = frozenset({TYPING, PRESENCE, CHAT_ACTIVITY, CHAT_READ, RESYNC})
_REMOVED: Final = STORED_EVENTS[EventType.MEMBER_REMOVED].name
_MESSAGE: Final = STORED_EVENTS[EventType.MESSAGE_CREATED].name
_JOIN_ACK: Final = 1

#: Refusals of a join that a later one may not meet.
_FOR_NOW: Final = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.RATE_LIMITED, ErrorCode.INTERNAL})

#: Receives the payload of a message that is not stored.
OnLive = Callable[[dict[str, Any]], None]
#: Reads a page of events: after a seq, at most so many, with the epoch of the cursor.
Read = Callable[[int, int, str | None], Awaitable[EventPage]]
#: Chooses the seq to begin after, from the seq of the chat's last event.
Begin = Callable[[int], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        name: Name of the Socket.IO event.
        seq: Its number in the chat.
        data: Its argument.
        epoch: The epoch of the chat's history at the event.
    """

    name: str
    seq: int
    data: dict[str, Any]
    epoch: str = ""

    @property
    def cursor(self) -> Cursor:
        """The position after this event."""
        return Cursor(epoch=self.epoch, seq=self.seq)

    @property
    def message(self) -> Message | None:
        """The message of a ``new-msg``; None for other events."""
        return Message.model_validate(self.data) if self.name == _MESSAGE else None


@dataclass(frozen=True, slots=True)
class Reset:
    """The chat has another history, for example that of a backup: earlier events are void, and reading begins again.

    Attributes:
        seq: The last event of that history.
    """

    epoch: str
    seq: int


async def _from_the_first(_head: int) -> int:
    return 0


class ChatFollower:
    """Follows one chat.

    Args:
        api: The API.
        gateway_url: The base URL of the gateway.
        chat_id: The chat.
        begin: Where to begin: the position after the last event that is known, or a function of the head.
        changed: Called with None when the chat is joined, and with the cause when the connection or an attempt to
            connect fails.
        on_live: Called with each message that another program published on the guide's Redis channel.
        read: Replaces `Api.events` of the chat, to repeat requests that are not answered.

    Attributes:
        live: Whether the chat is joined, and no event is known to be missing.
    """

    def __init__(
        self,
        api: Api,
        gateway_url: str,
        chat_id: str,
        begin: Begin | Cursor,
        *,
        changed: Callable[[Unreachable | None], None] = lambda _error: None,
        on_live: OnLive = lambda _data: None,
        read: Read | None = None,
    ) -> None:
        self._api = api
        self._read = read or partial(api.events, chat_id)
        self._gateway_url = gateway_url
        self._chat_id = chat_id
        self._begin = begin
        self._changed = changed
        self._on_live = on_live
        self._cursor = Cursor(epoch="-", seq=0)
        self.live = False

    async def history(self) -> AsyncGenerator[Event | Reset, None]:
        """The events that exist now.

        Raises:
            ClientError: they cannot be read.
        """
        if isinstance(self._begin, Cursor):
            self._cursor = self._begin
            # After a reset, the history begins at its first event.
            self._begin = _from_the_first
            async for item in self._fetch(0, check=True):
                yield item
            return
        page = await self._read(MAX_SEQ, 1, None)
        self._cursor = Cursor(epoch=page.epoch, seq=await self._begin(page.seq))
        async for item in self._fetch(page.seq):
            yield item

    async def follow(self) -> AsyncGenerator[Event | Reset, None]:
        """The events after those of `history`, without an end.

        Raises:
            Refused: the token is not valid any more, or the user is no longer a member.
        """
        backoff = Backoff(_FIRST_RETRY_S, _LONGEST_RETRY_S)
        while True:
            pause_s = 0.0
            try:
                async with (
                    open_gateway(self._gateway_url, self._api) as connection,
                    aclosing(self._follow(connection)) as items,
                ):
                    async for item in items:
                        yield item
            except Unreachable as error:
                if self.live:
                    backoff.reset()
                self.live = False
                self._changed(error)
                pause_s = error.retry_after_s
            await asyncio.sleep(max(backoff.next_s(), pause_s))

    async def poll(self, pause_s: float) -> AsyncGenerator[Event | Reset, None]:
        """The events after those of `history`, without an end and without a gateway: read every ``pause_s`` seconds.

        Raises:
            Refused: the token is not valid any more, or there is no such chat any more.
        """
        while True:
            await asyncio.sleep(pause_s)
            try:
                async with aclosing(self._fetch(0, check=True)) as items:
                    async for item in items:
                        yield item
            except Unreachable as error:
                self._changed(error)

    async def _follow(self, connection: GatewayConnection) -> AsyncGenerator[Event | Reset, None]:
        payload = {"chatId": self._chat_id, "since": self._cursor.model_dump()}
        await connection.emit("join-chat", payload, _JOIN_ACK)
        while True:
            packet = await connection.receive()
            if packet.type is PacketType.ACK:
                items = self._joined(packet.data[0])
            else:
                name, data = packet.data[0], packet.data[1] if len(packet.data) > 1 else None
                if not isinstance(data, dict):
                    continue
                if name == "error":
                    # A disconnection follows. The next connection has a new token, or is refused.
                    raise Unreachable(f"the gateway says: {data.get('message')}")
                if data.get("chatId") != self._chat_id:
                    continue
                if name == _MESSAGE and "seq" not in data:
                    self._on_live(data)
                    continue
                items = self._received(str(name), data)
            async with aclosing(items):
                async for item in items:
                    yield item

    async def _joined(self, data: dict[str, Any]) -> AsyncGenerator[Event | Reset, None]:
        if data.get("ok") is not True:
            error = data["error"]
            code, message = error["code"], error["message"]
            if code in _FOR_NOW:
                raise Unreachable(f"the gateway says: {message}", float(error.get("retryAfter", 0)))
            # A gateway has one code for users that are no members, the API another one.
            refused = ErrorCode.CHAT_NOT_FOUND if code == ErrorCode.FORBIDDEN else ErrorCode(code)
            raise Refused(message, refused)
        ack = JoinChatAck.model_validate(data)
        if ack.reset:
            async for item in self._start_over(ack.epoch, ack.seq):
                yield item
            self._has_joined()
            return
        async for item in self._fetch(ack.seq):
            yield item
        if self._cursor.seq == ack.seq:
            # The server knows the current epoch for longest.
            self._cursor = Cursor(epoch=ack.epoch, seq=ack.seq)
        self._has_joined()

    def _has_joined(self) -> None:
        self.live = True
        self._changed(None)

    async def _received(self, name: str, data: dict[str, Any]) -> AsyncGenerator[Event | Reset, None]:
        seq = data.get("seq")
        if name == RESYNC and isinstance(seq, int):
            # The API decides about a reset: a gateway sends it for every new epoch, which a restart of the API begins.
            async for item in self._fetch(seq, check=bool(data.get("reset"))):
                yield item
        elif name not in _NOT_STORED and isinstance(seq, int) and seq > self._cursor.seq:
            if seq > self._cursor.seq + 1:
                async for item in self._fetch(seq):
                    yield item
            else:
                yield self._advance(Event(name, seq, data))
            if name == _REMOVED:
                # If this user was removed, nothing follows on this connection, and the API refuses.
                await self._read(self._cursor.seq, 1, None)

    async def _fetch(self, target: int, *, check: bool = False) -> AsyncGenerator[Event | Reset, None]:
        """Read up to ``target`` through REST; with ``check``, ask at least once whether the history is the same."""
        while check or self._cursor.seq < target:
            check = False
            page = await self._read(self._cursor.seq, _PAGE, self._cursor.epoch)
            if page.reset:
                async for item in self._start_over(page.epoch, page.seq):
                    yield item
                return
            if not page.events and self._cursor.seq < target:
                raise Unreachable(f"the API has no event {self._cursor.seq + 1} yet")
            for event in page.events:
                yield self._advance(Event(event.event, event.seq, event.data))
            target = max(target, page.seq) if page.more else target

    async def _start_over(self, epoch: str, seq: int) -> AsyncGenerator[Event | Reset, None]:
        yield Reset(epoch, seq)
        async for item in self.history():
            yield item

    def _advance(self, event: Event) -> Event:
        self._cursor = Cursor(epoch=event.data.get("epoch") or self._cursor.epoch, seq=event.seq)
        return replace(event, epoch=self._cursor.epoch)
