"""The use cases of AI turns: start, tool call, checkpoint and end, for a worker; stop and regenerate, for members.

Layer: chat. Source: docs/design.md, "AI turns".
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from roomcast.chat.commands import CallTool, EndTurn, NewVersion, StartTurn, StopTurn
from roomcast.chat.errors import ChatNotFound, NotAMember
from roomcast.chat.model import Caller, Checkpoint, Committed, Ending, StoredTurn, Turn
from roomcast.chat.policies.quotas import Quotas, QuotaUse, Use
from roomcast.chat.ports import Clock, LogUnavailable, SystemClock, TurnStore, encode_stop
from roomcast.chat.use_cases.publishing import CommitListener, EventPublisher, Publishing

logger = logging.getLogger(__name__)


class SignalSender(Protocol):
    """Sends signals on a chat's channel; every `roomcast.chat.ports.EventLog` does."""

    async def signal(self, chat_id: str, payload: bytes) -> None:
        """See `roomcast.chat.ports.EventLog`."""


class Turns:
    """The use cases of AI turns. Each is one transaction of the store, whose events are published after the commit.

    Args:
        store: The turns in the database.
        publisher: Receives every committed event.
        log: Carries the signals that turns have to stop.
        listener: Receives every committed event after the publisher; None if there is no listener.
        wake_worker: Called when a turn may be claimed; must not block.
        default_responder: Answers in chats that name no responder; None: such chats do not answer.
        quotas: How many answers and tokens users have; None: there is no limit.
        clock: Provides the times.
    """

    def __init__(
        self,
        store: TurnStore,
        publisher: EventPublisher,
        log: SignalSender,
        *,
        listener: CommitListener | None = None,
        wake_worker: Callable[[], None] = lambda: None,
        default_responder: str | None = None,
        quotas: Quotas | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._log = log
        self._publishing = Publishing(publisher, listener, wake_worker)
        self._default_responder = default_responder
        self._quotas = quotas
        self._clock = clock or SystemClock()

    async def start(self, turn: Turn) -> Turn:
        """Start a claimed turn, if it has not started, and return it with the place and version of its answer.

        Raises:
            TurnLost: the claim is void; nothing was written.
            StoreUnavailable: the start may or may not have been written; repeat it.
        """
        if turn.started:
            return turn
        committed = await self._commit(self._store.commit(StartTurn(turn.claim, self._clock.now())))
        status = json.loads(committed.event.payload)
        return replace(turn, started=True, place=status["place"], version=status["version"])

    async def call_tool(self, turn: Turn, tool_call_id: str, tool_name: str) -> None:
        """Announce that the answer calls a tool.

        Raises:
            TurnLost: the claim is void; nothing was written.
            StoreUnavailable: the event may or may not have been written; a repeat may write a second one.
        """
        await self._commit(self._store.commit(CallTool(turn.claim, tool_call_id, tool_name, self._clock.now())))

    async def checkpoint(self, turn: Turn, checkpoint: Checkpoint, content: str) -> None:
        """Store the answer so far.

        Raises:
            TurnLost: the claim is void; nothing was written.
            StoreUnavailable: the checkpoint may or may not have been written.
        """
        await self._store.save_checkpoint(turn.claim, checkpoint, content)

    async def end(self, turn: Turn, ending: Ending) -> None:
        """End a turn. A repeat writes nothing.

        Raises:
            TurnLost: the claim is void; nothing was written.
            StoreUnavailable: the end may or may not have been written; repeat it.
        """
        await self._commit(self._store.commit(EndTurn(turn.claim, ending, self._clock.now(), self._quotas)))
        # The chat's next turn can be claimed now.
        self._publishing.wake_worker()

    async def stop(self, caller: Caller, chat_id: str, turn_id: str) -> StoredTurn:
        """Stop a turn, and return it as it is now; an ended turn stays as it is.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
            TurnNotFound: the chat has no such turn.
            RightMissing: the caller's role does not permit it.
            Muted: the caller is muted in the chat.
            StoreUnavailable: the stop may or may not have been stored; repeat it.
        """
        member = caller.restricted_user_id
        stop = StopTurn(chat_id, turn_id, self._clock.now(), member)
        try:
            turn, committed = await self._publishing.commit(self._store.commit(stop))
        except NotAMember:
            raise ChatNotFound(chat_id) from None
        if committed is not None:
            self._publishing.publish(committed.events, member)
            self._publishing.wake_worker()
            return turn
        try:
            await self._log.signal(chat_id, encode_stop(turn_id))
        except LogUnavailable as error:
            # The worker reads the stop from the database with its next renewal.
            logger.info("a stop is not signalled: %s", error, extra={"chat_id": chat_id, "turn_id": turn_id})
        return turn

    async def active(self, chat_id: str) -> StoredTurn | None:
        """The turn of a chat that streams or, if none does, the next one that waits; None if there is neither."""
        return await self._store.active_turn(chat_id)

    async def regenerate(self, caller: Caller, chat_id: str, turn_id: str) -> StoredTurn:
        """Answer the message of a turn again, as a new version, and return the new turn.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
            TurnNotFound: the chat has no such turn.
            AnswerActive: the message is being answered; or the chat is, and refuses questions meanwhile.
            QuotaReached: a quota of the caller is used up.
            StoreUnavailable: the turn may or may not have been queued.
        """
        member = caller.restricted_user_id
        new = NewVersion(
            chat_id,
            turn_id,
            self._clock.now(),
            member=member,
            default_responder=self._default_responder,
            quotas=self._quotas,
        )
        try:
            turn, committed = await self._publishing.commit(self._store.commit(new))
        except NotAMember:
            raise ChatNotFound(chat_id) from None
        self._publishing.publish(committed.events, member)
        self._publishing.wake_worker()
        return turn

    async def quota_use(self, caller: Caller) -> tuple[datetime | None, Sequence[QuotaUse]]:
        """When the quotas of a caller are full again, and what was used of them; None and nothing if there are none.

        Raises:
            StoreUnavailable: try again.
        """
        quotas, user_id = self._quotas, caller.restricted_user_id
        if quotas is None or user_id is None:
            return None, ()
        window = quotas.window(self._clock.now())
        found: list[QuotaUse] = []
        for subject in quotas.subjects(user_id):
            found += quotas.uses(subject, Use(*await self._store.used(subject, window)))
        return window + timedelta(seconds=quotas.window_s), found

    async def _commit(self, write: Awaitable[Committed]) -> Committed:
        committed = await self._publishing.commit(write)
        # Also if an earlier attempt wrote it: that one may have failed before the listener was notified.
        self._publishing.publish(committed.events, None)
        return committed
