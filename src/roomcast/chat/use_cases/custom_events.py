"""The use case that stores events of other applications in chats.

Layer: chat. Source: docs/integration.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from roomcast.chat.commands import CustomEvent, NewCustomEvents
from roomcast.chat.model import StoredEvent
from roomcast.chat.ports import Clock, SystemClock, Writes
from roomcast.chat.use_cases.moderation import Moderation
from roomcast.chat.use_cases.publishing import Publishing
from roomcast.contract.rest import NewCustomEvent, PublishedEvent


class CustomEvents:
    """The use case.

    Args:
        store: The database.
        publishing: Passes on what was committed.
        clock: Provides the times.
        moderation: Reviews the data of each event; None: they are not reviewed.
    """

    def __init__(
        self,
        store: Writes,
        publishing: Publishing,
        clock: Clock | None = None,
        moderation: Moderation | None = None,
    ) -> None:
        self._store = store
        self._publishing = publishing
        self._clock = clock or SystemClock()
        self._moderation = moderation

    async def publish(self, given: Sequence[NewCustomEvent], trace: str | None = None) -> list[PublishedEvent]:
        """Store events, all or none, and return what became of each. The caller must be a service.

        Args:
            given: At least one.
            trace: W3C ``traceparent`` of the request.

        Raises:
            ChatNotFound: a chat does not exist.
            MessageRefused, ModerationUnavailable: the moderation refuses the data of one, or is away.
            StoreUnavailable: the events may or may not have been stored; repeat them with the same ids.
        """
        data: list[Mapping[str, Any]] = [event.data for event in given]
        if (moderation := self._moderation) is not None:
            data = await asyncio.gather(*(moderation.review_data(event.chat_id, event.data) for event in given))
        events = tuple(
            CustomEvent(event.chat_id, event.id, event.name, of) for event, of in zip(given, data, strict=True)
        )
        command = NewCustomEvents(events, self._clock.now(), trace, alone=len(events) > 1)
        results = await self._publishing.commit(self._store.commit(command))
        by_chat: dict[str, list[StoredEvent]] = {}
        for _, stored in results:
            if stored is not None:
                by_chat.setdefault(stored.chat_id, []).append(stored)
        for stored_events in by_chat.values():
            self._publishing.publish(tuple(stored_events), None)
        return [
            PublishedEvent(chat_id=event.chat_id, id=event.id, seq=seq, created=stored is not None)
            for event, (seq, stored) in zip(events, results, strict=True)
        ]
