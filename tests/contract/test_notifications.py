"""The contract of what notifies users, and of the devices that receive pushes, over every store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

import pytest

from roomcast.chat.commands import (
    DeleteChat,
    DeleteMessage,
    MarkRead,
    MemberAction,
    NewChat,
    NewMemberChange,
    SetNotificationDefault,
    SetNotifications,
)
from roomcast.chat.errors import ChatNotFound, NotAMember
from roomcast.chat.model import Committed, Notifications, PushDevice
from roomcast.chat.ports import MAX_DEVICES, PushedMessage
from roomcast.contract.cursor import Cursor
from roomcast.contract.internal import EndedSession
from roomcast.contract.rest import NotifyLevel
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from support.backend import START, new_message

HOUR = timedelta(hours=1)


@pytest.fixture
async def store(database_options: DatabaseOptions) -> AsyncIterator[Store]:
    async with open_store(database_options) as opened:
        await opened.chats.commit(NewChat("c", "Team", None, START, "ann", ("bob", "cid")))
        yield opened


async def setting(
    store: Store, level: NotifyLevel | None = None, until: datetime | None = None, user_id: str = "ann"
) -> Notifications:
    return await store.chats.commit(SetNotifications("c", user_id, level, until, START, user_id))


async def add_device(store: Store, user_id: str, name: str, at: datetime = START) -> None:
    await store.pushes.add_device(PushDevice(name, user_id, f"https://push.example/{name}", "key", "auth"), at)


async def send(store: Store, content: str = "hello", user_id: str | None = "bob") -> tuple[Committed, PushedMessage]:
    committed = await store.chats.commit(new_message(content=content, user_id=user_id))
    event = committed.event
    return committed, PushedMessage("c", event.seq, event.seq, user_id, event.created_at)


async def devices(store: Store, message: PushedMessage, *, open_to_all: bool = False, limit: int = 10) -> Sequence[str]:
    found = await store.pushes.recipients(message, limit, open_to_all=open_to_all)
    for one in found:
        again = await store.pushes.recipients(message, limit, open_to_all=open_to_all, device_id=one.device.id)
        assert list(again) == [one]
    return [one.device.id for one in found]


async def test_a_setting_of_a_chat_comes_before_the_default_and_a_mute_before_both(store: Store) -> None:
    assert await store.chats.notifications("c", "ann") == Notifications(None, None, "all")
    await store.chats.commit(SetNotificationDefault("ann", "mentions"))
    for default in ("none", "mentions"):
        level: NotifyLevel = "none" if default == "none" else "mentions"
        await store.chats.commit(SetNotificationDefault("ann", level))
        assert await store.chats.notification_default("ann") == default
    assert await setting(store, until=START + HOUR) == Notifications(None, START + HOUR)
    assert await setting(store, "all") == Notifications("all", START + HOUR)
    found = await store.chats.notifications("c", "ann")
    assert found == Notifications("all", START + HOUR, "mentions")
    assert [found.at(START), found.at(START + HOUR)] == ["none", "all"]
    chat = await store.chats.chat("c", "ann")
    assert chat is not None
    assert chat.notifications == found
    # A time that has passed ends the mute, and `default` removes the setting.
    assert await setting(store, until=START) == Notifications("all")
    assert await setting(store, "default") == Notifications()
    assert (await store.chats.notifications("c", "ann")).at(START) == "mentions"
    assert await store.chats.notifications("c", "bob") == Notifications()


async def test_only_members_have_settings_and_they_end_with_the_membership(store: Store) -> None:
    with pytest.raises(NotAMember):
        await setting(store, "none", user_id="eve")
    with pytest.raises(ChatNotFound):
        await store.chats.commit(SetNotifications("unknown", "ann", "none", None, START))
    await setting(store, "none", user_id="bob")
    for action in (MemberAction.REMOVE, MemberAction.ADD):
        await store.chats.commit(NewMemberChange("c", "bob", action, None, START))
        assert await store.chats.notifications("c", "bob") == Notifications()
    await setting(store, "none")
    await store.chats.commit(DeleteChat("c", START, None))
    assert await store.chats.notifications("c", "ann") == Notifications()


async def test_a_message_is_for_the_devices_of_members_that_have_not_seen_it(store: Store) -> None:
    for user_id, name in (("ann", "a1"), ("ann", "a2"), ("bob", "b"), ("cid", "c"), ("eve", "e")):
        await add_device(store, user_id, name)
    await setting(store, "mentions")
    _, first = await send(store, "hello @ann")
    assert await devices(store, first) == ["a1", "a2", "c"]
    assert await devices(store, first, limit=2) == ["a1", "a2"]
    ann, _, cid = await store.pushes.recipients(first, 10, open_to_all=False)
    assert (ann.title, ann.direct, ann.mentioned, ann.notifications.level) == ("Team", False, True, "mentions")
    assert (cid.mentioned, cid.notifications) == (False, Notifications())
    await store.chats.commit(MarkRead("c", "ann", first.seq, "ann"))
    assert await devices(store, first) == ["c"]
    _, second = await send(store, user_id=None)
    assert await devices(store, second) == ["a1", "a2", "b", "c"]
    await store.chats.commit(NewMemberChange("c", "cid", MemberAction.REMOVE, None, START))
    assert await devices(store, second) == ["a1", "a2", "b"]
    # Without authentication, all that have read the chat, too.
    await store.chats.commit(MarkRead("c", "eve", 1))
    assert await devices(store, second, open_to_all=True) == ["a1", "a2", "b", "e"]


async def test_deleted_messages_and_chats_and_earlier_messages_have_no_recipients(store: Store) -> None:
    await add_device(store, "ann", "a")
    await add_device(store, "cid", "later", START + HOUR)
    committed, message = await send(store)
    assert await devices(store, message) == ["a"]
    message_id = committed.message_id if hasattr(committed, "message_id") else None
    (stored,), _ = await store.chats.messages("c", before=None, after=None, limit=1)
    assert message_id in {None, stored.id}
    await store.chats.commit(DeleteMessage("c", stored.id, START))
    assert await devices(store, message) == []
    _, message = await send(store)
    await store.chats.commit(DeleteChat("c", START, None))
    assert await devices(store, message) == []


async def test_a_device_belongs_to_one_user_and_a_user_has_a_limited_number(store: Store) -> None:
    await add_device(store, "ann", "shared")
    await add_device(store, "cid", "shared")
    _, message = await send(store)
    (only,) = await store.pushes.recipients(message, 10, open_to_all=False)
    assert only.device == PushDevice("shared", "cid", "https://push.example/shared", "key", "auth")
    await store.pushes.remove_device("shared", "ann")
    assert await devices(store, message) == ["shared"]
    await store.pushes.remove_device("shared", "cid")
    assert await devices(store, message) == []
    for number in range(MAX_DEVICES + 2):
        await add_device(store, "ann", f"d{number:02}", START - timedelta(seconds=MAX_DEVICES - number))
    found = await devices(store, message, limit=100)
    assert found == [f"d{number:02}" for number in range(2, MAX_DEVICES + 1)]
    await store.pushes.remove_device("d05", None)
    assert "d05" not in await devices(store, message, limit=100)
    await store.sessions.end_session(EndedSession(user_id="ann", ended_at=1, expires_at=2), 1)
    assert await devices(store, message) == []


async def test_one_process_moves_the_cursor_from_a_position(store: Store) -> None:
    pushes = store.pushes
    assert not (await pushes.push_state()).has_devices
    await add_device(store, "ann", "a")
    state = await pushes.push_state()
    assert (state.has_devices, state.cursor) == (True, None)
    await send(store)
    while await store.feed.place():
        pass
    await pushes.skip_to_end(None)
    await pushes.skip_to_end(None)
    begin = (await pushes.push_state()).cursor
    assert begin is not None
    assert not (await store.feed.read(begin, 10)).events
    await send(store)
    await store.feed.place()
    read = await store.feed.read(begin, 10)
    assert [event.seq for event in read.events] == [5]
    assert await pushes.advance(begin, read.cursor)
    assert not await pushes.advance(begin, read.cursor)
    assert not await pushes.advance(Cursor(epoch="other", seq=read.cursor.seq), begin)
    assert (await pushes.push_state()).cursor == read.cursor
    await pushes.forget_cursor()
    assert (await pushes.push_state()).cursor is None


async def test_a_cursor_of_a_replaced_history_marks_nothing_as_read(store: Store) -> None:
    _, message = await send(store)
    known = store.chats.epoch
    for epoch, seq in (("unknown", message.seq), (known, message.seq + 1)):
        assert await store.chats.commit(MarkRead("c", "ann", seq, "ann", epoch)) is None
    moved = await store.chats.commit(MarkRead("c", "ann", message.seq, "ann", known))
    assert moved is not None
    assert moved.seq == message.seq
