"""The implementation of `chat.ports.TurnStore`: the table ``turns`` is the queue.

Layer: store. Source: docs/design.md, "AI turns".
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, and_, bindparam, case, exists, func, select, update

from roomcast.chat.commands import Command
from roomcast.chat.errors import TurnLost
from roomcast.chat.model import Checkpoint, Renewal, StoredMessage, StoredTurn, Turn, TurnClaim
from roomcast.contract.events import TurnStatus
from roomcast.store.engine.batch import CustomWrite
from roomcast.store.engine.database import Database
from roomcast.store.engine.writer import Writer
from roomcast.store.leases import Leases
from roomcast.store.message_queries import LAST_VERSIONS, MESSAGES
from roomcast.store.rows import AnyRow, from_ms, to_ai, to_message, to_ms, to_turn
from roomcast.store.rules.recording import encode_parts
from roomcast.store.rules.turns import ACTIVE
from roomcast.store.tables import ai_usage, chats, events, messages, turns

_R = TypeVar("_R")
_earlier = turns.alias("earlier")
_NEXT_OF_ITS_CHAT: Final = and_(
    turns.c.status.in_(ACTIVE),
    ~exists().where(
        _earlier.c.chat_id == turns.c.chat_id,
        _earlier.c.status.in_(ACTIVE),
        _earlier.c.seq < turns.c.seq,
    ),
)
_LEASES: Final = Leases(turns, _NEXT_OF_ITS_CHAT, turns.c.created_at, turns.c.id, valid=turns.c.status.in_(ACTIVE))
#: The trace of a turn: each of its events has it.
_TRACE: Final = select(events.c.trace).where(events.c.chat_id == bindparam("chat"), events.c.seq == bindparam("seq"))


class SqlTurnStore:
    """See `chat.ports.TurnStore` for what each method guarantees.

    Args:
        database: An open database.
        writer: The writer of this database.
    """

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def claim_turn(self, now: datetime, lease_until: datetime) -> Turn | None:
        """See the port."""

        def claim(connection: Connection) -> tuple[AnyRow, AnyRow, AnyRow, AnyRow | None, str | None] | None:
            found = _LEASES.claim(connection, now, lease_until, attempts=turns.c.attempts + 1)
            if found is None:
                return None
            chat = connection.execute(select(chats.c.ai).where(chats.c.id == found.chat_id)).one()
            question = connection.execute(MESSAGES.where(messages.c.id == found.question_id)).one()
            answer = None
            if found.last >= 0:
                answer = connection.execute(select(messages.c.parts).where(messages.c.id == found.id)).one()
            trace = connection.execute(_TRACE, {"chat": found.chat_id, "seq": found.event_seq}).scalar_one()
            return found, chat, question, answer, trace

        # The worker survives a crash of a database server. If the crash undid the claim, another worker would receive
        # the same generation. With an embedded database, a power failure that undoes the claim also ends the worker.
        write = CustomWrite(claim, durable=self._database.shared)
        claimed = await self._writer.commit(write)
        if claimed is None:
            return None
        found, chat, question, answer, trace = claimed
        await self._database.load_missing_epochs([question.epoch_id])
        checkpoint = None
        if answer is not None:
            checkpoint = Checkpoint(found.last, tuple(json.loads(answer.parts or "[]")), found.ref)
        return Turn(
            claim=TurnClaim(found.id, found.generation + 1, found.chat_id),
            chat_id=found.chat_id,
            message=to_message(question, self._database.lineage.epochs),
            responder=found.responder,
            ai=to_ai(chat.ai),
            place=found.place,
            version=found.version,
            started=found.status == TurnStatus.STREAMING,
            attempt=found.attempts + 1,
            checkpoint=checkpoint,
            stopping=found.stopping,
            trace=trace,
        )

    async def commit(self, command: Command[_R]) -> _R:
        """See the port."""
        return await self._writer.commit(command)

    async def save_checkpoint(self, claim: TurnClaim, checkpoint: Checkpoint, content: str) -> None:
        """See the port."""

        def save(connection: Connection) -> None:
            self._update_claimed(connection, claim, last=checkpoint.last, ref=checkpoint.ref)
            values = {"content": content, "parts": encode_parts(checkpoint.parts)}
            connection.execute(update(messages).where(messages.c.id == claim.turn_id).values(values))

        await self._writer.commit(CustomWrite(save, durable=False))

    async def release_turn(self, claim: TurnClaim) -> None:
        """See the port."""

        def release(connection: Connection) -> None:
            self._update_claimed(connection, claim, lease_until=0, attempts=turns.c.attempts - 1)

        await self._writer.commit(CustomWrite(release))

    async def renew(self, claims: Collection[TurnClaim], lease_until: datetime) -> Renewal:
        """See the port."""
        keys = [(claim.turn_id, claim.generation) for claim in claims]
        statement = _LEASES.renewal(keys, to_ms(lease_until)).returning(turns.c.id, turns.c.stopping)
        renewed = await self._writer.commit(
            CustomWrite(lambda connection: connection.execute(statement).all(), durable=False)
        )
        kept = {row.id for row in renewed}
        return Renewal(
            lost=frozenset(claim.turn_id for claim in claims if claim.turn_id not in kept),
            stopping=frozenset(row.id for row in renewed if row.stopping),
        )

    async def waiting(self, now: datetime) -> tuple[int, datetime | None]:
        """See the port."""
        queued = select(func.count()).where(turns.c.status == TurnStatus.QUEUED)
        # A turn whose worker is gone waits since the end of the lease.
        waits_since = case((turns.c.lease_until > turns.c.created_at, turns.c.lease_until), else_=turns.c.created_at)
        since = select(func.min(waits_since)).where(_NEXT_OF_ITS_CHAT, turns.c.lease_until < to_ms(now))
        columns = (queued.scalar_subquery().label("queued"), since.scalar_subquery().label("since"))
        (row,) = await self._database.fetch(select(*columns))
        return row.queued, None if row.since is None else from_ms(row.since)

    async def next_lease_end(self) -> datetime | None:
        """See the port."""
        query = select(func.min(turns.c.lease_until).label("first")).where(
            turns.c.status.in_(ACTIVE), turns.c.lease_until > 0
        )
        (row,) = await self._database.fetch(query)
        return None if row.first is None else from_ms(row.first)

    async def used(self, subject: str, window: datetime) -> tuple[int, int]:
        """See the port."""
        query = select(ai_usage).where(ai_usage.c.subject == subject, ai_usage.c.started_at >= to_ms(window))
        rows = await self._database.fetch(query)
        return (rows[0].turns, rows[0].tokens) if rows else (0, 0)

    async def context(self, chat_id: str, up_to_place: int, limit: int) -> Sequence[StoredMessage]:
        """See the port."""
        query = LAST_VERSIONS.where(messages.c.place <= up_to_place).order_by(messages.c.place.desc()).limit(limit)
        rows = await self._database.fetch(query, {"chat": chat_id})
        await self._database.load_missing_epochs([row.epoch_id for row in rows])
        return [to_message(row, self._database.lineage.epochs) for row in reversed(rows)]

    async def turn(self, chat_id: str, turn_id: str) -> StoredTurn | None:
        """See the port."""
        rows = await self._database.fetch(select(turns).where(turns.c.id == turn_id, turns.c.chat_id == chat_id))
        return to_turn(rows[0], turn_id) if rows else None

    async def active_turn(self, chat_id: str) -> StoredTurn | None:
        """See the port."""
        query = (
            select(turns).where(turns.c.chat_id == chat_id, turns.c.status.in_(ACTIVE)).order_by(turns.c.seq).limit(1)
        )
        rows = await self._database.fetch(query)
        return to_turn(rows[0], rows[0].id) if rows else None

    @staticmethod
    def _update_claimed(connection: Connection, claim: TurnClaim, **values: Any) -> None:
        if not _LEASES.write(connection, claim.turn_id, claim.generation, **values):
            raise TurnLost(claim.turn_id, claim.generation)
