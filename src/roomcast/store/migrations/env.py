"""Alembic's environment: runs on the connection and in the transaction of `migrating.migrate`.

Layer: store.
"""

from __future__ import annotations

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script

from roomcast.store.tables import METADATA


def _report(ctx: MigrationContext, step: MigrationInfo, heads: object, run_args: object) -> None:  # noqa: ARG001
    """See Alembic's ``on_version_apply``, which passes these names."""
    on_step, script = context.config.attributes.get("on_step"), step.up_revision
    if on_step is not None and isinstance(script, Script):
        on_step(script.revision, script.doc)


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # Changes a table by copying it, since ALTER TABLE in SQLite supports few changes.
    render_as_batch=True,
    # DDL runs inside the transaction (see `SqliteBackend.engine`), so an interrupted upgrade leaves the old schema.
    transactional_ddl=True,
    on_version_apply=_report,
)
with context.begin_transaction():
    context.run_migrations()
