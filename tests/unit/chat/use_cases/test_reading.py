from __future__ import annotations

import json
from pathlib import Path

import pytest

from roomcast.chat.commands import EndTurn, NewChat
from roomcast.chat.errors import ChatNotFound, MessageNotFound
from roomcast.chat.model import ANYONE, Caller, Ending
from roomcast.chat.use_cases.reading import MAX_PAGE_BYTES, ChatReader
from roomcast.contract.events import TurnStatus
from roomcast.store.opening import open_store
from support.backend import START, fresh_database, new_message


async def test_members_read_the_versions_of_a_message(tmp_path: Path) -> None:
    async with open_store(fresh_database(tmp_path)) as store:
        await store.chats.commit(NewChat("c", None, None, START, "ann"))
        first = json.loads((await store.chats.commit(new_message(content="one"))).event.payload)["id"]
        await store.chats.commit(new_message(content="two", replaces=first))
        reader = ChatReader(store.chats)
        for caller in (Caller("ann"), ANYONE):
            versions = await reader.versions(caller, "c", first)
            assert [(version.version, version.content) for version in versions] == [(1, "one"), (2, "two")]
            with pytest.raises(MessageNotFound):
                await reader.versions(caller, "c", "unknown")
        with pytest.raises(ChatNotFound):
            await reader.versions(Caller("eve"), "c", first)


async def test_a_page_is_bounded_by_the_parts_of_its_answers(tmp_path: Path) -> None:
    async with open_store(fresh_database(tmp_path)) as store:
        parts = ({"type": "data-x", "data": "x" * (MAX_PAGE_BYTES // 3)},)
        for _ in range(5):
            await store.chats.commit(new_message(default_responder="demo"))
            turn = await store.turns.claim_turn(START, START)
            assert turn is not None
            await store.turns.commit(EndTurn(turn.claim, Ending(TurnStatus.COMPLETE, parts=parts), START))
        read = await ChatReader(store.chats).messages(ANYONE, "c", before=None, after=None, limit=100)
    assert [message.role for message in read.messages] == ["USER", "AI", "USER", "AI"]
    assert read.has_more
