"""Every query of the store finds its rows by an index, however large the tables are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event

from roomcast.chat.model import ChatPosition, Cursor, MemberAction, NewChat, NewMemberChange
from roomcast.store.opening import open_store
from support.backend import START, fresh_database, new_message

#: Reads an index from its start, in the order that is asked for, and stops at the limit.
ORDERED = {"SCAN chats USING INDEX ix_chats_activity", "SCAN outbox USING COVERING INDEX sqlite_autoindex_outbox_1"}
#: One row for each start of the process.
SMALL = {"SCAN epochs", "SCAN epochs USING INDEX sqlite_autoindex_epochs_1"}
#: One page of rows.
PAGE = {"SCAN page LEFT-JOIN"}


async def exercise(directory: Path) -> list[tuple[str, Any]]:
    """Use everything that the store has; what was sent to the database, with its parameters."""
    statements: list[tuple[str, Any]] = []

    async with open_store(fresh_database(directory)) as store:

        def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
            statements.append((statement, parameters[0] if many else parameters))

        for engine in (store.chats._database._readers, store.chats._database._writer):
            event.listen(engine, "before_cursor_execute", note)
        chats, turns = store.chats, store.turns
        await chats.create_chat(NewChat("c", None, "demo", START, "ann", ("bob",)))
        for key in ("k", "k", "l"):
            await chats.append_message(new_message(client_msg_id=key, member="ann"))
        await chats.change_member(NewMemberChange("c", "bob", MemberAction.REMOVE, None, START))
        await chats.mark_published({"c": 1})
        await chats.chat("c")
        for before in (None, ChatPosition(0, "c")):
            for member in (None, "ann"):
                await chats.chats(10, before, member)
        await chats.standing("c", "ann", Cursor(chats.epoch, 1))
        await chats.events_after("c", 0, 10)
        await chats.recent_events("c", 10)
        for before_seq, after_seq in ((None, None), (5, None), (None, 1)):
            await chats.messages("c", before=before_seq, after=after_seq, limit=10)
        await chats.members("c", 10)
        await chats.unpublished(10)
        turn = await turns.claim_turn(START, START)
        assert turn is not None
        await turns.extend_lease(turn.claim, START)
        await turns.next_lease_end()
        await turns.recent_messages("c", 9, 9)
        await chats.append_message(new_message(role="AI", ends=turn.claim))
        other = await turns.claim_turn(START, START)
        assert other is not None
        await turns.fail_turn(other.claim, "reason")
    return statements


async def test_no_query_reads_a_whole_table(tmp_path: Path) -> None:
    statements = await exercise(tmp_path)
    assert len(statements) > 30
    engine = create_engine(f"sqlite:///{tmp_path / 'roomcast.db'}")
    with engine.connect() as connection:
        for statement, parameters in statements:
            if not statement.startswith(("SELECT", "UPDATE", "DELETE")):
                continue
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps = {row.detail for row in plan}
            scans = {step for step in steps if step.startswith("SCAN") and step not in ORDERED | SMALL | PAGE}
            assert scans <= {"SCAN CONSTANT ROW"}, f"{statement}: {steps}"
    engine.dispose()
