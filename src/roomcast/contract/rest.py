"""Request and response bodies of the REST API.

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
#: Admissions that a gateway can ask for in one request.
MAX_ASKS = 64


class SendMessage(Input):
    """The body of ``POST /api/chat/messages``.

    Attributes:
        role: ``AI`` needs a service token while authentication is on.
        client_msg_id: Idempotency key chosen by the sender: a repeat in the same chat returns the first result.
        user_id: The author, while authentication is off or with a service token. Otherwise the token names the author.
    """

    chat_id: ChatId
    role: Role
    content: Content
    client_msg_id: ClientMsgId | None = None
    user_id: UserId | None = None


class CreateChat(Input):
    """The body of ``POST /api/chats``.

    Attributes:
        id: The chat's id; the server chooses one if it is left out.
        members: The first members besides the caller.
    """

    id: ChatId | None = None
    title: Title | None = None
    members: Annotated[list[UserId], Field(default_factory=list, max_length=MAX_MEMBERS_AT_CREATION)]


class Chat(Output):
    """One chat.

    Attributes:
        last_activity_at: Time of its last event, or of its creation.
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
    """The response of ``GET /api/chats``: latest activity first. ``nextCursor`` is null on the last page."""

    chats: list[Chat]
    next_cursor: str | None


class ChatEvent(Output):
    """One event, as the gateway emits it.

    Attributes:
        type: The type in the events table.
        event: The name of the Socket.IO event.
        data: The only argument of the Socket.IO event.
    """

    seq: Seq
    type: str
    event: str
    data: dict[str, Any]


class EventPage(Output):
    """The response of ``GET /api/chats/{id}/events``: ascending by seq.

    Attributes:
        epoch: The current epoch.
        seq: The chat's head.
        more: There are more events: request the page after the last one.
        reset: The given cursor does not belong to the chat's current history: discard everything and refetch.
    """

    epoch: Epoch
    events: list[ChatEvent]
    seq: Seq
    more: bool
    reset: bool


class MessagePage(Output):
    """The response of ``GET /api/chats/{id}/messages``: ascending by seq.

    Attributes:
        epoch: The current epoch.
        seq: The chat's head when the page was read: the cursor to join with.
        has_more: There are more messages: newer ones with ``after``, else older ones.
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
    """The response of ``GET /api/chats/{id}/members``: ascending by user id."""

    members: list[Member]


class GatewayAddress(Output):
    """Address of the gateway: ``url``; else ``port`` on the API's host; else, if both are null, the API's origin."""

    url: str | None
    port: int | None


class Config(Output):
    """The response of ``GET /api/config``.

    Attributes:
        auth: Whether requests and connections need a token.
        epoch: The current epoch.
        version: The server's version.
    """

    auth: bool
    gateway: GatewayAddress
    epoch: Epoch
    version: str


class Health(Output):
    """The response of ``GET /health``."""

    status: Literal["healthy"] = "healthy"
    service: str


class AdmissionRequest(Input):
    """Asks whether a user may follow a chat.

    Attributes:
        user_id: The user that joins; null while authentication is off.
        since: The client's cursor, if it has one.
    """

    chat_id: ChatId
    user_id: UserId | None = None
    since: Cursor | None = None


class AdmissionRequests(Input):
    """The body of ``POST /api/internal/admissions``: the admissions that a gateway asks for."""

    asks: Annotated[list[AdmissionRequest], Field(min_length=1, max_length=MAX_ASKS)]


class AdmissionAnswer(Output):
    """The chat's head.

    Attributes:
        epoch: The current epoch.
        seq: Seq of the chat's last event.
        reset: The client's cursor does not belong to the chat's current history.
    """

    epoch: Epoch
    seq: Seq
    reset: bool


class AdmissionDecision(Output):
    """The decision on one admission.

    Attributes:
        admitted: The chat's head; null if the user is refused.
        refused: ``forbidden``, ``chat-not-found``, or ``unavailable`` if the database did not answer.
    """

    admitted: AdmissionAnswer | None = None
    refused: ErrorCode | None = None


class AdmissionAnswers(Output):
    """The response of ``POST /api/internal/admissions``: one decision per request, in the same order."""

    answers: list[AdmissionDecision]


class PublishRequest(Input):
    """The body of ``POST /api/internal/nudges``: bring the chat's log up to date."""

    chat_id: ChatId
