"""The use cases that mark a stored message: delete it, react to it, pin it.

Layer: chat.
"""

from __future__ import annotations

from roomcast.chat.commands import DeleteMessage, Pin, React
from roomcast.chat.errors import NotAllowed
from roomcast.chat.model import Caller
from roomcast.chat.ports import Clock, SystemClock, Writes
from roomcast.chat.use_cases.publishing import Publishing


class Marking:
    """The use cases. Each returns whether it changed anything, and publishes its event after the commit.

    Args:
        store: The database.
        publishing: Passes on what was committed.
        clock: Provides the times.

    Raises:
        ChatNotFound: the chat does not exist or is hidden from the caller.
        MessageNotFound: the chat has no such message.
        RightMissing: the caller's role does not permit it; for the message of another author, to delete it.
        StoreUnavailable: the change may or may not have been made; repeat it.
    """

    def __init__(self, store: Writes, publishing: Publishing, clock: Clock | None = None) -> None:
        self._store = store
        self._publishing = publishing
        self._clock = clock or SystemClock()

    async def delete(self, caller: Caller, chat_id: str, message_id: str, trace: str | None = None) -> bool:
        """Delete a message in all its versions. Moderators and services may delete any.

        Raises:
            AnswerActive: the message is being answered, or is an answer that is not finished.
        """
        member = caller.restricted_user_id
        command = DeleteMessage(chat_id, message_id, self._clock.now(), member, trace)
        return await self._publishing.carry_out(caller, chat_id, self._store.commit(command))

    async def react(
        self,
        caller: Caller,
        chat_id: str,
        message_id: str,
        emoji: str,
        *,
        adds: bool,
        user_id: str | None = None,
        trace: str | None = None,
    ) -> bool:
        """Add a reaction, or take it back.

        Args:
            caller: The origin of the request.
            chat_id: The chat.
            message_id: Any version of the message.
            emoji: The reaction.
            adds: False takes it back.
            user_id: The user that reacts, if the caller may act for any; else the caller's own or None.
            trace: W3C ``traceparent`` of the request.

        Raises:
            NotAllowed: ``user_id`` is another user, or is missing.
            TooManyMarks: the message has too many reactions.
        """
        member = caller.restricted_user_id
        if member is not None and user_id not in {None, member}:
            raise NotAllowed("userId is not the token's user; leave userId out")
        acting = member or user_id
        if acting is None:
            raise NotAllowed("give the user that reacts in userId")
        now = self._clock.now()
        command = React(chat_id, message_id, emoji, acting, adds, now, member, trace)
        return await self._publishing.carry_out(caller, chat_id, self._store.commit(command))

    async def pin(self, caller: Caller, chat_id: str, message_id: str, *, adds: bool, trace: str | None = None) -> bool:
        """Pin a message, or end that.

        Raises:
            TooManyMarks: the chat has too many pinned messages.
        """
        member = caller.restricted_user_id
        command = Pin(chat_id, message_id, adds, self._clock.now(), member, trace)
        return await self._publishing.carry_out(caller, chat_id, self._store.commit(command))
