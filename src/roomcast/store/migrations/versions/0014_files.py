"""Files of messages, and keys that the processes share."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    # Messages first: the writers of earlier versions lock messages before chats, to which the new table refers.
    op.add_column("messages", sa.Column("attachments", sa.Text()))
    op.create_table(
        "files",
        sa.Column("id", ID, nullable=False),
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("user_id", ID),
        sa.Column("message_id", ID),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer()),
        sa.Column("height", sa.Integer()),
        sa.Column("due_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name="fk_files_chat_id"),
    )
    is_due = sa.text("due_at IS NOT NULL")
    op.create_index("ix_files_due_at", "files", ["due_at"], sqlite_where=is_due, postgresql_where=is_due)
    op.create_index("ix_files_chat_id", "files", ["chat_id"])
    op.create_index("ix_files_user_id", "files", ["user_id", "due_at", "size"])
    op.create_table(
        "shared_keys",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_shared_keys"),
    )


def downgrade() -> None:
    op.drop_table("shared_keys")
    op.drop_table("files")
    # Without a batch: SQLite would copy the table, to which another one refers.
    op.drop_column("messages", "attachments")
