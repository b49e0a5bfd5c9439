"""The rules for what notifies users of chats.

Layer: store.rules. Source: docs/decisions/0022.
"""

from __future__ import annotations

from roomcast.chat.commands import SetNotificationDefault, SetNotifications
from roomcast.chat.model import Notifications
from roomcast.store.rows import maybe_time, to_ms
from roomcast.store.rules.exchange import Needs
from roomcast.store.rules.work import Work
from roomcast.store.tables import notification_defaults, notification_settings


def needs(needs: Needs, command: SetNotifications) -> None:
    """The rows for `change`."""
    needs.chat(command.chat_id, command.member)
    needs.row(notification_settings, command.chat_id, command.user_id)


def change(work: Work, command: SetNotifications) -> Notifications:
    """Change the settings of a chat."""
    chat = work.chat(command.chat_id, command.member)
    row = work.row(notification_settings, chat.id, command.user_id)
    level = None if row is None else row["level"]
    if command.level is not None:
        level = None if command.level == "default" else command.level
    muted_until = command.muted_until or (None if row is None else maybe_time(row["muted_until"]))
    if muted_until is not None and muted_until <= command.now:
        muted_until = None
    if level is None and muted_until is None:
        work.delete(notification_settings, chat.id, command.user_id)
    else:
        until = None if muted_until is None else to_ms(muted_until)
        work.put(notification_settings, chat.id, command.user_id, level=level, muted_until=until)
    return Notifications(level, muted_until)


def change_default(work: Work, command: SetNotificationDefault) -> None:
    """Change the setting for chats without one."""
    work.put(notification_defaults, command.user_id, level=command.level)
