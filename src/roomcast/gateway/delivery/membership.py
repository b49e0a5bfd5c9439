"""Removal of members: a removed user's sockets leave the chat's room, on every gateway.

A removal is an event of the chat, so each gateway that follows the chat receives it, in order. A resync may skip a
removal, so the feed then emits nothing until the API has confirmed every user in the room.

Changes of roles and mutes decide which members may send typing.

All this applies with authentication only: without it every user may follow every chat.

Layer: gateway. Source: docs/design.md, "Authorization".
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from roomcast.backoff import jittered, should_log
from roomcast.chat.policies.rights import silent_until
from roomcast.contract.events import STORED_EVENTS, EventType, MemberUpdate
from roomcast.contract.tenants import qualify, tenant_of
from roomcast.gateway.ports import AdmissionDenied, ApiUnavailable, ChatAdmission

logger = logging.getLogger(__name__)

#: The first bytes of a removal event; other events are not decoded.
_REMOVAL: Final = f'["{STORED_EVENTS[EventType.MEMBER_REMOVED].name}",'.encode()

#: The first bytes of the deletion of a chat.
_DELETION: Final = f'["{STORED_EVENTS[EventType.CHAT_DELETED].name}",'.encode()

#: The first bytes of a change of a member.
_UPDATE: Final = f'["{STORED_EVENTS[EventType.MEMBER_UPDATED].name}",'.encode()

Kick = Callable[[], None]


def removed_user(chat_id: str, args: bytes) -> str | None:
    """Return the user that an event removes from its chat; None: the event is not a removal."""
    if not args.startswith(_REMOVAL):
        return None
    user_id = json.loads(args)[1]["userId"]
    # Payloads have local ids.
    return qualify(tenant_of(chat_id), user_id) if isinstance(user_id, str) else None


def is_update(args: bytes) -> bool:
    """Whether an event changes the role or the mute of a member."""
    return args.startswith(_UPDATE)


def is_deletion(args: bytes) -> bool:
    """Whether an event deletes its chat, and so removes all members."""
    return args.startswith(_DELETION)


class Memberships:
    """The authenticated users in the rooms of this gateway.

    Args:
        admission: Confirms memberships.
        retry_s: Time between two attempts while the API is unavailable.
        concurrency: Maximum number of concurrent calls of ``admission.confirm``, as many as the API's batches take.
    """

    def __init__(self, admission: ChatAdmission, *, retry_s: float = 5.0, concurrency: int = 256) -> None:
        self._admission = admission
        self._retry_s = retry_s
        self._slots = asyncio.Semaphore(concurrency)
        # By chat id, user id and socket id.
        self._kicks: dict[str, dict[str, dict[str, Kick]]] = {}
        # Until when users may not write, by chat id and user id. A change between an admission and the entry into the
        # room is missed: only typing depends on it, the API checks each message.
        self._silent: dict[str, dict[str, datetime]] = {}
        # Failed attempts since the API last answered.
        self._failures = 0

    def add(self, chat_id: str, user_id: str, sid: str, kick: Kick) -> None:
        """Note that a user's socket is in the room; ``kick`` takes the socket out and must call `discard`."""
        self._kicks.setdefault(chat_id, {}).setdefault(user_id, {})[sid] = kick

    def discard(self, chat_id: str, user_id: str, sid: str) -> None:
        """Note that the socket has left the room. Harmless if it was not added."""
        users = self._kicks.get(chat_id, {})
        sockets = users.get(user_id, {})
        sockets.pop(sid, None)
        if sockets or users.pop(user_id, None) is None:
            return
        self.set_silent(chat_id, user_id, None)
        if not users:
            del self._kicks[chat_id]

    def set_silent(self, chat_id: str, user_id: str, until: datetime | None) -> None:
        """Note until when a user in the room may not write; None: it may."""
        users = self._silent.setdefault(chat_id, {})
        if until is None:
            users.pop(user_id, None)
        else:
            users[user_id] = until
        if not users:
            del self._silent[chat_id]

    def is_silent(self, chat_id: str, user_id: str) -> bool:
        """Whether a user in the room may not write now."""
        until = self._silent.get(chat_id, {}).get(user_id)
        return until is not None and until > datetime.now(UTC)

    def update(self, chat_id: str, args: bytes) -> None:
        """Apply an event for which `is_update` is true."""
        change = MemberUpdate.model_validate(json.loads(args)[1])
        user_id = qualify(tenant_of(chat_id), change.user_id)
        if user_id in self._kicks.get(chat_id, {}):
            self.set_silent(chat_id, user_id, silent_until(change.role, change.muted_until))

    def remove(self, chat_id: str, user_id: str) -> None:
        """Take every socket of a user that was removed from the chat out of the room, in this loop turn."""
        self._admission.revoke(chat_id, user_id)
        for kick in list(self._kicks.get(chat_id, {}).get(user_id, {}).values()):
            try:
                kick()
            except Exception:
                # A bug in one kick must not keep the other sockets in the room.
                logger.exception("kicking a removed member failed", extra={"chat_id": chat_id})

    def remove_all(self, chat_id: str) -> None:
        """Take every socket out of the room of a chat that was deleted, in this loop turn."""
        for user_id in list(self._kicks.get(chat_id, {})):
            self.remove(chat_id, user_id)

    def has_users(self, chat_id: str) -> bool:
        """Whether the room has authenticated users."""
        return chat_id in self._kicks

    async def confirm(self, chat_id: str) -> None:
        """Ask the API about every user in the room, until it has answered for all. Users that it denies are removed."""
        confirmed: set[str] = set()
        while pending := self._kicks.get(chat_id, {}).keys() - confirmed:
            answers = await asyncio.gather(*(self._is_confirmed(chat_id, user_id) for user_id in sorted(pending)))
            confirmed |= {user_id for user_id, answer in zip(sorted(pending), answers, strict=True) if answer}
            if all(answers):
                self._failures = 0
            else:
                self._failures += 1
                if should_log(self._failures):
                    logger.warning("memberships cannot be confirmed: delivery waits", extra={"chat_id": chat_id})
                await asyncio.sleep(jittered(self._retry_s))

    async def _is_confirmed(self, chat_id: str, user_id: str) -> bool:
        """Ask the API about one user; a user that it denies is removed. Return whether the API has answered."""
        try:
            async with self._slots:
                await self._admission.confirm(chat_id, user_id)
        except AdmissionDenied:
            self.remove(chat_id, user_id)  # does not raise
        except ApiUnavailable:
            return False
        except Exception:
            # A bug here must not deliver events to a removed user: the attempt is repeated.
            logger.exception("confirming a membership failed", extra={"chat_id": chat_id})
            return False
        return True
