"""The order of the events of all chats."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_events_unplaced": (["chat_id", "seq"], False, sa.text("position IS NULL")),
    "uq_events_position": (["position"], True, sa.text("position IS NOT NULL")),
}


def upgrade() -> None:
    # Without a default: earlier versions leave the column empty, and so do existing rows, which need no rewrite.
    op.add_column("events", sa.Column("position", sa.BigInteger()))
    for name, (columns, unique, where) in INDEXES.items():
        op.create_index(name, "events", columns, unique=unique, sqlite_where=where, postgresql_where=where)
    feed_head = op.create_table(
        "feed_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feed_head"),
    )
    op.bulk_insert(feed_head, [{"id": 1, "position": 0}])


def downgrade() -> None:
    op.drop_table("feed_head")
    for name in INDEXES:
        op.drop_index(name, "events")
    op.drop_column("events", "position")
