"""The events that a Socket.IO client sends, and their acks.

Layer: contract. Source: the guide's ``join-user``, ``join-chat`` and ``ping``; the acks and the other events are ours.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from roomcast.contract.cursor import Cursor
from roomcast.contract.model import Output, Payload
from roomcast.contract.text import ChatId, Epoch, NewUserId, Seq, Timestamp, TurnId, UserId

_T = TypeVar("_T")

#: The ack of ``ping``: a bare string.
PONG: Final = "pong"


class InvalidPayload(Exception):
    """The payload violates the contract. The text says how, and is sent as the ack's ``error.message``."""


class JoinChat(Payload):
    """``join-chat``: follow a chat. A bare ``chatId``, as in the guide, is read as ``{chatId}``.

    Attributes:
        since: The client's cursor. The gateway replays the events after the cursor before it sends the ack.
        stream: Whether to receive the chunks of answers (``ai-chunk``), and ``ai-end`` in place of their ``new-msg``.
    """

    chat_id: ChatId
    since: Cursor | None = None
    stream: bool = False


class LeaveChat(Payload):
    """``leave-chat``: stop following a chat. A bare ``chatId`` is read as ``{chatId}``."""

    chat_id: ChatId


class SetTyping(Payload):
    """``typing``: the user starts or stops typing. A bare ``chatId`` is read as ``{chatId, typing: true}``."""

    chat_id: ChatId
    typing: bool = True


class ResumeAnswer(Payload):
    """``ai-resume``: request the chunks of a turn that a client lacks."""

    chat_id: ChatId
    turn_id: TurnId


class StopAnswer(Payload):
    """``ai-stop``: stop a turn. Members that may write may; a turn that has ended stays as it is."""

    chat_id: ChatId
    turn_id: TurnId


class RefreshAuth(Payload):
    """``auth-refresh``: replace the token of the connection by a newer one of the same user."""

    # A longer text is not a token; a request of the gateway has at most 32 KiB.
    token: Annotated[str, Field(min_length=1, max_length=8_192)]


#: Each payload is a bare chat id or an object.
JoinChatPayload = ChatId | JoinChat
LeaveChatPayload = ChatId | LeaveChat
SetTypingPayload = ChatId | SetTyping

_JOIN: Final = TypeAdapter(JoinChat)
_LEAVE: Final = TypeAdapter(LeaveChat)
_TYPING: Final = TypeAdapter(SetTyping)
_RESUME: Final = TypeAdapter(ResumeAnswer)
_STOP: Final = TypeAdapter(StopAnswer)
_REFRESH: Final = TypeAdapter(RefreshAuth)
_USER_ID: Final[TypeAdapter[str]] = TypeAdapter(NewUserId)


def parse_join_chat(payload: object) -> JoinChat:
    """Read the argument of ``join-chat``.

    Raises:
        InvalidPayload: ``payload`` is neither a chat id nor ``{chatId, since?}``.
    """
    return _parse(_JOIN, {"chatId": payload} if isinstance(payload, str) else payload)


def parse_leave_chat(payload: object) -> LeaveChat:
    """Read the argument of ``leave-chat``.

    Raises:
        InvalidPayload: ``payload`` is neither a chat id nor ``{chatId}``.
    """
    return _parse(_LEAVE, {"chatId": payload} if isinstance(payload, str) else payload)


def parse_typing(payload: object) -> SetTyping:
    """Read the argument of ``typing``.

    Raises:
        InvalidPayload: ``payload`` is neither a chat id nor ``{chatId, typing?}``.
    """
    return _parse(_TYPING, {"chatId": payload} if isinstance(payload, str) else payload)


def parse_resume_answer(payload: object) -> ResumeAnswer:
    """Read the argument of ``ai-resume``.

    Raises:
        InvalidPayload: ``payload`` is not ``{chatId, turnId}``.
    """
    return _parse(_RESUME, payload)


def parse_stop_answer(payload: object) -> StopAnswer:
    """Read the argument of ``ai-stop``.

    Raises:
        InvalidPayload: ``payload`` is not ``{chatId, turnId}``.
    """
    return _parse(_STOP, payload)


def parse_refresh_auth(payload: object) -> RefreshAuth:
    """Read the argument of ``auth-refresh``.

    Raises:
        InvalidPayload: ``payload`` is not ``{token}``.
    """
    return _parse(_REFRESH, payload)


def parse_join_user(payload: object) -> str:
    """Read the argument of ``join-user``: the user id.

    Raises:
        InvalidPayload: ``payload`` is not a user id.
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
    """The ack of an accepted event."""

    ok: Literal[True] = True


class JoinUserAck(Ack):
    """The ack of ``join-user``.

    Attributes:
        expires_in: Seconds until the token of the connection expires; left out while authentication is off.
    """

    user_id: UserId
    expires_in: float | None = Field(default=None, exclude_if=lambda expires_in: expires_in is None)


class JoinChatAck(Ack):
    """The ack of ``join-chat``.

    Attributes:
        epoch: The current epoch.
        seq: Seq of the chat's last event; the next live event has ``seq + 1``.
        recovered: True if every event after the given cursor up to ``seq`` was sent on this connection before the
            ack, or if no cursor was given. If false, fetch the missing events through REST.
        reset: True if the cursor does not belong to the chat's current history; then discard everything and refetch.
            Left out if false.
    """

    chat_id: ChatId
    epoch: Epoch
    seq: Seq
    recovered: bool
    reset: bool = Field(default=False, exclude_if=lambda reset: reset is False)


class RefreshAuthAck(Ack):
    """The ack of ``auth-refresh``.

    Attributes:
        expires_at: When the token expires; null while authentication is off.
        expires_in: The same in seconds from now, for clients whose clock is wrong.
    """

    expires_at: Timestamp | None
    expires_in: float | None


class LeaveChatAck(Ack):
    """The ack of ``leave-chat``."""

    chat_id: ChatId


class ResumeAnswerAck(Ack):
    """The ack of ``ai-resume``: a snapshot, with the fields of ``ai-chunk``; later chunks follow it on the connection.

    Attributes:
        last: -1 if the turn has no chunks here: it has not begun, or has ended; its message is in REST.
    """

    chat_id: ChatId
    turn_id: TurnId
    generation: int
    first: int
    last: int
    chunks: list[dict[str, Any]]


class StopAnswerAck(Ack):
    """The ack of ``ai-stop``: the stop is stored. The turn ends with an event."""

    turn_id: TurnId


class TypingAck(Ack):
    """The ack of ``typing``."""

    chat_id: ChatId
