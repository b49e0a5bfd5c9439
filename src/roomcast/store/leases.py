"""Leases: at most one process works on a row, and it writes nothing once another one has claimed the row.

Such a row has an ``id``, ``lease_until`` (Unix milliseconds; 0: no lease), and a ``generation`` that each claim raises.
A write with a claim of an earlier generation changes nothing.

Layer: store.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, String, Table, Update, bindparam, cast, or_, select, update

from roomcast.store.rows import AnyRow, to_ms


def without_lease(table: Table, ready: ColumnElement[bool], *order: ColumnElement[Any]) -> Select[Any]:
    """The first ready row that has no lease, locked, with the parameters of `times`."""
    free = or_(table.c.lease_until < bindparam("now"), table.c.lease_until > bindparam("latest"))
    # On PostgreSQL, processes that claim at the same time skip each other's rows. SQLite ignores the clause.
    locked = select(table).with_for_update(skip_locked=True, key_share=True)
    return locked.where(ready, free).order_by(*order).limit(1)


def times(now: datetime, lease_until: datetime) -> dict[str, int]:
    """No lease can end later than ``latest``, unless the clock was set back: clocks differ by less than a lease."""
    return {"now": to_ms(now), "latest": to_ms(lease_until + (lease_until - now))}


class Leases:
    """The leases of one table: rows that are ``ready`` can be claimed, in an order; ``valid`` ones can be written."""

    def __init__(
        self, table: Table, ready: ColumnElement[bool], *order: ColumnElement[Any], valid: ColumnElement[bool]
    ) -> None:
        self._table, self._valid = table, valid
        self._claimable = without_lease(table, ready, *order)
        claimed = table.c.id == bindparam("leased"), table.c.generation == bindparam("claimed")
        self._write = update(table).where(*claimed, valid)

    def claim(self, connection: Connection, now: datetime, lease_until: datetime, /, **values: Any) -> AnyRow | None:
        """Claim a row and change values; None: there is none. The returned row is the one before the claim."""
        found = connection.execute(self._claimable, times(now, lease_until)).one_or_none()
        if found is not None:
            leased = {"generation": found.generation + 1, "lease_until": to_ms(lease_until)}
            connection.execute(update(self._table).where(self._table.c.id == found.id).values(leased | values))
        return found

    def write(self, connection: Connection, row_id: str, generation: int, /, **values: Any) -> bool:
        """Change a claimed row, and lock it until the commit. Returns False if the claim is void."""
        key = {"leased": row_id, "claimed": generation}
        return connection.execute(self._write.values(**values), key).rowcount == 1

    def renewal(self, claims: Collection[tuple[str, int]], lease_until: int) -> Update:
        """The statement that sets the end of the leases of valid claims (ids with generations); 0 ends them."""
        table = self._table
        key = table.c.id + " " + cast(table.c.generation, String)
        return (
            update(table)
            .where(
                # The first condition finds the rows through the primary key.
                table.c.id.in_([row_id for row_id, _ in claims]),
                key.in_([f"{row_id} {generation}" for row_id, generation in claims]),
                self._valid,
                table.c.lease_until > 0,  # a row that was handed over meanwhile belongs to the next worker
            )
            .values(lease_until=lease_until)
        )
