"""Pushes: the devices of users and what they have received, in the database; and the push services.

Layer: chat. Contract suite: tests/contract/test_notifications.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from roomcast.chat.model import Notifications, PushDevice
from roomcast.contract.cursor import Cursor


@dataclass(frozen=True, slots=True)
class PushState:
    """Whether there is any device, and up to where events have been pushed; None: nowhere yet."""

    has_devices: bool
    cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class PushedMessage:
    """A message whose unseen copies are looked for.

    Attributes:
        seq: Users whose cursor is there or further have seen it.
        place: As in `model.StoredMessage`.
        user_id: Its author, that receives no push; None: an AI or a service.
        created_at: Devices that were added later receive no push.
    """

    chat_id: str
    seq: int
    place: int
    user_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Recipient:
    """A device of a user that has not seen a message.

    Attributes:
        title: The title of the chat; None: it has none.
        direct: Whether it is a direct chat.
        mentioned: Whether the message mentions the user.
        notifications: What notifies the user of the chat.
    """

    device: PushDevice
    title: str | None
    direct: bool
    mentioned: bool
    notifications: Notifications


class PushStore(Protocol):
    """The devices, and a cursor in the events of all chats (`FeedStore`). Every method may raise `StoreUnavailable`."""

    async def add_device(self, device: PushDevice, now: datetime) -> None:
        """Store a device; it belongs to this user only. Of the user's devices, the newest `MAX_DEVICES` are kept."""

    async def remove_device(self, device_id: str, user_id: str | None) -> None:
        """Delete a device if it belongs to the user; None: in any case, since its push service does not know it."""

    async def push_state(self) -> PushState:
        """The state."""

    async def skip_to_end(self, before: Cursor | None) -> None:
        """Move the cursor from ``before`` behind all events that have a position."""

    async def advance(self, before: Cursor, after: Cursor) -> bool:
        """Move the cursor from ``before``; false: it is elsewhere, because another process has moved it."""

    async def forget_cursor(self) -> None:
        """Delete the cursor."""

    async def recipients(
        self, message: PushedMessage, limit: int, *, open_to_all: bool, device_id: str | None = None
    ) -> Sequence[Recipient]:
        """The devices of the users of a chat that have not seen a message, ascending by id, at most ``limit``.

        Args:
            message: The message. One that was deleted has no recipients.
            limit: Maximum number of devices.
            open_to_all: Whether the users of a chat are not only its members, but all that have read it.
            device_id: The only device to return.
        """


#: Devices of one user.
MAX_DEVICES = 20


@dataclass(frozen=True, slots=True)
class Push:
    """What a device receives.

    Attributes:
        payload: JSON, a `contract.push.PushPayload`.
        topic: A push replaces those of the same topic that the device has not received yet. Up to 32 characters of
            base64url.
        urgent: Whether the device should wake up for it.
        ttl_s: For how long the push service keeps it.
    """

    device: PushDevice
    payload: bytes
    topic: str
    urgent: bool
    ttl_s: int


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """What a push service answered.

    Attributes:
        result: ``gone``: the device receives nothing any more; ``refused``: a repeat is useless; ``failed``: it is not.
        retry_after_s: After which time the push service accepts a repeat, if it says so.
        detail: For logs: what happened.
    """

    result: Literal["sent", "gone", "refused", "failed"]
    retry_after_s: float | None = None
    detail: str = ""


class PushSender(Protocol):
    """Sends to push services."""

    async def send(self, push: Push) -> PushOutcome:
        """Encrypt and send one push, within a few seconds. Never raises."""
