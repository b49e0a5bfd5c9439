"""Runs many commands in one transaction with few statements, and applies the rules of the domain in memory.

A batch loads the rows that its commands need, applies the commands to them in order, and writes all changes at once
(`statements.Statements`). A rejected command changes nothing and does not affect the others.

Layer: store. Source: docs/design.md, "Events and seq".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection, Table

from roomcast.chat.additions import ALL_USERS, AdditionLimits
from roomcast.chat.encoding import encode_member_change, encode_message
from roomcast.chat.errors import ChatError, ChatExists, ChatNotFound, NotAMember, TurnLost
from roomcast.chat.ids import new_id
from roomcast.chat.model import (
    Committed,
    MemberAction,
    NewChat,
    NewMemberChange,
    NewMessage,
    StoredChat,
    StoredEvent,
    StoredMessage,
)
from roomcast.contract.events import EventType
from roomcast.store.lineage import Lineage
from roomcast.store.rows import from_ms, to_ms
from roomcast.store.statements import Changes, LoadedRows, RowKeys, Statements
from roomcast.store.tables import chats, events, messages, outbox, turns

_LARGEST_STEP: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class MarkPublished:
    """Deletes the outbox marks of each chat up to the given seq."""

    up_to: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CustomWrite:
    """Any other write. It runs after the other kinds of commands in its batch.

    Attributes:
        run: Makes its checks before its first write: if it raises `ChatError`, the transaction is still committed.
        durable: Whether the result must survive a power failure.
    """

    run: Callable[[Connection], Any]
    durable: bool = True


Command = NewMessage | NewChat | NewMemberChange | MarkPublished | CustomWrite


def is_durable(command: Command) -> bool:
    """Whether the result must wait until the commit has reached the disk.

    An outbox mark that reappears after a power failure only costs one more read of the log.
    """
    match command:
        case MarkPublished():
            return False
        case CustomWrite():
            return command.durable
        case _:
            return True


def run_batch(
    connection: Connection, commands: Sequence[Command], statements: Statements, lineage: Lineage
) -> list[Any]:
    """Run the commands inside the connection's transaction.

    Args:
        connection: Inside a transaction.
        commands: In the order in which they take effect.
        statements: Read and write the rows.
        lineage: The epochs of the database. New events belong to the current epoch.

    Returns:
        One outcome per command: its result, or the `ChatError` that rejects it.
    """
    keys = _row_keys(commands)
    batch = _Batch(statements.load(connection, keys, lineage) if keys else LoadedRows(), lineage)
    outcomes: list[Any] = []
    for command in commands:
        try:
            outcomes.append(batch.apply(command))
        except ChatError as error:
            outcomes.append(error)
    custom = [(index, command) for index, command in enumerate(commands) if isinstance(command, CustomWrite)]
    if changes := batch.changes():
        statements.write(connection, changes, last=not custom)
    for index, command in custom:
        try:
            outcomes[index] = command.run(connection)
        except ChatError as error:
            outcomes[index] = error
    return outcomes


class _Batch:
    """The loaded rows, and the changes that the commands make to them."""

    def __init__(self, loaded: LoadedRows, lineage: Lineage) -> None:
        self._epoch_id = lineage.current_id
        self._epoch = lineage.current
        self._inserts: dict[Table, list[dict[str, Any]]] = {
            table: [] for table in (chats, events, messages, outbox, turns)
        }
        self._updated_chats: dict[str, StoredChat] = {}
        self._member_changes: dict[tuple[str, str], datetime | None] = {}
        self._ended_turns: list[str] = []
        self._published: dict[str, int] = {}
        self._charged: dict[tuple[str, str], int] = {}
        self._chats = loaded.chats
        self._sent = loaded.sent
        self._members = loaded.members
        self._claims = loaded.claims
        self._additions = loaded.additions
        self._newest_activity = from_ms(loaded.newest_activity_ms)

    def apply(self, command: Command) -> Any:
        """Check one command and record its changes.

        Raises:
            ChatError: the command is rejected; nothing was recorded.
        """
        match command:
            case NewMessage():
                return self._append_message(command)
            case NewChat():
                return self._create_chat(command)
            case NewMemberChange():
                return self._change_member(command)
            case MarkPublished():
                for chat_id, seq in command.up_to.items():
                    self._published[chat_id] = max(seq, self._published.get(chat_id, 0))
                return None
            case CustomWrite():
                return None

    def changes(self) -> Changes:
        """All recorded changes."""
        # Sorted by id, so that two processes that create the same chats cannot deadlock.
        self._inserts[chats].sort(key=itemgetter("id"))
        created = {row["id"] for row in self._inserts[chats]}
        for row in self._inserts[chats]:
            chat = self._chats[row["id"]]
            row.update(last_seq=chat.last_seq, last_activity_at=to_ms(chat.last_activity_at))
        return Changes(
            updated_chats=[chat for chat in self._updated_chats.values() if chat.id not in created],
            inserts={table: rows for table, rows in self._inserts.items() if rows},
            memberships=self._member_changes,
            ended_turns=self._ended_turns,
            published=sorted(self._published.items()),
            additions=self._charged,
        )

    def _append_message(self, new: NewMessage) -> Committed:
        if new.client_msg_id is not None and (known := self._sent.get((new.chat_id, new.client_msg_id))):
            self._check_member(new.chat_id, new.member)
            return Committed(known, created=False)
        chat = self._chats.get(new.chat_id)
        if chat is None and new.creates is None:
            raise ChatNotFound(new.chat_id)
        self._check_member(new.chat_id, new.member)
        if new.ends is not None and self._claims.get(new.ends.turn_id) != new.ends:
            raise TurnLost(new.ends.turn_id, new.ends.generation)
        if chat is None and new.creates is not None:
            chat = self._add_chat(new.creates)
        if chat is None:
            raise ChatNotFound(new.chat_id)

        message = StoredMessage(
            id=new.id,
            chat_id=new.chat_id,
            epoch=self._epoch,
            seq=chat.last_seq + 1,
            role=new.role,
            content=new.content,
            user_id=new.user_id,
            client_msg_id=new.client_msg_id,
            created_at=new.created_at,
        )
        payload = encode_message(message)
        event = self._add_event(chat, EventType.MESSAGE_CREATED, payload, new.created_at, new.trace)
        self._inserts[messages].append(
            {
                "id": new.id,
                "chat_id": new.chat_id,
                "seq": message.seq,
                "epoch_id": self._epoch_id,
                "role": new.role,
                "content": new.content,
                "user_id": new.user_id,
                "client_msg_id": new.client_msg_id,
                "status": "sent",
                "created_at": to_ms(new.created_at),
            }
        )
        if new.client_msg_id is not None:
            self._sent[new.chat_id, new.client_msg_id] = event
        if new.ends is not None:
            self._ended_turns.append(new.ends.turn_id)
            del self._claims[new.ends.turn_id]
        queues_turn = new.role == "USER" and chat.responder is not None
        if queues_turn:
            self._add_turn(message, str(chat.responder), event.created_at)
        return Committed(event, created=True, turn_queued=queues_turn)

    def _create_chat(self, new: NewChat) -> tuple[StoredChat, tuple[StoredEvent, ...]]:
        if new.id in self._chats:
            raise ChatExists(new.id)
        self._charge(new.creator_id, new.members, new.limits, new.created_at)
        self._add_chat(new)
        creator = () if new.creator_id is None else (new.creator_id,)
        added = tuple(
            self._add_member_event(new.id, user_id, MemberAction.ADD, new.creator_id, new.created_at, None)
            for user_id in dict.fromkeys((*creator, *new.members))
        )
        return self._chats[new.id], added

    def _change_member(self, change: NewMemberChange) -> Committed | None:
        if change.chat_id not in self._chats:
            raise ChatNotFound(change.chat_id)
        self._check_member(change.chat_id, change.member)
        is_member = (change.chat_id, change.user_id) in self._members
        if is_member == (change.action is MemberAction.ADD):
            return None
        if change.action is MemberAction.ADD:
            self._charge(change.actor_id, (change.user_id,), change.limits, change.created_at)
        event = self._add_member_event(
            change.chat_id, change.user_id, change.action, change.actor_id, change.created_at, change.trace
        )
        return Committed(event, created=True)

    def _check_member(self, chat_id: str, user_id: str | None) -> None:
        if user_id is not None and (chat_id, user_id) not in self._members:
            raise NotAMember(chat_id, user_id)

    def _charge(
        self, actor_id: str | None, user_ids: Iterable[str], limits: AdditionLimits | None, at: datetime
    ) -> None:
        """Charge the additions of these users to the actor's allowances."""
        others = set(user_ids) - {actor_id}
        if actor_id is None or limits is None or not others:
            return
        keys = {user_id: (actor_id, user_id) for user_id in (*others, ALL_USERS)}
        full_at = {user_id: self._additions[key] for user_id, key in keys.items() if key in self._additions}
        for user_id, state in limits.charge(full_at, others, to_ms(at)).items():
            self._additions[keys[user_id]] = self._charged[keys[user_id]] = state

    def _add_chat(self, new: NewChat) -> StoredChat:
        chat = StoredChat(new.id, new.title, new.responder, new.created_at, self._in_order(new.created_at), 0)
        self._chats[chat.id] = chat
        self._inserts[chats].append(
            {"id": chat.id, "title": chat.title, "responder": chat.responder, "created_at": to_ms(chat.created_at)}
        )
        return chat

    def _in_order(self, at: datetime) -> datetime:
        """A time that is not before any activity of earlier batches, since chats and turns are ordered by it.

        The clock may have been set back, and the clocks of several processes differ. An activity of more than
        `_LARGEST_STEP` ahead is that of a clock which was wrong: the other chats keep their true times.
        """
        ahead = self._newest_activity - at
        return self._newest_activity + timedelta(milliseconds=1) if timedelta() < ahead <= _LARGEST_STEP else at

    def _add_event(
        self, chat: StoredChat, event_type: EventType, payload: bytes, at: datetime, trace: str | None
    ) -> StoredEvent:
        seq = chat.last_seq + 1
        at = max(self._in_order(at), chat.last_activity_at)
        updated = replace(chat, last_seq=seq, last_activity_at=at)
        self._chats[chat.id] = self._updated_chats[chat.id] = updated
        self._inserts[events].append(
            {
                "chat_id": chat.id,
                "seq": seq,
                "epoch_id": self._epoch_id,
                "type": event_type.value,
                "payload": payload,
                "trace": trace,
                "created_at": to_ms(at),
            }
        )
        self._inserts[outbox].append({"chat_id": chat.id, "seq": seq})
        return StoredEvent(chat.id, seq, self._epoch, event_type, payload, at, trace)

    def _add_member_event(
        self, chat_id: str, user_id: str, action: MemberAction, actor_id: str | None, at: datetime, trace: str | None
    ) -> StoredEvent:
        chat = self._chats[chat_id]
        payload = encode_member_change(chat_id, self._epoch, chat.last_seq + 1, user_id, actor_id, at)
        adds = action is MemberAction.ADD
        self._member_changes[chat_id, user_id] = at if adds else None
        (self._members.add if adds else self._members.discard)((chat_id, user_id))
        event_type = EventType.MEMBER_ADDED if adds else EventType.MEMBER_REMOVED
        return self._add_event(chat, event_type, payload, at, trace)

    def _add_turn(self, message: StoredMessage, responder: str, at: datetime) -> None:
        self._inserts[turns].append(
            {
                "id": new_id(),
                "chat_id": message.chat_id,
                "message_id": message.id,
                "seq": message.seq,
                "responder": responder,
                "status": "pending",
                "generation": 0,
                "lease_until": 0,
                "created_at": to_ms(at),
            }
        )


