"""Reactions, pins, replies, and messages whose text is erased."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    for name, value in (("reactions", sa.Column("users", sa.Text(), nullable=False)),) + (
        ("pins", sa.Column("pinned_at", sa.BigInteger(), nullable=False)),
    ):
        op.create_table(
            name,
            sa.Column("chat_id", ID, nullable=False),
            sa.Column("place", sa.BigInteger(), nullable=False),
            value,
            sa.PrimaryKeyConstraint("chat_id", "place", name=f"pk_{name}"),
            sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name=f"fk_{name}_chat_id"),
        )
    op.add_column("messages", sa.Column("reply_to", ID))
    op.add_column("messages", sa.Column("deleted_at", sa.BigInteger()))
    op.create_index("ix_messages_reply_to", "messages", ["reply_to", "place"])


def downgrade() -> None:
    op.drop_index("ix_messages_reply_to", "messages")
    # Without a batch: SQLite would copy the table, to which another one refers.
    op.drop_column("messages", "deleted_at")
    op.drop_column("messages", "reply_to")
    op.drop_table("pins")
    op.drop_table("reactions")
