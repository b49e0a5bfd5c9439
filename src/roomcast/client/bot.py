"""A bot: a function that is called for each message in the chats of a user, and whose text is sent as a reply.

    bot = Bot()

    @bot.on_message
    async def answer(message: Message, chat: ChatHandle) -> str | None:
        return "Sunny." if "weather" in message.content else None

    asyncio.run(bot.run(Client("http://localhost:3000", token="…")))

The bot reads the events of each chat from its own cursor through REST. The gateway only reports which chats have new
events, and the list of chats is read again after each connection and every `RESCAN_S`; with a service token, for which
gateways report nothing, every `_SERVICE_RESCAN_S`. So no message is missed, through restarts of the bot (with a file of
cursors), of gateways and of APIs. A message whose handling was interrupted is handled again; what was sent meanwhile is
stored once, since its ``clientMsgId`` comes from the id of the message.

Layer: client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

from roomcast.backoff import Backoff
from roomcast.client.bot_cursors import BotCursors
from roomcast.client.client import ChatHandle, Client
from roomcast.client.errors import ClientError, Refused, Unreachable
from roomcast.client.gateway import open_gateway
from roomcast.contract.cursor import Cursor
from roomcast.contract.errors import ErrorCode
from roomcast.contract.events import STORED_EVENTS, EventType, Message
from roomcast.contract.rest import ChatEvent, EventPage
from roomcast.contract.text import MAX_SEQ
from roomcast.wire.socketio import Packet, PacketType

logger = logging.getLogger(__name__)

#: Finds changes whose announcement was lost, for example in chats with more members than are notified.
RESCAN_S: Final = 30.0
#: A gateway lets members follow chats, not services: their bots learn of new events from the list only.
_SERVICE_RESCAN_S: Final = 2.0
#: Chats that a gateway lets one connection join; further ones are announced to members by ``chat-activity``.
_JOINED: Final = 100
_PAGE: Final = 200
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0
_MESSAGE: Final = STORED_EVENTS[EventType.MESSAGE_CREATED].name
_ADDED: Final = STORED_EVENTS[EventType.MEMBER_ADDED].name

#: Receives a message and its chat; the text that it returns is sent to the chat.
Handler = Callable[[Message, ChatHandle], Awaitable[str | None]]


class Bot:
    """Calls a function for each USER message of other users. Messages of one chat are handled in order.

    A new version of an edited message is a message, with a ``version`` above 1. The first run begins with the messages
    after its start; in a chat that the user is added to, the bot begins with the addition.

    Args:
        concurrency: Chats that are handled at once.
        attempts: How often the function is called for a message if it raises; the message is then skipped.
    """

    def __init__(self, *, concurrency: int = 10, attempts: int = 3) -> None:
        self._handler: Handler | None = None
        self._concurrency = concurrency
        self._attempts = attempts

    def on_message(self, handler: Handler) -> Handler:
        """Decorator: the function that handles messages."""
        self._handler = handler
        return handler

    async def run(
        self,
        client: Client,
        *,
        chats: Collection[str] = (),
        cursors: BotCursors | None = None,
        started: Callable[[], None] = lambda: None,
    ) -> None:
        """Handle messages until the task is cancelled.

        Args:
            client: The connection of the bot's user. It is opened and closed here.
            chats: The chats to read; empty: all chats of the user.
            cursors: Where the bot has stopped; None: it begins now, and forgets.
            started: Called once messages are received.

        Raises:
            Refused: the server does not accept the token, or has no chat of ``chats``.
            Unreachable: there is no answer at the start.
            ValueError: the bot has no function, or ``client`` does not name the author of its messages.
        """
        if self._handler is None:
            raise ValueError("the bot has no function: decorate one with @bot.on_message")
        async with client:
            await _Run(client, self._handler, self._attempts, chats, cursors or BotCursors(None)).run(
                self._concurrency, started
            )


class _Run:
    """One run of a bot."""

    def __init__(
        self, client: Client, handler: Handler, attempts: int, chats: Collection[str], cursors: BotCursors
    ) -> None:
        self._client = client
        self._handler = handler
        self._attempts = attempts
        self._chats = frozenset(chats)
        self._cursors = cursors
        self._user_id: str | None = None
        # The newest known seq of each chat.
        self._heads: dict[str, int] = {}
        # Chats with unhandled events, in the order of their announcements, and those being handled.
        self._waiting: dict[str, None] = {}
        self._active: set[str] = set()
        self._work = asyncio.Condition()

    async def run(self, concurrency: int, started: Callable[[], None]) -> None:
        me = await self._client.me()
        # The name of a service is not the author of its messages.
        self._user_id = self._client.user_id if me.service or me.user_id is None else me.user_id
        if self._user_id is None:
            why = "a service token names no author" if me.service else "authentication is off"
            raise ValueError(f"{why}: give the bot a user id (user_id, --user), so that it does not answer itself")
        if not self._cursors.begun:
            await self._begin_now()
            self._cursors.begin()
        await self._scan()
        try:
            async with asyncio.TaskGroup() as tasks:
                if me.service:
                    started()
                else:
                    tasks.create_task(self._listen(started))
                tasks.create_task(self._rescan(_SERVICE_RESCAN_S if me.service else RESCAN_S))
                for _ in range(concurrency):
                    tasks.create_task(self._handle_chats())
        except ExceptionGroup as group:
            # Its exceptions are those of the tasks; an `except*` would put a new one into a group again.
            raise (group.subgroup(ClientError) or group).exceptions[0] from None

    async def _begin_now(self) -> None:
        for chat_id in self._chats:
            page = await self._page(chat_id, MAX_SEQ)
            self._cursors.put(chat_id, Cursor(epoch=page.epoch, seq=page.seq))
        if not self._chats:
            async for chat in self._client.chats():
                self._cursors.put(chat.id, Cursor(epoch=chat.epoch, seq=chat.last_seq))

    async def _scan(self) -> None:
        """Find chats with new events. The list begins with the newest: it ends at the first page without one."""
        if self._chats:
            for chat_id in self._chats:
                await self._notice(chat_id, MAX_SEQ)
            return
        complete = bool(self._heads)
        unchanged = 0
        async for chat in self._client.chats():
            changed = self._heads.get(chat.id) != chat.last_seq
            unchanged = 0 if changed else unchanged + 1
            if changed:
                await self._notice(chat.id, chat.last_seq)
            elif complete and unchanged >= _PAGE:
                return

    async def _rescan(self, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            with suppress(Unreachable):
                await self._scan()

    async def _listen(self, started: Callable[[], None]) -> None:
        """Learn from the gateway which chats have new events."""
        backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        while True:
            try:
                async with open_gateway(await self._client.gateway_url(), self._client.api) as connection:
                    chats = islice(self._chats or self._heads, _JOINED)
                    joins = [("join-user", self._user_id), *(("join-chat", chat_id) for chat_id in chats)]
                    for ack_id, (name, target) in enumerate(joins):
                        await connection.emit(name, target, ack_id)
                    await self._scan()
                    backoff.reset()
                    started()
                    while True:
                        packet = await connection.receive()
                        if packet.type is PacketType.ACK:
                            _check_join(joins, packet)
                            continue
                        payload = packet.data[1] if len(packet.data) > 1 else None
                        if isinstance(payload, dict) and isinstance(payload.get("seq"), int):
                            await self._notice(str(payload.get("chatId")), payload["seq"])
            except Unreachable as error:
                logger.warning("%s; connecting again", error)
            await asyncio.sleep(backoff.next_s())

    async def _notice(self, chat_id: str, seq: int) -> None:
        if self._chats and chat_id not in self._chats:
            return
        self._heads[chat_id] = max(seq, self._heads.get(chat_id, 0)) if seq != MAX_SEQ else self._heads.get(chat_id, 0)
        cursor = self._cursors.get(chat_id)
        if cursor is None or cursor.seq < seq:
            async with self._work:
                self._waiting[chat_id] = None
                self._work.notify()

    async def _handle_chats(self) -> None:
        while True:
            async with self._work:
                await self._work.wait_for(lambda: any(chat not in self._active for chat in self._waiting))
                chat_id = next(chat for chat in self._waiting if chat not in self._active)
                del self._waiting[chat_id]
                self._active.add(chat_id)
            try:
                await self._handle_chat(chat_id)
            except Unreachable as error:
                # The next scan finds the chat again.
                logger.warning("%s; chat %s is read again later", error, chat_id)
                self._heads.pop(chat_id, None)
            except Refused as error:
                if error.code != ErrorCode.CHAT_NOT_FOUND or chat_id in self._chats:
                    raise
                # No longer a member.
                self._cursors.remove(chat_id)
                self._heads.pop(chat_id, None)
            finally:
                async with self._work:
                    self._active.discard(chat_id)
                    self._work.notify()

    async def _handle_chat(self, chat_id: str) -> None:
        """Handle the events after the cursor."""
        cursor = self._cursors.get(chat_id) or await self._addition(chat_id)
        while True:
            page = await self._page(chat_id, cursor.seq, cursor.epoch)
            if page.reset:
                # Another history, for example that of a backup: what it contains was handled or is old.
                cursor = Cursor(epoch=page.epoch, seq=page.seq)
                self._cursors.put(chat_id, cursor)
                return
            for event in page.events:
                await self._handle(chat_id, event)
                cursor = Cursor(epoch=page.epoch, seq=event.seq)
                self._cursors.put(chat_id, cursor)
            if not page.more:
                return

    async def _page(self, chat_id: str, after: int, epoch: str | None = None) -> EventPage:
        return await self._client.repeat(lambda: self._client.api.events(chat_id, after, _PAGE, epoch))

    async def _addition(self, chat_id: str) -> Cursor:
        """The position at which the user was added to a new chat; the first event if it was not."""
        found, at = Cursor(epoch="-", seq=0), 0
        while True:
            page = await self._page(chat_id, at)
            if found.seq == 0:
                found = Cursor(epoch=page.epoch, seq=0)
            for event in page.events:
                at = event.seq
                if event.event == _ADDED and event.data.get("userId") == self._user_id:
                    found = Cursor(epoch=page.epoch, seq=event.seq)
            if not page.more:
                return found

    async def _handle(self, chat_id: str, event: ChatEvent) -> None:
        if event.event != _MESSAGE:
            return
        message = Message.model_validate(event.data)
        if message.role != "USER" or message.deleted or message.user_id == self._user_id:
            return
        for attempt in range(1, self._attempts + 1):
            chat = ChatHandle(self._client, chat_id, key=f"bot-{message.id}")
            try:
                text = await self._handler(message, chat)
                if text:
                    await chat.send(text)
            except Unreachable:
                raise
            except Refused as error:
                # A repeat would be refused again.
                await self._skip(message, error)
                return
            except Exception:
                outcome = "it is skipped" if attempt == self._attempts else "it is handled again"
                logger.exception("the bot failed at message %s of chat %s; %s", message.id, chat_id, outcome)
            else:
                return

    async def _skip(self, message: Message, error: Refused) -> None:
        """Log that a reply is refused, unless the cause concerns more than this message: then raise."""
        if error.code == ErrorCode.UNAUTHORIZED:
            raise error
        if error.code == ErrorCode.CHAT_NOT_FOUND:
            # Refused if the bot is no longer a member; the function may have named another chat.
            await self._page(message.chat_id, MAX_SEQ)
        facts = (message.id, message.chat_id, error, error.code)
        logger.warning("the reply to message %s of chat %s is refused: %s (%s); it is skipped", *facts)


def _check_join(joins: Sequence[tuple[str, str | None]], ack: Packet) -> None:
    """Log a join that the gateway refuses: the scans find its chat, later."""
    if ack.data[0]["ok"] is not True:
        logger.warning("%s %s is refused: %s", *joins[ack.ack_id or 0], ack.data[0]["error"])
