"""Chats, events and their projections."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The collation C compares bytes, as SQLite does. It is faster, and an update of the operating system's collations
# cannot corrupt an index.
ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "epochs",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("epoch", sa.String(64), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_epochs"),
        sa.UniqueConstraint("epoch", name="uq_epochs_epoch"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "chats",
        sa.Column("id", ID, nullable=False),
        sa.Column("title", sa.String(200)),
        sa.Column("responder", sa.String(64)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_activity_at", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_chats"),
    )
    op.create_index("ix_chats_activity", "chats", ["last_activity_at", "id"])
    op.create_table(
        "events",
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("epoch_id", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("trace", sa.String(64)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chat_id", "seq", name="pk_events"),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name="fk_events_chat_id"),
        sa.ForeignKeyConstraint(["epoch_id"], ["epochs.id"], name="fk_events_epoch_id"),
    )
    op.create_table(
        "messages",
        sa.Column("id", ID, nullable=False),
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("epoch_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(8), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("user_id", ID),
        sa.Column("client_msg_id", ID),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
        sa.UniqueConstraint("chat_id", "seq", name="uq_messages_chat_id_seq"),
        sa.UniqueConstraint("chat_id", "client_msg_id", name="uq_messages_chat_id_client_msg_id"),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name="fk_messages_chat_id"),
        sa.ForeignKeyConstraint(["epoch_id"], ["epochs.id"], name="fk_messages_epoch_id"),
    )
    op.create_table(
        "members",
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chat_id", "user_id", name="pk_members"),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name="fk_members_chat_id"),
    )
    op.create_index("ix_members_user_id", "members", ["user_id", "chat_id"])
    op.create_table(
        "outbox",
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chat_id", "seq", name="pk_outbox"),
    )
    op.create_table(
        "turns",
        sa.Column("id", ID, nullable=False),
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("responder", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_turns"),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name="fk_turns_chat_id"),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name="fk_turns_message_id"),
    )
    op.create_index("ix_turns_queue", "turns", ["status", "lease_until"])
    op.create_index("ix_turns_chat", "turns", ["chat_id", "status", "seq"])
    if op.get_bind().dialect.name == "postgresql":
        # Each message leaves a dead row in both tables. By default, autovacuum waits until 20% of the rows are dead.
        for table in ("chats", "outbox"):
            op.execute(
                f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000)"
            )


def downgrade() -> None:
    for table in ("turns", "outbox", "members", "messages", "events", "chats", "epochs"):
        op.drop_table(table)
