"""The erasures of the data of users."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", ID, nullable=False),
        sa.Column("user_id", ID),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger()),
        sa.Column("position", sa.Text()),
        sa.Column("erased", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_erasures"),
    )
    unfinished = sa.text("user_id IS NOT NULL")
    op.create_index(
        "uq_erasures_user_id", "erasures", ["user_id"], unique=True, sqlite_where=unfinished, postgresql_where=unfinished
    )


def downgrade() -> None:
    op.drop_table("erasures")
