"""What a batch reads and writes, and how: one statement for each table, through SQLAlchemy.

Layer: store. Source: DESIGN §4.1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, tuple_, update

from roomcast.chat.model import StoredChat, StoredEvent, TurnClaim
from roomcast.store.lineage import Lineage
from roomcast.store.rows import to_chat, to_event, to_ms
from roomcast.store.tables import chats, events, members, messages, outbox, turns

#: A chat and a user, or a chat and a ``client_msg_id``.
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The rows that a batch has to know; each list sorted."""

    chat_ids: Sequence[str]
    keys: Sequence[Pair]
    memberships: Sequence[Pair]
    turn_ids: Sequence[str]

    def __bool__(self) -> bool:
        return bool(self.chat_ids)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The rows that were found; what is missing is not there."""

    chats: dict[str, StoredChat] = field(default_factory=dict)
    sent: dict[Pair, StoredEvent] = field(default_factory=dict)
    members: set[Pair] = field(default_factory=set)
    claims: dict[str, TurnClaim] = field(default_factory=dict)


class Changes(NamedTuple):
    """What a batch writes.

    Attributes:
        grown: Chats with a new head.
        new: Rows by table, each with the same columns.
        memberships: Since when; None: no longer.
        ended: Ids of turns.
        marks: Chat ids with the seq up to which marks are dropped.
    """

    grown: Sequence[StoredChat]
    new: Mapping[Table, Sequence[Mapping[str, Any]]]
    memberships: Mapping[Pair, datetime | None]
    ended: Sequence[str]
    marks: Sequence[tuple[str, int]]

    def __bool__(self) -> bool:
        return any(self)


class Statements(Protocol):
    """How a batch gets at its rows."""

    def load(self, connection: Connection, wanted: Wanted, lineage: Lineage) -> Loaded:
        """Lock the chats and the turns, in an order that is the same everywhere, and read what is asked for."""

    def write(self, connection: Connection, changes: Changes, *, last: bool) -> None:
        """Write the changes.

        Args:
            connection: As before.
            changes: Not empty.
            last: Nothing follows in this transaction, so it may be committed with them.
        """


_UPDATE_CHAT: Final = (
    update(chats)
    .where(chats.c.id == bindparam("chat"))
    .values(last_seq=bindparam("seq"), last_activity_at=bindparam("at"))
)
_DELETE_MEMBER: Final = delete(members).where(
    members.c.chat_id == bindparam("chat"), members.c.user_id == bindparam("user")
)
_DELETE_MARKS: Final = delete(outbox).where(outbox.c.chat_id == bindparam("chat"), outbox.c.seq <= bindparam("seq"))
_END_TURN: Final = update(turns).where(turns.c.id == bindparam("turn")).values(status="done")


class PlainStatements:
    """For a database that is written by one process and answers without a network: nothing needs a lock."""

    def load(self, connection: Connection, wanted: Wanted, lineage: Lineage) -> Loaded:
        """See `Statements`."""
        found = _load_chats(connection, wanted.chat_ids)
        return Loaded(
            chats=found,
            sent=_load_sent(connection, [key for key in wanted.keys if key[0] in found], lineage),
            members=_load_members(connection, wanted.memberships),
            claims=_load_claims(connection, wanted.turn_ids),
        )

    def write(self, connection: Connection, changes: Changes, *, last: bool) -> None:  # noqa: ARG002 - as the port says
        """See `Statements`. The commit follows as always."""
        execute = connection.execute
        if changes.grown:
            rows = [
                {"chat": chat.id, "seq": chat.last_seq, "at": to_ms(chat.last_activity_at)} for chat in changes.grown
            ]
            execute(_UPDATE_CHAT, rows)
        for table, new in changes.new.items():
            execute(insert(table), new)
        if changes.memberships:
            execute(_DELETE_MEMBER, [{"chat": chat, "user": user} for chat, user in changes.memberships])
            if added := added_members(changes):
                execute(insert(members), added)
        if changes.ended:
            execute(_END_TURN, [{"turn": turn} for turn in changes.ended])
        if changes.marks:
            execute(_DELETE_MARKS, [{"chat": chat, "seq": seq} for chat, seq in changes.marks])


def added_members(changes: Changes) -> list[dict[str, Any]]:
    """Rows of those who are members afterwards."""
    return [
        {"chat_id": chat, "user_id": user, "added_at": to_ms(at)}
        for (chat, user), at in changes.memberships.items()
        if at is not None
    ]


def _load_chats(connection: Connection, ids: Collection[str]) -> dict[str, StoredChat]:
    return {row.id: to_chat(row) for row in connection.execute(select(chats).where(chats.c.id.in_(ids)))}


def _load_sent(connection: Connection, keys: Collection[Pair], lineage: Lineage) -> dict[Pair, StoredEvent]:
    if not keys:
        return {}
    query = (
        select(events, messages.c.client_msg_id)
        .join(messages, (messages.c.chat_id == events.c.chat_id) & (messages.c.seq == events.c.seq))
        .where(tuple_(messages.c.chat_id, messages.c.client_msg_id).in_(keys))
    )
    return {(row.chat_id, row.client_msg_id): to_event(row, lineage.epochs) for row in connection.execute(query)}


def _load_members(connection: Connection, pairs: Collection[Pair]) -> set[Pair]:
    if not pairs:
        return set()
    query = select(members.c.chat_id, members.c.user_id).where(tuple_(members.c.chat_id, members.c.user_id).in_(pairs))
    return {(row.chat_id, row.user_id) for row in connection.execute(query)}


def _load_claims(connection: Connection, ids: Collection[str]) -> dict[str, TurnClaim]:
    if not ids:
        return {}
    query = select(turns.c.id, turns.c.generation).where(turns.c.id.in_(ids), turns.c.status == "running")
    return {row.id: TurnClaim(row.id, row.generation) for row in connection.execute(query)}
