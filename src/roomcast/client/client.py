"""The Python client: chats and messages of one user or service, and every event of a chat once and in order.

    async with Client("http://localhost:3000", token="…") as client:
        chat = client.chat("lobby")
        await chat.send("Hello")
        async for event in chat.events():
            print(event.seq, event.name, event.data)

A request that is not answered is repeated for ``patience_s``: none has a second effect when it is repeated. Every
method raises `ClientError`: `Refused`, with the code of the error, or `Unreachable` after that time.

Layer: client.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from roomcast.client.address import gateway_base
from roomcast.client.api import Api, TokenSource, body_of
from roomcast.client.chat_follower import ChatFollower, Event, OnLive, Reset
from roomcast.client.retrying import retrying
from roomcast.contract.cursor import Cursor
from roomcast.contract.events import Attachment, Message, Role
from roomcast.contract.rest import (
    AiSettings,
    Chat,
    ChatPage,
    CreateChat,
    EditMessage,
    EventPage,
    Me,
    Member,
    MemberPage,
    MessagePage,
    SendMessage,
)

_PAGE: Final = 200
_POLL_S: Final = 2.0
#: Bytes per second of a line on which an upload is not given up.
_SLOWEST_UPLOAD: Final = 50_000
_R = TypeVar("_R")


class Client:
    """A user or a service at one server. Use it as an async context manager.

    Args:
        url: The address of the API, which may have a path.
        token: The access token, or a function that returns the current one before each request; None: authentication
            is off.
        user_id: The author of the messages and reactions while authentication is off, or with a service token.
        patience_s: Seconds for which a request that is not answered is repeated.
        gateway_url: The address of the gateway; None: the one that the API names.
    """

    def __init__(
        self,
        url: str,
        token: str | TokenSource | None = None,
        *,
        user_id: str | None = None,
        patience_s: float = 30.0,
        gateway_url: str | None = None,
    ) -> None:
        self.api = Api(url, token if callable(token) else lambda: token)
        self.user_id = user_id
        self._patience_s = patience_s
        self._gateway_url = gateway_url

    async def __aenter__(self) -> Self:
        """Connect with the first request."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.api.__aexit__(kind, error, trace)

    def chat(self, chat_id: str) -> ChatHandle:
        """A chat by its id. Nothing is requested."""
        return ChatHandle(self, chat_id)

    async def me(self) -> Me:
        """The user of the token."""
        return await self.repeat(lambda: self.api.get(Me, "me"))

    async def chats(self) -> AsyncGenerator[Chat, None]:
        """The chats of the user, the most recently active first; with a service token all chats."""
        page = await self._chats(None)
        while True:
            for chat in page.chats:
                yield chat
            if page.next_cursor is None:
                return
            page = await self._chats(page.next_cursor)

    async def _chats(self, cursor: str | None) -> ChatPage:
        return await self.repeat(lambda: self.api.get(ChatPage, "chats", cursor=cursor, limit=_PAGE))

    async def create_chat(
        self, title: str | None = None, members: Sequence[str] = (), *, ai: AiSettings | None = None
    ) -> Chat:
        """Create a chat with the user and ``members``. Not repeated: after `Unreachable` the chat may exist."""
        body = CreateChat.model_construct(title=title, members=list(members), ai=ai)
        return body_of(Chat, await self.api.change("POST", "chats", body=body))

    async def gateway_url(self) -> str:
        """The address of the gateway."""
        if self._gateway_url is None:
            self._gateway_url = gateway_base(self.api.url, (await self.repeat(self.api.config)).gateway)
        return self._gateway_url

    async def repeat(self, request: Callable[[], Awaitable[_R]], extra_s: float = 0.0) -> _R:
        """The answer of a request, which is repeated while there is none, up to ``extra_s`` beyond the patience."""
        return await retrying(request, self._patience_s + extra_s)


