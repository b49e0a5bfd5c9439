"""The rules for AI turns, applied to the commands of a batch: when a turn is queued, and how its state changes.

The commands of a chat take effect one after the other, since a batch locks the chat. A turn starts only after a claim,
and a claim skips each turn with an earlier unfinished one in its chat. So at most one turn of a chat is streaming.

Layer: store.rules. Source: docs/decisions/0010.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from roomcast.chat.commands import CallTool, EndTurn, NewMessage, NewVersion, StartTurn, StopTurn
from roomcast.chat.delivery.encoding import encode_message
from roomcast.chat.errors import AnswerActive, MessageNotFound, NotAllowed, TurnLost, TurnNotFound
from roomcast.chat.ids import new_id
from roomcast.chat.model import ChatAi, Committed, Ending, StoredEvent, StoredMessage, StoredTurn, TurnClaim
from roomcast.chat.policies.mentions import mentions
from roomcast.contract.events import Attachment, EventType, TurnReason, TurnStatus
from roomcast.store.rows import to_ms
from roomcast.store.rules.recording import Recorder

#: The states in which a turn is not finished.
ACTIVE: Final = (TurnStatus.QUEUED, TurnStatus.STREAMING)
_REPLACED: Final = Ending(TurnStatus.STOPPED, TurnReason.REPLACED)
_GIVEN_UP: Final = Ending(TurnStatus.FAILED, TurnReason.TIMEOUT)
_STOPPED_BY_USER: Final = Ending(TurnStatus.STOPPED, TurnReason.BY_USER)


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A row of ``turns``.

    Attributes:
        seq: Seq of the event that queued it.
        event: The event that wrote this state.
        versions: The largest version at the place of the answer; 0 if there is none.
        answered_at: Time of the answer's message; None if there is none yet.
        asker_id: The user that asked for it, whose quotas have its tokens; None: a service, or not known.
        ending: How it ended, if it ended in this batch, and when.
    """

    chat_id: str
    turn: StoredTurn
    responder: str
    seq: int
    created_at: datetime
    event: StoredEvent
    stopping: bool = False
    versions: int = 0
    answered_at: datetime | None = None
    asker_id: str | None = None
    ending: tuple[Ending, datetime] | None = None

    @property
    def active(self) -> bool:
        """Whether the turn is not finished."""
        return self.turn.status in ACTIVE

    def insert(self) -> dict[str, Any]:
        """The columns of a new row."""
        return {
            "id": self.turn.id,
            "chat_id": self.chat_id,
            "question_id": self.turn.question_id,
            "asker_id": self.asker_id,
            "seq": self.seq,
            "responder": self.responder,
            "generation": 0,
            "attempts": 0,
            "lease_until": 0,
            "created_at": to_ms(self.created_at),
            **self.state(),
        }

    def state(self) -> dict[str, Any]:
        """The columns that commands change."""
        ending, ended_at = self.ending or (None, None)
        return {
            "event_seq": self.event.seq,
            "place": self.turn.place,
            "version": self.turn.version,
            "status": self.turn.status.value,
            "reason": None if self.turn.reason is None else self.turn.reason.value,
            "stopping": self.stopping,
            "last": self.turn.last,
            "input_tokens": None if ending is None else ending.input_tokens,
            "output_tokens": None if ending is None else ending.output_tokens,
            "ended_at": None if ended_at is None else to_ms(ended_at),
        }


@dataclass(frozen=True, slots=True)
class Question:
    """The last version of a message that may be answered.

    Attributes:
        turn_id: Its latest turn; None if there is none.
        reply_to: See `StoredMessage`; also the next ones.
    """

    id: str
    chat_id: str
    place: int
    version: int
    role: str
    user_id: str | None
    turn_id: str | None
    reply_to: str | None = None
    deleted: bool = False
    attachments: tuple[Attachment, ...] = ()


