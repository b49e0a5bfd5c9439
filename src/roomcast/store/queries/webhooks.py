"""The implementation of `chat.ports.WebhookStore`.

Layer: store. Source: docs/decisions/0021.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Update, and_, bindparam, delete, func, insert, select, true, update

from roomcast.chat.errors import TooManyWebhooks, WebhookLost
from roomcast.chat.model import StoredEvent
from roomcast.chat.webhook_values import PlacedEvent, StoredWebhook, Undelivered, WebhookClaim, WebhookState
from roomcast.store.engine.batch import CustomWrite
from roomcast.store.engine.database import Database
from roomcast.store.engine.writer import Writer
from roomcast.store.leases import Leases
from roomcast.store.queries.feed import HEAD
from roomcast.store.rows import AnyRow, to_event, to_ms
from roomcast.store.tables import epochs, events, undelivered, webhooks

#: How long dead events are kept.
KEEP_DEAD_S: Final = 30 * 86_400

_WAITS: Final = undelivered.c.dead_at.is_(None)
_DEAD: Final = undelivered.c.dead_at.is_not(None)
_OWN: Final = and_(webhooks.c.id == bindparam("webhook"), webhooks.c.tenant == bindparam("of_tenant"))
_LEASES: Final = Leases(webhooks, webhooks.c.active, webhooks.c.lease_until, valid=true())
_AFTER: Final = (
    select(events).where(events.c.position > bindparam("after")).order_by(events.c.position).limit(bindparam("count"))
)
_EVENT: Final = select(events).where(events.c.chat_id == bindparam("chat"), events.c.seq == bindparam("at"))
_REMOVE: Final = delete(undelivered).where(
    undelivered.c.webhook_id == bindparam("webhook"), undelivered.c.position == bindparam("place")
)
_STATES: Final = select(
    webhooks,
    select(func.count()).where(undelivered.c.webhook_id == webhooks.c.id, _WAITS).scalar_subquery().label("waiting"),
    select(func.count()).where(undelivered.c.webhook_id == webhooks.c.id, _DEAD).scalar_subquery().label("dead"),
)


class SqlWebhookStore:
    """See `chat.ports.WebhookStore` for what each method guarantees.

    Args:
        database: An open database.
        writer: The writer of this database.
    """

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def create(self, webhook: StoredWebhook, limit: int) -> None:
        """See the port."""

        def write(connection: Connection) -> None:
            ids = select(webhooks.c.id).where(webhooks.c.tenant == webhook.tenant).limit(limit)
            if len(connection.execute(ids).all()) >= limit:
                raise TooManyWebhooks(limit)
            position = connection.execute(HEAD).scalar_one()
            row = {name: _encode(name, getattr(webhook, name)) for name in _FIELDS}
            connection.execute(insert(webhooks).values(row | {"position": position, "lease_until": 0}))

        await self._writer.commit(CustomWrite(write))

    async def list(self, tenant: str) -> Sequence[WebhookState]:
        """See the port."""
        query = _STATES.where(webhooks.c.tenant == tenant).order_by(webhooks.c.id)
        return [_to_state(row) for row in await self._database.fetch(query)]

    async def webhook(self, tenant: str, webhook_id: str) -> WebhookState | None:
        """See the port."""
        rows = await self._database.fetch(_STATES.where(_OWN), {"webhook": webhook_id, "of_tenant": tenant})
        return _to_state(rows[0]) if rows else None

    async def change(self, tenant: str, webhook_id: str, values: dict[str, Any]) -> bool:
        """See the port."""
        row = {name: _encode(name, value) for name, value in values.items()}
        return await self._writer.commit(CustomWrite(lambda connection: _change(connection, tenant, webhook_id, row)))

    async def delete(self, tenant: str, webhook_id: str) -> bool:
        """See the port."""

        def write(connection: Connection) -> bool:
            # Locks the row, so that no claim adds events meanwhile.
            if not _change(connection, tenant, webhook_id, {}):
                return False
            connection.execute(delete(undelivered).where(undelivered.c.webhook_id == webhook_id))
            connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))
            return True

        return await self._writer.commit(CustomWrite(write))

    async def undelivered(
        self, webhook_id: str, *, dead: bool, after: int, limit: int
    ) -> Sequence[tuple[Undelivered, str]]:
        """See the port."""
        at = and_(events.c.chat_id == undelivered.c.chat_id, events.c.seq == undelivered.c.seq)
        query = (
            select(undelivered, epochs.c.epoch)
            .join(events, at)
            .join(epochs, epochs.c.id == events.c.epoch_id)
            .where(
                undelivered.c.webhook_id == webhook_id,
                undelivered.c.position > after,
                _DEAD if dead else _WAITS,
            )
            .order_by(undelivered.c.position)
            .limit(limit)
        )
        return [(_to_undelivered(row), row.epoch) for row in await self._database.fetch(query)]

    async def replay_dead(self, tenant: str, webhook_id: str, position: int | None, now: int) -> int:
        """See the port."""
        which = true() if position is None else undelivered.c.position == position

        def write(connection: Connection) -> int:
            if not _change(connection, tenant, webhook_id, {}):
                return 0
            replayed = connection.execute(
                update(undelivered)
                .where(undelivered.c.webhook_id == webhook_id, _DEAD, which)
                .values(dead_at=None, tried_at=None, attempts=0, next_at=now)
            )
            return replayed.rowcount

        return await self._writer.commit(CustomWrite(write))

    async def replay_since(self, tenant: str, webhook_id: str, position: int) -> None:
        """See the port."""

        def write(connection: Connection) -> None:
            # Locks the row, so that no claim writes meanwhile.
            if not _change(connection, tenant, webhook_id, {"since": 0}):
                return
            back = update(webhooks).where(webhooks.c.id == webhook_id, webhooks.c.position > position)
            if connection.execute(back.values(position=position)).rowcount:
                sent_again = undelivered.c.position > position
                connection.execute(delete(undelivered).where(undelivered.c.webhook_id == webhook_id, sent_again))

        await self._writer.commit(CustomWrite(write))

    async def claim(self, now: datetime, lease_until: datetime) -> StoredWebhook | None:
        """See the port."""
        # As for turns: a crash of a database server must not undo a claim that a worker uses.
        write = CustomWrite(
            lambda connection: _LEASES.claim(connection, now, lease_until), durable=self._database.shared
        )
        found = await self._writer.commit(write)
        return None if found is None else _to_webhook(found, found.generation + 1)

    async def renew(self, claims: Collection[WebhookClaim], lease_until: datetime) -> frozenset[WebhookClaim]:
        """See the port."""
        statement = _renewal(claims, to_ms(lease_until)).returning(webhooks.c.id, webhooks.c.generation)
        renewed = await self._writer.commit(
            CustomWrite(lambda connection: connection.execute(statement).all(), durable=False)
        )
        return frozenset(claims) - {WebhookClaim(row.id, row.generation) for row in renewed}

    async def release(self, claims: Collection[WebhookClaim]) -> None:
        """See the port."""
        statement = _renewal(claims, 0)

        def write(connection: Connection) -> None:
            connection.execute(statement)

        await self._writer.commit(CustomWrite(write, durable=False))

    async def head(self) -> int:
        """See the port."""
        (row,) = await self._database.fetch(HEAD)
        return int(row.position)

    async def after(self, position: int, limit: int) -> Sequence[PlacedEvent]:
        """See the port."""
        rows = await self._database.fetch(_AFTER, {"after": position, "count": limit})
        await self._database.load_missing_epochs([row.epoch_id for row in rows])
        return [PlacedEvent(row.position, to_event(row, self._database.lineage.epochs)) for row in rows]

    async def event(self, chat_id: str, seq: int) -> StoredEvent | None:
        """See the port."""
        rows = await self._database.fetch(_EVENT, {"chat": chat_id, "at": seq})
        await self._database.load_missing_epochs([row.epoch_id for row in rows])
        return to_event(rows[0], self._database.lineage.epochs) if rows else None

    async def waiting(self, webhook_id: str, limit: int, *, after: int = 0) -> Sequence[Undelivered]:
        """See the port."""
        query = select(undelivered).where(
            undelivered.c.webhook_id == webhook_id, undelivered.c.position > after, _WAITS
        )
        rows = await self._database.fetch(query.order_by(undelivered.c.position).limit(limit))
        return [_to_undelivered(row) for row in rows]

    async def save(
        self,
        claim: WebhookClaim,
        position: int | None = None,
        *,
        changed: Sequence[Undelivered] = (),
        done: Sequence[int] = (),
    ) -> None:
        """See the port."""
        rows = [{name: getattr(item, name) for name in _UNDELIVERED} for item in changed]
        gone = [{"webhook": claim.webhook_id, "place": place} for place in (*done, *(row["position"] for row in rows))]
        died_at = max((item.dead_at for item in changed if item.dead_at is not None), default=None)

        def write(connection: Connection) -> None:
            # Also without a position: the lock keeps another claim out until the commit.
            progress = {} if position is None else {"position": position}
            _update_claimed(connection, claim, generation=claim.generation, **progress)
            if gone:
                connection.execute(_REMOVE, gone)
            if rows:
                connection.execute(insert(undelivered), [row | {"webhook_id": claim.webhook_id} for row in rows])
            if died_at is not None:
                old = undelivered.c.dead_at < died_at - KEEP_DEAD_S * 1_000
                connection.execute(delete(undelivered).where(undelivered.c.webhook_id == claim.webhook_id, old))

        await self._writer.commit(CustomWrite(write, durable=False))

    async def disable(self, claim: WebhookClaim, reason: str) -> None:
        """See the port."""

        def write(connection: Connection) -> None:
            values = {"generation": claim.generation + 1, "lease_until": 0}
            _update_claimed(connection, claim, active=False, disabled=reason, **values)

        await self._writer.commit(CustomWrite(write))


_FIELDS: Final = tuple(field.name for field in fields(StoredWebhook))
_UNDELIVERED: Final = tuple(field.name for field in fields(Undelivered))


def _encode(name: str, value: Any) -> Any:
    return json.dumps(sorted(value)) if name in {"events", "chats"} and value is not None else value


def _change(connection: Connection, tenant: str, webhook_id: str, values: dict[str, Any]) -> bool:
    """Change a webhook, whose sender then claims it again."""
    ended = {"generation": webhooks.c.generation + 1, "lease_until": 0}
    changed = connection.execute(
        update(webhooks).where(_OWN).values(values | ended), {"webhook": webhook_id, "of_tenant": tenant}
    )
    return changed.rowcount == 1


def _update_claimed(connection: Connection, claim: WebhookClaim, **values: Any) -> None:
    if not _LEASES.write(connection, claim.webhook_id, claim.generation, **values):
        raise WebhookLost(claim.webhook_id)


def _renewal(claims: Collection[WebhookClaim], lease_until: int) -> Update:
    return _LEASES.renewal([(claim.webhook_id, claim.generation) for claim in claims], lease_until)


def _to_webhook(row: AnyRow, generation: int) -> StoredWebhook:
    values = {name: getattr(row, name) for name in _FIELDS}
    for name in ("events", "chats"):
        values[name] = None if values[name] is None else frozenset(json.loads(values[name]))
    return StoredWebhook(**values | {"generation": generation})


def _to_state(row: AnyRow) -> WebhookState:
    return WebhookState(_to_webhook(row, row.generation), row.waiting, row.dead)


def _to_undelivered(row: AnyRow) -> Undelivered:
    return Undelivered(**{name: getattr(row, name) for name in _UNDELIVERED})
