"""The implementation of `chat.ports.ChatStore`: the reads are here, the writes are inherited from `writer.Writer`.

Layer: store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Label,
    Select,
    bindparam,
    delete,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    update,
)

from roomcast.chat.model import (
    MAX_UNREAD,
    NO_FILTER,
    Act,
    AgingChat,
    ChatAccess,
    ChatPosition,
    ChatState,
    MessageFilter,
    Notifications,
    StoredBan,
    StoredChat,
    StoredCursor,
    StoredEvent,
    StoredInvite,
    StoredMember,
    StoredMessage,
    StoredReport,
)
from roomcast.chat.policies.rights import silent_until
from roomcast.chat.ports import Tracer
from roomcast.contract.cursor import Cursor
from roomcast.contract.events import MemberRole
from roomcast.contract.rest import NotifyLevel
from roomcast.contract.tenants import DEFAULT_TENANT, SEPARATOR
from roomcast.store.engine.batch import CustomWrite
from roomcast.store.engine.database import Database
from roomcast.store.engine.writer import Writer, WriterOptions
from roomcast.store.lineage import NEWEST_EPOCH
from roomcast.store.message_queries import LAST_VERSIONS, MESSAGES, REPLIES, VERSIONS
from roomcast.store.queries.access import AccessReads
from roomcast.store.rows import (
    AnyRow,
    from_ms,
    maybe_time,
    to_event,
    to_invite,
    to_listed_chat,
    to_member,
    to_message,
    to_ms,
    to_notifications,
)
from roomcast.store.tables import (
    audit,
    bans,
    chats,
    events,
    files,
    invites,
    members,
    mentions,
    messages,
    notification_defaults,
    notification_settings,
    outbox,
    pins,
    reads,
    reports,
)

#: Marks that one query counts.
_MAX_BACKLOG: Final = 10_000
_ACTIVE: Final = chats.c.state.is_(None)
_ARCHIVED: Final = chats.c.state == ChatState.ARCHIVED
#: Messages that the count of unread ones reads; own and deleted ones are not counted.
_MAX_READ: Final = 4 * MAX_UNREAD
_PREVIEW_CHARS: Final = 120
#: Chats of a user that are read and sorted for a page of its list. Of a user with more, the newest chats of all users
#: are tried first, in their order.
FEW: Final = 1_000
_NEWEST: Final = 5_000
_FEW_CHATS: Final = select(func.count().label("size")).select_from(
    select(members.c.chat_id).where(members.c.user_id == bindparam("user")).limit(FEW + 1).subquery("some_chats")
)
_HEAD: Final = select(chats.c.last_seq).where(chats.c.id == bindparam("chat"))
_NEWEST_EPOCH: Final = NEWEST_EPOCH.label("newest_epoch")


def _of_reader(chat: FromClause, reader: str) -> Sequence[Label[Any]]:
    """The columns ``unread`` and ``mentions`` of each chat, and what notifies of it, for a user.

    The first version stands for a message: it has the author, the place, and the mark of a deletion.
    """
    read = select(reads.c.seq).where(reads.c.chat_id == chat.c.id, reads.c.user_id == reader)
    # A replica of an earlier version adds members without a cursor: what was written before is not unread.
    joined = select(members.c.added_at).where(members.c.chat_id == chat.c.id, members.c.user_id == reader)
    earlier = messages.alias("earlier")
    seen = (
        select(earlier.c.place)
        .where(earlier.c.chat_id == chat.c.id, earlier.c.created_at <= joined.correlate(chat).scalar_subquery())
        .order_by(earlier.c.place.desc())
        .limit(1)
    )
    cursor = func.coalesce(*(part.correlate(chat).scalar_subquery() for part in (read, seen)), 0)
    newest = (
        select(messages.c.place, messages.c.user_id, messages.c.deleted_at)
        .where(messages.c.chat_id == chat.c.id, messages.c.place > cursor, messages.c.version == 1)
        .order_by(messages.c.place.desc())
        .limit(_MAX_READ)
        .correlate(chat)
        .subquery("newest_places")
    )
    written = select(newest.c.place).where(newest.c.deleted_at.is_(None), newest.c.user_id.is_distinct_from(reader))
    mentioning = select(mentions.c.place).where(
        mentions.c.chat_id == chat.c.id, mentions.c.user_id == reader, mentions.c.place > cursor
    )

    def count(places: Select[tuple[int]], name: str) -> Label[int]:
        counted = places.limit(MAX_UNREAD).correlate(chat).subquery(f"{name}_places")
        return select(func.count()).select_from(counted).correlate(chat).scalar_subquery().label(name)

    return (count(written, "unread"), count(mentioning, "mentions"), *_settings_of(chat.c.id, reader, chat))


def _settings_of(
    chat_id: ColumnElement[str], reader: str, of: FromClause | None = None
) -> tuple[Label[Any], Label[Any], Label[Any]]:
    """The columns of `rows.to_notifications`; ``of``: what has the column ``chat_id``."""
    setting = notification_settings.c

    def read(column: ColumnElement[Any], name: str) -> Label[Any]:
        query = select(column).where(setting.chat_id == chat_id, setting.user_id == reader)
        return (query if of is None else query.correlate(of)).scalar_subquery().label(name)

    default = select(notification_defaults.c.level).where(notification_defaults.c.user_id == reader)
    return (
        read(setting.level, "notify_level"),
        read(setting.muted_until, "notify_muted_until"),
        default.scalar_subquery().label("notify_default"),
    )


def _with_last_message(page: Select[*tuple[Any, ...]], reader: str | None) -> Select[*tuple[Any, ...]]:
    """Add the newest message, the newest epoch and a user's counts to each chat of a page, by latest activity.

    The page is a subquery, so that messages are looked up for its chats only, not for all chats of its user.
    """
    chat = page.subquery("chat")
    message = messages.alias("message")
    newest = (
        select(messages.c.id)
        .where(messages.c.chat_id == chat.c.id)
        .order_by(messages.c.place.desc(), messages.c.version.desc())
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(
            chat,
            _NEWEST_EPOCH,
            message.c.seq.label("message_seq"),
            message.c.epoch_id.label("message_epoch_id"),
            message.c.role.label("message_role"),
            message.c.user_id.label("message_user_id"),
            func.substr(message.c.content, 1, _PREVIEW_CHARS).label("preview"),
            message.c.attachments.label("preview_files"),
            *(() if reader is None else _of_reader(chat, reader)),
            # Unlike the time of the message, it never decreases; clients compare it with those of other chats.
            select(events.c.created_at)
            .where(events.c.chat_id == message.c.chat_id, events.c.seq == message.c.seq)
            .scalar_subquery()
            .label("message_created_at"),
        )
        .select_from(chat.outerjoin(message, message.c.id == newest))
        .order_by(chat.c.last_activity_at.desc(), chat.c.id.desc())
    )


def _among_newest(
    query: Select[*tuple[Any, ...]], before: ChatPosition | None, member: str
) -> Select[*tuple[Any, ...]]:
    """Limit a list to the chats of a user among the `_NEWEST` of all users."""
    activity = chats.alias("newest").c.last_activity_at
    oldest = select(activity).order_by(activity.desc()).offset(_NEWEST).limit(1)
    if before is not None:
        oldest = oldest.where(activity <= before.last_activity_ms)
    is_member = select(members.c.user_id).where(members.c.chat_id == chats.c.id, members.c.user_id == member).exists()
    return query.where(is_member, chats.c.last_activity_at >= func.coalesce(oldest.scalar_subquery(), 0))


def _with_head(page: Select[*tuple[Any, ...]], order: str = "seq") -> Select[*tuple[Any, ...]]:
    """Add the chat's head and the newest epoch to each row of a page, in one statement and thus from one snapshot.

    The rows are in ascending order of the column ``order``. There is always at least one row: its seq is NULL if the
    page is empty, and its head is NULL if the chat does not exist.
    """
    chat = select(_HEAD.scalar_subquery().label("head"), _NEWEST_EPOCH).subquery("chat")
    rows = page.subquery("page")
    return select(chat, rows).select_from(chat.outerjoin(rows, true())).order_by(rows.c[order])


_EVENTS_AFTER: Final = _with_head(
    select(events)
    .where(events.c.chat_id == bindparam("chat"), events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
    .limit(bindparam("count"))
)
_RECENT_EVENTS: Final = _with_head(
    select(events).where(events.c.chat_id == bindparam("chat")).order_by(events.c.seq.desc()).limit(bindparam("count"))
)


#: One process erases a chat; others skip it. A log that lacks unpublished events is brought up to date from the table.
_FIRST_DELETED: Final = (
    select(chats.c.id)
    .where(
        literal_column("state") == literal_column("'deleted'"),
        ~select(outbox.c.seq).where(outbox.c.chat_id == chats.c.id).exists(),
    )
    .order_by(chats.c.id)
    .limit(1)
    .with_for_update(key_share=True, skip_locked=True)
)
_some_messages = (
    select(messages.c.id).where(messages.c.chat_id == bindparam("chat")).limit(bindparam("count")).scalar_subquery()
)
_some_events = (
    select(events.c.seq)
    # The last event says that the chat is deleted.
    .where(events.c.chat_id == bindparam("chat"), events.c.seq < _HEAD.scalar_subquery())
    .order_by(events.c.seq)
    .limit(bindparam("count"))
    .scalar_subquery()
)
_some_files = (
    select(files.c.id)
    .where(files.c.chat_id == bindparam("chat"), files.c.due_at.is_distinct_from(0))
    .limit(bindparam("count"))
    .scalar_subquery()
)
_ERASE_STEPS: Final = (
    # Their contents are deleted by `chat.files.removal`, which then deletes the rows.
    update(files).where(files.c.id.in_(_some_files)).values(due_at=0),
    delete(messages).where(messages.c.id.in_(_some_messages)),
    delete(events).where(events.c.chat_id == bindparam("chat"), events.c.seq.in_(_some_events)),
)


_first = messages.alias("first")
_AGING: Final = (
    select(
        chats.c.id,
        chats.c.retention_days,
        select(_first.c.created_at)
        .where(_first.c.chat_id == chats.c.id)
        .order_by(_first.c.place, _first.c.version)
        .limit(1)
        .scalar_subquery()
        .label("oldest"),
    )
    .where(chats.c.id > bindparam("after"))
    .order_by(chats.c.id)
    .limit(bindparam("count"))
)
# A version that replaces another one does not make its message younger.
_OLDEST: Final = (
    select(messages.c.id, messages.c.created_at)
    .where(messages.c.chat_id == bindparam("chat"), messages.c.version == 1)
    .order_by(messages.c.place)
    .limit(bindparam("count"))
)


def of_tenant(chat_id: ColumnElement[str], tenant: str) -> ColumnElement[bool]:
    """Whether a chat is of a tenant, for queries that no chat and no user limits."""
    if not tenant:
        return ~chat_id.contains(SEPARATOR)
    # The character after the separator ends the range; ids are compared by their bytes.
    # An act of no chat has an empty local id.
    return (chat_id >= tenant + SEPARATOR) & (chat_id < tenant + chr(ord(SEPARATOR) + 1))


class SqlChatStore(Writer):
    """See `chat.ports.ChatStore` for what each method guarantees.

    Args:
        database: An open database; this store must be its only writer.
        options: Limits of the writer.
        tracer: Records commits; None: tracing is off.
    """

    def __init__(self, database: Database, options: WriterOptions | None = None, tracer: Tracer | None = None) -> None:
        super().__init__(database, options, tracer)
        self._accesses = AccessReads(database)

    @property
    def epoch(self) -> str:
        """See the port."""
        return self._database.lineage.current

    async def chat(self, chat_id: str, reader: str | None = None) -> StoredChat | None:
        """See the port."""
        listed = select(chats).where(chats.c.id == chat_id, or_(_ACTIVE, _ARCHIVED))
        found = await self._listed_chats(listed, reader)
        return found[0] if found else None

    async def chats(
        self,
        limit: int,
        before: ChatPosition | None,
        member: str | None,
        tenant: str = DEFAULT_TENANT,
        *,
        archived: bool = False,
        reader: str | None = None,
    ) -> Sequence[StoredChat]:
        """See the port."""
        listed = select(chats).where(_ARCHIVED if archived else _ACTIVE)
        query = listed.order_by(chats.c.last_activity_at.desc(), chats.c.id.desc())
        if before is not None:
            position = tuple_(literal(before.last_activity_ms), literal(before.id))
            query = query.where(tuple_(chats.c.last_activity_at, chats.c.id) < position)
        if member is None:
            return await self._listed_chats(query.where(of_tenant(chats.c.id, tenant)).limit(limit), reader)
        (row,) = await self._database.fetch(_FEW_CHATS, {"user": member})
        if row.size > FEW and not archived:
            found = await self._listed_chats(_among_newest(query, before, member).limit(limit), reader)
            if len(found) == limit:
                return found
        query = query.join(members, members.c.chat_id == chats.c.id).where(members.c.user_id == member)
        return await self._listed_chats(query.limit(limit), reader)

    async def erase_deleted(self, limit: int) -> bool:
        """See the port."""

        def erase(connection: Connection) -> bool:
            chat_id = connection.execute(_FIRST_DELETED).scalar_one_or_none()
            if chat_id is None:
                return False
            gone = [connection.execute(step, {"chat": chat_id, "count": limit}).rowcount for step in _ERASE_STEPS]
            if not any(gone):
                connection.execute(update(chats).where(chats.c.id == chat_id).values(state=ChatState.ERASED))
            return True

        return await self.commit(CustomWrite(erase))

    async def aging(self, after: str, limit: int, *, every: bool) -> Sequence[AgingChat]:
        """See the port."""
        # The condition is part of the text, so that the index is used.
        query = _AGING if every else _AGING.where(literal_column("retention_days > 0"))
        rows = await self._database.fetch(query, {"after": after, "count": limit})
        return [AgingChat(row.id, row.retention_days, maybe_time(row.oldest)) for row in rows]

    async def oldest(self, chat_id: str, before: datetime, limit: int) -> Sequence[str]:
        """See the port."""
        rows = await self._database.fetch(_OLDEST, {"chat": chat_id, "count": limit})
        return [row.id for row in takewhile(lambda row: row.created_at < to_ms(before), rows)]

    async def access(self, chat_id: str, user_id: str | None, cursor: Cursor | None) -> ChatAccess:
        """See the port."""
        row = await self._accesses.read((chat_id, user_id, 0 if cursor is None else cursor.seq))
        return ChatAccess(
            exists=row.last_seq is not None,
            last_seq=row.last_seq or 0,
            is_member=row.role is not None,
            cursor_valid=cursor is None or self._is_in_history(cursor, row.event_epoch_id),
            silent_until=None if row.role is None else silent_until(MemberRole(row.role), maybe_time(row.muted_until)),
        )

    async def events_after(self, chat_id: str, after: int, limit: int) -> tuple[Sequence[StoredEvent], int]:
        """See the port."""
        rows, head = await self._page(_EVENTS_AFTER, {"chat": chat_id, "after": after, "count": limit})
        return [to_event(row, self._database.lineage.epochs) for row in rows], head

    async def recent_events(self, chat_id: str, limit: int) -> Sequence[StoredEvent]:
        """See the port."""
        rows, _ = await self._page(_RECENT_EVENTS, {"chat": chat_id, "count": limit})
        return [to_event(row, self._database.lineage.epochs) for row in rows]

    async def messages(
        self, chat_id: str, *, before: int | None, after: int | None, limit: int, only: MessageFilter = NO_FILTER
    ) -> tuple[Sequence[StoredMessage], int]:
        """See the port."""
        query = LAST_VERSIONS.limit(limit)
        if only.role is not None:
            # As in the index of the answers; PostgreSQL does not compare a parameter with the condition of an index.
            query = query.where(messages.c.role == literal_column("'AI'" if only.role == "AI" else "'USER'"))
        if only.author is not None:
            query = query.where(messages.c.user_id == only.author)
        if after is not None:
            query = query.where(messages.c.place > after).order_by(messages.c.place)
        else:
            query = query.order_by(messages.c.place.desc())
            if before is not None:
                query = query.where(messages.c.place < before)
        rows, head = await self._page(_with_head(query, "place"), {"chat": chat_id})
        return [to_message(row, self._database.lineage.epochs) for row in rows], head

    async def message(self, chat_id: str, message_id: str) -> StoredMessage | None:
        """See the port."""
        query = MESSAGES.where(messages.c.id == message_id, messages.c.chat_id == chat_id)
        found = await self._messages(query, {})
        return found[0] if found else None

    async def is_sent(self, chat_id: str, client_msg_id: str) -> bool:
        """See the port."""
        query = select(messages.c.id).where(messages.c.chat_id == chat_id, messages.c.client_msg_id == client_msg_id)
        return bool(await self._database.fetch(query))

    async def versions(self, chat_id: str, message_id: str, limit: int) -> Sequence[StoredMessage]:
        """See the port."""
        found = await self._messages(VERSIONS, {"chat": chat_id, "message": message_id, "count": limit})
        return found[::-1]

    async def pinned(self, chat_id: str) -> Sequence[StoredMessage]:
        """See the port."""
        places = select(pins.c.place).where(pins.c.chat_id == chat_id)
        query = LAST_VERSIONS.where(messages.c.place.in_(places)).order_by(messages.c.place)
        return await self._messages(query, {"chat": chat_id})

    async def replies(self, chat_id: str, message_id: str, limit: int) -> Sequence[StoredMessage]:
        """See the port."""
        query = REPLIES.order_by(messages.c.place.desc()).limit(limit)
        found = await self._messages(query, {"chat": chat_id, "message": message_id})
        return found[::-1]

    async def members(self, chat_id: str, limit: int, after: str = "") -> Sequence[StoredMember]:
        """See the port."""
        query = select(members).where(members.c.chat_id == chat_id, members.c.user_id > after)
        rows = await self._database.fetch(query.order_by(members.c.user_id).limit(limit))
        return [to_member(row) for row in rows]

    async def member(self, chat_id: str, user_id: str) -> StoredMember | None:
        """See the port."""
        query = select(members).where(members.c.chat_id == chat_id, members.c.user_id == user_id)
        rows = await self._database.fetch(query)
        return to_member(rows[0]) if rows else None

    async def member_count(self, chat_id: str) -> int:
        """See the port."""
        query = select(func.count().label("size")).select_from(members).where(members.c.chat_id == chat_id)
        (row,) = await self._database.fetch(query)
        size: int = row.size
        return size

    async def bans(self, chat_id: str) -> Sequence[StoredBan]:
        """See the port."""
        rows = await self._database.fetch(select(bans).where(bans.c.chat_id == chat_id).order_by(bans.c.user_id))
        return [StoredBan(row.user_id, row.actor_id, from_ms(row.banned_at), maybe_time(row.until)) for row in rows]

    async def reports(self, chat_id: str) -> Sequence[StoredReport]:
        """See the port."""
        # Replicas of earlier versions delete messages without their reports.
        query = (
            select(reports)
            .join(messages, messages.c.id == reports.c.message_id)
            .where(reports.c.chat_id == chat_id, messages.c.deleted_at.is_(None))
            .order_by(reports.c.created_at)
        )
        return [
            StoredReport(row.message_id, row.reporter_id, row.reason, row.note, from_ms(row.created_at))
            for row in await self._database.fetch(query)
        ]

    async def invites(self, chat_id: str) -> Sequence[StoredInvite]:
        """See the port."""
        query = select(invites).where(invites.c.chat_id == chat_id).order_by(invites.c.id)
        return [to_invite(row) for row in await self._database.fetch(query)]

    async def invite(self, invite_id: str) -> StoredInvite | None:
        """See the port."""
        rows = await self._database.fetch(select(invites).where(invites.c.id == invite_id))
        return to_invite(rows[0]) if rows else None

    async def delete_ended(self, chat_id: str, now: datetime) -> None:
        """See the port."""
        ended = or_(invites.c.expires_at <= to_ms(now), invites.c.uses >= invites.c.max_uses)

        def write(connection: Connection) -> None:
            connection.execute(delete(bans).where(bans.c.chat_id == chat_id, bans.c.until <= to_ms(now)))
            connection.execute(delete(invites).where(invites.c.chat_id == chat_id, ended))

        await self.commit(CustomWrite(write))

    async def acts(
        self, before: int, limit: int, chat_id: str | None, actor_id: str | None, tenant: str = DEFAULT_TENANT
    ) -> Sequence[Act]:
        """See the port."""
        query = (
            select(audit)
            .where(audit.c.id < before, of_tenant(audit.c.chat_id, tenant))
            .order_by(audit.c.id.desc())
            .limit(limit)
        )
        if chat_id is not None:
            query = query.where(audit.c.chat_id == chat_id)
        if actor_id is not None:
            query = query.where(audit.c.actor_id == actor_id)
        return [
            Act(row.id, row.action, from_ms(row.at), row.chat_id, row.actor_id, row.object_id, row.trace)
            for row in await self._database.fetch(query)
        ]

    async def cursors(self, chat_id: str, limit: int) -> Sequence[StoredCursor]:
        """See the port."""
        query = (
            select(reads.c.user_id, reads.c.seq)
            .where(reads.c.chat_id == chat_id)
            .order_by(reads.c.user_id)
            .limit(limit)
        )
        return [StoredCursor(row.user_id, row.seq) for row in await self._database.fetch(query)]

    async def notifications(self, chat_id: str, user_id: str) -> Notifications:
        """See the port."""
        (row,) = await self._database.fetch(select(*_settings_of(literal(chat_id), user_id)))
        return to_notifications(row)

    async def notification_default(self, user_id: str) -> NotifyLevel:
        """See the port."""
        query = select(notification_defaults.c.level).where(notification_defaults.c.user_id == user_id)
        rows = await self._database.fetch(query)
        level: NotifyLevel = rows[0].level if rows else "all"
        return level

    async def unpublished(self, limit: int, after: str = "") -> Sequence[str]:
        """See the port."""
        ids = outbox.c.chat_id
        query = select(ids).distinct().where(ids > after).order_by(ids).limit(limit)
        return [row.chat_id for row in await self._database.fetch(query)]

    async def backlog(self) -> tuple[int, datetime | None]:
        """How many committed events are not published, up to `_MAX_BACKLOG`, and when the oldest one was committed."""
        marks = select(outbox).limit(_MAX_BACKLOG).subquery()
        of_mark = (events.c.chat_id == marks.c.chat_id) & (events.c.seq == marks.c.seq)
        query = select(func.count().label("size"), func.min(events.c.created_at).label("oldest")).select_from(
            marks.join(events, of_mark)
        )
        (row,) = await self._database.fetch(query)
        return row.size, None if row.oldest is None else from_ms(row.oldest)

    async def first_unpublished(self, chat_id: str) -> int | None:
        """See the port."""
        query = select(func.min(outbox.c.seq).label("first")).where(outbox.c.chat_id == chat_id)
        (row,) = await self._database.fetch(query)
        first: int | None = row.first
        return first

    async def _listed_chats(self, page: Select[*tuple[Any, ...]], reader: str | None) -> Sequence[StoredChat]:
        rows = await self._database.fetch(_with_last_message(page, reader))
        await self._database.load_missing_epochs(newest=rows[0].newest_epoch if rows else None)
        return [to_listed_chat(row, self._database.lineage.epochs) for row in rows]

    async def _messages(
        self, query: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> Sequence[StoredMessage]:
        rows = await self._database.fetch(query, parameters)
        await self._database.load_missing_epochs([row.epoch_id for row in rows])
        return [to_message(row, self._database.lineage.epochs) for row in rows]

    async def _page(
        self, query: Select[*tuple[Any, ...]], parameters: Mapping[str, Any]
    ) -> tuple[Sequence[AnyRow], int]:
        rows = await self._database.fetch(query, parameters)
        await self._database.load_missing_epochs(newest=rows[0].newest_epoch)
        return [row for row in rows if row.seq is not None], rows[0].head or 0

    def _is_in_history(self, cursor: Cursor, event_epoch_id: int | None) -> bool:
        """Whether the cursor names a known epoch and an event of that or an earlier epoch (docs/decisions/0001)."""
        epoch_id = self._database.lineage.id_of(cursor.epoch)
        if epoch_id is None:
            return False
        return cursor.seq == 0 or (event_epoch_id is not None and event_epoch_id <= epoch_id)
