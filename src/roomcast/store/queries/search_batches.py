"""Indexes the messages that a version of roomcast without search has written.

Layer: store.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, delete, func, or_, select, update

from roomcast.chat.model import ChatState
from roomcast.store.engine.keyed_rows import insert_into
from roomcast.store.rules.recording import search_entry
from roomcast.store.tables import chats, messages, search_backlog, search_entries

#: Messages that one transaction indexes.
BATCH: Final = 500


def index_batch(connection: Connection, size: int = BATCH) -> int:
    """Index the newest messages that are not indexed yet; their number, 0 at the end.

    Args:
        connection: Inside a write transaction.
        size: Maximum number of messages, in any version.
    """
    below = connection.scalar(select(search_backlog.c.below).with_for_update())
    if below is None:
        return 0
    page = connection.execute(
        select(messages.c.id, messages.c.chat_id, messages.c.place)
        .where(messages.c.id < below)
        .order_by(messages.c.id.desc())
        .limit(size)
    ).all()
    if not page:
        connection.execute(delete(search_backlog))
        return 0
    # A deletion that commits before this lock is seen below; a later one deletes what is written here.
    chat_ids = sorted({row.chat_id for row in page})
    connection.execute(select(chats.c.id).where(chats.c.id.in_(chat_ids)).order_by(chats.c.id).with_for_update())
    later = messages.alias("later")
    rows = connection.execute(
        select(messages.c.id, messages.c.chat_id, messages.c.place, messages.c.content)
        .join(chats, chats.c.id == messages.c.chat_id)
        .where(
            messages.c.id.in_([row.id for row in page]),
            messages.c.deleted_at.is_(None),
            # The terms of a deleted chat were deleted before.
            or_(chats.c.state.is_(None), chats.c.state == ChatState.ARCHIVED),
            messages.c.version
            == select(func.max(later.c.version))
            .where(later.c.chat_id == messages.c.chat_id, later.c.place == messages.c.place)
            .scalar_subquery(),
        )
        .order_by(messages.c.id.desc())
    ).all()
    entries = [entry for row in rows if (entry := search_entry(row.chat_id, row.place, row.content)) is not None]
    if entries:
        # Below all others: the messages were written earlier.
        lowest = min(0, connection.scalar(select(func.min(search_entries.c.id))) or 0)
        numbered = [{"id": lowest - number, **entry} for number, entry in enumerate(entries, 1)]
        connection.execute(
            insert_into(connection, search_entries).on_conflict_do_nothing(index_elements=["chat_id", "place"]),
            numbered,
        )
    connection.execute(update(search_backlog).values(below=page[-1].id))
    return len(page)
