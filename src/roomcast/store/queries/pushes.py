"""The implementation of `chat.ports.PushStore`.

Layer: store. Source: docs/decisions/0022.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, delete, exists, func, or_, select, update

from roomcast.chat.model import ChatState, Notifications, PushDevice
from roomcast.chat.ports import MAX_DEVICES, PushedMessage, PushState, Recipient
from roomcast.contract.cursor import Cursor
from roomcast.store.engine.batch import CustomWrite
from roomcast.store.engine.database import Database
from roomcast.store.engine.keyed_rows import insert_into
from roomcast.store.engine.writer import Writer
from roomcast.store.lineage import NEWEST_EPOCH
from roomcast.store.queries.feed import HEAD
from roomcast.store.rows import AnyRow, maybe_time, to_ms
from roomcast.store.tables import (
    chats,
    members,
    mentions,
    messages,
    notification_defaults,
    notification_settings,
    push_cursor,
    push_devices,
    reads,
)

_ROW: Final = 1
_ANY_DEVICE: Final = select(push_devices.c.id).order_by(push_devices.c.id).limit(1).scalar_subquery()
_STATE: Final = select(
    _ANY_DEVICE.label("device"),
    select(push_cursor.c.epoch).where(push_cursor.c.id == _ROW).scalar_subquery().label("epoch"),
    select(push_cursor.c.position).where(push_cursor.c.id == _ROW).scalar_subquery().label("position"),
)
_END: Final = select(NEWEST_EPOCH.label("epoch"), HEAD.scalar_subquery().label("position"))
_MOVE: Final = (
    update(push_cursor)
    .where(
        push_cursor.c.id == _ROW,
        push_cursor.c.epoch == bindparam("old_epoch"),
        push_cursor.c.position == bindparam("old_position"),
    )
    .values(epoch=bindparam("new_epoch"), position=bindparam("new_position"))
)
_EXCESS: Final = (
    select(push_devices.c.id)
    .where(push_devices.c.user_id == bindparam("user"))
    .order_by(push_devices.c.created_at.desc(), push_devices.c.id)
    .limit(1_000)
    .offset(MAX_DEVICES)
)


def _recipients(*, open_to_all: bool) -> Select[*tuple[Any, ...]]:
    """The devices that a message is pushed to. While authentication is off, chats mostly have no members."""
    users = select(members.c.user_id).where(members.c.chat_id == bindparam("chat"))
    audience = (
        users.union(select(reads.c.user_id).where(reads.c.chat_id == bindparam("chat"))) if open_to_all else users
    ).subquery("audience")
    user = audience.c.user_id
    setting, default, first = notification_settings, notification_defaults, messages.alias("first")
    deleted = exists().where(
        first.c.chat_id == bindparam("chat"),
        first.c.place == bindparam("at"),
        first.c.version == 1,
        first.c.deleted_at.is_not(None),
    )
    return (
        select(
            push_devices,
            chats.c.title,
            chats.c.direct,
            mentions.c.place,
            setting.c.level,
            setting.c.muted_until,
            default.c.level.label("default"),
        )
        .select_from(
            audience.join(push_devices, push_devices.c.user_id == user)
            .join(chats, chats.c.id == bindparam("chat"))
            .outerjoin(reads, (reads.c.chat_id == chats.c.id) & (reads.c.user_id == user))
            .outerjoin(setting, (setting.c.chat_id == chats.c.id) & (setting.c.user_id == user))
            .outerjoin(default, default.c.user_id == user)
            .outerjoin(
                mentions,
                (mentions.c.chat_id == chats.c.id)
                & (mentions.c.user_id == user)
                & (mentions.c.place == bindparam("at")),
            )
        )
        .where(
            user != bindparam("author"),
            push_devices.c.created_at <= bindparam("sent"),
            func.coalesce(reads.c.seq, 0) < bindparam("seq"),
            or_(chats.c.state.is_(None), chats.c.state == ChatState.ARCHIVED),
            ~deleted,
        )
        .order_by(push_devices.c.id)
        .limit(bindparam("count"))
    )


_RECIPIENTS: Final = {open_to_all: _recipients(open_to_all=open_to_all) for open_to_all in (False, True)}
_RECIPIENT: Final = {
    open_to_all: query.where(push_devices.c.id == bindparam("device")) for open_to_all, query in _RECIPIENTS.items()
}


def delete_devices_of(connection: Connection, user_id: str) -> None:
    """Delete the devices of a user, whose sessions have ended."""
    connection.execute(delete(push_devices).where(push_devices.c.user_id == user_id))


class SqlPushStore:
    """See `chat.ports.PushStore` for what each method guarantees.

    Args:
        database: An open database.
        writer: The writer of this database.
    """

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def add_device(self, device: PushDevice, now: datetime) -> None:
        """See the port."""
        values = {
            "user_id": device.user_id,
            "endpoint": device.endpoint,
            "p256dh": device.p256dh,
            "auth": device.auth,
        }

        def write(connection: Connection) -> None:
            # The time of a repeat is not stored: the device may wait for a push of an earlier message.
            added = {**values, "created_at": to_ms(now)}
            statement = insert_into(connection, push_devices).values(id=device.id, **added)
            connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))
            excess = connection.execute(_EXCESS, {"user": device.user_id}).scalars().all()
            if excess:
                connection.execute(delete(push_devices).where(push_devices.c.id.in_(excess)))

        await self._writer.commit(CustomWrite(write))

    async def remove_device(self, device_id: str, user_id: str | None) -> None:
        """See the port."""
        statement = delete(push_devices).where(push_devices.c.id == device_id)
        if user_id is not None:
            statement = statement.where(push_devices.c.user_id == user_id)
        await self._writer.commit(CustomWrite(lambda connection: connection.execute(statement)))

    async def push_state(self) -> PushState:
        """See the port."""
        (row,) = await self._database.fetch(_STATE)
        cursor = None if row.epoch is None else Cursor(epoch=row.epoch, seq=row.position)
        return PushState(row.device is not None, cursor)

    async def skip_to_end(self, before: Cursor | None) -> None:
        """See the port."""

        def write(connection: Connection) -> None:
            head = connection.execute(_END).one()
            if before is not None:
                _move(connection, before, Cursor(epoch=head.epoch, seq=head.position))
                return
            statement = insert_into(connection, push_cursor).values(id=_ROW, epoch=head.epoch, position=head.position)
            connection.execute(statement.on_conflict_do_nothing())

        await self._writer.commit(CustomWrite(write))

    async def advance(self, before: Cursor, after: Cursor) -> bool:
        """See the port."""
        return await self._writer.commit(CustomWrite(lambda connection: _move(connection, before, after)))

    async def forget_cursor(self) -> None:
        """See the port."""
        await self._writer.commit(CustomWrite(lambda connection: connection.execute(delete(push_cursor))))

    async def recipients(
        self, message: PushedMessage, limit: int, *, open_to_all: bool, device_id: str | None = None
    ) -> Sequence[Recipient]:
        """See the port."""
        query = (_RECIPIENTS if device_id is None else _RECIPIENT)[open_to_all]
        parameters = {
            "chat": message.chat_id,
            "at": message.place,
            "seq": message.seq,
            # No user has an empty id.
            "author": message.user_id or "",
            "sent": to_ms(message.created_at),
            "count": limit,
            **({} if device_id is None else {"device": device_id}),
        }
        return [_to_recipient(row) for row in await self._database.fetch(query, parameters)]


def _move(connection: Connection, before: Cursor, after: Cursor) -> bool:
    values = {
        "old_epoch": before.epoch,
        "old_position": before.seq,
        "new_epoch": after.epoch,
        "new_position": after.seq,
    }
    return connection.execute(_MOVE, values).rowcount == 1


def _to_recipient(row: AnyRow) -> Recipient:
    return Recipient(
        PushDevice(row.id, row.user_id, row.endpoint, row.p256dh, row.auth),
        title=row.title,
        direct=row.direct is not None,
        mentioned=row.place is not None,
        notifications=Notifications(row.level, maybe_time(row.muted_until), row.default or "all"),
    )
