"""Fills an empty, migrated database by SQL with a million messages in 100,000 chats, as large installations have.

- "c-0" has a tenth of all messages; the others are spread evenly over the other chats, in a mixed order.
- Each chat has three of 3,000 users, so each of them, "u-0" to "u-2999", has 100 chats. "hub" is in every chat.
- The words are as frequent as in a language: the n-th word of `word` has a share of about 1/n.
"""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy import make_url

from roomcast.chat.policies.search_terms import index_terms
from roomcast.store.rules.recording import chat_term

_WORDS: Final = 30_000
_MEMBERS_EACH: Final = 3
_USERS: Final = 3_000
_SYLLABLES: Final = [first + then for first in "bcdfghklmnprstvz" for then in ("a", "e", "i", "o", "u", "an", "er")]
_HAN: Final = "我們明天中午吃飯開會時間地點人大學生工作問題可以今天昨天公司電話文件聊天室"
_BASE_MS: Final = 1_700_000_000_000
_FEED: Final = "UPDATE feed_head SET position = (SELECT max(position) FROM events)"


def load_now() -> str:
    """The load of the machine, for figures of a run."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def word(rank: int) -> str:
    """The word of this rank; 0 is the most frequent one."""
    syllables = len(_SYLLABLES)
    rank, third = divmod(rank * 7919 % 1_000_003, syllables)
    rank, second = divmod(rank, syllables)
    return _SYLLABLES[rank % syllables] + _SYLLABLES[second] + _SYLLABLES[third]


@dataclass(frozen=True)
class Size:
    """How much is written."""

    messages: int = 1_000_000
    chats: int = 100_000


def _chat_of(number: int, size: Size) -> int:
    """The chat of a message."""
    return 0 if number % 10 == 0 else 1 + number * 7_919 % (size.chats - 1)


def _texts(count: int) -> Iterator[str]:
    chance = random.Random(1)
    words = [word(rank) for rank in range(_WORDS)]
    weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(_WORDS)))
    for number in range(count):
        text = " ".join(chance.choices(words, cum_weights=weights, k=12))
        if number % 7 == 0:
            text += " " + "".join(chance.choices(_HAN, k=8))
        yield f"{text} unique{number}"


def _rows(size: Size) -> Iterator[tuple[str, tuple[str, ...], Iterator[Sequence[Any]]]]:
    """Tables, in the order of their foreign keys, with their columns and rows."""
    heads = [0] * size.chats
    places = []
    for number in range(size.messages):
        chat = _chat_of(number, size)
        heads[chat] += 1
        places.append((chat, heads[chat]))
    numbers = range(size.chats)
    yield (
        "chats",
        ("id", "title", "created_at", "last_activity_at", "last_seq"),
        ((f"c-{n}", f"Chat {n}", _BASE_MS, _BASE_MS + n * 104_729 % 1_000_003, heads[n]) for n in numbers),
    )
    members = [
        (f"c-{n}", user)
        for n in numbers
        for user in ("hub", *(f"u-{(n * _MEMBERS_EACH + k) % _USERS}" for k in range(_MEMBERS_EACH)))
    ]
    yield (
        "members",
        ("chat_id", "user_id", "added_at", "role"),
        ((chat, user, _BASE_MS, "owner" if user == "hub" else "member") for chat, user in members),
    )
    yield "reads", ("chat_id", "user_id", "seq"), ((chat, user, 4) for chat, user in members)
    yield (
        "events",
        ("chat_id", "seq", "epoch_id", "type", "payload", "created_at", "position"),
        (
            (f"c-{chat}", seq, 1, "new-msg", b'{"id":"m-%d"}' % number, _BASE_MS + number, number + 1)
            for number, (chat, seq) in enumerate(places)
        ),
    )
    users = [f"u-{n}" for n in range(_USERS)]
    columns = ("id", "chat_id", "seq", "place", "version", "epoch_id", "role", "content", "user_id", "client_msg_id")
    yield (
        "messages",
        (*columns, "status", "created_at"),
        (
            (
                *(f"m-{number:07}", f"c-{chat}", seq, seq, 1, 1, "AI" if number % 9 == 0 else "USER", text),
                *(users[number % _USERS], f"k{seq}", "sent", _BASE_MS + number),
            )
            for number, ((chat, seq), text) in enumerate(zip(places, _texts(size.messages), strict=True))
        ),
    )
    chat_terms = [chat_term(f"c-{n}") for n in numbers]
    yield (
        "search_entries",
        ("chat_id", "place", "terms"),
        (
            (f"c-{chat}", seq, " ".join((chat_terms[chat], *index_terms(text))))
            for (chat, seq), text in zip(places, _texts(size.messages), strict=True)
        ),
    )


def fill(url: str, size: Size | None = None) -> None:
    """Write the rows; the database must be closed, migrated and have one epoch."""
    size = size or Size()
    if url.startswith("sqlite"):
        _fill_sqlite(Path(str(make_url(url).database)), size)
    else:
        _fill_postgres(url, size)


def _fill_sqlite(file: Path, size: Size) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.executescript("PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; PRAGMA journal_mode = WAL")
        database.execute("INSERT OR IGNORE INTO epochs (id, epoch, started_at) VALUES (1, 'seeded', 0)")
        for table, columns, rows in _rows(size):
            marks = ", ".join("?" * len(columns))
            insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - names from above
            while batch := list(itertools.islice(rows, 50_000)):
                database.executemany(insert, batch)
                database.commit()
        database.execute(_FEED)
        database.execute("INSERT INTO search_terms (search_terms) VALUES ('rebuild')")
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _fill_postgres(url: str, size: Size) -> None:
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("INSERT INTO epochs (id, epoch, started_at) VALUES (1, 'seeded', 0) ON CONFLICT DO NOTHING")
        for table, columns, rows in _rows(size):
            copy = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
            with server.cursor().copy(copy.encode()) as target:
                for row in rows:
                    target.write_row(row)
        server.execute(_FEED)
        server.execute("VACUUM ANALYZE")
