"""``typing``: who is writing, told to the others in the chat while they do.

Layer: gateway.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from roomcast.contract.errors import ErrorCode
from roomcast.contract.events import TYPING, Typing
from roomcast.gateway.ports import Rooms, RoomSocket
from roomcast.gateway.presence.signals import Signals, Wrote
from roomcast.gateway.presence.tracker import Presences
from roomcast.gateway.rooms import chat_room
from roomcast.realtime.fanout.message import EncodedEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class TypingOptions:
    """Bounds of typing.

    Attributes:
        repeat_s: A repeat of the same word within this time is not passed on.
        switch_s: A new beginning so soon after an end is passed on when this time is over, unless it has ended by then:
            the client does not say it again for seconds.
        forget_s: When clients forget a notice; a socket that leaves later has nothing to take back.
        max_chats: Chats in which one socket may write at one time.
    """

    repeat_s: float = 1.0
    switch_s: float = 0.3
    forget_s: float = 6.0
    max_chats: int = 16


class TypingRefused(Exception):
    """The notice was not passed on.

    Attributes:
        code: What the client is told.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class _Notice:
    user_id: str
    typing: bool
    at: float
    #: Will pass on the beginning that came too soon after this end.
    beginning: asyncio.TimerHandle | None = None

    def take_back(self) -> None:
        """The beginning that waits is none any more."""
        if self.beginning is not None:
            self.beginning.cancel()
            self.beginning = None


class TypingNotices:
    """The typing notices of one gateway.

    Args:
        rooms: Where they go.
        presences: Who is in which chat.
        signals: How other gateways hear of them.
        node_id: Of this gateway.
        options: Bounds.
    """

    def __init__(
        self, rooms: Rooms, presences: Presences, signals: Signals, node_id: str, options: TypingOptions | None = None
    ) -> None:
        self._rooms = rooms
        self._presences = presences
        self._signals = signals
        self._node_id = node_id
        self._options = options or TypingOptions()
        # The latest notice of each socket in each chat.
        self._notices: dict[str, dict[str, _Notice]] = {}
        signals.on_wrote = self._hear

    def notice(self, sid: str, chat_id: str, *, typing: bool) -> None:
        """Pass on that the socket's user writes, or does not any more.

        Raises:
            TypingRefused: it does not follow the chat, never said whose it is, or writes in too many chats.
        """
        if not self._presences.follows(sid, chat_id):
            raise TypingRefused(ErrorCode.FORBIDDEN, "join the chat first")
        user_id = self._presences.user_of(sid)
        if user_id is None:
            raise TypingRefused(ErrorCode.FORBIDDEN, "say who you are first, with join-user")
        loop = asyncio.get_running_loop()
        now = loop.time()
        notices = self._notices.get(sid, {})
        latest = notices.get(chat_id)
        if not typing and (latest is None or not latest.typing):
            if latest is not None:
                latest.take_back()
            return  # nobody was told that they write
        if typing and latest is not None:
            if latest.beginning is not None or (latest.typing and now - latest.at < self._options.repeat_s):
                return
            if not latest.typing and now - latest.at < self._options.switch_s:
                due = latest.at + self._options.switch_s
                latest.beginning = loop.call_at(due, self._begin, sid, chat_id, user_id)
                return
        if latest is None and len(notices) >= self._options.max_chats:
            notices = self._notices[sid] = {
                chat: notice for chat, notice in notices.items() if now - notice.at < self._options.forget_s
            }
            if len(notices) >= self._options.max_chats:
                message = f"one socket may write in {self._options.max_chats} chats at a time"
                raise TypingRefused(ErrorCode.LIMIT_REACHED, message)
        self._notices.setdefault(sid, notices)[chat_id] = _Notice(user_id, typing, now)
        self._tell(chat_id, user_id, typing=typing, skip=sid)

    def entered(self, socket: RoomSocket, chat_id: str) -> None:
        """See `FollowerObserver`: who comes has said nothing yet."""

    def left(self, sid: str, chat_id: str) -> None:
        """The socket follows the chat no longer: what it said last may have to be taken back."""
        notices = self._notices.get(sid, {})
        latest = notices.pop(chat_id, None)
        if not notices:
            self._notices.pop(sid, None)
        if latest is None:
            return
        latest.take_back()
        if latest.typing and asyncio.get_running_loop().time() - latest.at < self._options.forget_s:
            self._tell(chat_id, latest.user_id, typing=False, skip=sid)

    def _begin(self, sid: str, chat_id: str, user_id: str) -> None:
        """It is long enough since the socket's user stopped, and they write again."""
        self._notices[sid][chat_id] = _Notice(user_id, True, asyncio.get_running_loop().time())
        self._tell(chat_id, user_id, typing=True, skip=sid)

    def _tell(self, chat_id: str, user_id: str, *, typing: bool, skip: str) -> None:
        self._emit(chat_id, user_id, typing=typing, skip=(skip,))
        signal = Wrote.model_construct(node=self._node_id, user=user_id, typing=typing)
        self._signals.send_soon(chat_id, signal)

    def _hear(self, chat_id: str, signal: Wrote) -> None:
        self._emit(chat_id, signal.user, typing=signal.typing)

    def _emit(self, chat_id: str, user_id: str, *, typing: bool, skip: tuple[str, ...] = ()) -> None:
        event = Typing(chat_id=chat_id, user_id=user_id, typing=typing)
        self._rooms.broadcast(chat_room(chat_id), EncodedEvent.from_args(TYPING, event.model_dump()), skip=skip)