class ChatHandle:
    """One chat. Built by `Client.chat`.

    Attributes:
        id: Its id.
    """

    def __init__(self, client: Client, chat_id: str, key: str | None = None) -> None:
        self.id = chat_id
        self._client = client
        # The messages sent through this object have this key and a number as their ``clientMsgId``.
        self._key = key or str(uuid.uuid4())
        self._sent = 0

    async def upload(self, file: Path | bytes, name: str | None = None) -> Attachment:
        """Upload a file, which a message of this user may then have; it is removed after a day otherwise.

        Args:
            file: The file, or its content.
            name: Its name for people; None: that of the path.
        """
        content = file if isinstance(file, bytes) else await asyncio.to_thread(file.read_bytes)
        shown = name or (file.name if isinstance(file, Path) else "file")
        slow_s = len(content) / _SLOWEST_UPLOAD
        return await self._client.repeat(lambda: self._client.api.upload(self.id, shown, content), slow_s)

    async def send(
        self,
        content: str = "",
        *,
        role: Role = "USER",
        reply_to: str | None = None,
        client_msg_id: str | None = None,
        files: Sequence[Path | Attachment] = (),
    ) -> Message:
        """Send a message, and return it once it is stored.

        Args:
            content: The text; may be empty if there are files.
            role: ``AI`` needs a service token.
            reply_to: Id of the message that this one replies to.
            client_msg_id: The message with this id in the chat is stored once, however often it is sent; None: a new
                one.
            files: Files to upload, and those that `upload` has returned.
        """
        uploaded = [file if isinstance(file, Attachment) else await self.upload(file) for file in files]
        self._sent += 1
        # Not validated: the answer of the server says what is wrong.
        message = SendMessage.model_construct(
            chat_id=self.id,
            role=role,
            content=content,
            client_msg_id=client_msg_id or f"{self._key}-{self._sent}",
            user_id=self._client.user_id,
            reply_to=reply_to,
            files=[file.id for file in uploaded],
        )
        stored, _new = await self._client.repeat(lambda: self._client.api.send(message))
        return stored

    async def edit(self, message_id: str, content: str) -> Message:
        """Replace an own message by a new version, and return that."""
        body = EditMessage.model_construct(content=content, client_msg_id=str(uuid.uuid4()))
        path = ("chats", self.id, "messages", message_id)
        return body_of(Message, await self._client.repeat(lambda: self._client.api.change("PUT", *path, body=body)))

    async def delete(self, message_id: str) -> None:
        """Delete a message."""
        await self._change("DELETE", "messages", message_id)

    async def react(self, message_id: str, emoji: str, *, adds: bool = True) -> None:
        """Add a reaction of the client's user to a message, or take it back."""
        method, segments = "PUT" if adds else "DELETE", ("messages", message_id, "reactions", emoji)
        await self._change(method, *segments, user_id=self._client.user_id)

    async def pin(self, message_id: str, *, adds: bool = True) -> None:
        """Pin a message, or end that."""
        await self._change("PUT" if adds else "DELETE", "messages", message_id, "pin")

    async def members(self) -> Sequence[Member]:
        """All members, by user id."""
        page = await self._members(None)
        found = page.members
        while page.has_more:
            page = await self._members(found[-1].user_id)
            found += page.members
        return found

    async def _members(self, after: str | None) -> MemberPage:
        return await self._client.repeat(
            lambda: self._client.api.get(MemberPage, "chats", self.id, "members", after=after)
        )

    async def add(self, user_id: str) -> None:
        """Add a member."""
        await self._change("PUT", "members", user_id)

    async def remove(self, user_id: str) -> None:
        """Remove a member, or leave."""
        await self._change("DELETE", "members", user_id)

    async def messages(
        self, *, before: int | None = None, after: int | None = None, limit: int = 50
    ) -> Sequence[Message]:
        """One page of messages, ascending by place: the newest ones, or those before or after a place."""
        page = await self._client.repeat(
            lambda: self._client.api.get(
                MessagePage, "chats", self.id, "messages", before=before, after=after, limit=limit
            )
        )
        return page.messages

    async def events(
        self, since: Cursor | int | None = None, *, on_live: OnLive = lambda _data: None
    ) -> AsyncGenerator[Event | Reset, None]:
        """Every stored event of the chat once and in order, past and live, without an end.

        A lost connection is opened again. To continue later, keep the `Event.cursor` of the last event that was used.
        With a service token new events are read every 2 s, since gateways let members follow chats, not services.

        Args:
            since: The events after this cursor or seq (0: all events); None: those after the call. A cursor of a
                history that was replaced, as by the restore of a backup, is answered by `Reset` and all events.
            on_live: Called with each message of ``PUBLISH chat:events`` that arrives meanwhile. Such a message is not
                stored: it has no seq, moves no cursor, and is missed while there is no connection.
        """

        async def begin(head: int) -> int:
            return since if isinstance(since, int) else head

        async def read(after: int, limit: int, epoch: str | None) -> EventPage:
            return await self._client.repeat(lambda: self._client.api.events(self.id, after, limit, epoch))

        start = since if isinstance(since, Cursor) else begin
        gateway_url = await self._client.gateway_url()
        follower = ChatFollower(self._client.api, gateway_url, self.id, start, on_live=on_live, read=read)
        live = follower.poll(_POLL_S) if (await self._client.me()).service else follower.follow()
        for items in (follower.history(), live):
            async with aclosing(items):
                async for item in items:
                    yield item

    async def _change(self, method: str, *segments: str, user_id: str | None = None) -> None:
        change = self._client.api.change
        await self._client.repeat(lambda: change(method, "chats", self.id, *segments, user_id=user_id))
