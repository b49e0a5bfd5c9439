"""How often users added other users to chats."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "additions",
        sa.Column("actor_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("full_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("actor_id", "user_id", name="pk_additions"),
    )


def downgrade() -> None:
    op.drop_table("additions")
