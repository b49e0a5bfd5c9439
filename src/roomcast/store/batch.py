"""Runs many commands in one transaction with few statements, and applies the rules of the domain in memory.

A batch loads the rows that its commands need, applies the commands to them in order, and writes all changes at once
(`statements.Statements`). A rejected command changes nothing and does not affect the others.

Layer: store. Source: docs/design.md, "Events and seq".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from roomcast.chat.additions import ALL_USERS, AdditionLimits
from roomcast.chat.encoding import encode_member_change, encode_message
from roomcast.chat.errors import ChatError, ChatExists, ChatNotFound, NotAMember
from roomcast.chat.model import (
    CallTool,
    ChangeAi,
    ChatAi,
    Committed,
    EndTurn,
    MemberAction,
    NewChat,
    NewMemberChange,
    NewMessage,
    NewVersion,
    StartTurn,
    StopTurn,
    StoredChat,
    StoredEvent,
    StoredMessage,
    StoredTurn,
)
from roomcast.contract.events import EventType
from roomcast.store.lineage import Lineage
from roomcast.store.recording import Recorder
from roomcast.store.rows import to_ms
from roomcast.store.statements import Changes, LoadedRows, RowKeys, Statements, TurnKeys
from roomcast.store.tables import turns
from roomcast.store.turn_rules import TurnRules


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


Command = (
    NewMessage
    | NewChat
    | NewMemberChange
    | NewVersion
    | StartTurn
    | CallTool
    | EndTurn
    | StopTurn
    | ChangeAi
    | MarkPublished
    | CustomWrite
)


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
        self._recorder = Recorder(loaded.chats, loaded.newest_activity_ms, lineage)
        self._turns = TurnRules(self._recorder, loaded.turns, loaded.questions)
        self._member_changes: dict[tuple[str, str], datetime | None] = {}
        self._published: dict[str, int] = {}
        self._charged: dict[tuple[str, str], int] = {}
        self._ai: dict[str, ChatAi] = {}
        self._chats = loaded.chats
        self._sent = loaded.sent
        self._members = loaded.members
        self._additions = loaded.additions
        self._rules: Mapping[type, Callable[[Any], Any]] = {
            NewMessage: self._append_message,
            NewChat: self._create_chat,
            NewMemberChange: self._change_member,
            NewVersion: self._add_version,
            StartTurn: self._turns.start,
            CallTool: self._turns.call_tool,
            EndTurn: self._turns.end,
            StopTurn: self._stop_turn,
            ChangeAi: self._change_ai,
            MarkPublished: self._mark_published,
        }

    def apply(self, command: Command) -> Any:
        """Check one command and record its changes.

        Raises:
            ChatError: the command is rejected; nothing was recorded.
        """
        rule = self._rules.get(type(command))
        return None if rule is None else rule(command)

    def changes(self) -> Changes:
        """All recorded changes."""
        inserts = dict(self._recorder.inserts())
        if queued := self._turns.queued:
            # After the messages, which they refer to.
            inserts[turns] = [row.insert() for row in queued.values()]
        return Changes(
            updated_chats=list(self._recorder.updated_chats.values()),
            inserts=inserts,
            memberships=self._member_changes,
            published=sorted(self._published.items()),
            additions=self._charged,
            changed_turns=list(self._turns.changed.values()),
            changed_messages=self._recorder.changed_messages,
            ai=self._ai,
        )

    def _append_message(self, new: NewMessage) -> Committed:
        if new.client_msg_id is not None and (known := self._sent.get((new.chat_id, new.client_msg_id))):
            self._check_member(new.chat_id, new.member)
            return Committed(known, created=False)
        chat = self._chats.get(new.chat_id)
        if chat is None and new.creates is None:
            raise ChatNotFound(new.chat_id)
        self._check_member(new.chat_id, new.member)
        ai = chat.ai if chat is not None else (new.creates and new.creates.ai) or ChatAi()
        earlier = None if new.replaces is None else self._turns.replaced(new, new.replaces)
        responder = self._turns.responder(ai, new)
        if chat is None and new.creates is not None:
            chat = self._recorder.add_chat(new.creates)
        before: Sequence[StoredEvent] = ()
        if responder is not None or earlier is not None:
            before = self._turns.make_room(new, earlier, asks=responder is not None)

        seq = self._recorder.next_seq(new.chat_id)
        turn = None if responder is None else self._turns.next_turn(new.id, earlier)
        message = StoredMessage(
            id=new.id,
            chat_id=new.chat_id,
            epoch=self._recorder.epoch,
            seq=seq,
            role=new.role,
            content=new.content,
            user_id=new.user_id if earlier is None else earlier.user_id,
            client_msg_id=new.client_msg_id,
            created_at=new.created_at,
            place=seq if earlier is None else earlier.place,
            version=1 if earlier is None else earlier.version + 1,
            turn=turn,
        )
        event = self._recorder.add_event(
            new.chat_id, EventType.MESSAGE_CREATED, encode_message(message), new.created_at, new.trace
        )
        self._recorder.add_message(message)
        if new.client_msg_id is not None:
            self._sent[new.chat_id, new.client_msg_id] = event
        if responder is not None or earlier is not None:
            self._turns.ask(message, responder, event)
        return Committed(event, created=True, turn_queued=responder is not None, before=tuple(before))

    def _add_version(self, new: NewVersion) -> tuple[StoredTurn, Committed]:
        self._check_chat(new.chat_id, new.member)
        return self._turns.regenerate(new)

    def _stop_turn(self, stop: StopTurn) -> tuple[StoredTurn, Committed | None]:
        self._check_chat(stop.chat_id, stop.member)
        return self._turns.stop(stop)

    def _mark_published(self, command: MarkPublished) -> None:
        for chat_id, seq in command.up_to.items():
            self._published[chat_id] = max(seq, self._published.get(chat_id, 0))

    def _change_ai(self, change: ChangeAi) -> None:
        chat = self._check_chat(change.chat_id, change.member)
        self._chats[chat.id] = replace(chat, ai=change.ai)
        self._ai[chat.id] = change.ai

    def _create_chat(self, new: NewChat) -> tuple[StoredChat, tuple[StoredEvent, ...]]:
        if new.id in self._chats:
            raise ChatExists(new.id)
        self._charge(new.creator_id, new.members, new.limits, new.created_at)
        self._recorder.add_chat(new)
        creator = () if new.creator_id is None else (new.creator_id,)
        added = tuple(
            self._add_member_event(new.id, user_id, MemberAction.ADD, new.creator_id, new.created_at, None)
            for user_id in dict.fromkeys((*creator, *new.members))
        )
        return self._chats[new.id], added

    def _change_member(self, change: NewMemberChange) -> Committed | None:
        self._check_chat(change.chat_id, change.member)
        is_member = (change.chat_id, change.user_id) in self._members
        if is_member == (change.action is MemberAction.ADD):
            return None
        if change.action is MemberAction.ADD:
            self._charge(change.actor_id, (change.user_id,), change.limits, change.created_at)
        event = self._add_member_event(
            change.chat_id, change.user_id, change.action, change.actor_id, change.created_at, change.trace
        )
        return Committed(event, created=True)

    def _check_chat(self, chat_id: str, user_id: str | None) -> StoredChat:
        chat = self._chats.get(chat_id)
        if chat is None:
            raise ChatNotFound(chat_id)
        self._check_member(chat_id, user_id)
        return chat

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

    def _add_member_event(
        self, chat_id: str, user_id: str, action: MemberAction, actor_id: str | None, at: datetime, trace: str | None
    ) -> StoredEvent:
        seq, epoch = self._recorder.next_seq(chat_id), self._recorder.epoch
        payload = encode_member_change(chat_id, epoch, seq, user_id, actor_id, at)
        adds = action is MemberAction.ADD
        self._member_changes[chat_id, user_id] = at if adds else None
        (self._members.add if adds else self._members.discard)((chat_id, user_id))
        event_type = EventType.MEMBER_ADDED if adds else EventType.MEMBER_REMOVED
        return self._recorder.add_event(chat_id, event_type, payload, at, trace)


def _row_keys(commands: Iterable[Command]) -> RowKeys:
    """The keys of the rows that these commands need."""
    chat_ids: set[str] = set()
    message_keys: set[tuple[str, str]] = set()
    memberships: set[tuple[str, str]] = set()
    additions: set[tuple[str, str]] = set()
    turn_keys = TurnKeys()
    for command in commands:
        additions.update(_addition_keys(command))
        _add_turn_keys(turn_keys, command)
        match command:
            case NewChat():
                chat_ids.add(command.id)
            case NewMessage() | NewMemberChange() | NewVersion() | StopTurn() | ChangeAi():
                chat_ids.add(command.chat_id)
                if command.member is not None:
                    memberships.add((command.chat_id, command.member))
            case StartTurn() | CallTool() | EndTurn():
                chat_ids.add(command.claim.chat_id)
        if isinstance(command, NewMemberChange):
            memberships.add((command.chat_id, command.user_id))
        if isinstance(command, NewMessage) and command.client_msg_id is not None:
            message_keys.add((command.chat_id, command.client_msg_id))
    return RowKeys(sorted(chat_ids), sorted(message_keys), sorted(memberships), sorted(additions), turn_keys)


def _add_turn_keys(keys: TurnKeys, command: Command) -> None:
    match command:
        case NewMessage(role="USER"):
            keys.asked.add(command.chat_id)
            if command.replaces is not None:
                keys.replaced.add(command.replaces)
        case NewVersion():
            keys.asked.add(command.chat_id)
            keys.regenerated.add(command.turn_id)
        case StopTurn():
            keys.ids.add(command.turn_id)
        case StartTurn() | CallTool() | EndTurn():
            keys.ids.add(command.claim.turn_id)
        case ChangeAi():
            keys.changing.add(command.chat_id)


def _addition_keys(command: Command) -> Iterable[tuple[str, str]]:
    """The keys of the allowances that the command may charge."""
    match command:
        case NewChat(creator_id=str(actor_id), members=user_ids) if user_ids:
            return [(actor_id, user_id) for user_id in (*user_ids, ALL_USERS)]
        case NewMemberChange(actor_id=str(actor_id), action=MemberAction.ADD):
            return [(actor_id, user_id) for user_id in (command.user_id, ALL_USERS)]
        case _:
            return ()
