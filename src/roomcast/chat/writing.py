"""What callers may change: send a message, create a chat, add and remove members, and an AI's answer.

Each use case is one transaction of the store; then the relay is told, so that the event is on its way before the caller
has its answer. A write that fails may have been committed all the same, if only its answer was lost: so the relay looks
for it, and a repeat that finds it tells those whom the relay does not.

Layer: chat.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

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
    """Options of the domain.

    Attributes:
        default_responder: What answers the USER messages of a new chat; None: nobody does.
        max_doubtful: Messages of unknown outcome that are remembered until they are repeated; the oldest go first.
    """

    default_responder: str | None = None
    max_doubtful: int = 1_000


class EventPublisher(Protocol):
    """Takes committed events for delivery; `roomcast.chat.relay.Relay` is it."""

    def offer(self, events: tuple[StoredEvent, ...]) -> None:
        """Take events of one chat, just committed, ascending. Returns at once and never fails."""

    def wake(self) -> None:
        """Look for what was committed and never offered. Returns at once and never fails."""


class CommitListener(Protocol):
    """Hears of committed events; `roomcast.chat.activity.ActivityNotifier` is one."""

    def committed(self, event: StoredEvent, by: str | None) -> None:
        """Take an event, just committed, and who caused it (None: an AI or a service). Returns at once, never fails."""


class _Nobody:
    """Listens to nothing."""

    def committed(self, event: StoredEvent, by: str | None) -> None:
        """See the port."""


def _ignore_turns() -> None:
    """Nobody answers here: another process is woken by other means."""


class ChatWriter:
    """The use cases that write.

    Args:
        store: The truth.
        publisher: Is offered every event that was committed.
        listener: Is told of each behind that; None: nobody is.
        wake_worker: Called after a message that asks an AI for an answer; must not block.
        options: See there.
        clock: Time of the messages.
    """

    def __init__(
        self,
        store: ChatStore,
        publisher: EventPublisher,
        *,
        listener: CommitListener | None = None,
        wake_worker: Callable[[], None] = _ignore_turns,
        options: ChatOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._listener = listener or _Nobody()
        self._wake_worker = wake_worker
        self._options = options or ChatOptions()
        self._clock = clock or SystemClock()
        # Chat and ``client_msg_id`` of messages that may have been committed, oldest first.
        self._doubtful: dict[tuple[str, str], bool] = {}

    async def send(self, caller: Caller, command: SendMessage, trace: str | None = None) -> Committed:
        """Write a message; a repeat of its ``client_msg_id`` answers the first result.

        Raises:
            NotAllowed: the caller may not speak as AI, or as that user.
            ChatNotFound: no such chat, or none that the caller may know of.
            StoreUnavailable: nothing was written, or it is not known to be: repeat with the same ``client_msg_id``.
        """
        if command.role == "AI" and not caller.unrestricted:
            raise NotAllowed("only a service token may speak as AI")
        if command.user_id is not None and not caller.unrestricted and command.user_id != caller.user_id:
            raise NotAllowed("userId is taken from the token; leave it out")
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
                member=None if caller.unrestricted else caller.user_id,
                creates=NewChat(command.chat_id, None, self._options.default_responder, now)
                if caller.trusted
                else None,
                trace=trace,
            )
        )

    async def answer(self, turn: Turn, content: str) -> None:
        """Write an AI's answer and end its turn, in one transaction.

        The idempotency key derives from the turn, so that a turn that is claimed twice still has one answer.

        Raises:
            TurnLost: somebody else claimed the turn meanwhile; nothing was written.
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
        """Create a chat. With authentication on, the caller becomes its first member.

        Raises:
            ChatExists: the id is taken.
        """
        chat, events = await self._written(
            self._store.create_chat(
                NewChat(
                    id=new_id() if command.id is None else command.id,
                    title=command.title,
                    responder=self._options.default_responder,
                    created_at=self._clock.now(),
                    creator_id=None if caller.unrestricted else caller.user_id,
                    members=tuple(command.members),
                )
            )
        )
        if events:
            self._offer(events, None if caller.unrestricted else caller.user_id)
        return chat

    async def change_member(self, caller: Caller, chat_id: str, user_id: str, action: MemberAction) -> bool:
        """Add or remove a member; any member may. False: it was so already.

        Raises:
            ChatNotFound: no such chat, or none that the caller may know of.
        """
        try:
            committed = await self._written(
                self._store.change_member(
                    NewMemberChange(
                        chat_id=chat_id,
                        user_id=user_id,
                        action=action,
                        actor_id=None if caller.unrestricted else caller.user_id,
                        created_at=self._clock.now(),
                        member=None if caller.unrestricted else caller.user_id,
                    )
                )
            )
        except NotAMember:
            raise ChatNotFound(chat_id) from None
        if committed is None:
            return False
        self._offer((committed.event,), None if caller.unrestricted else caller.user_id)
        return True

    async def _append(self, new: NewMessage) -> Committed:
        key = None if new.client_msg_id is None else (new.chat_id, new.client_msg_id)
        try:
            committed = await self._written(self._store.append_message(new))
        except NotAMember:
            raise ChatNotFound(new.chat_id) from None
        except StoreBusy:
            raise
        except StoreUnavailable:
            if key is not None:
                self._doubt(key)
            raise
        # An earlier attempt may have committed it, and nobody was told.
        doubtful = key is not None and self._doubtful.pop(key, False)
        if committed.created or doubtful:
            self._offer((committed.event,), new.user_id)
        if committed.turn_queued or doubtful:
            self._wake_worker()
        return committed

    def _doubt(self, key: tuple[str, str]) -> None:
        self._doubtful[key] = True
        if len(self._doubtful) > self._options.max_doubtful:
            del self._doubtful[next(iter(self._doubtful))]

    async def _written(self, write: Awaitable[_T]) -> _T:
        try:
            return await write
        except StoreBusy:
            raise
        except StoreUnavailable:
            # Its connection may have died between the commit and the answer.
            self._publisher.wake()
            raise

    def _offer(self, events: tuple[StoredEvent, ...], by: str | None) -> None:
        self._publisher.offer(events)
        for event in events:
            self._listener.committed(event, by)