def asked(ai: ChatAi, new: NewMessage) -> str | None:
    """The responder that a message asks for an answer, whether or not the chat permits it; None if it asks for none."""
    responder = ai.responder or new.default_responder
    if responder is None or new.role != "USER" or ai.answers == "never":
        return None
    return responder if ai.answers != "mention" or mentions(new.content, responder) else None


class TurnRules:
    """The turns of a batch.

    Args:
        recorder: Receives the new events and messages.
        loaded: The turns that the commands concern, by id; with every active one of the chats whose policy needs them.
        questions: The last version at the place of each message that the commands concern, by the message's id.

    Attributes:
        queued: The new turns.
        changed: The loaded turns with a new state.
    """

    def __init__(self, recorder: Recorder, loaded: Mapping[str, TurnRow], questions: Mapping[str, Question]) -> None:
        self._recorder = recorder
        self._rows = dict(loaded)
        self._places = {key: (question.chat_id, question.place) for key, question in questions.items()}
        self._questions = {(question.chat_id, question.place): question for question in questions.values()}
        self.queued: dict[str, TurnRow] = {}
        self.changed: dict[str, TurnRow] = {}

    def responder(self, ai: ChatAi, new: NewMessage) -> str | None:
        """The responder that a message asks for an answer; None if it asks for none.

        Raises:
            AnswerActive: the chat is being answered, and refuses questions meanwhile.
        """
        responder = asked(ai, new)
        if responder is not None:
            self._check_policy(ai, new.chat_id)
        return responder

    def replaced(self, new: NewMessage, message_id: str) -> Question:
        """The last version of the message that ``new`` replaces.

        Raises:
            MessageNotFound: there is no such message.
            NotAllowed: it is not a USER message of ``new.member``.
        """
        question = self._question(message_id)
        if question is None or question.chat_id != new.chat_id or question.deleted:
            raise MessageNotFound(new.chat_id, message_id)
        if question.role != "USER" or (new.member is not None and question.user_id != new.member):
            raise NotAllowed("only USER messages can be edited, each by its author")
        return question

    def make_room(self, new: NewMessage | NewVersion, question: Question | None, *, asks: bool) -> list[StoredEvent]:
        """End the turns that a message replaces: the waiting ones under ``latest``, and that of its earlier version.

        Args:
            new: The new message.
            question: Its earlier version; None if there is none.
            asks: Whether the new message asks for an answer.
        """
        earlier = None if question is None or question.turn_id is None else self._rows[question.turn_id]
        if earlier is not None and earlier.turn.status is TurnStatus.STREAMING:
            self._change(replace(earlier, stopping=True))
        chat = self._recorder.chats[new.chat_id]
        latest = asks and chat.ai.when_active == "latest"
        waiting = [row for row in self.active(chat.id) if row.turn.status is TurnStatus.QUEUED]
        return [self._end(row, _REPLACED, new.created_at) for row in waiting if latest or row is earlier]

    def next_turn(self, question_id: str, question: Question | None) -> StoredTurn:
        """A turn that answers a message; its answer replaces that to the message's earlier version, ``question``."""
        turn = StoredTurn(new_id(), question_id)
        if question is None or question.turn_id is None:
            return turn
        earlier = self._rows[question.turn_id]
        return (
            turn
            if earlier.turn.place is None
            else replace(turn, place=earlier.turn.place, version=earlier.versions + 1)
        )

    def ask(self, message: StoredMessage, responder: str | None, event: StoredEvent, asker_id: str | None) -> None:
        """Queue the turn of a new message, if it has one."""
        turn = message.turn
        if message.version > 1:
            self._questions[message.chat_id, message.place] = Question(
                message.id,
                message.chat_id,
                message.place,
                message.version,
                message.role,
                message.user_id,
                None if turn is None else turn.id,
                message.reply_to,
                attachments=message.attachments,
            )
        if turn is not None and responder is not None:
            self._queue(turn, responder, event, asker_id)

    def check_version(self, new: NewVersion) -> tuple[Question, TurnRow]:
        """The question of a new version of an answer, and the last turn that answered it.

        Raises:
            TurnNotFound: the chat has no such turn.
            AnswerActive: the message is being answered; or the chat is, and refuses questions meanwhile.
        """
        given = self._rows.get(new.turn_id)
        if given is None or given.chat_id != new.chat_id:
            raise TurnNotFound(new.chat_id, new.turn_id)
        question = self._question(given.turn.question_id)
        if question is None or question.deleted:
            raise TurnNotFound(new.chat_id, new.turn_id)
        if question.turn_id is None:  # the last version asked for no answer
            question = replace(question, turn_id=given.turn.id)
        earlier = self._rows[question.turn_id or given.turn.id]
        for row in (earlier, given):
            if row.active:
                raise AnswerActive(row.turn.id)
        self._check_policy(self._recorder.chats[new.chat_id].ai, new.chat_id)
        return question, earlier

    def regenerate(self, new: NewVersion) -> tuple[StoredTurn, Committed]:
        """Queue a new version of an answer; errors as for `check_version`."""
        question, earlier = self.check_version(new)
        ai = self._recorder.chats[new.chat_id].ai
        before = self.make_room(new, question, asks=True)
        turn = self.next_turn(question.id, question)
        event = self._add_status(new.chat_id, turn, new.created_at, new.trace)
        self._queue(turn, ai.responder or new.default_responder or earlier.responder, event, new.member)
        self._questions[question.chat_id, question.place] = replace(question, turn_id=turn.id)
        self._recorder.change_turn(question.id, turn.id)
        return turn, Committed(event, created=True, turn_queued=True, before=tuple(before))

    def start(self, command: StartTurn) -> Committed:
        """Start a claimed turn, or return its start.

        Raises:
            TurnLost: the claim is void.
        """
        row = self._claimed(command.claim)
        if row.turn.status is TurnStatus.STREAMING:
            return Committed(row.event, created=False)
        recorder, chat_id = self._recorder, row.chat_id
        seq = recorder.next_seq(chat_id)
        place = row.turn.place or seq
        turn = replace(row.turn, status=TurnStatus.STREAMING, place=place, version=row.versions + 1)
        event = self._add_status(chat_id, turn, command.at, row.event.trace)
        recorder.add_message(
            StoredMessage(
                turn.id, chat_id, event.epoch, seq, "AI", "", None, None, command.at, place, turn.version, turn
            )
        )
        self._change(replace(row, turn=turn, event=event, versions=turn.version, answered_at=command.at))
        return Committed(event, created=True)

    def call_tool(self, command: CallTool) -> Committed:
        """Record that the answer of a claimed turn calls a tool.

        Raises:
            TurnLost: the claim is void, or the turn has not started.
        """
        row = self._claimed(command.claim)
        if row.turn.status is not TurnStatus.STREAMING:
            raise TurnLost(command.claim.turn_id, command.claim.generation)
        event = self._recorder.add(
            row.chat_id,
            EventType.TOOL_CALLED,
            command.at,
            row.event.trace,
            turn_id=row.turn.id,
            tool_call_id=command.tool_call_id,
            tool_name=command.tool_name,
        )
        return Committed(event, created=True)

    def end(self, command: EndTurn) -> Committed:
        """End a claimed turn, or return the end that it had under the same claim.

        Raises:
            TurnLost: the claim is void.
        """
        row = self._rows.get(command.claim.turn_id)
        if row is not None and not row.active and row.turn.generation == command.claim.generation:
            return Committed(row.event, created=False)
        row = self._claimed(command.claim)
        before: tuple[StoredEvent, ...] = ()
        if row.answered_at is None and (command.ending.content or command.ending.parts):
            before = (self.start(StartTurn(command.claim, command.at)).event,)
        return Committed(self._end(self._rows[row.turn.id], command.ending, command.at), created=True, before=before)

    def stop(self, command: StopTurn) -> tuple[StoredTurn, Committed | None]:
        """Stop a turn: one that has not started ends, a streaming one is marked, and one that has ended stays.

        Raises:
            TurnNotFound: the chat has no such turn.
        """
        row = self._rows.get(command.turn_id)
        if row is None or row.chat_id != command.chat_id:
            raise TurnNotFound(command.chat_id, command.turn_id)
        if row.turn.status is TurnStatus.QUEUED:
            event = self._end(row, _STOPPED_BY_USER, command.at)
            return self._rows[row.turn.id].turn, Committed(event, created=True)
        if row.active:
            self._change(replace(row, stopping=True))
        return row.turn, None

    def asker(self, turn_id: str) -> str | None:
        """The user that asked for an answer; see `TurnRow`."""
        return self._rows[turn_id].asker_id

    def _queue(self, turn: StoredTurn, responder: str, event: StoredEvent, asker_id: str | None) -> None:
        row = TurnRow(
            event.chat_id,
            turn,
            responder,
            event.seq,
            event.created_at,
            event,
            versions=turn.version - 1,
            asker_id=asker_id,
        )
        self._rows[turn.id] = self.queued[turn.id] = row

    def _question(self, message_id: str) -> Question | None:
        place = self._places.get(message_id)
        return None if place is None else self._questions[place]

    def give_up(self, row: TurnRow, at: datetime) -> StoredEvent:
        """End a turn that no worker ends; a claim of it is void."""
        return self._end(row, _GIVEN_UP, at)

    def active(self, chat_id: str) -> list[TurnRow]:
        """The unfinished turns of a chat, if its settings change or it is asked."""
        return [row for row in self._rows.values() if row.chat_id == chat_id and row.active]

    def _check_policy(self, ai: ChatAi, chat_id: str) -> None:
        if ai.when_active == "reject" and (active := self.active(chat_id)):
            raise AnswerActive(active[0].turn.id)

    def _claimed(self, claim: TurnClaim) -> TurnRow:
        row = self._rows.get(claim.turn_id)
        if row is None or not row.active or row.turn.generation != claim.generation:
            raise TurnLost(claim.turn_id, claim.generation)
        return row

    def _end(self, row: TurnRow, ending: Ending, at: datetime) -> StoredEvent:
        """End a turn with one event: the whole answer, or only its status if it has neither text nor parts."""
        turn = replace(row.turn, status=ending.status, reason=ending.reason, last=ending.last)
        recorder, chat_id = self._recorder, row.chat_id
        message = None
        if row.answered_at is not None:
            message = StoredMessage(
                turn.id,
                chat_id,
                recorder.epoch,
                recorder.next_seq(chat_id),
                "AI",
                ending.content,
                None,
                None,
                row.answered_at,
                turn.place or 0,
                turn.version,
                turn,
                ending.parts or None,
            )
            recorder.change_answer(message)
        if message is not None and (ending.content or ending.parts):
            payload = encode_message(message)
            event = recorder.add_event(chat_id, EventType.MESSAGE_CREATED, payload, at, row.event.trace)
        else:
            event = self._add_status(chat_id, turn, at, row.event.trace)
        self._change(replace(row, turn=turn, event=event, stopping=False, ending=(ending, at)))
        return event

    def _add_status(self, chat_id: str, turn: StoredTurn, at: datetime, trace: str | None = None) -> StoredEvent:
        return self._recorder.add(
            chat_id,
            EventType.TURN_CHANGED,
            at,
            trace,
            place=turn.place,
            version=turn.version,
            turn=turn.to_contract(),
        )

    def _change(self, row: TurnRow) -> None:
        self._rows[row.turn.id] = row
        rows = self.queued if row.turn.id in self.queued else self.changed
        rows[row.turn.id] = row
