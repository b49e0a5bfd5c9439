"""Pushes for the messages of all chats, to the devices of users that have not seen them.

The events of all chats are read with one cursor (`FeedStore`). A process that moves the cursor past some events is the
only one that pushes them, so no device receives a push twice, whatever the number of processes; if the process ends
before it has sent them, these pushes are lost.

A push waits for ``delay_s`` after its message. A user that sees the chat on any device moves the read cursor in that
time, and receives none.

Layer: worker. Source: docs/decisions/0022.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple

from roomcast.backoff import repeat_forever
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import StoredEvent
from roomcast.chat.ports import Clock, FeedStore, Push, PushedMessage, PushStore, Recipient, SystemClock
from roomcast.contract.cursor import Cursor
from roomcast.contract.events import EventType
from roomcast.contract.push import PREVIEW_CHARS, PushPayload
from roomcast.contract.tenants import qualify, tenant_of
from roomcast.worker.push_deliveries import Deliveries, Delivery

#: Time between two looks for new events, in seconds.
POLL_S: Final = 1.0
#: Longest pause in seconds while the database does not answer.
_MAX_PAUSE_S: Final = 30.0
#: Events that are read at once: as many pushes are lost at most if a process dies.
BATCH: Final = 100
#: Devices that receive one message.
MAX_DEVICES_PER_MESSAGE: Final = 5_000
#: Messages that are older are not pushed: the pushes of a long outage would come all at once.
MAX_AGE: Final = timedelta(hours=1)
#: For how long a push service keeps a push for a device that is off.
TTL_S: Final = 24 * 3600


class _Found(NamedTuple):
    """A device, the message that is pushed to it, and the payload."""

    recipient: Recipient
    message: PushedMessage
    payload: bytes


class Pushes:
    """Reads the events and pushes the messages, in one process of the cluster at a time for each event.

    Args:
        feed: The events of all chats.
        store: The devices.
        deliveries: Sends the pushes.
        open_to_all: Whether authentication is off.
        delay_s: For how long a user has the time to see a message.
        clock: Ages of events.

    Attributes:
        counters: ``curtailed``: messages with more than `MAX_DEVICES_PER_MESSAGE` devices.
    """

    def __init__(
        self,
        feed: FeedStore,
        store: PushStore,
        deliveries: Deliveries,
        *,
        open_to_all: bool,
        delay_s: float,
        clock: Clock | None = None,
    ) -> None:
        self._feed = feed
        self._store = store
        self._deliveries = deliveries
        self._open_to_all = open_to_all
        self._delay = timedelta(seconds=delay_s)
        self._clock = clock or SystemClock()
        self.counters: Counter[str] = Counter()

    async def run(self) -> None:
        """Push until cancelled."""
        await repeat_forever(self.step, POLL_S, "pushing messages", StoreUnavailable, longest_s=_MAX_PAUSE_S)

    async def step(self) -> bool:
        """Push the messages of the next events. Returns whether there may be more.

        Raises:
            StoreUnavailable: the database did not answer; nothing was pushed.
        """
        state = await self._store.push_state()
        if not state.has_devices:
            # The events of the meantime are not read when there is a device again.
            if state.cursor is not None:
                await self._store.forget_cursor()
            return False
        more = await self._feed.place()
        if state.cursor is not None:
            return await self._push_after(state.cursor) or more
        if not more:
            await self._store.skip_to_end(None)
        return more

    async def _push_after(self, cursor: Cursor) -> bool:
        """Push the messages of the events after a cursor. Returns whether there may be more."""
        ahead = await self._feed.read(cursor, BATCH)
        if ahead.reset:
            await self._store.skip_to_end(cursor)
            return True
        if not ahead.events:
            return False
        await self._wait_for_readers(ahead.events[-1])
        # Again, since a message may have been deleted meanwhile.
        read = await self._feed.read(cursor, len(ahead.events))
        # By device and chat: a later message replaces an earlier one, as at the push service.
        found: dict[tuple[str, str], _Found] = {}
        for event in read.events:
            for one in await self._recipients(event):
                key = one.recipient.device.id, event.chat_id
                if key not in found or _urgent(one.recipient) or not _urgent(found[key].recipient):
                    found[key] = one
        if not await self._store.advance(cursor, read.cursor):
            return True
        now = asyncio.get_running_loop().time()
        for one in found.values():
            self._deliveries.add(Delivery(self._push(one), self._check(one), now))
        return len(read.events) == BATCH

    async def _wait_for_readers(self, newest: StoredEvent) -> None:
        age = self._clock.now() - newest.created_at
        # The clock of another machine may be ahead.
        await asyncio.sleep(min(max(self._delay - age, timedelta()), self._delay).total_seconds())

    async def _recipients(self, event: StoredEvent) -> list[_Found]:
        """The devices that a message is pushed to, and their payloads. Other events have none."""
        now = self._clock.now()
        if event.type != EventType.MESSAGE_CREATED or now - event.created_at > MAX_AGE:
            return []
        payload = json.loads(event.payload)
        names = ", ".join(str(file["name"]) for file in payload.get("attachments") or ())
        text = " ".join(str(payload["content"]).split()) or names
        # A new version of a message notifies of nothing.
        if payload.get("deleted") or payload.get("version", 1) > 1 or not text:
            return []
        message = PushedMessage(event.chat_id, event.seq, payload["place"], _author(event, payload), event.created_at)
        recipients = await self._store.recipients(message, MAX_DEVICES_PER_MESSAGE, open_to_all=self._open_to_all)
        self.counters["curtailed"] += len(recipients) == MAX_DEVICES_PER_MESSAGE
        return [
            _Found(
                recipient,
                message,
                PushPayload.encode(
                    chat_id=event.chat_id,
                    title=recipient.title,
                    direct=recipient.direct,
                    role=payload["role"],
                    user_id=message.user_id,
                    text=text[:PREVIEW_CHARS],
                    mentioned=recipient.mentioned,
                    seq=event.seq,
                ),
            )
            for recipient in recipients
            if self._wants(recipient)
        ]

    def _wants(self, recipient: Recipient) -> bool:
        level = recipient.notifications.at(self._clock.now())
        return level == "all" or (level == "mentions" and _urgent(recipient))

    def _push(self, found: _Found) -> Push:
        topic = base64.urlsafe_b64encode(sha256(found.message.chat_id.encode()).digest()[:24]).decode()
        return Push(found.recipient.device, found.payload, topic, _urgent(found.recipient), TTL_S)

    def _check(self, pushed: _Found) -> Callable[[], Awaitable[bool]]:
        async def allowed() -> bool:
            device, open_to_all = pushed.recipient.device, self._open_to_all
            now = await self._store.recipients(pushed.message, 1, open_to_all=open_to_all, device_id=device.id)
            return any(one.device.user_id == device.user_id and self._wants(one) for one in now)

        return allowed


def _urgent(recipient: Recipient) -> bool:
    """Whether a message addresses the user."""
    return recipient.mentioned or recipient.direct


def _author(event: StoredEvent, payload: dict[str, Any]) -> str | None:
    """The user that wrote a message. Stored payloads have local ids."""
    user_id = payload["userId"] if payload["role"] == "USER" else None
    return None if user_id is None else qualify(tenant_of(event.chat_id), user_id)
