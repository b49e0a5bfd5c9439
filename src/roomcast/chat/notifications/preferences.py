"""The use cases for what notifies users of chats, and for the devices that receive pushes.

Layer: chat. Source: docs/decisions/0022.
"""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Literal

from roomcast.chat.commands import SetNotificationDefault, SetNotifications
from roomcast.chat.errors import ChatNotFound, NotAllowed, NotAMember, PushRefused
from roomcast.chat.model import Caller, Notifications, PushDevice
from roomcast.chat.notifications.endpoints import EndpointRules
from roomcast.chat.ports import ChatStore, Clock, PushStore, SystemClock
from roomcast.chat.use_cases.read_state import reader_of
from roomcast.contract.rest import NotifyLevel


class Preferences:
    """What notifies users.

    Args:
        store: The database.
        clock: Ends mutes.
    """

    def __init__(self, store: ChatStore, clock: Clock | None = None) -> None:
        self._store = store
        self._clock = clock or SystemClock()

    async def read(self, caller: Caller, chat_id: str, user_id: str | None = None) -> Notifications:
        """What notifies a user of a chat; a mute that has ended is left out.

        Args:
            caller: The origin of the request.
            chat_id: The chat.
            user_id: The user, if the caller may act for any; else the caller's own or None.

        Raises:
            ChatNotFound: the chat does not exist or is hidden from the caller.
            NotAllowed: ``user_id`` is another user, or is missing.
        """
        user = _user_of(caller, user_id)
        access = await self._store.access(chat_id, caller.restricted_user_id, None)
        if not access.exists or not (caller.unrestricted or access.is_member):
            raise ChatNotFound(chat_id)
        found = await self._store.notifications(chat_id, user)
        muted = found.muted_until is not None and found.muted_until > self._clock.now()
        return found if muted else Notifications(found.level, None, found.default)

    async def change(
        self,
        caller: Caller,
        chat_id: str,
        level: Literal["default"] | NotifyLevel | None,
        muted_for_s: int | None,
        user_id: str | None = None,
    ) -> Notifications:
        """Change what notifies a user of a chat, and return it; None keeps a value. Errors as for `read`."""
        user = _user_of(caller, user_id)
        now = self._clock.now()
        until = None if muted_for_s is None else now + timedelta(seconds=muted_for_s)
        try:
            return await self._store.commit(
                SetNotifications(chat_id, user, level, until, now, caller.restricted_user_id)
            )
        except NotAMember:
            raise ChatNotFound(chat_id) from None

    async def default(self, caller: Caller, user_id: str | None = None) -> NotifyLevel:
        """What notifies a user of chats without a setting; errors as for `read`."""
        return await self._store.notification_default(_user_of(caller, user_id))

    async def set_default(self, caller: Caller, level: NotifyLevel, user_id: str | None = None) -> None:
        """Change it; errors as for `read`."""
        await self._store.commit(SetNotificationDefault(_user_of(caller, user_id), level))


class Devices:
    """The devices that receive pushes.

    Args:
        store: The database.
        rules: Which endpoints are accepted; None: the server sends no pushes.
        clock: Wall-clock time.
    """

    def __init__(self, store: PushStore, rules: EndpointRules | None, clock: Clock | None = None) -> None:
        self._store = store
        self._rules = rules
        self._clock = clock or SystemClock()

    async def add(self, caller: Caller, endpoint: str, p256dh: str, auth: str, user_id: str | None = None) -> None:
        """Send pushes for a user to a device from now on, and to no other user of it; a repeat renews it.

        Args:
            caller: The origin of the request.
            endpoint: The URL of the device at its push service.
            p256dh: The public key of the device, in base64url.
            auth: The secret that authenticates messages to it, in base64url.
            user_id: As for `Preferences.read`.

        Raises:
            NotAllowed: ``user_id`` is another user, or is missing.
            PushRefused: the server sends no pushes, or not to this endpoint.
        """
        user = _user_of(caller, user_id)
        if self._rules is None:
            raise PushRefused("this server sends no pushes; its operator can set ROOMCAST_VAPID_KEY")
        self._rules.check(endpoint)
        await self._store.add_device(
            PushDevice(device_id(endpoint), user, endpoint, p256dh.rstrip("="), auth.rstrip("=")), self._clock.now()
        )

    async def remove(self, caller: Caller, endpoint: str, user_id: str | None = None) -> None:
        """Send no more pushes for a user to a device; one that is not known is ignored. Errors as for `add`."""
        await self._store.remove_device(device_id(endpoint), _user_of(caller, user_id))


def device_id(endpoint: str) -> str:
    """The id of a device."""
    return sha256(endpoint.encode()).hexdigest()


def _user_of(caller: Caller, user_id: str | None) -> str:
    user = reader_of(caller, user_id)
    if user is None:
        raise NotAllowed("give the user in userId")
    return user
