"""Members who lose their place while they are here: they hear nothing more, on every gateway.

A removal is an event of the chat, so it reaches every gateway that follows the chat, in order. Where events may have
been missed (a resync, a join that was admitted before its room's position) the API is asked again.

Only with authentication: without it everybody may follow everything.

Layer: gateway. Source: DESIGN §5 (removal reaches live sockets).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Final

from roomcast.contract.events import EVENT_NAMES, EventType
from roomcast.gateway.ports import AdmissionDenied, ApiUnavailable, ChatAdmission

logger = logging.getLogger(__name__)

#: How the frame of a removal begins; no other frame is looked into.
_REMOVAL: Final = f'["{EVENT_NAMES[EventType.MEMBER_REMOVED]}",'.encode()

PutOut = Callable[[], None]


def removed_user(args: bytes) -> str | None:
    """Who was removed, if these are the arguments of such an event."""
    if not args.startswith(_REMOVAL):
        return None
    user_id = json.loads(args)[1]["userId"]
    return user_id if isinstance(user_id, str) else None


class Memberships:
    """Which users are in which rooms here.

    Args:
        admission: Who is asked in doubt.
        retry_s: Time between two questions while nobody answers.
        concurrency: Questions at once.
    """

    def __init__(self, admission: ChatAdmission, *, retry_s: float = 5.0, concurrency: int = 8) -> None:
        self._admission = admission
        self._retry_s = retry_s
        self._slots = asyncio.Semaphore(concurrency)
        self._here: dict[str, dict[str, dict[str, PutOut]]] = {}
        self._checks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def enter(self, chat_id: str, user_id: str, sid: str, put_out: PutOut) -> None:
        """A user's socket is in the room; ``put_out`` ends that, and has to call `leave`."""
        self._here.setdefault(chat_id, {}).setdefault(user_id, {})[sid] = put_out

    def leave(self, chat_id: str, user_id: str, sid: str) -> None:
        """It is no more. Harmless if it was not."""
        users = self._here.get(chat_id, {})
        sockets = users.get(user_id, {})
        sockets.pop(sid, None)
        if not sockets and users.pop(user_id, None) is not None and not users:
            del self._here[chat_id]

    def removed(self, chat_id: str, user_id: str) -> None:
        """The user was removed from the chat: put every socket out, in this turn."""
        for put_out in list(self._here.get(chat_id, {}).get(user_id, {}).values()):
            put_out()

    def doubt(self, chat_id: str, user_id: str | None = None) -> None:
        """The user, or anybody in the chat, may have been removed unseen: ask, and put out who was."""
        users = self._here.get(chat_id, {})
        for name in list(users) if user_id is None else [user_id]:
            key = (chat_id, name)
            if name in users and key not in self._checks:
                check = self._checks[key] = asyncio.create_task(self._check(chat_id, name), name=f"recheck-{chat_id}")
                check.add_done_callback(lambda _check, key=key: self._checks.pop(key, None))  # type: ignore[misc]  # its default

    async def close(self) -> None:
        """Stop asking."""
        checks = list(self._checks.values())
        for check in checks:
            check.cancel()
        await asyncio.gather(*checks, return_exceptions=True)

    async def _check(self, chat_id: str, user_id: str) -> None:
        while user_id in self._here.get(chat_id, {}):
            try:
                async with self._slots:
                    await self._admission.admit(chat_id, user_id, None)
            except AdmissionDenied:
                self.removed(chat_id, user_id)
            except ApiUnavailable as error:
                logger.info("cannot check a membership now: %s", error, extra={"chat_id": chat_id})
                await asyncio.sleep(self._retry_s)
                continue
            return
