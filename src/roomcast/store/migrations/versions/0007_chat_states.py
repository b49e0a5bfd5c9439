"""Archived and deleted chats."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("chats", sa.Column("state", sa.String(16)))
    deleted = sa.text("state = 'deleted'")
    op.create_index("ix_chats_deleted", "chats", ["id"], sqlite_where=deleted, postgresql_where=deleted)


def downgrade() -> None:
    op.drop_index("ix_chats_deleted", "chats")
    # Without a batch: SQLite would copy the table, to which others refer.
    op.drop_column("chats", "state")
