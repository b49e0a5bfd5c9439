"""The rows that a batch reads, and the changes that it writes; `roomcast.store.engine.statements` does both.

Layer: store.rules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Table

from roomcast.chat.model import StoredChat, StoredEvent, StoredMessage
from roomcast.store.rules.turns import Question, TurnRow
from roomcast.store.tables import members

#: A chat and a user, or a chat and a ``client_msg_id``.
Pair = tuple[str, str]
#: The values of a primary key.
Key = tuple[str | int, ...]
#: The values of all columns by name.
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TurnKeys:
    """The keys of the turns that a batch must read.

    Attributes:
        ids: Turns.
        regenerated: Turns whose messages are answered again.
        replaced: Messages that get a new version.
        asked: Chats in which a message may ask for an answer.
        changing: Chats whose settings change.
    """

    ids: set[str] = field(default_factory=set)
    regenerated: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    changing: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Needs:
    """The keys of the rows that a batch must read.

    Attributes:
        chats: Chats to lock and read.
        sent: Messages that may be stored already, by chat and ``client_msg_id``.
        rows: Rows of any other table by primary key. They are read after the chats and the users are locked.
        counts: Tables whose rows are counted, with the value of the first column of their primary key.
        owners: Chats of which all owners are read.
        locks: Users to lock, for rows that belong to no chat.
        last_versions: Messages whose last version is read, without its text, by the id of any version.
        versions: Messages of which all versions are read with their texts, by the id of any version.
        uploaded: Users whose files are added up. They must be locked.
        turns: Turns.
    """

    chats: set[str] = field(default_factory=set)
    sent: set[Pair] = field(default_factory=set)
    rows: dict[Table, set[Key]] = field(default_factory=dict)
    counts: set[tuple[Table, str]] = field(default_factory=set)
    owners: set[str] = field(default_factory=set)
    locks: set[str] = field(default_factory=set)
    last_versions: set[str] = field(default_factory=set)
    versions: set[str] = field(default_factory=set)
    uploaded: set[str] = field(default_factory=set)
    turns: TurnKeys = field(default_factory=TurnKeys)

    def chat(self, chat_id: str, member: str | None = None) -> None:
        """Read a chat and, if ``member`` is a user, its membership."""
        self.chats.add(chat_id)
        if member is not None:
            self.row(members, chat_id, member)

    def row(self, table: Table, *key: str | int) -> None:
        """Read the row of ``table`` with a primary key, if it exists."""
        self.rows.setdefault(table, set()).add(key)


class LastVersion(NamedTuple):
    """Columns of the last version of a message."""

    id: str
    chat_id: str
    place: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class LoadedRows:
    """The rows that exist for the keys of a batch.

    Attributes:
        chats: Chats by id.
        sent: Events of the messages that are stored already, by chat and ``client_msg_id``.
        rows: Rows of other tables by primary key.
        counts: Numbers of rows, by the keys of `Needs.counts`.
        last_versions: The last version of a message by the id of any of its versions.
        owners: The users that own each chat of `Needs.owners`.
        versions: All versions of a message, ascending, by the id of one of them.
        uploaded: Total size in bytes of the files of a user: of those that no message has, and of all.
        turns: See `turns.TurnRules`.
        questions: See `turns.TurnRules`.
        newest_activity_ms: The latest activity in any chat, in Unix milliseconds; 0 if there is no chat.
    """

    chats: dict[str, StoredChat] = field(default_factory=dict)
    sent: dict[Pair, StoredEvent] = field(default_factory=dict)
    rows: dict[Table, dict[Key, Row]] = field(default_factory=dict)
    counts: dict[tuple[Table, str], int] = field(default_factory=dict)
    last_versions: dict[str, LastVersion] = field(default_factory=dict)
    owners: dict[str, set[str]] = field(default_factory=dict)
    versions: dict[str, list[StoredMessage]] = field(default_factory=dict)
    uploaded: dict[str, tuple[int, int]] = field(default_factory=dict)
    turns: Mapping[str, TurnRow] = field(default_factory=dict)
    questions: Mapping[str, Question] = field(default_factory=dict)
    newest_activity_ms: int = 0


class Changes(NamedTuple):
    """The changes that a batch writes.

    Attributes:
        grown_chats: Chats with a new head.
        inserts: New rows by table; all rows of a table have the same columns.
        rows: Rows to insert or replace, by table and primary key; None deletes the row.
        published: Pairs of chat id and the seq up to which outbox marks are deleted.
        changed_turns: Turns with a new state.
        changed_messages: New values of columns of stored messages, by id.
        changed_chats: New values of columns of stored chats, by id.
        erased: New payloads of stored events, by chat and seq.
        expired: Messages whose rows are deleted, with the turns that answer them.
        unreported: Chat and id of messages whose reports are deleted.
        emptied: Chats that lose their members, turns, marks, and outbox marks up to a seq.
    """

    grown_chats: Sequence[StoredChat] = ()
    inserts: Mapping[Table, Sequence[Row]] = {}
    rows: Mapping[Table, Mapping[Key, Row | None]] = {}
    published: Sequence[tuple[str, int]] = ()
    changed_turns: Sequence[TurnRow] = ()
    changed_messages: Mapping[str, Row] = {}
    changed_chats: Mapping[str, Row] = {}
    erased: Mapping[tuple[str, int], bytes] = {}
    emptied: Mapping[str, int] = {}
    expired: Collection[str] = ()
    unreported: Collection[Pair] = ()

    def __bool__(self) -> bool:
        return any(self)
