"""Forwards typing notices to the other members of a chat, with a rate limit.

Layer: gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from roomcast.contract.errors import ErrorCode
from roomcast.contract.events import TYPING, Typing
from roomcast.gateway.ports import Refused, Rooms, RoomSocket
from roomcast.gateway.presence.signals import Signals, TypingSignal
from roomcast.gateway.presence.tracker import PresenceTracker
from roomcast.gateway.rooms import chat_room
from roomcast.realtime.fanout.message import EncodedEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class TypingOptions:
    """Times and limits of typing notices.

    Attributes:
        repeat_s: A repeated start within this time is dropped.
        restart_s: A start this soon after a stop is delayed until this time is over, and dropped if a stop arrives
            first. It is not dropped at once, since clients repeat a start only every few seconds.
        expire_s: How long clients show a notice. A socket that leaves after this time causes no stop.
        max_chats: Maximum number of chats in which one socket may type at the same time.
    """

    repeat_s: float = 1.0
    restart_s: float = 0.3
    expire_s: float = 6.0
    max_chats: int = 16


class TypingRejected(Refused):
    """The notice was not forwarded."""


@dataclass(slots=True)
class _Notice:
    """The latest notice of a socket in a chat.

    Attributes:
        sent_at: The loop time at which the notice was sent.
        restart_timer: Sends a start that arrived within ``restart_s`` of this stop.
    """

    user_id: str
    typing: bool
    sent_at: float
    restart_timer: asyncio.TimerHandle | None = None

    def cancel_restart(self) -> None:
        if self.restart_timer is not None:
            self.restart_timer.cancel()
            self.restart_timer = None


class TypingNotices:
    """The typing notices of one gateway; a `FollowerObserver`.

    Args:
        rooms: Emits the ``typing`` events.
        presence: Knows the user and the chats of each socket.
        signals: Sends to the other gateways.
        node_id: This gateway's id.
        options: Times and limits.
        is_silent: Whether a user may not write in a chat now; its typing is refused.
    """

    def __init__(
        self,
        rooms: Rooms,
        presence: PresenceTracker,
        signals: Signals,
        node_id: str,
        options: TypingOptions | None = None,
        *,
        is_silent: Callable[[str, str], bool] = lambda _chat_id, _user_id: False,
    ) -> None:
        self._rooms = rooms
        self._presence = presence
        self._signals = signals
        self._node_id = node_id
        self._options = options or TypingOptions()
        self._is_silent = is_silent
        # By socket id and chat id.
        self._notices: dict[str, dict[str, _Notice]] = {}
        signals.on_typing = self._on_signal

    def set_typing(self, sid: str, chat_id: str, *, typing: bool) -> None:
        """Notify the other members that the socket's user started or stopped typing.

        Raises:
            TypingRejected: the socket does not follow the chat, is not identified, may not write, or types in too many
                chats.
        """
        user_id = self._user(sid, chat_id)
        if typing and self._is_silent(chat_id, user_id):
            raise TypingRejected(ErrorCode.FORBIDDEN, "you may not write in this chat now")
        loop = asyncio.get_running_loop()
        now = loop.time()
        notices = self._notices.get(sid, {})
        latest = notices.get(chat_id)
        if not typing and (latest is None or not latest.typing):
            if latest is not None:
                latest.cancel_restart()
            return
        if typing and latest is not None:
            if latest.restart_timer is not None or (latest.typing and now - latest.sent_at < self._options.repeat_s):
                return
            if not latest.typing and now - latest.sent_at < self._options.restart_s:
                due = latest.sent_at + self._options.restart_s
                latest.restart_timer = loop.call_at(due, self._restart, sid, chat_id, user_id)
                return
        if latest is None and len(notices) >= self._options.max_chats:
            notices = self._notices[sid] = {
                chat: notice for chat, notice in notices.items() if now - notice.sent_at < self._options.expire_s
            }
            if len(notices) >= self._options.max_chats:
                message = f"one socket may type in {self._options.max_chats} chats at the same time"
                raise TypingRejected(ErrorCode.LIMIT_REACHED, message)
        self._notices.setdefault(sid, notices)[chat_id] = _Notice(user_id, typing, now)
        self._send(chat_id, user_id, typing=typing, skip=sid)

    def _user(self, sid: str, chat_id: str) -> str:
        """The user of a socket that follows the chat."""
        if not self._presence.follows(sid, chat_id):
            raise TypingRejected(ErrorCode.FORBIDDEN, "join the chat first")
        user_id = self._presence.user_of(sid)
        if user_id is None:
            raise TypingRejected(ErrorCode.FORBIDDEN, "identify the socket with join-user first")
        return user_id

    def entered(self, socket: RoomSocket, chat_id: str) -> None:
        """See `FollowerObserver`. A new subscriber does not receive notices from before its join."""

    def left(self, sid: str, chat_id: str) -> None:
        """See `FollowerObserver`. Sends a stop if the socket's user is still shown as typing."""
        notices = self._notices.get(sid, {})
        latest = notices.pop(chat_id, None)
        if not notices:
            self._notices.pop(sid, None)
        if latest is None:
            return
        latest.cancel_restart()
        if latest.typing and asyncio.get_running_loop().time() - latest.sent_at < self._options.expire_s:
            self._send(chat_id, latest.user_id, typing=False, skip=sid)

    def _restart(self, sid: str, chat_id: str, user_id: str) -> None:
        self._notices[sid][chat_id] = _Notice(user_id, True, asyncio.get_running_loop().time())
        self._send(chat_id, user_id, typing=True, skip=sid)

    def _send(self, chat_id: str, user_id: str, *, typing: bool, skip: str) -> None:
        self._emit(chat_id, user_id, typing=typing, skip=(skip,))
        signal = TypingSignal.model_construct(node=self._node_id, user=user_id, typing=typing)
        self._signals.send_soon(chat_id, signal)

    def _on_signal(self, chat_id: str, signal: TypingSignal) -> None:
        self._emit(chat_id, signal.user, typing=signal.typing)

    def _emit(self, chat_id: str, user_id: str, *, typing: bool, skip: tuple[str, ...] = ()) -> None:
        event = Typing(chat_id=chat_id, user_id=user_id, typing=typing)
        self._rooms.broadcast(chat_room(chat_id), EncodedEvent.from_args(TYPING, event.model_dump()), skip=skip)
