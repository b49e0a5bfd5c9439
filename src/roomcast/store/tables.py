"""The schema that the code expects. The migrations create it; a test compares the two.

Times are integers, milliseconds since 1970 in UTC: all databases sort them alike, and the wire format has the same
resolution.

Each table says in its ``info`` which columns name users; see `personal.columns`.

Layer: store. Source: docs/design.md, "Events and seq"; docs/decisions/0001 for the epochs.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from roomcast.contract.tenants import MAX_TENANT_CHARS
from roomcast.contract.text import MAX_EPOCH_CHARS, MAX_ID_CHARS, MAX_TITLE_CHARS
from roomcast.store.personal.columns import NOT_PERSONAL, Erase, personal

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
# Most messages are no replies.
_REPLIES = text("reply_to IS NOT NULL")
_DELETED = text("state = 'deleted'")
_ERASED = text("state = 'erased'")
_RETAINS = text("retention_days > 0")
_UNPLACED = text("position IS NULL")
_PLACED = text("position IS NOT NULL")
_AUTHORS = text("user_id IS NOT NULL")
_ANSWERS = text("role = 'AI'")
_OWNERS = text("role = 'owner'")
_ALIVE = text("dead_at IS NULL")
_UNFINISHED = text("user_id IS NOT NULL")
# Most files are sent.
_IS_DUE = text("due_at IS NOT NULL")

epochs: Final = Table(
    "epochs",
    METADATA,
    # AUTOINCREMENT never reuses an id, not even the id of a deleted row.
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("epoch", String(MAX_EPOCH_CHARS), nullable=False, unique=True),
    Column("started_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
    info=NOT_PERSONAL,
)

chats: Final = Table(
    "chats",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("title", String(MAX_TITLE_CHARS)),
    # The fields of `chat.model.ChatAi` as JSON, without defaults; no query reads its fields. NULL: all defaults.
    Column("ai", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("last_activity_at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    # A `chat.model.ChatState`; NULL: members write to it.
    Column("state", String(16)),
    # The two users of a direct chat, as a JSON array.
    Column("direct", Text),
    # Messages are deleted so many days after they were sent; 0: never; NULL: the default of the deployment.
    Column("retention_days", Integer),
    # Finds the chats to erase.
    Index("ix_chats_deleted", "id", sqlite_where=_DELETED, postgresql_where=_DELETED),
    # Finds files that earlier versions of roomcast have left.
    Index("ix_chats_erased", "id", sqlite_where=_ERASED, postgresql_where=_ERASED),
    # Finds the chats with a retention of their own.
    Index("ix_chats_retention", "id", sqlite_where=_RETAINS, postgresql_where=_RETAINS),
    # Lists chats by latest activity.
    Index("ix_chats_activity", "last_activity_at", "id"),
    info=personal(direct=Erase.JSON),
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
    # Its place among the events of all chats, assigned after its commit when a reader asks; see `feed`.
    Column("position", BigInteger),
    Index("ix_events_unplaced", "chat_id", "seq", sqlite_where=_UNPLACED, postgresql_where=_UNPLACED),
    Index("uq_events_position", "position", unique=True, sqlite_where=_PLACED, postgresql_where=_PLACED),
    info=personal(payload=Erase.PAYLOAD, exported=False),
)

# One row: the last position. Its lock orders the processes that assign positions.
feed_head: Final = Table(
    "feed_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    info=NOT_PERSONAL,
)

messages: Final = Table(
    "messages",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("chat_id", _ID, ForeignKey("chats.id"), nullable=False),
    # The event that wrote this state.
    Column("seq", BigInteger, nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("epoch_id", Integer, ForeignKey("epochs.id"), nullable=False),
    Column("role", String(8), nullable=False),
    Column("content", Text, nullable=False),
    # A JSON array; NULL for a text alone.
    Column("parts", Text),
    Column("user_id", _ID),
    Column("client_msg_id", _ID),
    # The latest turn that answers the message; in an answer, its own id.
    Column("turn_id", _ID),
    Column("status", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # The message that this one replies to, in the version that its author saw.
    Column("reply_to", _ID),
    # The text and the parts are erased.
    Column("deleted_at", BigInteger),
    # A JSON array of `contract.events.Attachment`; NULL if it has no files.
    Column("attachments", Text),
    # Finds the replies to a message.
    Index("ix_messages_reply_to", "reply_to", "place", sqlite_where=_REPLIES, postgresql_where=_REPLIES),
    # Find the messages of a user, and the answers.
    Index("ix_messages_author", "chat_id", "user_id", "place", sqlite_where=_AUTHORS, postgresql_where=_AUTHORS),
    Index("ix_messages_ai", "chat_id", "place", sqlite_where=_ANSWERS, postgresql_where=_ANSWERS),
    # Finds a page of messages, and the last version of each.
    UniqueConstraint("chat_id", "place", "version"),
    # Makes sends idempotent. NULLs do not conflict with each other.
    UniqueConstraint("chat_id", "client_msg_id"),
    info=personal(user_id=Erase.FORGET, order=("chat_id", "place", "version")),
)

members: Final = Table(
    "members",
    METADATA,
    Column("chat_id", _ID, ForeignKey("chats.id"), primary_key=True),
    Column("user_id", _ID, primary_key=True),
    Column("added_at", BigInteger, nullable=False),
    # A `contract.events.MemberRole`. Earlier versions do not write it.
    Column("role", String(16), nullable=False, server_default="member"),
    Column("muted_until", BigInteger),
    # Finds the chats of a user.
    Index("ix_members_user_id", "user_id", "chat_id"),
    # Finds the owners of a chat.
    Index("ix_members_owners", "chat_id", "user_id", sqlite_where=_OWNERS, postgresql_where=_OWNERS),
    info=personal(user_id=Erase.FORGET),
)

# Users that may not become members.
bans: Final = Table(
    "bans",
    METADATA,
    Column("chat_id", _ID, ForeignKey("chats.id"), primary_key=True),
    Column("user_id", _ID, primary_key=True),
    Column("actor_id", _ID),
    Column("banned_at", BigInteger, nullable=False),
    # NULL: until the ban is ended.
    Column("until", BigInteger),
    info=personal(user_id=Erase.ROW, actor_id=Erase.ALIAS),
)

# What former members get back with their membership: a mute, the role of a reader.
restrictions: Final = Table(
    "restrictions",
    METADATA,
    Column("chat_id", _ID, ForeignKey("chats.id"), primary_key=True),
    Column("user_id", _ID, primary_key=True),
    Column("role", String(16), nullable=False),
    Column("muted_until", BigInteger),
    info=personal(user_id=Erase.ROW),
)

# Links through which users become members.
invites: Final = Table(
    "invites",
    METADATA,
    Column("chat_id", _ID, ForeignKey("chats.id"), primary_key=True),
    # The SHA-256 of the token in hexadecimal.
    Column("id", _ID, primary_key=True),
    Column("actor_id", _ID),
    Column("role", String(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # NULL: no limit, also of the next.
    Column("expires_at", BigInteger),
    Column("max_uses", Integer),
    Column("uses", Integer, nullable=False),
    # Finds the chat of a link.
    Index("ix_invites_id", "id", unique=True),
    info=personal(actor_id=Erase.ALIAS),
)

# One direct chat for each two users, the lesser one first.
direct_chats: Final = Table(
    "direct_chats",
    METADATA,
    Column("first_id", _ID, primary_key=True),
    Column("second_id", _ID, primary_key=True),
    Column("chat_id", _ID, nullable=False),
    info=personal(first_id=Erase.ROW, second_id=Erase.ROW),
)

reactions: Final = Table(
    "reactions",
    METADATA,
    Column("chat_id", _ID, ForeignKey("chats.id"), primary_key=True),
    Column("place", BigInteger, primary_key=True),
    # A JSON object: the users by emoji, in the order of their reactions.
    Column("users", Text, nullable=False),
    info=personal(users=Erase.FORGET),
)

pins: Final = Table(
    "pins",
    METADATA,
    Column("chat_id", _ID, ForeignKey("chats.id"), primary_key=True),
    Column("place", BigInteger, primary_key=True),
    Column("pinned_at", BigInteger, nullable=False),
    info=NOT_PERSONAL,
)

# The ids of the events that applications stored: a repeat stores nothing.
custom_events: Final = Table(
    "custom_events",
    METADATA,
    Column("chat_id", _ID, ForeignKey("chats.id"), primary_key=True),
    Column("id", _ID, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    info=NOT_PERSONAL,
)

# Up to where each user has read a chat. A member has a row from its addition on.
reads: Final = Table(
    "reads",
    METADATA,
    Column("chat_id", _ID, ForeignKey("chats.id"), primary_key=True),
    Column("user_id", _ID, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    info=personal(user_id=Erase.ROW),
)

# What notifies a user of a chat, if other than by default.
notification_settings: Final = Table(
    "notification_settings",
    METADATA,
    Column("chat_id", _ID, ForeignKey("chats.id"), primary_key=True),
    Column("user_id", _ID, primary_key=True),
    # A `contract.rest.NotifyLevel`; NULL: the default of the user.
    Column("level", String(16)),
    Column("muted_until", BigInteger),
    info=personal(user_id=Erase.ROW),
)

# What notifies a user of chats without a setting, if other than all messages.
notification_defaults: Final = Table(
    "notification_defaults",
    METADATA,
    Column("user_id", _ID, primary_key=True),
    Column("level", String(16), nullable=False),
    info=personal(user_id=Erase.ROW),
)

# The devices that receive pushes: subscriptions of Web Push.
push_devices: Final = Table(
    "push_devices",
    METADATA,
    # The SHA-256 of the endpoint in hexadecimal.
    Column("id", _ID, primary_key=True),
    Column("user_id", _ID, nullable=False),
    # A URL that is a secret: it addresses the device.
    Column("endpoint", Text, nullable=False),
    # The keys of the device in base64url.
    Column("p256dh", String(128), nullable=False),
    Column("auth", String(32), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # Finds the devices of a user.
    Index("ix_push_devices_user", "user_id", "created_at"),
    info=personal(user_id=Erase.ROW, exported=False),
)

# One row: up to where the events of all chats have been pushed; see `feed`.
push_cursor: Final = Table(
    "push_cursor",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", String(MAX_EPOCH_CHARS), nullable=False),
    Column("position", BigInteger, nullable=False),
    info=NOT_PERSONAL,
)

# The places at which any version of a message mentions a user.
mentions: Final = Table(
    "mentions",
    METADATA,
    Column("chat_id", _ID, ForeignKey("chats.id"), primary_key=True),
    Column("user_id", _ID, primary_key=True),
    Column("place", BigInteger, primary_key=True),
    info=personal(user_id=Erase.ROW),
)

# The searchable messages: those with a text that is not deleted, by their places.
search_entries: Final = Table(
    "search_entries",
    METADATA,
    # In the order in which the texts were written; those of earlier versions of roomcast are below 0.
    Column(
        "id",
        BigInteger().with_variant(Integer(), "sqlite"),
        Identity(),
        primary_key=True,
    ),
    Column("chat_id", _ID, ForeignKey("chats.id"), nullable=False),
    Column("place", BigInteger, nullable=False),
    # Separated by spaces: the term of the chat, and the terms of the last version. The migration adds the index of the
    # terms, of which SQLAlchemy knows nothing.
    Column("terms", Text, nullable=False),
    UniqueConstraint("chat_id", "place"),
    # Rules read and write the rows by this key. The terms go with the text of the message.
    info={"key": ("chat_id", "place"), **NOT_PERSONAL},
)

# While messages of earlier versions of roomcast are being indexed, one row.
search_backlog: Final = Table(
    "search_backlog",
    METADATA,
    # Messages with smaller ids are not indexed yet.
    Column("below", _ID, primary_key=True),
    info=NOT_PERSONAL,
)

files: Final = Table(
    "files",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("chat_id", _ID, ForeignKey("chats.id"), nullable=False),
    # The user that uploaded it; NULL while authentication is off.
    Column("user_id", _ID),
    # The first message that has it. NULL: it is not sent.
    Column("message_id", _ID),
    # "" until the upload is complete; also the type, which is "" again once a removal has failed.
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("width", Integer),
    Column("height", Integer),
    # When it is removed. NULL: a message has it. 0: its removal has begun, and no message can have it any more.
    Column("due_at", BigInteger),
    # Finds files to remove, and those of a deleted chat.
    Index("ix_files_due_at", "due_at", sqlite_where=_IS_DUE, postgresql_where=_IS_DUE),
    Index("ix_files_chat_id", "chat_id"),
    # Adds up the files of a user without reading their rows.
    Index("ix_files_user_id", "user_id", "due_at", "size"),
    info=personal(user_id=Erase.ALIAS),
)

# Keys that the processes share.
shared_keys: Final = Table(
    "shared_keys",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("value", LargeBinary, nullable=False),
    info=NOT_PERSONAL,
)

additions: Final = Table(
    "additions",
    METADATA,
    # The user that adds, and the added one, or "" for all; see `chat.policies.additions`.
    Column("actor_id", _ID, primary_key=True),
    Column("user_id", _ID, primary_key=True),
    Column("full_at", BigInteger, nullable=False),
    info=personal(actor_id=Erase.ROW, user_id=Erase.ROW),
)

# Administrative acts. Rows are only added.
audit: Final = Table(
    "audit",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("action", String(32), nullable=False),
    # No foreign key: an act outlives its chat.
    Column("chat_id", _ID, nullable=False),
    # NULL: a service, or any client while authentication is off.
    Column("actor_id", _ID),
    Column("object_id", _ID),
    Column("trace", _TRACE),
    Index("ix_audit_chat", "chat_id", "id"),
    Index("ix_audit_actor", "actor_id", "id"),
    sqlite_autoincrement=True,
    info=personal(actor_id=Erase.ALIAS, object_id=Erase.ALIAS),
)

outbox: Final = Table(
    "outbox",
    METADATA,
    Column("chat_id", _ID, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    info=NOT_PERSONAL,
)

# Access tokens that were ended before their expiry.
ended_sessions: Final = Table(
    "ended_sessions",
    METADATA,
    # "user": all tokens of a user, by its id; "token": one token, by its SHA-256 in hexadecimal.
    Column("kind", String(8), primary_key=True),
    Column("key", _ID, primary_key=True),
    Column("ended_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_ended_sessions_ended_at", "ended_at"),
    Index("ix_ended_sessions_expires_at", "expires_at"),
    info=personal(key=Erase.EXPIRES),
)

# Requests of `chat.use_cases.webhooks` change them; the worker that has the lease sends for them.
webhooks: Final = Table(
    "webhooks",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("tenant", String(MAX_TENANT_CHARS), nullable=False),
    Column("url", Text, nullable=False),
    # JSON arrays of event types, and of chat ids; NULL: all.
    Column("events", Text),
    Column("chats", Text),
    Column("active", Boolean, nullable=False),
    Column("disabled", String(16)),
    Column("secret", LargeBinary, nullable=False),
    Column("old_secret", LargeBinary),
    Column("old_until", BigInteger, nullable=False),
    # Up to where the feed was read.
    Column("position", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("generation", Integer, nullable=False),
    # 0 while no worker has it.
    Column("lease_until", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_webhooks_tenant", "tenant", "id"),
    # Finds the webhooks that may be claimed.
    Index("ix_webhooks_lease", "active", "lease_until"),
    info=NOT_PERSONAL,
)

# Events that wait for their next attempt or, with `dead_at`, have none.
undelivered: Final = Table(
    "undelivered",
    METADATA,
    Column("webhook_id", _ID, ForeignKey("webhooks.id"), primary_key=True),
    # That of the event among the events of all chats.
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    # No foreign key: the event may be erased with its chat.
    Column("chat_id", _ID, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("tried_at", BigInteger),
    Column("next_at", BigInteger),
    Column("dead_at", BigInteger),
    Column("status", Integer),
    Column("error", Text),
    Index("ix_undelivered_waiting", "webhook_id", "position", sqlite_where=_ALIVE, postgresql_where=_ALIVE),
    info=NOT_PERSONAL,
)

turns: Final = Table(
    "turns",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("chat_id", _ID, ForeignKey("chats.id"), nullable=False),
    Column("question_id", _ID, ForeignKey("messages.id"), nullable=False),
    # The user that asked for it; NULL: a service, or an earlier version of roomcast wrote the row.
    Column("asker_id", _ID),
    # The event that queued it. Turns of one chat are claimed in this order.
    Column("seq", BigInteger, nullable=False),
    # The event that wrote this state: queued, started or ended it.
    Column("event_seq", BigInteger, nullable=False),
    # NULL before the start, unless the turn replaces an earlier answer.
    Column("place", BigInteger),
    Column("version", Integer, nullable=False),
    Column("responder", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", String(32)),
    Column("generation", Integer, nullable=False),
    # Claims that were not handed back.
    Column("attempts", Integer, nullable=False),
    # 0 while no worker has the turn.
    Column("lease_until", BigInteger, nullable=False),
    Column("stopping", Boolean, nullable=False),
    # The last chunk in the answer's row, and the position at the provider after it.
    Column("last", Integer, nullable=False),
    Column("ref", Text),
    Column("input_tokens", Integer),
    Column("output_tokens", Integer),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    # Finds turns that may be claimed.
    Index("ix_turns_queue", "status", "lease_until"),
    # Finds the unfinished turns of a chat; an earlier one blocks later ones.
    Index("ix_turns_chat", "chat_id", "status", "seq"),
    # Finds the turns of a message that is deleted.
    Index("ix_turns_question", "question_id"),
    info=personal(asker_id=Erase.ALIAS),
)

# The open reports of messages.
reports: Final = Table(
    "reports",
    METADATA,
    Column("chat_id", _ID, ForeignKey("chats.id"), primary_key=True),
    Column("message_id", _ID, primary_key=True),
    Column("reporter_id", _ID, primary_key=True),
    # A `contract.rest.ReportReason`.
    Column("reason", String(16), nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    info=personal(reporter_id=Erase.ROW),
)

# What users and tenants have used of their quotas in a window; see `chat.policies.quotas`.
ai_usage: Final = Table(
    "ai_usage",
    METADATA,
    # A user, or a tenant.
    Column("subject", _ID, primary_key=True),
    # The begin of the window.
    Column("started_at", BigInteger, nullable=False),
    Column("turns", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    info=personal(subject=Erase.ROW),
)

# The erasures of the data of users.
erasures: Final = Table(
    "erasures",
    METADATA,
    # Also the alias that replaces the user's id where rows are kept.
    Column("id", _ID, primary_key=True),
    # NULL once it is done.
    Column("user_id", _ID),
    Column("requested_at", BigInteger, nullable=False),
    Column("done_at", BigInteger),
    # Up to where the tables are read; see `personal.pages`.
    Column("position", Text),
    # Rows that were deleted or changed.
    Column("erased", BigInteger, nullable=False),
    # Until when a process works on it.
    Column("lease_until", BigInteger, nullable=False),
    # Finds what is left to do, and the erasure of a user.
    Index("uq_erasures_user_id", "user_id", unique=True, sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
    info=personal(user_id=Erase.EXPIRES, exported=False),
)
