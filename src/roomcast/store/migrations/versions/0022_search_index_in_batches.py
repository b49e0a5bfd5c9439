"""SQLite: new messages are indexed by one statement for each transaction instead of a trigger for each row.

A trigger on a virtual table begins a savepoint for each row, for which FTS5 writes all that it has collected: four times
the work. The trigger stays for the rows of earlier messages, whose ids are below 0.
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

TRIGGER = """
    CREATE TRIGGER search_entries_insert AFTER INSERT ON search_entries {when} BEGIN
        INSERT INTO search_terms (rowid, terms) VALUES (new.id, new.terms);
    END
"""


def upgrade() -> None:
    replace("WHEN new.id < 0")


def downgrade() -> None:
    replace("")


def replace(when: str) -> None:
    """Replace the trigger of the new rows."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER search_entries_insert")
        op.execute(TRIGGER.format(when=when))
