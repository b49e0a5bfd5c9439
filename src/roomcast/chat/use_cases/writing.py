"""The use cases that write: send and edit a message, create a chat, change its members and how it answers.

Each use case is one transaction of the store. After the commit, and before the use case returns, the events are
published (`publishing`). When a client repeats a message of unknown outcome, they are published again.

Layer: chat. Source: docs/design.md, "Events and seq".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from roomcast.chat.commands import ChangeAi, MemberAction, NewChat, NewMemberChange, NewMessage
from roomcast.chat.delivery.audience import RecentAuthors
from roomcast.chat.errors import ChatNotFound, NotAllowed, NotAMember, StoreBusy, StoreUnavailable, UnknownResponder
from roomcast.chat.files.downloads import Downloads
from roomcast.chat.ids import new_id
from roomcast.chat.model import Caller, ChatAi, Committed, StoredChat
from roomcast.chat.policies.additions import AdditionLimits
from roomcast.chat.policies.mentions import mentions
from roomcast.chat.policies.quotas import Quotas
from roomcast.chat.policies.rates import LimitName
from roomcast.chat.ports import ChatStore, Clock, RateLimiter, SystemClock
from roomcast.chat.use_cases.custom_events import CustomEvents
from roomcast.chat.use_cases.keeping import Keeping
from roomcast.chat.use_cases.managing import Managing
from roomcast.chat.use_cases.marking import Marking
from roomcast.chat.use_cases.moderation import Moderation
from roomcast.chat.use_cases.publishing import CommitListener, EventPublisher, Publishing
from roomcast.contract.events import MemberRole
from roomcast.contract.moderation import Review
from roomcast.contract.rest import AiSettings, CreateChat, EditMessage, OpenDirectChat, SendMessage
from roomcast.contract.tenants import qualify, tenant_of

#: The responder without a model, for the first steps with this software.
DEMO: Final = "demo"


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """Options of the writing use cases.

    Attributes:
        responders: Names of the responders that chats may use; the first answers in chats that name none. Empty: no
            message is answered.
        additions: Limits for users that add other users to chats.
        quotas: How many answers and tokens users have; None: there is no limit.
        max_uncertain: Maximum number of messages of unknown outcome that are remembered until the client repeats them;
            the oldest is forgotten first.
    """

    responders: tuple[str, ...] = ()
    additions: AdditionLimits = field(default_factory=AdditionLimits)
    quotas: Quotas | None = None
    max_uncertain: int = 1_000

    @property
    def default_responder(self) -> str | None:
        """Answers in chats that name no responder; None: such chats do not answer."""
        return next(iter(self.responders), None)


class ChatWriter:
    """The use cases that write.

    Args:
        store: The database.
        publisher: Receives every committed event.
        listener: Receives every committed event after the publisher; None if there is no listener.
        wake_worker: Called after the commit of a message that queued an AI turn; must not block.
        options: Limits, and the default responder.
        clock: Provides the creation times.
        limiter: Limits what users write; None: no limit.
        moderation: Reviews each text before it is stored; None: texts are not reviewed.
        files: Describes files for the moderation; None: the server stores none.

    Attributes:
        marks: The use cases that mark stored messages.
        custom_events: The use case that stores events of other applications.
        keeping: The use cases that rename, archive and delete a chat.
        managing: The use cases that manage the members of a chat.
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
        limiter: RateLimiter | None = None,
        moderation: Moderation | None = None,
        files: Downloads | None = None,
    ) -> None:
        self._store = store
        self._moderation = moderation
        self._files = files
        self._limiter = limiter
        self._publishing = Publishing(publisher, listener, wake_worker)
        self.marks = Marking(store, self._publishing, clock)
        self.custom_events = CustomEvents(store, self._publishing, clock, moderation)
        self.keeping = Keeping(store, self._publishing, clock, moderation)
        self.managing = Managing(store, self._publishing, clock)
        self._options = options or ChatOptions()
        self._clock = clock or SystemClock()
        self._authors = RecentAuthors(max_chats=1_000, max_authors=2)
        # Chat id and ``client_msg_id`` of messages of unknown outcome, oldest first.
        self._uncertain: dict[tuple[str, str], bool] = {}

    async def send(self, caller: Caller, command: SendMessage, trace: str | None = None) -> Committed:
        """Write a message. A second call with the same ``client_msg_id`` returns the first result.

        Raises:
            MessageNotFound: the chat has no message ``command.reply_to``.
            FileNotFound: the caller has not uploaded one of the files to the chat, or has sent it already.
            NotAllowed: the caller may not write as AI, or as the user ``command.user_id``.
            RightMissing: the caller's role does not permit it.
            Muted: the caller is muted in the chat.
            RateLimitReached: the caller, or all users of the chat, write too often.
            MessageRefused, ModerationUnavailable: the moderation refuses the text, or is away.
            ChatNotFound: the chat does not exist or is hidden from the caller.
            AnswerActive: the message asks for an answer, and the chat refuses this while it is being answered.
            QuotaReached: the message asks for an answer, and a quota of the caller is used up.
            StoreUnavailable: the message may or may not have been written; repeat it with the same ``client_msg_id``.
        """
        if command.role == "AI" and not caller.unrestricted:
            raise NotAllowed('role "AI" needs a service token; send role "USER"')
        if command.user_id is not None and not caller.unrestricted and command.user_id != caller.user_id:
            raise NotAllowed("userId is not the token's user; leave userId out")
        await self._charge(caller, command.chat_id, command.content)
        now = self._clock.now()
        author = command.user_id if caller.unrestricted else caller.user_id
        return await self._append(
            NewMessage(
                id=new_id(),
                chat_id=command.chat_id,
                role=command.role,
                content=command.content,
                user_id=author,
                client_msg_id=command.client_msg_id,
                created_at=now,
                member=caller.restricted_user_id,
                creates=NewChat(command.chat_id, None, None, now) if caller.trusted else None,
                default_responder=self._responder_for(command.chat_id, author, command.content),
                trace=trace,
                reply_to=command.reply_to,
                files=tuple(command.files),
                quotas=self._options.quotas,
            )
        )

    async def edit(
        self, caller: Caller, chat_id: str, message_id: str, command: EditMessage, trace: str | None = None
    ) -> Committed:
        """Write a new version of a USER message, which is answered anew. Only its author may do this.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
            MessageNotFound: the chat has no such message.
            NotAllowed: the message is not a USER message, or has another author.
            RateLimitReached, MessageRefused, ModerationUnavailable, AnswerActive, QuotaReached, StoreUnavailable: as
                for `send`.
        """
        await self._charge(caller, chat_id, command.content)
        return await self._append(
            NewMessage(
                id=new_id(),
                chat_id=chat_id,
                role="USER",
                content=command.content,
                user_id=caller.user_id,
                client_msg_id=command.client_msg_id,
                created_at=self._clock.now(),
                member=caller.restricted_user_id,
                default_responder=self._responder_for(chat_id, caller.user_id, command.content),
                replaces=message_id,
                trace=trace,
                drops=tuple(command.remove_files),
                quotas=self._options.quotas,
            )
        )

    async def change_ai(self, caller: Caller, chat_id: str, settings: AiSettings) -> StoredChat:
        """Change how a chat answers, and return the chat.

        Raises:
            RightMissing: the caller's role does not permit it.
            ChatNotFound: the chat does not exist or is hidden from the caller.
            StoreUnavailable: the change may or may not have been made; retry.
        """
        change = ChangeAi(chat_id, self._to_chat_ai(settings), self._clock.now(), caller.restricted_user_id)
        try:
            await self._store.commit(change)
        except NotAMember:
            raise ChatNotFound(chat_id) from None
        chat = await self._store.chat(chat_id)
        if chat is None:
            raise ChatNotFound(chat_id)
        return chat

    async def create_chat(self, caller: Caller, command: CreateChat) -> StoredChat:
        """Create a chat. With authentication on, a user that creates a chat is its first member, and its owner.

        Raises:
            NotAllowed: a user chose the id, and the answer would disclose whether a chat with that id exists.
            ChatExists: the id is taken.
            MessageRefused, ModerationUnavailable: the moderation refuses the title, or is away.
            AdditionLimitReached: the caller added users too often.
            StoreUnavailable: the chat may or may not have been created.
        """
        if command.id is not None and not caller.unrestricted:
            raise NotAllowed("choosing the id of a chat needs a service token; leave id out")
        chat_id = qualify(caller.tenant, new_id()) if command.id is None else command.id
        title = command.title
        if title is not None and self._moderation is not None:
            title = await self._moderation.review_title(chat_id, caller.user_id, title)
        new = NewChat(
            id=chat_id,
            title=title,
            ai=None if command.ai is None else self._to_chat_ai(command.ai),
            created_at=self._clock.now(),
            creator_id=caller.restricted_user_id,
            members=tuple(command.members),
            limits=self._options.additions,
        )
        chat, events = await self._publishing.commit(self._store.commit(new))
        if events:
            self._publishing.publish(events, caller.restricted_user_id)
        return chat if new.creator_id is None else replace(chat, unread=0, mentions=0)

    async def open_direct(self, caller: Caller, command: OpenDirectChat) -> str:
        """See `Keeping.open_direct`."""
        return await self.keeping.open_direct(caller, command.user_id, command.acting_user_id, self._options.additions)

    async def change_member(
        self,
        caller: Caller,
        chat_id: str,
        user_id: str,
        action: MemberAction,
        trace: str | None = None,
        role: MemberRole = MemberRole.MEMBER,
    ) -> bool:
        """Add or remove a member, or leave. Returns whether the membership changed.

        Raises:
            RightMissing: the caller's role does not permit it.
            Banned: the user to add is banned.
            LastOwner: the chat would have members, but no owner.
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
            trace=trace,
            role=role,
        )
        try:
            committed = await self._publishing.commit(self._store.commit(change))
        except NotAMember:
            raise ChatNotFound(chat_id) from None
        if committed is None:
            return False
        self._publishing.publish((committed.event,), caller.restricted_user_id)
        return True

    def _responder_for(self, chat_id: str, author: str | None, content: str) -> str | None:
        """The responder that answers in chats that name none.

        The built-in demo is no participant: once several users write in a chat, it answers if it is mentioned.
        """
        responder = self._options.default_responder
        if responder != DEMO or author is None:
            return responder
        others = [user_id for user_id in self._authors.of(chat_id) if user_id != author]
        return responder if not others or mentions(content, responder) else None

    async def _charge(self, caller: Caller, chat_id: str, content: str) -> None:
        limiter, user_id = self._limiter, caller.restricted_user_id
        if limiter is None or user_id is None:
            return
        limiter.charge((LimitName.MESSAGES, user_id, 1), (LimitName.BYTES, user_id, len(content.encode())))
        wait_s = limiter.wait_s(LimitName.CHAT_MESSAGES, chat_id)
        # Others learn neither that the chat exists nor that it is busy.
        if wait_s and (await self._store.access(chat_id, user_id, None)).is_member:
            raise limiter.refuse(LimitName.CHAT_MESSAGES, wait_s)

    async def _reviewed(self, new: NewMessage) -> NewMessage:
        """The message with the text to store. A stored message is not reviewed again: its repeat writes nothing."""
        if self._moderation is None:
            return new
        if new.member is not None and not (await self._store.access(new.chat_id, new.member, None)).is_member:
            raise ChatNotFound(new.chat_id)
        if new.client_msg_id is not None and await self._store.is_sent(new.chat_id, new.client_msg_id):
            return new
        content = await self._moderation.review(
            Review(
                kind="send" if new.replaces is None else "edit",
                chat_id=new.chat_id,
                user_id=new.user_id,
                role=new.role,
                content=new.content,
                tenant=tenant_of(new.chat_id) or None,
                files=await self._files.reviewed(new.chat_id, new.files) if self._files and new.files else (),
            )
        )
        return replace(new, content=content)

    async def _append(self, new: NewMessage) -> Committed:
        new = await self._reviewed(new)
        key = None if new.client_msg_id is None else (new.chat_id, new.client_msg_id)
        try:
            committed = await self._publishing.commit(self._store.commit(new))
        except NotAMember:
            raise ChatNotFound(new.chat_id) from None
        except StoreBusy:
            raise
        except StoreUnavailable:
            if key is not None:
                self._remember_uncertain(key)
            raise
        if new.user_id is not None and new.role == "USER" and self._options.default_responder == DEMO:
            self._authors.add(new.chat_id, new.user_id)
        if committed.created and self._limiter is not None and new.member is not None:
            # After the commit: only members may use up the allowance of a chat.
            self._limiter.spend(LimitName.CHAT_MESSAGES, new.chat_id, 1)
        # An earlier attempt may have failed after the commit, before the listener and the worker were notified.
        was_uncertain = key is not None and self._uncertain.pop(key, False)
        if committed.created or was_uncertain:
            self._publishing.publish(committed.events, new.user_id)
        if committed.turn_queued or was_uncertain:
            self._publishing.wake_worker()
        return committed

    def _remember_uncertain(self, key: tuple[str, str]) -> None:
        self._uncertain[key] = True
        if len(self._uncertain) > self._options.max_uncertain:
            del self._uncertain[next(iter(self._uncertain))]

    def _to_chat_ai(self, settings: AiSettings) -> ChatAi:
        if settings.responder is not None and settings.responder not in self._options.responders:
            raise UnknownResponder(settings.responder, self._options.responders)
        return ChatAi(
            answers=settings.answers,
            when_active=settings.when_active,
            responder=settings.responder,
            model=settings.model,
            system_prompt=settings.system_prompt,
            token_budget=settings.token_budget,
        )
