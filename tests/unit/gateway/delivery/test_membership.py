from __future__ import annotations

import asyncio

import pytest

from roomcast.chat.ports import Head
from roomcast.gateway.delivery.membership import Memberships, is_deletion, removed_user
from support.gateway_model import Database, UnreliableLog
from support.virtual_time import run_in_virtual_time


class World:
    def __init__(self) -> None:
        self.database = Database(UnreliableLog())
        self.memberships = Memberships(self.database, retry_s=5.0)
        self.kicked: list[str] = []

    def enter(self, user_id: str, sid: str) -> None:
        def kick() -> None:
            self.memberships.discard("a", user_id, sid)
            self.kicked.append(sid)

        self.memberships.add("a", user_id, sid, kick)


@pytest.mark.parametrize(
    ("args", "user_id"),
    [
        (b'["member-removed",{"chatId":"a","userId":"bob","seq":3}]', "bob"),
        (b'["member-added",{"userId":"bob"}]', None),
        (b'["new-msg",{"content":"[\\"member-removed\\",{}]"}]', None),
    ],
)
def test_only_removals_are_decoded(args, user_id) -> None:
    assert removed_user("c1", args) == user_id


def test_a_removal_kicks_every_socket_of_that_user_and_no_other() -> None:
    world = World()
    world.enter("bob", "s1")
    world.enter("bob", "s2")
    world.enter("ada", "s3")
    world.memberships.remove("a", "bob")
    world.memberships.remove("other", "ada")
    assert world.kicked == ["s1", "s2"]


def test_a_deletion_kicks_every_socket_of_the_chat() -> None:
    world = World()
    for user_id, sid in (("bob", "s1"), ("bob", "s2"), ("ada", "s3")):
        world.enter(user_id, sid)
    world.memberships.remove_all("other")
    assert world.kicked == []
    world.memberships.remove_all("a")
    assert world.kicked == ["s1", "s2", "s3"]
    assert not world.memberships.has_users("a")
    assert is_deletion(b'["chat-deleted",{"chatId":"a"}]')
    assert not is_deletion(b'["new-msg",{"content":"chat-deleted"}]')


def test_a_removal_deletes_the_cached_admission() -> None:
    world = World()
    world.database.grants["a", "bob"] = Head("e1", 3)
    world.memberships.remove("a", "bob")
    assert world.database.grants == {}


def test_confirming_kicks_the_users_that_the_api_denies_and_asks_once_for_each() -> None:
    async def main() -> None:
        world = World()
        world.database.members = {"ada"}
        for user_id, sid in (("ada", "s1"), ("ada", "s2"), ("bob", "s3"), ("eve", "s4")):
            world.enter(user_id, sid)
        await world.memberships.confirm("a")
        assert world.kicked == ["s3", "s4"]
        assert world.database.admissions == 3

    run_in_virtual_time(main())


def test_confirming_waits_for_the_api_and_for_users_that_are_still_in_the_room() -> None:
    async def main() -> None:
        world = World()
        world.database.members = set()
        world.database.available = False
        world.enter("bob", "s1")
        world.enter("eve", "s2")
        confirming = asyncio.create_task(world.memberships.confirm("a"))
        await asyncio.sleep(60)
        assert not confirming.done()
        world.memberships.discard("a", "eve", "s2")
        world.database.available = True
        await asyncio.sleep(6)
        assert confirming.done()
        assert world.kicked == ["s1"]

    run_in_virtual_time(main())


def test_a_user_that_enters_while_others_are_confirmed_is_confirmed_too() -> None:
    async def main() -> None:
        world = World()
        world.database.members = {"ada"}
        world.database.available = False
        world.enter("ada", "s1")
        confirming = asyncio.create_task(world.memberships.confirm("a"))
        await asyncio.sleep(1)
        world.enter("bob", "s2")
        world.database.available = True
        await confirming
        assert world.kicked == ["s2"]

    run_in_virtual_time(main())


def test_a_bug_in_confirming_a_user_is_logged_and_the_attempt_repeated(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World()
        world.enter("ada", "s1")
        confirm, failures = world.database.confirm, [KeyError("a bug")]

        async def fail_once(chat_id: str, user_id: str) -> None:
            if failures:
                raise failures.pop()
            await confirm(chat_id, user_id)

        world.database.confirm = fail_once  # type: ignore[method-assign]  # the bug
        await world.memberships.confirm("a")

    run_in_virtual_time(main())
    assert "a bug" in caplog.text


def test_a_kick_that_fails_keeps_no_other_socket_in_the_room_and_no_chat_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        world = World()
        world.database.members = set()

        def fail() -> None:
            world.memberships.discard("a", "bob", "s0")
            raise KeyError("a bug in a kick")

        world.memberships.add("a", "bob", "s0", fail)
        world.enter("bob", "s1")
        await world.memberships.confirm("a")
        assert world.kicked == ["s1"]

    run_in_virtual_time(main())
    assert "a bug in a kick" in caplog.text


def test_thousands_of_users_are_confirmed_at_the_same_time() -> None:
    async def main() -> None:
        world = World()

        async def slow(_chat_id: str, _user_id: str) -> None:
            await asyncio.sleep(0.01)

        world.database.confirm = slow  # type: ignore[method-assign]  # takes 10 ms
        for number in range(2_560):
            world.enter(f"u{number}", f"s{number}")
        async with asyncio.timeout(0.2):
            await world.memberships.confirm("a")

    run_in_virtual_time(main())


def test_an_outage_of_the_api_is_logged_more_and_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World()
        world.database.available = False
        world.enter("bob", "s1")
        confirming = asyncio.create_task(world.memberships.confirm("a"))
        await asyncio.sleep(300)
        confirming.cancel()

    run_in_virtual_time(main())
    assert 5 <= len(caplog.records) <= 8
