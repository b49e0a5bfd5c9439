"""Bodies of the REST API.

Layer: contract.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from roomcast.contract.cursor import Cursor
from roomcast.contract.errors import ErrorCode
from roomcast.contract.events import Message, Role
from roomcast.contract.model import Input, Output
from roomcast.contract.text import ChatId, ClientMsgId, Content, Epoch, Seq, Timestamp, Title, UserId

MAX_MEMBERS_AT_CREATION = 256
#: Questions of a gateway in one request.
MAX_ASKS = 64


class SendMessage(Input):
    """``POST /api/chat/messages``.

    Attributes:
        client_msg_id: Chosen by the sender: a repeat in the same chat answers the first result.
        user_id: Who speaks; only while authentication is off, else the token says it.
    """

    chat_id: ChatId
    role: Role
    content: Content
    client_msg_id: ClientMsgId | None = None
    user_id: UserId | None = None


class CreateChat(Input):
    """``POST /api/chats``.

    Attributes:
        id: Chosen by the caller, or left to the server.
        members: Who belongs to it besides the caller; used once authentication is on.
    """

    id: ChatId | None = None
    title: Title | None = None
    members: Annotated[list[UserId], Field(default_factory=list, max_length=MAX_MEMBERS_AT_CREATION)]


class Chat(Output):
    """One chat.

    Attributes:
        last_seq: Seq of its last event; 0 while it has none.
        epoch: The current epoch.
    """

    id: ChatId
    title: str | None
    created_at: Timestamp
    last_activity_at: Timestamp
    last_seq: Seq
    epoch: Epoch


class ChatPage(Output):
    """``GET /api/chats``: newest activity first. ``next_cursor`` is None on the last page."""

    chats: list[Chat]
    next_cursor: str | None


class ChatEvent(Output):
    """One event as the gateway would emit it.

    Attributes:
        type: Its type in the events table.
        event: The Socket.IO event's name.
        data: The Socket.IO event's only argument.
    """

    seq: Seq
    type: str
    event: str
    data: dict[str, Any]


class EventPage(Output):
    """``GET /api/chats/{id}/events``.

    Attributes:
        epoch: The current epoch.
        seq: The chat's head.
        more: Ask again after the last event.
        reset: The given epoch and seq are not of this history: forget everything and refetch.
    """

    epoch: Epoch
    events: list[ChatEvent]
    seq: Seq
    more: bool
    reset: bool


class MessagePage(Output):
    """``GET /api/chats/{id}/messages``: ascending by seq.

    Attributes:
        seq: The chat's head at reading: join with it as cursor.
        has_more: There are more in the direction of reading: newer ones with ``after``, else older ones.
    """

    epoch: Epoch
    seq: Seq
    messages: list[Message]
    has_more: bool


class Member(Output):
    """One member of a chat."""

    user_id: UserId
    added_at: Timestamp


class MemberPage(Output):
    """``GET /api/chats/{id}/members``."""

    members: list[Member]


class GatewayAddress(Output):
    """How the page finds the gateway: ``url``; else this host with ``port``; else, both None, this origin."""

    url: str | None
    port: int | None


class Config(Output):
    """``GET /api/config``."""

    auth: bool
    gateway: GatewayAddress
    epoch: Epoch
    version: str


class Health(Output):
    """``GET /health``."""

    status: Literal["healthy"] = "healthy"
    service: str


class AdmissionRequest(Input):
    """A gateway asks whether a user may join.

    Attributes:
        user_id: Who joins; None while authentication is off.
    """

    chat_id: ChatId
    user_id: UserId | None = None
    since: Cursor | None = None


class AdmissionRequests(Input):
    """``POST /api/internal/admissions``: several of a gateway's questions at once."""

    asks: Annotated[list[AdmissionRequest], Field(min_length=1, max_length=MAX_ASKS)]


class AdmissionAnswer(Output):
    """The chat's head, and whether the cursor is of another history."""

    epoch: Epoch
    seq: Seq
    reset: bool


class AdmissionDecision(Output):
    """The answer to one of the questions.

    Attributes:
        admitted: None: see ``refused``.
        refused: ``forbidden``, ``chat-not-found``, or ``unavailable``: nobody knows now.
    """

    admitted: AdmissionAnswer | None = None
    refused: ErrorCode | None = None


class AdmissionAnswers(Output):
    """One verdict for each question, in their order."""

    answers: list[AdmissionDecision]


class PublishRequest(Input):
    """``POST /api/internal/nudges``: bring the chat's log up to date."""

    chat_id: ChatId
