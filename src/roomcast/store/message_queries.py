"""The queries that read messages with what belongs to them: their turns, reactions and pins.

Layer: store.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, ScalarSelect, bindparam, func, select

from roomcast.store.tables import messages, pins, reactions, turns


def _mark(column: Column[Any]) -> ScalarSelect[Any]:
    """What a table of marks has at the place of a message."""
    marks = column.table
    return (
        select(column)
        .where(marks.c.chat_id == messages.c.chat_id, marks.c.place == messages.c.place)
        .correlate(messages)
        .scalar_subquery()
    )


_turn = turns.alias("turn")
#: Messages with their turns.
MESSAGES: Final = select(
    messages,
    *(
        _turn.c[name].label(f"turn_{name}")
        for name in ("question_id", "status", "reason", "generation", "last", "place", "version")
    ),
    # Subqueries, since PostgreSQL would join whole tables before the limit of a page.
    _mark(reactions.c.users).label("reacted"),
    _mark(pins.c.pinned_at).label("pinned_at"),
).outerjoin(_turn, _turn.c.id == messages.c.turn_id)
_later = messages.alias("later")
#: The last version of each message of a chat.
LAST_VERSIONS: Final = MESSAGES.where(
    messages.c.chat_id == bindparam("chat"),
    messages.c.version
    == select(func.max(_later.c.version))
    .where(_later.c.chat_id == messages.c.chat_id, _later.c.place == messages.c.place)
    .scalar_subquery(),
)
_asked = messages.alias("asked")
#: All versions of a message, oldest first.
EACH_VERSION: Final = (
    MESSAGES.join(_asked, (_asked.c.chat_id == messages.c.chat_id) & (_asked.c.place == messages.c.place))
    .where(_asked.c.id == bindparam("message"))
    .order_by(messages.c.version)
)
#: The newest versions of a message of a chat, newest first.
VERSIONS: Final = (
    MESSAGES.join(_asked, (_asked.c.chat_id == messages.c.chat_id) & (_asked.c.place == messages.c.place))
    .where(_asked.c.id == bindparam("message"), _asked.c.chat_id == bindparam("chat"))
    .order_by(messages.c.version.desc())
    .limit(bindparam("count"))
)
_sibling = messages.alias("sibling")
_any_version_of_it = (
    select(_sibling.c.id)
    .join(_asked, (_asked.c.chat_id == _sibling.c.chat_id) & (_asked.c.place == _sibling.c.place))
    .where(_asked.c.id == bindparam("message"), _asked.c.chat_id == bindparam("chat"))
)
#: The last versions of the replies to a message of a chat, in any version.
REPLIES: Final = LAST_VERSIONS.where(messages.c.reply_to.in_(_any_version_of_it))
