"""The implementation of `chat.ports.TurnStore`: the table ``turns`` is the queue.

Layer: store. Source: docs/design.md, "AI turns".
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, and_, bindparam, exists, func, or_, select, update

from roomcast.chat.errors import TurnLost
from roomcast.chat.model import StoredMessage, Turn, TurnClaim
from roomcast.store.batch import CustomWrite
from roomcast.store.database import Database
from roomcast.store.rows import AnyRow, from_ms, to_message, to_ms
from roomcast.store.tables import messages, turns
from roomcast.store.writer import Writer

_earlier = turns.alias("earlier")
_CLAIMABLE: Final = (
    select(turns.c.id, turns.c.generation, turns.c.responder, turns.c.message_id)
    .where(
        or_(
            turns.c.status == "pending",
            and_(
                turns.c.status == "running",
                or_(turns.c.lease_until < bindparam("now"), turns.c.lease_until > bindparam("latest")),
            ),
        ),
        ~exists().where(
            _earlier.c.chat_id == turns.c.chat_id,
            _earlier.c.status.in_(("pending", "running")),
            _earlier.c.seq < turns.c.seq,
        ),
    )
    .order_by(turns.c.created_at, turns.c.id)
    .limit(1)
    # On PostgreSQL, workers that claim at the same time skip each other's rows. SQLite ignores the clause.
    .with_for_update(skip_locked=True, key_share=True)
)
_VALID_CLAIM: Final = and_(
    turns.c.id == bindparam("turn"), turns.c.generation == bindparam("claimed"), turns.c.status == "running"
)


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

        def claim(connection: Connection) -> tuple[AnyRow, AnyRow] | None:
            # No lease can end later than `latest`, unless the clock was set back: clocks differ by less than a lease.
            latest = lease_until + (lease_until - now)
            found = connection.execute(_CLAIMABLE, {"now": to_ms(now), "latest": to_ms(latest)}).one_or_none()
            if found is None:
                return None
            connection.execute(
                update(turns)
                .where(turns.c.id == found.id)
                .values(status="running", generation=found.generation + 1, lease_until=to_ms(lease_until))
            )
            message = connection.execute(select(messages).where(messages.c.id == found.message_id)).one()
            return found, message

        # The worker survives a crash of a database server. If the crash undid the claim, another worker would receive
        # the same generation. With an embedded database, a power failure that undoes the claim also ends the worker.
        write = CustomWrite(claim, durable=self._database.shared)
        claimed: tuple[AnyRow, AnyRow] | None = await self._writer.submit(write)
        if claimed is None:
            return None
        found, row = claimed
        await self._database.load_missing_epochs([row.epoch_id])
        message = to_message(row, self._database.lineage.epochs)
        claim_number = found.generation + 1
        return Turn(TurnClaim(found.id, claim_number), message.chat_id, message, found.responder, attempt=claim_number)

    async def extend_lease(self, claim: TurnClaim, lease_until: datetime) -> None:
        """See the port."""
        await self._update_claimed(claim, durable=False, lease_until=to_ms(lease_until))

    async def fail_turn(self, claim: TurnClaim, reason: str) -> None:
        """See the port."""
        await self._update_claimed(claim, durable=True, status="failed", reason=reason)

    async def next_lease_end(self) -> datetime | None:
        """See the port."""
        query = select(func.min(turns.c.lease_until).label("first")).where(turns.c.status == "running")
        (row,) = await self._database.fetch(query)
        return None if row.first is None else from_ms(row.first)

    async def recent_messages(self, chat_id: str, up_to: int, limit: int) -> Sequence[StoredMessage]:
        """See the port."""
        query = (
            select(messages)
            .where(messages.c.chat_id == chat_id, messages.c.seq <= up_to)
            .order_by(messages.c.seq.desc())
            .limit(limit)
        )
        rows = await self._database.fetch(query)
        await self._database.load_missing_epochs([row.epoch_id for row in rows])
        return [to_message(row, self._database.lineage.epochs) for row in reversed(rows)]

    async def _update_claimed(self, claim: TurnClaim, *, durable: bool, **values: str | int) -> None:
        def change(connection: Connection) -> None:
            key = {"turn": claim.turn_id, "claimed": claim.generation}
            if connection.execute(update(turns).where(_VALID_CLAIM).values(**values), key).rowcount != 1:
                raise TurnLost(claim.turn_id, claim.generation)

        await self._writer.submit(CustomWrite(change, durable))
