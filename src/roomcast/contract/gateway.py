"""What a Socket.IO client sends, and the acks that it gets.

Layer: contract. Source: the guide's handlers (``join-user``, ``join-chat``, ``ping``), with acks added.
"""

from __future__ import annotations

from typing import Final, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from roomcast.contract.cursor import Cursor
from roomcast.contract.model import Output, Payload
from roomcast.contract.text import ChatId, Epoch, Seq, UserId

_T = TypeVar("_T")

#: What ``ping`` acks, bare.
PONG: Final = "pong"


class InvalidPayload(Exception):
    """A payload breaks the contract; the text says how, for the ack's ``error.message``."""


class JoinChat(Payload):
    """``join-chat``. The guide's bare ``chatId`` is read as ``{chatId}``."""

    chat_id: ChatId
    since: Cursor | None = None


class LeaveChat(Payload):
    """``leave-chat``. A bare ``chatId`` is read as ``{chatId}``."""

    chat_id: ChatId


class SetTyping(Payload):
    """``typing``. A bare ``chatId`` is read as ``{chatId, typing: true}``."""

    chat_id: ChatId
    typing: bool = True


#: The payloads as they may come: bare or as an object.
JoinChatPayload = ChatId | JoinChat
LeaveChatPayload = ChatId | LeaveChat
SetTypingPayload = ChatId | SetTyping

_JOIN: Final = TypeAdapter(JoinChat)
_LEAVE: Final = TypeAdapter(LeaveChat)
_TYPING: Final = TypeAdapter(SetTyping)
_USER_ID: Final[TypeAdapter[str]] = TypeAdapter(UserId)


def parse_join_chat(payload: object) -> JoinChat:
    """Read the argument of ``join-chat``.

    Raises:
        InvalidPayload: it is neither a chat id nor ``{chatId, since?}``.
    """
    return _parse(_JOIN, {"chatId": payload} if isinstance(payload, str) else payload)


def parse_leave_chat(payload: object) -> LeaveChat:
    """Read the argument of ``leave-chat``.

    Raises:
        InvalidPayload: it is neither a chat id nor ``{chatId}``.
    """
    return _parse(_LEAVE, {"chatId": payload} if isinstance(payload, str) else payload)


def parse_typing(payload: object) -> SetTyping:
    """Read the argument of ``typing``.

    Raises:
        InvalidPayload: it is neither a chat id nor ``{chatId, typing?}``.
    """
    return _parse(_TYPING, {"chatId": payload} if isinstance(payload, str) else payload)


def parse_join_user(payload: object) -> str:
    """Read the argument of ``join-user``: the user id.

    Raises:
        InvalidPayload: it is no user id.
    """
    return _parse(_USER_ID, payload)


def _parse(adapter: TypeAdapter[_T], payload: object) -> _T:
    try:
        return adapter.validate_python(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidPayload(f"{where}: {first['msg']}" if where else first["msg"]) from None


class Ack(Output):
    """The ack of an event that was taken."""

    ok: Literal[True] = True


class JoinUserAck(Ack):
    """The ack of ``join-user``."""

    user_id: UserId


class JoinChatAck(Ack):
    """The ack of ``join-chat``: everything up to ``seq`` preceded it on this connection if ``recovered``.

    Attributes:
        epoch: The current epoch.
        seq: Where live events go on: the next one is ``seq + 1``.
        recovered: Everything after the given cursor was replayed, or no cursor was given. False: page through REST.
        reset: The cursor is not of this history: forget everything and refetch. Left out when false.
    """

    chat_id: ChatId
    epoch: Epoch
    seq: Seq
    recovered: bool
    reset: bool = Field(default=False, exclude_if=lambda reset: reset is False)


class LeaveChatAck(Ack):
    """The ack of ``leave-chat``."""

    chat_id: ChatId


class TypingAck(Ack):
    """The ack of ``typing``."""

    chat_id: ChatId
