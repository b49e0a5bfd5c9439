"""Admission without an API: every join is admitted, as in the guide's server.

Used by ``roomcast gateway`` without ``API_URL``: the guide's single-instance mode, and its ingress over Redis.

Layer: gateway.
"""

from __future__ import annotations

import secrets

from roomcast.chat.ports import EventLog
from roomcast.gateway.ports import Admission, Cursor, Head, UnknownTurn


class OpenAdmission:
    """`ChatAdmission` that takes a chat's head from its log.

    Args:
        log: Has the heads of the chats; an absent log counts as an empty chat.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._epoch = secrets.token_hex(8)

    async def admit(self, chat_id: str, user_id: str | None, since: Cursor | None) -> Admission:  # noqa: ARG002 - the port
        """See the port."""
        head = await self._log.head(chat_id) or Head(self._epoch, 0)
        holds = since is None or (since.epoch == head.epoch and since.seq <= head.seq)
        return Admission(head, reset=not holds)

    async def confirm(self, chat_id: str, user_id: str) -> None:
        """See the port. Every user is a member."""

    def revoke(self, chat_id: str, user_id: str) -> None:
        """See the port. Does nothing, because no admission is cached."""

    async def request_publish(self, chat_id: str) -> None:
        """See the port. Does nothing, because there is no relay."""

    async def stop_turn(self, chat_id: str, turn_id: str, user_id: str | None) -> None:  # noqa: ARG002 - the port
        """See the port. There are no turns without an API."""
        raise UnknownTurn
