"""The audit log: administrative acts."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("actor_id", ID),
        sa.Column("object_id", ID),
        sa.Column("trace", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_chat", "audit", ["chat_id", "id"])
    op.create_index("ix_audit_actor", "audit", ["actor_id", "id"])


def downgrade() -> None:
    op.drop_table("audit")
