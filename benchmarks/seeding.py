"""Fills the database of a stopped server with many chats and messages, by SQL: copies of one message."""

from __future__ import annotations

import http.client
import json
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
from servers import start_up, start_up_postgres

_CHAT = "template"
#: Each takes the number of chats, or of chats and messages of each. ``chat`` and ``event`` are the template's rows.
_STATEMENTS = (
    """
    INSERT INTO chats (id, created_at, last_activity_at, last_seq)
    WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {chats})
    SELECT 'seed-' || c.n, t.created_at, t.last_activity_at, {each} FROM c, chats t WHERE t.id = 'template'
    """,
    """
    INSERT INTO events (chat_id, seq, epoch_id, type, payload, created_at)
    WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {chats}),
        s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {each})
    SELECT 'seed-' || c.n, s.n, t.epoch_id, t.type, t.payload, t.created_at
    FROM c, s, (SELECT * FROM events WHERE chat_id = 'template' ORDER BY seq DESC LIMIT 1) t
    """,
    """
    INSERT INTO messages
        (id, chat_id, seq, place, version, epoch_id, role, content, user_id, client_msg_id, status, created_at)
    WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {chats}),
        s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {each})
    SELECT 'seed-' || c.n || '-' || s.n, 'seed-' || c.n, s.n, s.n, t.version, t.epoch_id, t.role, t.content, t.user_id,
        'seed-' || s.n, t.status, t.created_at
    FROM c, s, messages t WHERE t.chat_id = 'template'
    """,
)


def _post_template(api: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", api, timeout=30)
    body = json.dumps({"chatId": _CHAT, "role": "USER", "content": "x" * 120})
    connection.request("POST", "/api/chat/messages", body, {"Content-Type": "application/json"})
    if (answer := connection.getresponse()).status != http.client.CREATED:
        raise RuntimeError(f"POST answered {answer.status}")


def seed(data: str, chats: int, each: int) -> None:
    """Create the chats ``seed-1`` … with so many messages each, in a data directory or a PostgreSQL."""
    postgres = data.startswith("postgresql://")
    with ExitStack() as stack:
        target = start_up_postgres(stack, data) if postgres else start_up(stack, data)
        _post_template(target.more["api"])
    statements = [text.format(chats=chats, each=each) for text in _STATEMENTS]
    if postgres:
        with psycopg.connect(data, autocommit=True) as server:
            for statement in [*statements, "ANALYZE"]:
                server.execute(statement.encode())
        return
    file = next(Path(data).glob("*.db"))
    with closing(sqlite3.connect(file)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()
