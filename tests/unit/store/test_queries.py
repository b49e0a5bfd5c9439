"""Every query of the store finds its rows through an index."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import psycopg
import pytest
from sqlalchemy import create_engine, event

from roomcast.chat.commands import (
    AcceptInvite,
    Ban,
    CallTool,
    ChangeAi,
    ChangeChat,
    ChangeMember,
    CustomEvent,
    DeleteChat,
    DeleteMessage,
    DropFile,
    EndTurn,
    ExpireMessages,
    FinishFile,
    ForgetFile,
    ForgetUser,
    MarkPublished,
    MarkRead,
    MemberAction,
    NewChat,
    NewCustomEvents,
    NewInvite,
    NewMemberChange,
    NewMessage,
    NewVersion,
    OpenDirect,
    Pin,
    PostponeFile,
    React,
    Report,
    ReserveFile,
    ResolveReport,
    RevokeInvite,
    SetNotificationDefault,
    SetNotifications,
    StartTurn,
    StopTurn,
)
from roomcast.chat.errors import AnswerActive
from roomcast.chat.ids import new_id
from roomcast.chat.model import ChatAi, ChatPosition, Checkpoint, Ending, MessageFilter, PushDevice
from roomcast.chat.policies.additions import AdditionLimits
from roomcast.chat.policies.quotas import Quotas
from roomcast.chat.policies.search_terms import parse_query
from roomcast.chat.ports import MAX_DEVICES, Erasure, PushedMessage
from roomcast.chat.webhook_values import StoredWebhook, Undelivered, WebhookClaim
from roomcast.contract.cursor import Cursor
from roomcast.contract.events import Attachment, MemberRole, TurnStatus
from roomcast.contract.internal import EndedSession
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from roomcast.store.queries import chats as chat_queries
from roomcast.store.queries.searching import RECENT, SqlSearchStore
from roomcast.store.rows import from_ms
from roomcast.store.tables import METADATA
from support.backend import START, fresh_database, new_message
from support.postgres_server import PostgresServer

#: Walks an index in the requested order and stops at the limit.
ORDERED = {
    "SCAN chats USING INDEX ix_chats_activity",
    "SCAN newest USING COVERING INDEX ix_chats_activity",
    "SCAN chats USING INDEX ix_chats_deleted",
    # Once an hour: all erased chats.
    "SCAN chats USING INDEX ix_chats_erased",
    "SCAN events USING INDEX ix_events_unplaced",
    "SCAN push_devices USING COVERING INDEX sqlite_autoindex_push_devices_1",
    "SCAN outbox USING COVERING INDEX sqlite_autoindex_outbox_1",
}
#: One row for each start of the process, the row of the feed, and that of the index of messages.
SMALL = {"SCAN state", "SCAN epochs", "SCAN epochs USING INDEX sqlite_autoindex_epochs_1"} | {
    "SCAN search_backlog",
    "SCAN search_backlog USING COVERING INDEX sqlite_autoindex_search_backlog_1",
}
#: The same on PostgreSQL.
SMALL_TABLES = {"epochs", "feed_head", "search_backlog", "shared_keys", "push_cursor"}
#: FTS5 finds the rows of a term, and reads the settings and the segments of its index by itself.
FTS = re.compile(
    r"SCAN search_terms VIRTUAL TABLE INDEX \d+:.*M\d|SCAN search_vocabulary VIRTUAL TABLE INDEX 2:"
    r"|SCAN main\.search_terms_config|SCAN hit$"
)
#: A chat's head, which is one row, one page of rows, the keys of a batch, at most 999 unread messages, users of a chat.
PAGE = {"SCAN chat", "SCAN page LEFT-JOIN", "SCAN pairs VIRTUAL TABLE INDEX 1:", "SCAN ids VIRTUAL TABLE INDEX 1:"} | {
    "SCAN asked VIRTUAL TABLE INDEX 1:",
    "SCAN unread_places",
    "SCAN some_chats",
    "SCAN newest_places",
    "SCAN mentions_places",
    "SCAN audience",
}


async def exercise_reads(store: Store, message_id: str) -> None:
    await store.chats.pinned("c")
    await store.chats.replies("c", message_id, 10)
    assert await store.chats.is_sent("c", "k")
    await store.chats.commit(Report("c", message_id, "ann", "spam", "", START, "ann"))
    await store.chats.reports("c")
    await store.chats.commit(ResolveReport("c", message_id, "ann", START, "ann"))
    for chat_id, actor_id in ((None, None), ("c", None), (None, "ann")):
        await store.chats.acts(9, 9, chat_id, actor_id)


async def read_by_filter_and_text(store: Store) -> None:
    for only in (MessageFilter(role="AI"), MessageFilter(role="USER"), MessageFilter(author="ann")):
        for before_seq, after_seq in ((5, None), (None, 1)):
            await store.chats.messages("c", before=before_seq, after=after_seq, limit=10, only=only)
    for text in ("hello", "hel world 你好"):
        for chat_id, member in ((None, "ann"), ("c", "ann"), (None, None)):
            for recent in (RECENT, 1):  # with one message, the index finds the others
                index = SqlSearchStore(store.chats._database, store.chats, recent=recent)
                await index.search(parse_query(text), chat_id=chat_id, member=member, before=99, limit=10)
    await store.chats.members("c", 10)
    await store.chats.members("c", 10, "ann")
    assert not await store.search.index_more()
    assert await store.search.complete()


async def exercise(options: DatabaseOptions, listen: Callable[[Store], None]) -> None:  # noqa: PLR0915 - a list
    """Calls every method of both ports; ``listen`` is called when the store is open."""
    async with open_store(options) as store:
        listen(store)
        chats, turns = store.chats, store.turns
        await chats.commit(NewChat("c", None, None, START, "ann", ("bob",), AdditionLimits()))
        quotas = Quotas(tenant_turns=999)
        for key in ("k", "k", "l"):
            message = new_message(client_msg_id=key, member="ann", default_responder="demo", quotas=quotas)
            await chats.commit(message)
        await turns.used("ann", START)
        for size in (2, 200):  # they share transactions
            messages = [
                new_message(client_msg_id=f"{size}-{number}", member="ann", default_responder="demo")
                for number in range(size)
            ]
            await asyncio.gather(*map(chats.commit, messages))
        await chats.commit(NewMemberChange("c", "bob", MemberAction.REMOVE, None, START))
        await chats.commit(NewMemberChange("c", "bob", MemberAction.ADD, "ann", START, limits=AdditionLimits()))
        await chats.commit(MarkPublished({"c": 1}))
        await chats.chat("c")
        for before in (None, ChatPosition(0, "c")):
            for member in (None, "ann"):
                await chats.chats(10, before, member)
            with patch.object(chat_queries, "FEW", 0):  # as for a user with thousands of chats
                await chats.chats(10, before, "ann")
        await chats.commit(MarkRead("c", "bob", 3, "bob"))
        await chats.commit(new_message(content="@bob and @ann"))
        await chats.chat("c", "bob")
        await chats.chats(10, None, "bob", "bob")
        await chats.cursors("c", 10)
        await chats.access("c", "ann", Cursor(epoch=chats.epoch, seq=1))
        await chats.events_after("c", 0, 10)
        await chats.recent_events("c", 10)
        for before_seq, after_seq in ((None, None), (5, None), (None, 1)):
            await chats.messages("c", before=before_seq, after=after_seq, limit=10)
        await read_by_filter_and_text(store)
        await exercise_notifications(store)
        await chats.members("c", 10)
        await chats.member("c", "ann")
        await chats.member_count("c")
        await chats.commit(ChangeMember("c", "bob", START, "ann", MemberRole.READER))
        await chats.commit(Ban("c", "bob", True, START, "ann"))
        await chats.bans("c")
        await chats.delete_ended("c", START)
        await chats.commit(Ban("c", "bob", False, START, "ann"))
        await chats.commit(NewInvite("c", "i", MemberRole.MEMBER, START, "ann"))
        await chats.invites("c")
        await chats.invite("i")
        await chats.commit(AcceptInvite("c", "i", "bob", START))
        await chats.commit(RevokeInvite("c", "i", START, "ann"))
        await chats.unpublished(10, "c")
        await chats.first_unpublished("c")
        turn = await turns.claim_turn(START, START)
        assert turn is not None
        claim, turn_id = turn.claim, turn.claim.turn_id
        await turns.release_turn(claim)
        await turns.commit(StartTurn(claim, START))
        await turns.commit(CallTool(claim, "call", "tool", START))
        await turns.save_checkpoint(claim, Checkpoint(1, ({"type": "text", "text": "half"},)), "half")
        await turns.renew([claim], START)
        await turns.next_lease_end()
        await turns.context("c", 9, 9)
        await turns.commit(StopTurn("c", turn_id, START, "ann"))
        await turns.commit(EndTurn(claim, Ending(TurnStatus.COMPLETE, content="all"), START))
        await turns.commit(NewVersion("c", turn_id, START, "ann"))
        await turns.turn("c", turn_id)
        await turns.active_turn("c")
        await chats.message("c", turn_id)
        await chats.versions("c", turn_id, 10)
        await chats.commit(ChangeAi("c", ChatAi(when_active="latest"), START, "ann"))
        question = turn.message.id
        await chats.commit(new_message(replaces=question, member="ann", default_responder="demo"))
        message_id = json.loads((await chats.commit(new_message(reply_to=question))).event.payload)["id"]
        for adds in (True, False):
            await chats.commit(React("c", message_id, "👍", "ann", adds, START, "ann"))
            await chats.commit(Pin("c", message_id, adds, START, "ann"))
        await exercise_reads(store, message_id)
        await chats.commit(DeleteMessage("c", message_id, START))
        await exercise_integration(store)
        assert await turns.claim_turn(START, START) is not None
        await exercise_files(store)
        await _end(store)


async def _end(store: Store) -> None:
    await store.sessions.end_session(EndedSession(user_id="ann", token=None, ended_at=1, expires_at=9), 1)
    await store.sessions.ended_sessions(0, 1, 10)
    for _ in range(2):
        opened = OpenDirect(new_id(), ("ann", "bob"), START, "ann", AdditionLimits())
        chat_id, _ = await store.chats.commit(opened)
    await store.chats.commit(MarkPublished({chat_id: 2}))
    for archived in (True, False):
        await store.chats.commit(ChangeChat("c", START, archived=archived))
        await store.chats.chats(10, None, "ann", archived=True)
    await exercise_personal(store)
    for every in (True, False):
        await store.chats.aging("", 500, every=every)
    for message_id in await store.chats.oldest("c", from_ms(2**45), 2):
        try:
            await store.chats.commit(ExpireMessages("c", (message_id,), START))
        except AnswerActive as error:
            await store.turns.commit(StopTurn("c", error.turn_id, START))
    deleted = await store.chats.commit(DeleteChat("c", START))
    await store.chats.commit(MarkPublished({"c": deleted.event.seq}))
    while await store.chats.erase_deleted(500):
        pass


async def exercise_personal(store: Store) -> None:
    """Finds and erases the data of a user."""
    await store.personal.request_erasure(Erasure("erased-1", "bob", START))
    erasure = await store.personal.claim_erasure(from_ms(1), START)
    assert erasure is not None
    for alias in (None, erasure.id):
        position: str | None = None
        while (page := await store.personal.page("bob", alias, position)).next is not None:
            await store.personal.erase(erasure, page, 0, START)
            position = page.next
    await store.personal.page("acme\x1fbob", None, json.dumps(["events"]))
    await store.chats.commit(ForgetUser("c", "bob", erasure.id, START, member=True))
    await store.personal.erasure(erasure.id)
    await store.personal.finish_erasure(erasure, START)


async def exercise_notifications(store: Store) -> None:
    """Calls every method for notifications and pushes."""
    await store.chats.commit(SetNotifications("c", "bob", "mentions", START, START, "bob"))
    await store.chats.commit(SetNotificationDefault("bob", "none"))
    await store.chats.notifications("c", "bob")
    await store.chats.notification_default("bob")
    pushes = store.pushes
    for number in range(MAX_DEVICES + 1):
        await pushes.add_device(PushDevice(f"d{number}", "bob", "https://push.example", "key", "auth"), START)
    await pushes.push_state()
    await pushes.skip_to_end(None)
    cursor = (await pushes.push_state()).cursor
    assert cursor is not None
    await pushes.skip_to_end(cursor)
    await pushes.advance(cursor, cursor)
    message = PushedMessage("c", 3, 3, "ann", START)
    for open_to_all in (False, True):
        for device_id in (None, "d1"):
            await pushes.recipients(message, 10, open_to_all=open_to_all, device_id=device_id)
    await pushes.remove_device("d1", "bob")
    await pushes.remove_device("d2", None)
    await pushes.forget_cursor()


async def exercise_integration(store: Store) -> None:
    """Calls every method for other applications."""
    given = (CustomEvent("c", "e-1", "order.paid", {}), CustomEvent("c", "e-2", "order.paid", {}))
    for events in (given[:1], given):
        await store.chats.commit(NewCustomEvents(events, START))
    await store.feed.place()
    await store.feed.read(Cursor(epoch=store.chats.epoch, seq=1), 10)
    await exercise_webhooks(store)


async def exercise_webhooks(store: Store) -> None:
    """Calls every method of the port of webhooks."""
    hooks, webhook = (
        store.webhooks,
        StoredWebhook(id="w", tenant="", url="https://example.com", events=None, chats=None, secret=b"k", created_at=1),
    )
    await hooks.create(webhook, 5)
    await hooks.list("")
    await hooks.webhook("", "w")
    await hooks.change("", "w", {"active": True})
    claimed = await hooks.claim(START, START)
    assert claimed is not None
    claim = WebhookClaim("w", claimed.generation)
    await hooks.renew([claim], START)
    await hooks.release([claim])
    await hooks.head()
    await hooks.after(1, 10)
    await hooks.event("c", 1)
    dead = Undelivered(position=1, chat_id="c", seq=1, next_at=None, dead_at=10**13)
    await hooks.save(claim, 2, changed=[dead, replace(dead, position=2, next_at=1, dead_at=None)], done=[3])
    await hooks.waiting("w", 10)
    for is_dead in (True, False):
        await hooks.undelivered("w", dead=is_dead, after=0, limit=10)
    await hooks.disable(claim, "gone")
    for position in (None, 1):
        await hooks.replay_dead("", "w", position, 1)
    await hooks.replay_since("", "w", 1)
    await hooks.delete("", "w")


async def exercise_files(store: Store) -> None:
    """The part of `exercise` for files."""
    chats = store.chats
    await chats.commit(ReserveFile("f", "c", "ann", 1, START, START, 9, 9, "ann"))
    await chats.commit(FinishFile("c", Attachment(id="f", name="f", type="text/plain", size=1), "ann"))
    await store.files.file("f")
    await store.files.files("c", ["f", "g"])
    await store.files.due_files(START, 10)
    await store.files.secret("links")
    message = new_message(member="ann", user_id="ann", files=("f",))
    await chats.commit(message)
    await chats.commit(DeleteMessage("c", message.id, START))
    await chats.commit(DropFile("c", "f", START))
    await chats.commit(new_message(replaces=(await _with_file(store)).id, drops=("g",), member="ann", user_id="ann"))
    await chats.commit(PostponeFile("c", "g", START))
    await store.files.drop_orphans(10)
    await chats.commit(ForgetFile("c", "f"))


async def _with_file(store: Store) -> NewMessage:
    await store.chats.commit(ReserveFile("g", "c", "ann", 1, START, START, 9, 9, "ann"))
    await store.chats.commit(FinishFile("c", Attachment(id="g", name="g", type="text/plain", size=1), "ann"))
    message = new_message(member="ann", user_id="ann", files=("g",))
    await store.chats.commit(message)
    return message


async def sqlite_statements(options: DatabaseOptions) -> list[str]:
    """The statements that `exercise` runs, with the values of their parameters."""
    statements: list[str] = []

    def trace(driver: sqlite3.Connection, *_: Any) -> None:
        driver.set_trace_callback(statements.append)

    def listen(store: Store) -> None:
        database = store.chats._database
        event.listen(database._readers, "checkout", trace)
        assert database._held is not None  # the writing connection stays out of its pool
        trace(cast("sqlite3.Connection", database._held.connection.driver_connection))

    await exercise(options, listen)
    return [statement.strip() for statement in statements]


def check_sqlite_plans(file: Path, statements: Iterable[str]) -> None:
    """Check that each statement finds its rows through an index."""
    engine = create_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        for statement in statements:
            if not statement.startswith(("SELECT", "UPDATE", "DELETE")):
                continue
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")
            steps = {row.detail for row in plan}
            scans = {step for step in steps if step.startswith("SCAN") and step not in ORDERED | SMALL | PAGE}
            scans = {step for step in scans if not FTS.match(step)}
            assert scans <= {"SCAN CONSTANT ROW"}, f"{statement}: {steps}"
    engine.dispose()


async def test_no_query_scans_a_whole_table(tmp_path: Path) -> None:
    statements = await sqlite_statements(fresh_database(tmp_path))
    assert len([statement for statement in statements if statement.startswith("SELECT")]) > 30
    check_sqlite_plans(tmp_path / "roomcast.db", statements)


async def test_a_page_of_chats_costs_no_look_up_of_messages_for_the_other_chats(tmp_path: Path) -> None:
    pages: dict[int, tuple[str, Any]] = {}

    def record(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        pages[limit] = (statement, parameters)

    async with open_store(fresh_database(tmp_path)) as store:
        await asyncio.gather(
            *(store.chats.commit(NewChat(f"c{number}", None, None, START, "ann")) for number in range(100)),
            *(store.chats.commit(new_message(f"c{number}")) for number in range(100)),
        )
        event.listen(store.chats._database._readers, "before_cursor_execute", record)
        for limit in (1, 100):
            assert len(await store.chats.chats(limit, None, "ann")) == limit
    instructions = dict.fromkeys(pages, 0)
    with closing(sqlite3.connect(tmp_path / "roomcast.db")) as connection:
        for limit, page in pages.items():

            def count(limit: int = limit) -> None:
                instructions[limit] += 1

            connection.set_progress_handler(count, 1)
            connection.execute(*page).fetchall()
    assert instructions[1] < instructions[100] / 3, instructions


#: Enough rows for the planner to prefer an index wherever there is one. "c" is a large chat among many small ones.
POPULATE = """
    INSERT INTO chats (id, created_at, last_activity_at, last_seq)
        SELECT 'chat-' || n, 0, n, 20 FROM generate_series(1, 2000) n;
    INSERT INTO members (chat_id, user_id, added_at, role)
        SELECT 'chat-' || n, 'user-' || u, 0, CASE WHEN u = 1 THEN 'owner' ELSE 'member' END
        FROM generate_series(1, 2000) n, generate_series(1, 5) u;
    INSERT INTO bans (chat_id, user_id, banned_at) SELECT chat_id, user_id, 0 FROM members;
    INSERT INTO restrictions (chat_id, user_id, role) SELECT chat_id, user_id, 'reader' FROM members;
    INSERT INTO invites (chat_id, id, role, created_at, uses) SELECT chat_id, chat_id || user_id, 'member', 0, 0
        FROM members;
    INSERT INTO events (chat_id, seq, epoch_id, type, payload, created_at)
        SELECT 'chat-' || n, s, 1, 'message.created', repeat('x', 200)::bytea, 0
        FROM generate_series(1, 2000) n, generate_series(1, 5) s
        UNION ALL SELECT 'c', s, 1, 'message.created', repeat('x', 200)::bytea, 0 FROM generate_series(1001, 6000) s;
    INSERT INTO messages (id, chat_id, seq, place, version, epoch_id, role, content, client_msg_id, turn_id, status,
            created_at)
        SELECT chat_id || '-' || seq, chat_id, seq, seq, 1, 1, 'USER', repeat('x', 100), 'k' || seq,
            't' || chat_id || '-' || seq, 'sent', 0
        FROM events WHERE chat_id <> 'c' OR seq > 1000;
    INSERT INTO outbox (chat_id, seq) SELECT chat_id, seq FROM events WHERE chat_id <> 'c';
    INSERT INTO turns (id, chat_id, question_id, seq, event_seq, version, responder, status, generation, attempts,
            lease_until, stopping, last, created_at)
        SELECT turn_id, chat_id, id, seq, seq, 1, 'demo', CASE WHEN seq < 5 THEN 'complete' ELSE 'queued' END, 1, 1,
            0, false, -1, 0
        FROM messages WHERE turn_id LIKE 't%' AND (chat_id <> 'c' OR seq < 3000);
    INSERT INTO reactions (chat_id, place, users)
        SELECT chat_id, place, '{}' FROM messages WHERE id LIKE chat_id || '-%';
    INSERT INTO pins (chat_id, place, pinned_at) SELECT chat_id, place, 0 FROM reactions WHERE place % 3 = 0;
    INSERT INTO custom_events (chat_id, id, seq) SELECT chat_id, id, seq FROM messages;
    INSERT INTO ended_sessions (kind, key, ended_at, expires_at)
        SELECT 'user', 'user-' || n, n, n FROM generate_series(1, 5000) n;
    INSERT INTO direct_chats (first_id, second_id, chat_id)
        SELECT 'user-' || a, 'user-' || u, 'd' FROM generate_series(1, 100) a, generate_series(1, 50) u;
    INSERT INTO audit (at, action, chat_id, actor_id, object_id)
        SELECT n, 'member.added', 'chat-' || n % 50, 'user-' || n % 50, 'user-1' FROM generate_series(1, 5000) n;
    INSERT INTO reads (chat_id, user_id, seq) SELECT chat_id, user_id, 3 FROM members WHERE chat_id <> 'c'
        ON CONFLICT DO NOTHING;
    INSERT INTO notification_settings (chat_id, user_id, level) SELECT chat_id, user_id, 'none' FROM members
        WHERE chat_id <> 'c';
    INSERT INTO notification_defaults (user_id, level) SELECT 'user-' || n, 'none' FROM generate_series(1, 5000) n;
    INSERT INTO push_devices (id, user_id, endpoint, p256dh, auth, created_at)
        SELECT n, 'user-' || n % 1000, 'https://push.example/' || n, 'key', 'auth', 0 FROM generate_series(1, 5000) n;
    INSERT INTO mentions (chat_id, user_id, place)
        SELECT chat_id, user_id, s FROM reads, generate_series(1, 5) s WHERE chat_id <> 'c';
    INSERT INTO search_entries (chat_id, place, terms)
        SELECT chat_id, place, '#' || md5(chat_id) || ' word' || place || ' ' || md5(id) FROM messages
        WHERE id LIKE chat_id || '-%';
    INSERT INTO erasures (id, user_id, requested_at, erased, lease_until)
        SELECT 'erased-' || n, CASE WHEN n % 50 = 0 THEN 'user-' || n END, 0, 0, 0 FROM generate_series(2, 5000) n;
    INSERT INTO files (id, chat_id, user_id, name, type, size, due_at)
        SELECT 'f' || n, 'chat-' || (n % 2000 + 1), 'user-' || n % 50, 'a', 'text/plain', 1,
            CASE WHEN n % 3 = 0 THEN n * 1000000000000 END
        FROM generate_series(1, 6000) n;
    INSERT INTO reports (chat_id, message_id, reporter_id, reason, note, created_at)
        SELECT chat_id, id, 'user-1', 'spam', '', 0 FROM messages WHERE id LIKE chat_id || '-%' AND chat_id <> 'c';
    INSERT INTO ai_usage (subject, started_at, turns, tokens)
        SELECT 'user-' || n, 0, 1, 1 FROM generate_series(1, 5000) n;
    INSERT INTO additions (actor_id, user_id, full_at)
        SELECT 'user-' || a, 'user-' || u, 0 FROM generate_series(1, 100) a, generate_series(1, 50) u;
    INSERT INTO webhooks (id, tenant, url, active, secret, old_until, position, since, generation, lease_until,
            created_at)
        SELECT 'w' || n, 'tenant' || n % 1000, 'https://example.com', n % 2 = 0, ''::bytea, 0, n, 0, 1, n, 0
        FROM generate_series(1, 5000) n;
    INSERT INTO undelivered (webhook_id, position, chat_id, seq, attempts, next_at, dead_at)
        SELECT 'w' || w, p, 'chat-' || p, 1, 1, 0, CASE WHEN p % 10 = 0 THEN NULL ELSE 1 END
        FROM generate_series(1, 500) w, generate_series(1, 100) p;
    ANALYZE
