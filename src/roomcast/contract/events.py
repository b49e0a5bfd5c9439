"""What the gateway emits, and the events table's types.

Layer: contract.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

from roomcast.contract.model import Output
from roomcast.contract.text import ChatId, ClientMsgId, Content, Epoch, Seq, Timestamp, UserId

Role = Literal["USER", "AI"]
#: Grows with streaming answers; a stored message is ``sent``.
MessageStatus = Literal["sent"]


class EventType(StrEnum):
    """What happened in a chat, as the events table says it. Clients pass over types that they do not know."""

    MESSAGE_CREATED = "message-created"
    MEMBER_ADDED = "member-added"
    MEMBER_REMOVED = "member-removed"


#: The Socket.IO event that carries each type. ``new-msg`` is the guide's name.
EVENT_NAMES: Final[dict[EventType, str]] = {
    EventType.MESSAGE_CREATED: "new-msg",
    EventType.MEMBER_ADDED: "member-added",
    EventType.MEMBER_REMOVED: "member-removed",
}
#: Not in the events table: tells a room that the log cannot bridge a gap.
RESYNC: Final = "resync"
#: Of the moment: not in the events table, without a seq, at most once.
TYPING: Final = "typing"
PRESENCE: Final = "presence"
CHAT_ACTIVITY: Final = "chat-activity"


class Message(Output):
    """``new-msg``: one message. The guide's four members first."""

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
    """``member-added`` and ``member-removed``: who belongs to the chat from this seq on.

    Attributes:
        user_id: Who came or went.
        actor_id: Who did it; None for a service.
    """

    chat_id: ChatId
    epoch: Epoch
    seq: Seq
    user_id: UserId
    actor_id: UserId | None
    time: Timestamp


class Resync(Output):
    """``resync``: events were missed; page through REST from your own cursor, or refetch everything if ``reset``."""

    chat_id: ChatId
    epoch: Epoch
    seq: Seq
    reset: bool


class Typing(Output):
    """``typing``: a user of the chat began or stopped to write. Forget it after 6 s without another one.

    Attributes:
        user_id: Who.
        typing: Whether they write now.
    """

    chat_id: ChatId
    user_id: UserId
    typing: bool


class Presence(Output):
    """``presence``: who of a chat is there, as changes; a client gets a full picture when it has joined.

    Attributes:
        online: Users who have come: at least one of their devices follows the chat, on whichever gateway.
        offline: Users who have gone: none of their devices does any more.
        reset: ``online`` is everybody: forget what was known before.
    """

    chat_id: ChatId
    online: tuple[UserId, ...]
    offline: tuple[UserId, ...]
    reset: bool


class ChatActivity(Output):
    """``chat-activity``, to the room of each user of a chat: it has something new, whether it is followed or not.

    Several events within a moment are told as one: the newest.

    Attributes:
        seq: Where the chat ends now.
        user_id: Who wrote, or added a member; None for an AI or a service.
    """

    chat_id: ChatId
    epoch: Epoch
    seq: Seq
    user_id: UserId | None
    time: Timestamp
