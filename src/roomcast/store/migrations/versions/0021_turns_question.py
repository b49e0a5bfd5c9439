"""An index for the foreign key from turns to messages: without it, each erased message read all turns."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_turns_question", "turns", ["question_id"])


def downgrade() -> None:
    op.drop_index("ix_turns_question", "turns")
