"""What former members get back with their membership: a mute, the role of a reader."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "restrictions",
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("muted_until", sa.BigInteger()),
        sa.PrimaryKeyConstraint("chat_id", "user_id", name="pk_restrictions"),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name="fk_restrictions_chat_id"),
    )


def downgrade() -> None:
    op.drop_table("restrictions")
