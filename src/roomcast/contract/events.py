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
