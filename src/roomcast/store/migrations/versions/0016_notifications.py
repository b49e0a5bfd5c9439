"""What notifies users, the devices that receive pushes, and up to where events have been pushed (docs/decisions/0022)."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "notification_settings",
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("level", sa.String(16)),
        sa.Column("muted_until", sa.BigInteger()),
        sa.PrimaryKeyConstraint("chat_id", "user_id", name="pk_notification_settings"),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name="fk_notification_settings_chat_id"),
    )
    op.create_table(
        "notification_defaults",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_notification_defaults"),
    )
    op.create_table(
        "push_devices",
        sa.Column("id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("p256dh", sa.String(128), nullable=False),
        sa.Column("auth", sa.String(32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_push_devices"),
    )
    op.create_index("ix_push_devices_user", "push_devices", ["user_id", "created_at"])
    op.create_table(
        "push_cursor",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("epoch", sa.String(64), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_push_cursor"),
    )


def downgrade() -> None:
    for table in ("push_cursor", "push_devices", "notification_defaults", "notification_settings"):
        op.drop_table(table)
