"""The ids of the events that applications stored."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "custom_events",
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chat_id", "id", name="pk_custom_events"),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name="fk_custom_events_chat_id"),
    )


def downgrade() -> None:
    op.drop_table("custom_events")
