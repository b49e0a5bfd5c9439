"""The index of the search, and the filters of the history. Messages are indexed after the migration, in batches."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ID = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")
INDEXES = {
    "ix_messages_author": (["chat_id", "user_id", "place"], "user_id IS NOT NULL"),
    "ix_messages_ai": (["chat_id", "place"], "role = 'AI'"),
}

# Terms consist of letters and digits, besides "#" before the term of a chat; other characters separate them.
SQLITE = """
    CREATE VIRTUAL TABLE search_terms USING fts5(
        terms, content='search_entries', content_rowid='id', detail='none', columnsize=0, tokenize="ascii tokenchars '#'"
    );
    CREATE TRIGGER search_entries_insert AFTER INSERT ON search_entries BEGIN
        INSERT INTO search_terms (rowid, terms) VALUES (new.id, new.terms);
    END;
    CREATE TRIGGER search_entries_delete AFTER DELETE ON search_entries BEGIN
        INSERT INTO search_terms (search_terms, rowid, terms) VALUES ('delete', old.id, old.terms);
    END;
    CREATE TRIGGER search_entries_update AFTER UPDATE ON search_entries BEGIN
        INSERT INTO search_terms (search_terms, rowid, terms) VALUES ('delete', old.id, old.terms);
        INSERT INTO search_terms (rowid, terms) VALUES (new.id, new.terms);
    END
"""
POSTGRES = """
    CREATE INDEX ix_search_terms ON search_entries USING gin (array_to_tsvector(string_to_array(terms, ' ')))
"""


def upgrade() -> None:
    # Messages first, as in 0004.
    for name, (columns, condition) in INDEXES.items():
        where = sa.text(condition)
        op.create_index(name, "messages", columns, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "search_entries",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), nullable=False),
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_search_entries"),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name="fk_search_entries_chat_id"),
        sa.UniqueConstraint("chat_id", "place", name="uq_search_entries_chat_id_place"),
    )
    op.create_table(
        "search_backlog",
        sa.Column("below", ID, nullable=False),
        sa.PrimaryKeyConstraint("below", name="pk_search_backlog"),
    )
    # "~" sorts after every id with the same beginning.
    op.execute("INSERT INTO search_backlog (below) SELECT max(id) || '~' FROM messages HAVING count(*) > 0")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(POSTGRES)
        return
    for statement in SQLITE.split(";\n    CREATE"):
        op.execute(statement if "CREATE VIRTUAL" in statement else f"CREATE{statement}")


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE search_terms")
    op.drop_table("search_backlog")
    op.drop_table("search_entries")
    for name in INDEXES:
        op.drop_index(name, "messages")
