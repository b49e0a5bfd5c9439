"""What is announced of reads."""

from __future__ import annotations

import asyncio
from pathlib import Path

from roomcast.chat.commands import NewChat
from roomcast.chat.delivery.activity import AnnouncementLost
from roomcast.chat.model import ANYONE
from roomcast.chat.use_cases.read_state import MAX_RECEIPT_MEMBERS, ReadState
from roomcast.contract.events import ChatRead
from roomcast.store.opening import open_store
from support.backend import START, fresh_database, new_message


class Recording:
    """Records announcements; the first is lost. ``more`` is set by each."""

    def __init__(self) -> None:
        self.reads: list[tuple[str, int, bool]] = []
        self.more = asyncio.Event()

    async def announce_read(self, read: ChatRead, *, to_chat: bool) -> None:
        self.reads.append((read.user_id, read.seq, to_chat))
        self.more.set()
        if len(self.reads) == 1:
            raise AnnouncementLost("away")


async def test_a_move_is_announced_once_and_in_large_chats_only_to_the_user(tmp_path: Path) -> None:
    async with open_store(fresh_database(tmp_path)) as store:
        state, announcer = ReadState(store.chats), Recording()
        state.announce_through(announcer)
        for chat_id, size in (("small", MAX_RECEIPT_MEMBERS), ("large", MAX_RECEIPT_MEMBERS + 1)):
            users = tuple(f"user-{number}" for number in range(size))
            await store.chats.commit(NewChat(chat_id, None, None, START, None, users))
            seq = (await store.chats.commit(new_message(chat_id))).event.seq
            announcer.more.clear()
            assert await state.mark(ANYONE, chat_id, seq, "user-0")
            assert not await state.mark(ANYONE, chat_id, seq, "user-0")
            await asyncio.wait_for(announcer.more.wait(), 5)
        small, large = MAX_RECEIPT_MEMBERS + 1, MAX_RECEIPT_MEMBERS + 2
        assert announcer.reads == [("user-0", small, True), ("user-0", large, False)]
        await state.close()
    assert state.counters["lost"] == 1
