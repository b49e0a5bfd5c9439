"""Alembic's environment: runs on the connection, and in the transaction, that `migrate` hands in.

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
    # DDL is part of the transaction here (see make_engine): a start that is killed leaves the old schema whole.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
