"""Removal of members: a removed user's sockets leave the chat's room, on every gateway.

A removal is an event of the chat, so each gateway that follows the chat receives it, in order. Where a feed may have
skipped events (a resync, a join whose admission is older than the room's position) the gateway asks the API again.

Only with authentication; without it every user may follow every chat.

Layer: gateway. Source: docs/design.md, "Authorization".
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

#: The first bytes of a removal. Other events are not decoded.
_REMOVAL: Final = f'["{EVENT_NAMES[EventType.MEMBER_REMOVED]}",'.encode()

Kick = Callable[[], None]


def removed_user(args: bytes) -> str | None:
    """The user whom an event removes from its chat, if it is a removal."""
    if not args.startswith(_REMOVAL):
        return None
    user_id = json.loads(args)[1]["userId"]
    return user_id if isinstance(user_id, str) else None


class Memberships:
    """The authenticated users in the rooms of this gateway.

    Args:
        admission: Rechecks memberships.
        retry_s: Time between two attempts while the API is unavailable.
        concurrency: Concurrent rechecks.
    """

    def __init__(self, admission: ChatAdmission, *, retry_s: float = 5.0, concurrency: int = 8) -> None:
        self._admission = admission
        self._retry_s = retry_s
        self._slots = asyncio.Semaphore(concurrency)
        # chat → user → sid
        self._kicks: dict[str, dict[str, dict[str, Kick]]] = {}
        self._rechecks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def add(self, chat_id: str, user_id: str, sid: str, kick: Kick) -> None:
        """A user's socket is in the room; ``kick`` takes it out and has to call `discard`."""
        self._kicks.setdefault(chat_id, {}).setdefault(user_id, {})[sid] = kick

    def discard(self, chat_id: str, user_id: str, sid: str) -> None:
        """The socket has left the room. Harmless if it was not added."""
        users = self._kicks.get(chat_id, {})
        sockets = users.get(user_id, {})
        sockets.pop(sid, None)
        if not sockets and users.pop(user_id, None) is not None and not users:
            del self._kicks[chat_id]

    def kick(self, chat_id: str, user_id: str) -> None:
        """Take every socket of the user out of the room, in this loop turn."""
        for kick in list(self._kicks.get(chat_id, {}).get(user_id, {}).values()):
            kick()

    def recheck(self, chat_id: str, user_id: str | None = None) -> None:
        """Ask the API whether the user, or each user in the room, is still a member; kick non-members."""
        users = self._kicks.get(chat_id, {})
        for user in list(users) if user_id is None else [user_id]:
            key = (chat_id, user)
            if user in users and key not in self._rechecks:
                task = self._rechecks[key] = asyncio.create_task(self._recheck(*key), name=f"recheck-{chat_id}")
                task.add_done_callback(lambda _task, key=key: self._rechecks.pop(key, None))  # type: ignore[misc]  # its default

    async def close(self) -> None:
        """Cancel all rechecks."""
        tasks = list(self._rechecks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _recheck(self, chat_id: str, user_id: str) -> None:
        while user_id in self._kicks.get(chat_id, {}):
            try:
                async with self._slots:
                    await self._admission.admit(chat_id, user_id, None)
            except AdmissionDenied:
                self.kick(chat_id, user_id)
            except ApiUnavailable as error:
                logger.info("cannot recheck a membership", extra={"chat_id": chat_id, "error": str(error)})
                await asyncio.sleep(self._retry_s)
                continue
            return
