"""AI turns with their states, versions and places of messages, and how each chat answers."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    # Copied, since most columns change, and since SQLite cannot alter ``messages`` while another table refers to it.
    op.execute("CREATE TABLE old_turns AS SELECT * FROM turns")
    op.drop_table("turns")

    op.add_column("chats", sa.Column("ai", sa.Text()))
    # The only responder was ``demo``, the default. Parameters, since SQLAlchemy reads ``:"never"`` as one.
    op.execute(sa.text("UPDATE chats SET ai = :never WHERE responder IS NULL").bindparams(never='{"answers":"never"}'))
    op.drop_column("chats", "responder")

    op.add_column("messages", sa.Column("place", sa.BigInteger()))
    op.add_column("messages", sa.Column("version", sa.Integer()))
    op.add_column("messages", sa.Column("parts", sa.Text()))
    op.add_column("messages", sa.Column("turn_id", ID))
    op.execute("UPDATE messages SET place = seq, version = 1")
    # The id of an answer is also that of its turn.
    op.execute("""
        UPDATE messages SET turn_id = id
        WHERE role = 'AI' AND client_msg_id IN (SELECT 'turn:' || id FROM old_turns)
    """)
    op.execute("""
        UPDATE messages SET turn_id = (
            SELECT coalesce(answer.id, turn.id)
            FROM old_turns AS turn
            LEFT JOIN messages AS answer
                ON answer.chat_id = turn.chat_id AND answer.client_msg_id = 'turn:' || turn.id
            WHERE turn.message_id = messages.id
        )
        WHERE id IN (SELECT message_id FROM old_turns)
    """)
    with op.batch_alter_table("messages") as table:
        table.alter_column("place", existing_type=sa.BigInteger(), nullable=False)
        table.alter_column("version", existing_type=sa.Integer(), nullable=False)
        table.drop_constraint("uq_messages_chat_id_seq", type_="unique")
        table.create_unique_constraint("uq_messages_chat_id_place_version", ["chat_id", "place", "version"])

    op.create_table(
        "turns",
        sa.Column("id", ID, nullable=False),
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("question_id", ID, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.BigInteger()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("responder", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32)),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("stopping", sa.Boolean(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.Column("ref", sa.Text()),
        sa.Column("input_tokens", sa.Integer()),
        sa.Column("output_tokens", sa.Integer()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_turns"),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name="fk_turns_chat_id"),
        sa.ForeignKeyConstraint(["question_id"], ["messages.id"], name="fk_turns_question_id"),
    )
    op.create_index("ix_turns_queue", "turns", ["status", "lease_until"])
    op.create_index("ix_turns_chat", "turns", ["chat_id", "status", "seq"])
    op.execute("""
        INSERT INTO turns (id, chat_id, question_id, seq, event_seq, place, version, responder, status, reason,
            generation, attempts, lease_until, stopping, last, created_at, ended_at)
        SELECT coalesce(answer.id, turn.id), turn.chat_id, turn.message_id, turn.seq, coalesce(answer.seq, turn.seq),
            answer.place, 1, turn.responder,
            CASE turn.status WHEN 'done' THEN 'complete' WHEN 'failed' THEN 'failed' ELSE 'queued' END,
            CASE turn.status WHEN 'failed' THEN 'responder-error' END,
            turn.generation, turn.generation, 0, false, -1, turn.created_at,
            CASE WHEN turn.status IN ('done', 'failed') THEN coalesce(answer.created_at, turn.created_at) END
        FROM old_turns AS turn
        LEFT JOIN messages AS answer ON answer.chat_id = turn.chat_id AND answer.client_msg_id = 'turn:' || turn.id
    """)
    op.drop_table("old_turns")


def downgrade() -> None:
    op.execute("CREATE TABLE new_turns AS SELECT * FROM turns")
    op.drop_table("turns")

    # A turn that is not finished is answered again, and the earlier version had no answers without a text.
    op.execute("""
        DELETE FROM messages
        WHERE role = 'AI' AND (content = '' OR id IN (SELECT id FROM new_turns WHERE status = 'streaming'))
    """)
    # With this key, an answer was stored once.
    op.execute("""
        UPDATE messages SET client_msg_id = 'turn:' || id
        WHERE role = 'AI' AND client_msg_id IS NULL AND id IN (SELECT id FROM new_turns)
    """)
    with op.batch_alter_table("messages") as table:
        table.drop_constraint("uq_messages_chat_id_place_version", type_="unique")
        for name in ("place", "version", "parts", "turn_id"):
            table.drop_column(name)
        table.create_unique_constraint("uq_messages_chat_id_seq", ["chat_id", "seq"])

    op.add_column("chats", sa.Column("responder", sa.String(64)))
    never = sa.text("UPDATE chats SET responder = 'demo' WHERE ai IS NULL OR ai NOT LIKE :never")
    op.execute(never.bindparams(never='%"answers":"never"%'))
    op.drop_column("chats", "ai")

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
    op.execute("""
        INSERT INTO turns (id, chat_id, message_id, seq, responder, status, generation, lease_until, reason, created_at)
        SELECT id, chat_id, question_id, seq, responder,
            CASE status WHEN 'queued' THEN 'pending' WHEN 'streaming' THEN 'pending' WHEN 'complete' THEN 'done'
                ELSE 'failed' END,
            generation, 0, reason, created_at
        FROM new_turns
    """)
    op.drop_table("new_turns")
