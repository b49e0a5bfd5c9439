"""What rules work with: the rows that a batch has loaded, and the changes that its commands have made so far.

Layer: store.rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import Table

from roomcast.chat.errors import ChatArchived, ChatNotFound, NotAMember
from roomcast.chat.model import ChatState, StoredChat
from roomcast.contract.events import MemberRole
from roomcast.contract.tenants import tenant_of
from roomcast.store.lineage import Lineage
from roomcast.store.rules.exchange import Changes, Key, LoadedRows, Needs, Row
from roomcast.store.rules.recording import Recorder
from roomcast.store.rules.turns import TurnRules
from roomcast.store.tables import members, search_entries, turns


class Work:
    """The rows of a batch as they are after the commands so far.

    Args:
        loaded: The rows that the rules need.
        lineage: The epochs of the database.

    Attributes:
        lineage: See above.
        recorder: Adds chats, events and messages.
        turns: The AI turns.
        sent: As in `LoadedRows`; also the next.
        last_versions: Not changed by the commands; also the next.
        versions: As in `LoadedRows`.
        uploaded: As in `LoadedRows`, with what the commands so far have added.
        published: The seq up to which outbox marks are deleted, by chat.
    """

    def __init__(self, loaded: LoadedRows, lineage: Lineage) -> None:
        self.lineage = lineage
        self.recorder = Recorder(loaded.chats, loaded.newest_activity_ms, lineage)
        self.turns = TurnRules(self.recorder, loaded.turns, loaded.questions)
        self.sent = loaded.sent
        self.published: dict[str, int] = {}
        self.last_versions = loaded.last_versions
        self.versions = loaded.versions
        self.uploaded = loaded.uploaded
        self._loaded = loaded.rows
        self._counts = loaded.counts
        self._owners = loaded.owners
        self._changed: dict[Table, dict[Key, Row | None]] = {}

    def chat(self, chat_id: str, member: str | None) -> StoredChat:
        """A chat that exists.

        Args:
            chat_id: Its id.
            member: The user that must be a member; None skips the check.

        Raises:
            ChatNotFound: it does not exist.
            NotAMember: ``member`` is no member.
        """
        chat = self.recorder.chats.get(chat_id)
        if chat is None or chat.state in {ChatState.DELETED, ChatState.ERASED}:
            raise ChatNotFound(chat_id)
        self.check_member(chat_id, member)
        return chat

    def open_chat(self, chat_id: str, member: str | None) -> StoredChat:
        """A chat that members may write to; otherwise like `chat`.

        Raises:
            ChatArchived: it is archived.
        """
        chat = self.chat(chat_id, member)
        if chat.state is ChatState.ARCHIVED:
            raise ChatArchived(chat_id)
        return chat

    def check_member(self, chat_id: str, user_id: str | None) -> None:
        """Check that a user is a member of a chat; None skips the check.

        Raises:
            NotAMember: the user is no member.
        """
        if user_id is not None and self.row(members, chat_id, user_id) is None:
            raise NotAMember(chat_id, user_id)

    def owners(self, chat_id: str) -> set[str]:
        """The owners of a chat. Read because the rule needs them; a `KeyError` otherwise."""
        found = set(self._owners[chat_id])
        for (chat, user_id), row in self._changed.get(members, {}).items():
            if chat == chat_id:
                found.discard(str(user_id))
                if row is not None and row["role"] == MemberRole.OWNER:
                    found.add(str(user_id))
        return found

    def row(self, table: Table, *key: str | int) -> Row | None:
        """A row that the rule needs, or that an earlier command has put; None if it does not exist."""
        changed = self._changed.get(table)
        if changed is not None and key in changed:
            return changed[key]
        found = self._loaded.get(table)
        return None if found is None else found.get(key)

    def count(self, table: Table, first: str) -> int:
        """The number of rows whose primary key begins with ``first``; counted because the rule needs it."""
        changed = self._changed.get(table, {})
        loaded = self._loaded.get(table, {})
        grown = sum((row is not None) - (key in loaded) for key, row in changed.items() if key[0] == first)
        return self._counts[table, first] + grown

    def put(self, table: Table, *key: str | int, **columns: Any) -> None:
        """Insert or replace a row. ``columns`` are all columns outside the primary key.

        Raises:
            ChatNotFound: the row is of a chat and a user of another tenant, which no rule lets pass, so by a bug.
        """
        names = zip((column.name for column in table.primary_key), key, strict=True)
        row = {**dict(names), **columns}
        chat_id, user_id = row.get("chat_id"), row.get("user_id")
        if isinstance(chat_id, str) and isinstance(user_id, str) and tenant_of(user_id) != tenant_of(chat_id):
            raise ChatNotFound(chat_id)
        self._changed.setdefault(table, {})[key] = row

    def delete(self, table: Table, *key: str | int) -> None:
        """Delete a row; it need not exist."""
        self._changed.setdefault(table, {})[key] = None

    def changes(self) -> Changes:
        """All recorded changes."""
        recorder = self.recorder
        inserts = dict(recorder.inserts())
        if queued := self.turns.queued:
            # After the messages, which they refer to.
            inserts[turns] = [row.insert() for row in queued.values()]
        return Changes(
            grown_chats=list(recorder.grown_chats.values()),
            inserts=inserts,
            rows={**self._changed, **({search_entries: recorder.indexed} if recorder.indexed else {})},
            published=sorted(self.published.items()),
            changed_turns=list(self.turns.changed.values()),
            changed_messages=recorder.changed_messages,
            changed_chats=recorder.changed_chats,
            erased=recorder.erased,
            emptied=recorder.emptied,
            expired=recorder.expired,
            unreported=recorder.unreported,
        )


class Rule(NamedTuple):
    """The rule of one kind of command.

    Attributes:
        needs: Names the rows that ``apply`` reads.
        follow: Names further rows, whose keys are in the first ones; None: there are none.
        apply: Checks the command, records its changes and returns its result. It raises `ChatError` before it records
            anything if the command is rejected.
    """

    needs: Callable[[Needs, Any], None]
    apply: Callable[[Work, Any], Any]
    follow: Callable[[Needs, LoadedRows, Any], None] | None = None
