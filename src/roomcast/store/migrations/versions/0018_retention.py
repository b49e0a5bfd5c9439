"""How long chats keep their messages. The index finds the turns of a message that is deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("chats", sa.Column("retention_days", sa.Integer()))
    op.create_index("ix_turns_question", "turns", ["question_id"])


def downgrade() -> None:
    op.drop_index("ix_turns_question", "turns")
    op.drop_column("chats", "retention_days")