"""


def scanned_tables(plan: Any) -> Iterator[str]:
    """The tables that a PostgreSQL plan scans sequentially."""
    if isinstance(plan, list):
        for part in plan:
            yield from scanned_tables(part)
    elif isinstance(plan, dict):
        if plan.get("Node Type") == "Seq Scan":
            yield plan["Relation Name"]
        yield from scanned_tables(list(plan.values()))


async def postgres_statements(options: DatabaseOptions, monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int], Any]:
    """The statements that `exercise` runs, each by the number of its keys, with its parameters."""
    statements: dict[tuple[str, int], Any] = {}
    execute = psycopg.Cursor.execute

    def record(self: Any, query: Any, params: Any = None, **how: Any) -> Any:
        text = query.decode() if isinstance(query, bytes) else query
        if text.split()[0] in {"SELECT", "INSERT", "UPDATE", "DELETE"}:
            # The planner knows the number of keys, so a statement has a plan for each size of a batch.
            keys = len(params[0]) if isinstance(params, list) and params else 0
            statements[text, keys] = params
        return execute(self, query, params, **how)

    def listen(_store: Store) -> None:
        monkeypatch.setattr(psycopg.Cursor, "execute", record)

    await exercise(options, listen)
    monkeypatch.undo()
    return statements


async def test_no_query_scans_a_large_table_on_postgresql(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = postgres.create_database()
    options = DatabaseOptions(url=postgres.url(name))
    statements = await postgres_statements(options, monkeypatch)
    assert len({text for text, _ in statements}) > 25
    assert max(keys for _, keys in statements) > 100
    postgres.execute(POPULATE, name)
    large = postgres.execute("SELECT relname FROM pg_class WHERE reltuples >= 2000", name)
    assert {table for (table,) in large} >= METADATA.tables.keys() - SMALL_TABLES
    scans = {}
    with psycopg.connect(options.url, options="-c random_page_cost=1.1 -c jit=off") as connection:
        for (text, keys), params in statements.items():
            ((plan,),) = connection.execute(f"EXPLAIN (FORMAT JSON) {text}", params)
            if tables := set(scanned_tables(plan)) - SMALL_TABLES:
                scans[text, keys] = tables
    assert not scans


async def test_a_send_reads_no_more_rows_in_a_long_chat_before_postgresql_has_statistics(
    postgres: PostgresServer,
) -> None:
    name = postgres.create_database()
    read = "SELECT sum(idx_tup_read)::int FROM pg_stat_user_indexes"
    async with open_store(DatabaseOptions(url=postgres.url(name))) as store:
        await store.chats.commit(NewChat("c", None, None, START, "ann"))
        for turn in range(2):  # the first one fills the chat
            messages = [new_message("c", client_msg_id=f"{turn}-{number}") for number in range(200)]
            for batch in (messages[:180], *([message] for message in messages[180:])):
                await asyncio.gather(*map(store.chats.commit, batch))
    # The server counts what a connection read once it has closed.
    ((rows,),) = postgres.execute(read, name)
    assert rows < 400 * 10
