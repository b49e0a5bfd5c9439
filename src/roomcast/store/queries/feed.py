"""The implementation of `chat.ports.FeedStore`.

Layer: store. Source: docs/decisions/0019.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Final

from sqlalchemy import Connection, bindparam, select, true, update

from roomcast.chat.ports import FeedRead
from roomcast.chat.ports.store import MAX_PAGE_BYTES
from roomcast.contract.cursor import Cursor
from roomcast.store.engine.batch import CustomWrite
from roomcast.store.engine.database import Database
from roomcast.store.engine.writer import Writer
from roomcast.store.lineage import NEWEST_EPOCH
from roomcast.store.rows import to_event
from roomcast.store.tables import events, feed_head

#: Events that one transaction places: it delays other writes of the process.
BATCH: Final = 500
_UNPLACED: Final = events.c.position.is_(None)
_ANY_UNPLACED: Final = select(events.c.seq).where(_UNPLACED).order_by(events.c.chat_id, events.c.seq).limit(1)
# Of each chat the first ones: a transaction that stores an event locks its chat, so no earlier event can appear later.
_NEXT: Final = (
    select(events.c.chat_id, events.c.seq)
    .where(_UNPLACED)
    .order_by(events.c.chat_id, events.c.seq)
    .limit(bindparam("count"))
)
#: The last position.
HEAD: Final = select(feed_head.c.position).where(feed_head.c.id == 1)
# SQLite ignores the lock: there is one writing process.
_LOCK: Final = HEAD.with_for_update(skip_locked=True)
_PLACE: Final = (
    update(events)
    .where(events.c.chat_id == bindparam("chat"), events.c.seq == bindparam("at"))
    .values(position=bindparam("place"))
)
_ADVANCE: Final = update(feed_head).where(feed_head.c.id == 1).values(position=bindparam("last"))

_state = select(
    HEAD.scalar_subquery().label("head"),
    NEWEST_EPOCH.label("newest_epoch"),
    select(events.c.epoch_id)
    .where(events.c.position <= bindparam("after"))
    .order_by(events.c.position.desc())
    .limit(1)
    .scalar_subquery()
    .label("cursor_epoch_id"),
).subquery("state")
_page = (
    select(events)
    .where(events.c.position > bindparam("after"))
    .order_by(events.c.position)
    .limit(bindparam("count"))
    .subquery("page")
)
_READ: Final = select(_state, _page).select_from(_state.outerjoin(_page, true())).order_by(_page.c.position)


class SqlFeedStore:
    """See `chat.ports.FeedStore` for what each method guarantees.

    Args:
        database: An open database.
        writer: The writer of this database.
    """

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def place(self) -> bool:
        """See the port."""
        if not await self._database.fetch(_ANY_UNPLACED):
            return False

        def write(connection: Connection) -> int:
            head = connection.execute(_LOCK).scalar_one_or_none()
            if head is None:
                return 0  # another process places events at this moment
            found = connection.execute(_NEXT, {"count": BATCH}).all()
            if found:
                places = enumerate(found, head + 1)
                placed = [{"chat": row.chat_id, "at": row.seq, "place": position} for position, row in places]
                connection.execute(_PLACE, placed)
                connection.execute(_ADVANCE, {"last": head + len(found)})
            return len(found)

        # Durable: a reader keeps the position, which must not be assigned to another event.
        return await self._writer.commit(CustomWrite(write)) == BATCH

    async def read(self, cursor: Cursor | None, limit: int) -> FeedRead:
        """See the port."""
        after = 0 if cursor is None else cursor.seq
        rows = await self._database.fetch(_READ, {"after": after, "count": limit})
        await self._database.load_missing_epochs(newest=rows[0].newest_epoch)
        lineage = self._database.lineage
        first = rows[0]
        if cursor is not None and cursor.seq > 0:
            known = lineage.id_of(cursor.epoch)
            # None: all events up to the cursor are erased, with their chats. So none that is left was missed.
            written = first.cursor_epoch_id
            if known is None or after > first.head or (written is not None and written > known):
                return FeedRead((), Cursor(epoch=first.newest_epoch, seq=0), reset=True)
        found = [row for row in rows if row.seq is not None]
        sizes = accumulate(len(row.payload) for row in found)
        fitting = found[: max(1, sum(size <= MAX_PAGE_BYTES for size in sizes))]
        last = fitting[-1].position if fitting else after
        read = tuple(to_event(row, lineage.epochs) for row in fitting)
        cut = len(fitting) < len(found)
        return FeedRead(read, Cursor(epoch=first.newest_epoch, seq=last), reset=False, cut=cut)
