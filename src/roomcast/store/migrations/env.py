"""Alembic's environment: runs on the connection and in the transaction of `migrating.migrate`.

Layer: store.
"""

from __future__ import annotations

from alembic import context

from roomcast.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite cannot alter a table in place.
    render_as_batch=True,
    # DDL takes part in the transaction (see `SqliteBackend.engine`), so an interrupted upgrade leaves the old schema.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
