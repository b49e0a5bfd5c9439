"""Direct chats: one for each two users."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("chats", sa.Column("direct", sa.Text()))
    op.create_table(
        "direct_chats",
        sa.Column("first_id", ID, nullable=False),
        sa.Column("second_id", ID, nullable=False),
        sa.Column("chat_id", ID, nullable=False),
        sa.PrimaryKeyConstraint("first_id", "second_id", name="pk_direct_chats"),
    )


def downgrade() -> None:
    op.drop_table("direct_chats")
    # Without a batch: SQLite would copy the table, to which others refer.
    op.drop_column("chats", "direct")
