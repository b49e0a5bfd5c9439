"""Events: the payloads that the gateway emits, and the event types in the events table.

Layer: contract.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

from roomcast.contract.model import Output
from roomcast.contract.text import ChatId, ClientMsgId, Content, Epoch, Seq, Timestamp, UserId

Role = Literal["USER", "AI"]
#: Stored messages are ``sent``; more values may be added later.
MessageStatus = Literal["sent"]


class EventType(StrEnum):
    """The type of an event in the events table. Clients ignore types that they do not know."""

    MESSAGE_CREATED = "message-created"
    MEMBER_ADDED = "member-added"
    MEMBER_REMOVED = "member-removed"


#: The Socket.IO event that carries each type. ``new-msg`` is the guide's name.
EVENT_NAMES: Final[dict[EventType, str]] = {
    EventType.MESSAGE_CREATED: "new-msg",
    EventType.MEMBER_ADDED: "member-added",
    EventType.MEMBER_REMOVED: "member-removed",
}
#: Emitted when the log cannot fill a gap in the events; not stored in the events table.
RESYNC: Final = "resync"
#: Ephemeral events: not stored in the events table, without a seq, delivered at most once.
TYPING: Final = "typing"
PRESENCE: Final = "presence"
CHAT_ACTIVITY: Final = "chat-activity"


class Message(Output):
    """``new-msg``: one message. The first four fields are those of the guide."""

    id: str
    role: Role
    content: Content
    time: Timestamp
    chat_id: ChatId
    epoch: Epoch
    seq: Seq
    user_id: UserId | None
    client_msg_id: ClientMsgId | None
    status: MessageStatus = "sent"


class MemberChange(Output):
    """``member-added`` and ``member-removed``: from this seq on, a user is, or is no longer, a member.

    Attributes:
        user_id: The member that was added or removed.
        actor_id: The user that made the change; null for a service, and while authentication is off.
    """

    chat_id: ChatId
    epoch: Epoch
    seq: Seq
    user_id: UserId
    actor_id: UserId | None
    time: Timestamp


class Resync(Output):
    """``resync``: the gateway could not emit some events of the chat.

    The client fetches them through REST, from its cursor; if ``reset``, it discards everything and refetches.
    """

    chat_id: ChatId
    epoch: Epoch
    seq: Seq
    reset: bool


class Typing(Output):
    """``typing``: a user of the chat started or stopped typing. Expires after 6 s unless it is repeated.

    Attributes:
        typing: Whether the user is typing.
    """

    chat_id: ChatId
    user_id: UserId
    typing: bool


class Presence(Output):
    """``presence``: changes of the users online in a chat. After a join, the client receives the full list.

    A user is online while at least one of its devices follows the chat, on any gateway.

    Attributes:
        online: Users that came online.
        offline: Users that went offline.
        reset: Whether ``online`` is the full list, which replaces the earlier state.
    """

    chat_id: ChatId
    online: tuple[UserId, ...]
    offline: tuple[UserId, ...]
    reset: bool


class LastMessage(Output):
    """The newest message of a chat; it determines whether the chat is unread for a user.

    Attributes:
        epoch: The epoch in which the message was written.
        user_id: The user that wrote the message; null for an AI, a service or an unknown user.
    """

    epoch: Epoch
    seq: Seq
    user_id: UserId | None
    time: Timestamp


class ChatActivity(Output):
    """``chat-activity``: a chat of the user has a new event, whether or not the client follows it.

    Of several events in quick succession, only the newest is announced.

    Attributes:
        seq: Seq of the event.
        user_id: The user that wrote the message or added the member; null for an AI, a service or an unknown user.
        last_message: The newest message since the previous announcement; null if only members were added.
    """

    chat_id: ChatId
    epoch: Epoch
    seq: Seq
    user_id: UserId | None
    time: Timestamp
    last_message: LastMessage | None
