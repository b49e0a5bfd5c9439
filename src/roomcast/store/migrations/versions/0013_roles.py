"""Roles and mutes of members, bans, invite links. The user that created a chat becomes its owner (docs/decisions/0018)."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")
# The first event of a chat that a user created adds that user.
CREATORS = """
    UPDATE members SET role = 'owner' FROM events
    WHERE events.chat_id = members.chat_id AND events.seq = 1 AND events.type = 'member-added'
        AND {user} = members.user_id AND {actor} = members.user_id
"""
FIELDS = {
    "sqlite": "json_extract(CAST(events.payload AS TEXT), '$.{}')",
    "postgresql": "convert_from(events.payload, 'UTF8')::json ->> '{}'",
}


def upgrade() -> None:
    op.add_column("members", sa.Column("role", sa.String(16), nullable=False, server_default="member"))
    op.add_column("members", sa.Column("muted_until", sa.BigInteger()))
    owners = sa.text("role = 'owner'")
    op.create_index(
        "ix_members_owners", "members", ["chat_id", "user_id"], sqlite_where=owners, postgresql_where=owners
    )
    op.create_table(
        "bans",
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("actor_id", ID),
        sa.Column("banned_at", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger()),
        sa.PrimaryKeyConstraint("chat_id", "user_id", name="pk_bans"),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name="fk_bans_chat_id"),
    )
    op.create_table(
        "invites",
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("actor_id", ID),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("max_uses", sa.Integer()),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("chat_id", "id", name="pk_invites"),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name="fk_invites_chat_id"),
    )
    op.create_index("ix_invites_id", "invites", ["id"], unique=True)
    field = FIELDS[op.get_bind().dialect.name]
    op.get_bind().exec_driver_sql(CREATORS.format(user=field.format("userId"), actor=field.format("actorId")))


def downgrade() -> None:
    op.drop_table("invites")
    op.drop_table("bans")
    op.drop_index("ix_members_owners", "members")
    # Without a batch: SQLite would copy the table.
    op.drop_column("members", "muted_until")
    op.drop_column("members", "role")
