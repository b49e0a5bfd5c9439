"""Access tokens that were ended before their expiry."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "ended_sessions",
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("key", ID, nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name="pk_ended_sessions"),
    )
    for column in ("ended_at", "expires_at"):
        op.create_index(f"ix_ended_sessions_{column}", "ended_sessions", [column])


def downgrade() -> None:
    op.drop_table("ended_sessions")
