"""How long chats keep their messages, what users have used of their quotas, reports. The index finds the turns of a message that is deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("chats", sa.Column("retention_days", sa.Integer()))
    op.create_index("ix_turns_question", "turns", ["question_id"])
    op.create_table(
        "reports",
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("reporter_id", ID, nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chat_id", "message_id", "reporter_id", name="pk_reports"),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name="fk_reports_chat_id"),
    )
    op.create_table(
        "ai_usage",
        sa.Column("subject", ID, nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("turns", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_ai_usage"),
    )


def downgrade() -> None:
    op.drop_table("ai_usage")
    op.drop_table("reports")
    op.drop_index("ix_turns_question", "turns")
    op.drop_column("chats", "retention_days")
