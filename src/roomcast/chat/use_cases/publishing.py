"""What follows each commit: its events are passed to the relay and the listener, and the worker is woken.

A failed write may have been committed, if only its result was lost. The relay finds such events by their outbox marks.

Layer: chat. Source: docs/design.md, "Events and seq".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from roomcast.chat.errors import ChatNotFound, NotAMember, StoreBusy, StoreUnavailable
from roomcast.chat.model import Caller, Committed, StoredEvent

_T = TypeVar("_T")


class EventPublisher(Protocol):
    """Publishes committed events to the log; `roomcast.chat.delivery.relay.Relay` implements it."""

    def offer(self, events: tuple[StoredEvent, ...]) -> None:
        """Queue just committed events of one chat, ascending by seq. Returns at once and never fails."""

    def request_sweep(self) -> None:
        """Look for committed events that were not offered. Returns at once and never fails."""


class CommitListener(Protocol):
    """Is notified of every committed event; `roomcast.chat.delivery.activity.ActivityNotifier` implements it."""

    def committed(self, event: StoredEvent, actor_id: str | None) -> None:
        """Process a just committed event and the user that caused it (None for an AI or a service).

        Returns at once and never fails.
        """


class Publishing:
    """Publishes what the use cases commit.

    Args:
        publisher: Receives every committed event.
        listener: Receives every committed event after the publisher; None if there is no listener.
        wake_worker: Called when a turn may be claimed; must not block.
    """

    def __init__(
        self, publisher: EventPublisher, listener: CommitListener | None, wake_worker: Callable[[], None]
    ) -> None:
        self._publisher = publisher
        self._listener = listener
        self.wake_worker = wake_worker

    async def commit(self, write: Awaitable[_T]) -> _T:
        """Await a write of the store. If its outcome is unknown, request a sweep."""
        try:
            return await write
        except StoreBusy:
            raise
        except StoreUnavailable:
            # The connection may have failed after the commit.
            self._publisher.request_sweep()
            raise

    async def carry_out(self, caller: Caller, chat_id: str, write: Awaitable[Committed | None]) -> bool:
        """Await a write that changes a chat, and pass on its events. Returns whether it changed anything.

        Raises:
            ChatNotFound: the chat is hidden from the caller.
        """
        try:
            committed = await self.commit(write)
        except NotAMember:
            raise ChatNotFound(chat_id) from None
        if committed is None:
            return False
        self.publish(committed.events, caller.restricted_user_id)
        return True

    def publish(self, events: tuple[StoredEvent, ...], actor_id: str | None) -> None:
        """Pass on the events of one commit, ascending by seq."""
        self._publisher.offer(events)
        if self._listener is not None:
            for event in events:
                self._listener.committed(event, actor_id)