def _row_keys(commands: Iterable[Command]) -> RowKeys:
    """The keys of the rows that these commands need."""
    chat_ids: set[str] = set()
    message_keys: set[tuple[str, str]] = set()
    memberships: set[tuple[str, str]] = set()
    turn_ids: set[str] = set()
    additions: set[tuple[str, str]] = set()
    for command in commands:
        additions.update(_addition_keys(command))
        if isinstance(command, NewChat):
            chat_ids.add(command.id)
        elif isinstance(command, (NewMessage, NewMemberChange)):
            chat_ids.add(command.chat_id)
            if command.member is not None:
                memberships.add((command.chat_id, command.member))
        if isinstance(command, NewMemberChange):
            memberships.add((command.chat_id, command.user_id))
        if isinstance(command, NewMessage):
            if command.client_msg_id is not None:
                message_keys.add((command.chat_id, command.client_msg_id))
            if command.ends is not None:
                turn_ids.add(command.ends.turn_id)
    return RowKeys(sorted(chat_ids), sorted(message_keys), sorted(memberships), sorted(turn_ids), sorted(additions))


def _addition_keys(command: Command) -> Iterable[tuple[str, str]]:
    """The keys of the allowances that the command may charge."""
    match command:
        case NewChat(creator_id=str(actor_id), members=user_ids) if user_ids:
            return [(actor_id, user_id) for user_id in (*user_ids, ALL_USERS)]
        case NewMemberChange(actor_id=str(actor_id), action=MemberAction.ADD):
            return [(actor_id, user_id) for user_id in (command.user_id, ALL_USERS)]
        case _:
            return ()
