"""The schema that the code expects. The migrations create it; a test compares the two.

Times are integers, milliseconds since 1970 in UTC: all databases sort them alike, and the wire format has the same
resolution.

Layer: store. Source: docs/design.md, "Events and seq"; docs/decisions/0001 for the epochs.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from roomcast.contract.text import MAX_EPOCH_CHARS, MAX_ID_CHARS, MAX_TITLE_CHARS

METADATA: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

# The collation C compares bytes, as SQLite does. It is faster, and an update of the operating system's collations
# cannot corrupt an index.
_ID = String(MAX_ID_CHARS).with_variant(String(MAX_ID_CHARS, collation="C"), "postgresql")
_TRACE = String(64)

epochs: Final = Table(
    "epochs",
    METADATA,
    # AUTOINCREMENT never reuses an id, not even the id of a deleted row.
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("epoch", String(MAX_EPOCH_CHARS), nullable=False, unique=True),
    Column("started_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

chats: Final = Table(
    "chats",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("title", String(MAX_TITLE_CHARS)),
    Column("responder", String(64)),
    Column("created_at", BigInteger, nullable=False),
    Column("last_activity_at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    # Lists chats by latest activity.
    Index("ix_chats_activity", "last_activity_at", "id"),
)

events: Final = Table(
    "events",
    METADATA,
    Column("chat_id", _ID, ForeignKey("chats.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("epoch_id", Integer, ForeignKey("epochs.id"), nullable=False),
    Column("type", String(64), nullable=False),
    # JSON as it is sent to clients; no query reads its fields.
    Column("payload", LargeBinary, nullable=False),
    Column("trace", _TRACE),
    Column("created_at", BigInteger, nullable=False),
)

messages: Final = Table(
    "messages",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("chat_id", _ID, ForeignKey("chats.id"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("epoch_id", Integer, ForeignKey("epochs.id"), nullable=False),
    Column("role", String(8), nullable=False),
    Column("content", Text, nullable=False),
    Column("user_id", _ID),
    # Chosen by the client; in the answer to a turn, ``turn:`` and the id of the turn.
    Column("client_msg_id", _ID),
    Column("status", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # Finds a page of messages.
    UniqueConstraint("chat_id", "seq"),
    # Makes sends idempotent. NULLs do not conflict with each other.
    UniqueConstraint("chat_id", "client_msg_id"),
)

members: Final = Table(
    "members",
    METADATA,
    Column("chat_id", _ID, ForeignKey("chats.id"), primary_key=True),
    Column("user_id", _ID, primary_key=True),
    Column("added_at", BigInteger, nullable=False),
    # Finds the chats of a user.
    Index("ix_members_user_id", "user_id", "chat_id"),
)

additions: Final = Table(
    "additions",
    METADATA,
    # The user that adds, and the added one, or "" for all; see `chat.additions`.
    Column("actor_id", _ID, primary_key=True),
    Column("user_id", _ID, primary_key=True),
    Column("full_at", BigInteger, nullable=False),
)

outbox: Final = Table(
    "outbox",
    METADATA,
    Column("chat_id", _ID, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
)

turns: Final = Table(
    "turns",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("chat_id", _ID, ForeignKey("chats.id"), nullable=False),
    Column("message_id", _ID, ForeignKey("messages.id"), nullable=False),
    # The seq of the message to answer. Turns of one chat are claimed in this order.
    Column("seq", BigInteger, nullable=False),
    Column("responder", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("generation", Integer, nullable=False),
    # 0 until the turn is claimed.
    Column("lease_until", BigInteger, nullable=False),
    Column("reason", Text),
    Column("created_at", BigInteger, nullable=False),
    # Finds turns that may be claimed.
    Index("ix_turns_queue", "status", "lease_until"),
    # Finds an earlier unfinished turn of the chat, which blocks later ones.
    Index("ix_turns_chat", "chat_id", "status", "seq"),
)
