"""Reactions, pins, replies, and messages whose text is erased."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    # Messages first: the writers of earlier versions lock messages before chats, to which the new tables refer.
    op.add_column("messages", sa.Column("reply_to", ID))
    op.add_column("messages", sa.Column("deleted_at", sa.BigInteger()))
    replies = sa.text("reply_to IS NOT NULL")
    op.create_index(
        "ix_messages_reply_to", "messages", ["reply_to", "place"], sqlite_where=replies, postgresql_where=replies
    )
    _create("reactions", sa.Column("users", sa.Text(), nullable=False))
    _create("pins", sa.Column("pinned_at", sa.BigInteger(), nullable=False))


def _create(name: str, value: sa.Column[Any]) -> None:
    op.create_table(
        name,
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        value,
        sa.PrimaryKeyConstraint("chat_id", "place", name=f"pk_{name}"),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name=f"fk_{name}_chat_id"),
    )


def downgrade() -> None:
    op.drop_index("ix_messages_reply_to", "messages")
    # Without a batch: SQLite would copy the table, to which another one refers.
    op.drop_column("messages", "deleted_at")
    op.drop_column("messages", "reply_to")
    op.drop_table("pins")
    op.drop_table("reactions")
