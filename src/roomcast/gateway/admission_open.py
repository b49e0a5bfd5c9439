"""Admission where there is no API: anybody may follow anything, as in the guide's server.

Layer: gateway.
"""

from __future__ import annotations

import secrets

from roomcast.chat.ports import EventLog
from roomcast.gateway.ports import Admission, Cursor, Head


class OpenAdmission:
    """`ChatAdmission` over the log alone.

    Args:
        log: What there is to follow.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._epoch = secrets.token_hex(8)

    async def admit(self, chat_id: str, user_id: str | None, since: Cursor | None) -> Admission:  # noqa: ARG002 - the port
        """See the port. A chat without a log is empty; a cursor of another log is of another history."""
        head = await self._log.head(chat_id) or Head(self._epoch, 0)
        holds = since is None or (since.epoch == head.epoch and since.seq <= head.seq)
        return Admission(head, not holds)

    async def nudge(self, chat_id: str) -> None:
        """See the port. There is nobody to ask."""
