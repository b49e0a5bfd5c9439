"""The use cases that write: send a message, create a chat, add and remove members, store an AI's answer.

Each use case is one transaction of the store. After the commit, and before the use case returns, the events are passed
to the relay and the listener.

A failed write may have been committed, if only its result was lost. The relay finds such events by their outbox marks.
When the client repeats the write, the listener and the worker are notified too.

Layer: chat. Source: docs/design.md, "Events and seq".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from roomcast.chat.additions import AdditionLimits
from roomcast.chat.errors import ChatNotFound, NotAllowed, NotAMember, StoreBusy, StoreUnavailable
from roomcast.chat.ids import new_id
from roomcast.chat.model import (
    Caller,
    Committed,
    MemberAction,
    NewChat,
    NewMemberChange,
    NewMessage,
    StoredChat,
    StoredEvent,
    Turn,
)
from roomcast.chat.ports import ChatStore, Clock, SystemClock
from roomcast.contract.rest import CreateChat, SendMessage

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """Options of the writing use cases.

    Attributes:
        default_responder: Name of the responder of new chats; None if their messages are not answered.
        additions: Limits for users that add other users to chats.
        max_uncertain: Maximum number of messages of unknown outcome that are remembered until the client repeats them;
            the oldest is forgotten first.
    """

    default_responder: str | None = None
    additions: AdditionLimits = field(default_factory=AdditionLimits)
    max_uncertain: int = 1_000


class EventPublisher(Protocol):
    """Publishes committed events to the log; `roomcast.chat.relay.Relay` implements it."""

    def offer(self, events: tuple[StoredEvent, ...]) -> None:
        """Queue just committed events of one chat, ascending by seq. Returns at once and never fails."""

    def request_sweep(self) -> None:
        """Look for committed events that were not offered. Returns at once and never fails."""


class CommitListener(Protocol):
    """Is notified of every committed event; `roomcast.chat.activity.ActivityNotifier` implements it."""

    def committed(self, event: StoredEvent, actor_id: str | None) -> None:
        """Process a just committed event and the user that caused it (None for an AI or a service).

        Returns at once and never fails.
        """


class ChatWriter:
    """The use cases that write.

    Args:
        store: The database.
        publisher: Receives every committed event.
        listener: Receives every committed event after the publisher; None if there is no listener.
        wake_worker: Called after the commit of a message that queued an AI turn; must not block.
        options: Limits, and the responder of new chats.
        clock: Provides the creation times.
    """

    def __init__(
        self,
        store: ChatStore,
        publisher: EventPublisher,
        *,
        listener: CommitListener | None = None,
        wake_worker: Callable[[], None] = lambda: None,
        options: ChatOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._listener = listener
        self._wake_worker = wake_worker
        self._options = options or ChatOptions()
        self._clock = clock or SystemClock()
        # Chat id and ``client_msg_id`` of messages of unknown outcome, oldest first.
        self._uncertain: dict[tuple[str, str], bool] = {}

    async def send(self, caller: Caller, command: SendMessage, trace: str | None = None) -> Committed:
        """Write a message. A second call with the same ``client_msg_id`` returns the first result.

        Raises:
            NotAllowed: the caller may not write as AI, or as the user ``command.user_id``.
            ChatNotFound: the chat does not exist or is hidden from the caller.
            StoreUnavailable: the message may or may not have been written; repeat it with the same ``client_msg_id``.
        """
        if command.role == "AI" and not caller.unrestricted:
            raise NotAllowed('role "AI" needs a service token; send role "USER"')
        if command.user_id is not None and not caller.unrestricted and command.user_id != caller.user_id:
            raise NotAllowed("userId is not the token's user; leave userId out")
        now = self._clock.now()
        return await self._append(
            NewMessage(
                id=new_id(),
                chat_id=command.chat_id,
                role=command.role,
                content=command.content,
                user_id=command.user_id if caller.unrestricted else caller.user_id,
                client_msg_id=command.client_msg_id,
                created_at=now,
                member=caller.restricted_user_id,
                creates=NewChat(command.chat_id, None, self._options.default_responder, now)
                if caller.trusted
                else None,
                trace=trace,
            )
        )

    async def answer(self, turn: Turn, content: str) -> None:
        """Write an AI's answer and end its turn, in one transaction.

        The idempotency key is derived from the turn, so that a turn has one answer however often it is claimed.

        Raises:
            TurnLost: the turn was claimed again; nothing was written.
            StoreUnavailable: the answer may or may not have been written; retry.
        """
        await self._append(
            NewMessage(
                id=new_id(),
                chat_id=turn.chat_id,
                role="AI",
                content=content,
                user_id=None,
                client_msg_id=f"turn:{turn.claim.turn_id}",
                created_at=self._clock.now(),
                ends=turn.claim,
            )
        )

    async def create_chat(self, caller: Caller, command: CreateChat) -> StoredChat:
        """Create a chat. With authentication on, a user that creates a chat is its first member.

        Raises:
            NotAllowed: a user chose the id, and the answer would disclose whether a chat with that id exists.
            ChatExists: the id is taken.
            AdditionLimitReached: the caller added users too often.
            StoreUnavailable: the chat may or may not have been created.
        """
        if command.id is not None and not caller.unrestricted:
            raise NotAllowed("choosing the id of a chat needs a service token; leave id out")
        new = NewChat(
            id=new_id() if command.id is None else command.id,
            title=command.title,
            responder=self._options.default_responder,
            created_at=self._clock.now(),
            creator_id=caller.restricted_user_id,
            members=tuple(command.members),
            limits=self._options.additions,
        )
        chat, events = await self._commit(self._store.create_chat(new))
        if events:
            self._publish(events, caller.restricted_user_id)
        return chat

    async def change_member(self, caller: Caller, chat_id: str, user_id: str, action: MemberAction) -> bool:
        """Add or remove a member, which every member may do. Returns whether the membership changed.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
            AdditionLimitReached: the caller added users too often.
            StoreUnavailable: the change may or may not have been made; retry.
        """
        change = NewMemberChange(
            chat_id=chat_id,
            user_id=user_id,
            action=action,
            actor_id=caller.restricted_user_id,
            created_at=self._clock.now(),
            member=caller.restricted_user_id,
            limits=self._options.additions,
        )
        try:
            committed = await self._commit(self._store.change_member(change))
        except NotAMember:
            raise ChatNotFound(chat_id) from None
        if committed is None:
            return False
        self._publish((committed.event,), caller.restricted_user_id)
        return True

    async def _append(self, new: NewMessage) -> Committed:
        key = None if new.client_msg_id is None else (new.chat_id, new.client_msg_id)
        try:
            committed = await self._commit(self._store.append_message(new), key)
        except NotAMember:
            raise ChatNotFound(new.chat_id) from None
        # An earlier attempt may have failed after the commit, before the listener and the worker were notified.
        was_uncertain = key is not None and self._uncertain.pop(key, False)
        if committed.created or was_uncertain:
            self._publish((committed.event,), new.user_id)
        if committed.turn_queued or was_uncertain:
            self._wake_worker()
        return committed

    async def _commit(self, write: Awaitable[_T], key: tuple[str, str] | None = None) -> _T:
        """Await a write of the store. If its outcome is unknown, request a sweep and remember ``key``."""
        try:
            return await write
        except StoreBusy:
            raise
        except StoreUnavailable:
            # The connection may have failed after the commit.
            self._publisher.request_sweep()
            if key is not None:
                self._remember_uncertain(key)
            raise

    def _remember_uncertain(self, key: tuple[str, str]) -> None:
        self._uncertain[key] = True
        if len(self._uncertain) > self._options.max_uncertain:
            del self._uncertain[next(iter(self._uncertain))]

    def _publish(self, events: tuple[StoredEvent, ...], actor_id: str | None) -> None:
        self._publisher.offer(events)
        if self._listener is not None:
            for event in events:
                self._listener.committed(event, actor_id)
