"""The user that asked for an answer; indexes of chats with a retention, and of erased ones; no reports of deleted messages."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")
INDEXES = {"ix_chats_erased": "state = 'erased'", "ix_chats_retention": "retention_days > 0"}


def upgrade() -> None:
    # Chats first, as the writers lock them.
    for name, condition in INDEXES.items():
        where = sa.text(condition)
        op.create_index(name, "chats", ["id"], sqlite_where=where, postgresql_where=where)
    op.add_column("turns", sa.Column("asker_id", ID))
    message = "SELECT 1 FROM messages WHERE messages.id = reports.message_id AND messages.deleted_at IS NULL"
    op.execute(f"DELETE FROM reports WHERE NOT EXISTS ({message})")


def downgrade() -> None:
    # Without a batch: SQLite would copy the table.
    op.drop_column("turns", "asker_id")
    for name in INDEXES:
        op.drop_index(name, "chats")
