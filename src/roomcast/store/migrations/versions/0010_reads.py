"""Up to where each user has read a chat, and the messages that mention a user."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "reads",
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chat_id", "user_id", name="pk_reads"),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name="fk_reads_chat_id"),
    )
    op.create_table(
        "mentions",
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chat_id", "user_id", "place", name="pk_mentions"),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name="fk_mentions_chat_id"),
    )
    # Earlier messages are not unread.
    op.execute(
        "INSERT INTO reads (chat_id, user_id, seq)"
        " SELECT members.chat_id, members.user_id, chats.last_seq FROM members JOIN chats ON chats.id = members.chat_id"
    )


def downgrade() -> None:
    op.drop_table("mentions")
    op.drop_table("reads")
