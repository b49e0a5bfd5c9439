"""Webhooks, and the events that they have not received."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", ID, nullable=False),
        sa.Column("tenant", sa.String(36), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.Text()),
        sa.Column("chats", sa.Text()),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("disabled", sa.String(16)),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("old_secret", sa.LargeBinary()),
        sa.Column("old_until", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
    )
    op.create_index("ix_webhooks_tenant", "webhooks", ["tenant", "id"])
    op.create_index("ix_webhooks_lease", "webhooks", ["active", "lease_until"])
    op.create_table(
        "undelivered",
        sa.Column("webhook_id", ID, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("tried_at", sa.BigInteger()),
        sa.Column("next_at", sa.BigInteger()),
        sa.Column("dead_at", sa.BigInteger()),
        sa.Column("status", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("webhook_id", "position", name="pk_undelivered"),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name="fk_undelivered_webhook_id"),
    )
    alive = sa.text("dead_at IS NULL")
    columns = ["webhook_id", "position"]
    op.create_index("ix_undelivered_waiting", "undelivered", columns, sqlite_where=alive, postgresql_where=alive)


def downgrade() -> None:
    op.drop_table("undelivered")
    op.drop_table("webhooks")
