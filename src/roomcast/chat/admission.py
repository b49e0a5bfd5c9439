"""Admission to a live chat: what a gateway asks before it lets a socket into a room.

Layer: chat. Source: DESIGN §4.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from roomcast.chat.errors import ChatNotFound, NotAMember
from roomcast.chat.ports import ChatStore
from roomcast.contract.cursor import Cursor


@dataclass(frozen=True, slots=True)
class Admitted:
    """The answer to one join.

    Attributes:
        epoch: The current epoch.
        seq: The chat's end in the database.
        reset: The client's cursor does not belong to this history.
    """

    epoch: str
    seq: int
    reset: bool


class LogPublisher(Protocol):
    """Publishes committed events to the logs; `roomcast.chat.relay.Relay` implements it."""

    async def ensure_log(self, chat_id: str, seq: int) -> None:
        """Start to bring the chat's log to ``seq``; returns without waiting for it."""

    async def publish_now(self, chat_id: str) -> bool:
        """Bring the chat's log up to date; returns when it has tried: whether it did."""


class Admissions:
    """The use cases of a gateway.

    Args:
        store: The truth.
        logs: Publishes to the logs.
    """

    def __init__(self, store: ChatStore, logs: LogPublisher) -> None:
        self._store = store
        self._logs = logs

    async def admit(self, chat_id: str, user_id: str | None, since: Cursor | None) -> Admitted:
        """Whether a user may follow a chat live, and where it ends: one query.

        Args:
            chat_id: Which chat.
            user_id: Who joins; None: authentication is off, any id is accepted.
            since: What the client has, if anything.

        Raises:
            ChatNotFound: there is no such chat.
            NotAMember: the user does not belong to it.
            StoreUnavailable: nobody knows.
        """
        standing = await self._store.standing(chat_id, user_id, since)
        if user_id is not None:
            if not standing.exists:
                raise ChatNotFound(chat_id)
            if not standing.is_member:
                raise NotAMember(chat_id, user_id)
        await self._logs.ensure_log(chat_id, standing.last_seq)
        return Admitted(self._store.epoch, standing.last_seq, reset=not standing.cursor_holds)

    async def request_publish(self, chat_id: str) -> bool:
        """Bring the chat's log up to date with the events table; returns when it has tried: whether it did."""
        return await self._logs.publish_now(chat_id)
