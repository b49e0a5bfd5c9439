"""Admission: whether a user may follow a chat. The gateway checks it before a socket joins the chat's room.

Layer: chat. Source: docs/design.md, "Joins".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from roomcast.chat.errors import ChatNotFound, NotAMember
from roomcast.chat.ports import ChatStore
from roomcast.contract.cursor import Cursor


@dataclass(frozen=True, slots=True)
class Admitted:
    """The state of a chat that a user may follow.

    Attributes:
        epoch: The current epoch.
        seq: The chat's head in the database.
        reset: Whether the client's cursor does not belong to the chat's current history.
        silent_until: Until when the user may not write; None: it may.
    """

    epoch: str
    seq: int
    reset: bool
    silent_until: datetime | None = None


class LogPublisher(Protocol):
    """Publishes committed events to the logs; `roomcast.chat.delivery.relay.Relay` implements it."""

    async def ensure_log(self, chat_id: str, seq: int) -> None:
        """Start bringing the chat's log up to ``seq``. Returns without waiting for the result."""

    async def publish_now(self, chat_id: str) -> bool:
        """Try to bring the chat's log up to date. Returns whether the attempt succeeded."""


class Admissions:
    """The use cases that a gateway calls.

    Args:
        store: Queried for the membership and the chat's head.
        logs: Brings a joined chat's log up to date.
    """

    def __init__(self, store: ChatStore, logs: LogPublisher) -> None:
        self._store = store
        self._logs = logs

    async def admit(self, chat_id: str, user_id: str | None, since: Cursor | None) -> Admitted:
        """Check that a user may follow a chat, and return the chat's head. Runs one database query.

        Args:
            chat_id: The chat to follow.
            user_id: The user that joins; None while authentication is off, when every chat id is accepted.
            since: The client's cursor, if it has one.

        Raises:
            ChatNotFound: the chat does not exist.
            NotAMember: the user is not a member of the chat.
            StoreUnavailable: the database did not answer.
        """
        access = await self._store.access(chat_id, user_id, since)
        if user_id is not None:
            if not access.exists:
                raise ChatNotFound(chat_id)
            if not access.is_member:
                raise NotAMember(chat_id, user_id)
        await self._logs.ensure_log(chat_id, access.last_seq)
        return Admitted(
            self._store.epoch, access.last_seq, reset=not access.cursor_valid, silent_until=access.silent_until
        )

    async def request_publish(self, chat_id: str) -> bool:
        """Try to bring the chat's log up to date with the events table. Returns whether the attempt succeeded."""
        return await self._logs.publish_now(chat_id)
