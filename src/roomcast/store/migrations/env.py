"""Alembic's environment: runs on the connection and in the transaction of `migrating.migrate`.

Layer: store.
"""

from __future__ import annotations

from alembic import context

from roomcast.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # Changes a table by copying it, since ALTER TABLE in SQLite supports few changes.
    render_as_batch=True,
    # DDL runs inside the transaction (see `SqliteBackend.engine`), so an interrupted upgrade leaves the old schema.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
