from __future__ import annotations

import asyncio

import pytest

from roomcast.gateway.delivery.membership import Memberships, removed_user
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
    assert removed_user(args) == user_id


def test_a_removal_kicks_every_socket_of_that_user_and_no_other() -> None:
    world = World()
    world.enter("bob", "s1")
    world.enter("bob", "s2")
    world.enter("ada", "s3")
    world.memberships.kick("a", "bob")
    world.memberships.kick("other", "ada")
    assert world.kicked == ["s1", "s2"]


def test_a_recheck_kicks_the_users_that_the_api_denies_and_asks_once_for_each() -> None:
    async def main() -> None:
        world = World()
        world.database.members = {"ada"}
        for user_id, sid in (("ada", "s1"), ("bob", "s2"), ("eve", "s3")):
            world.enter(user_id, sid)
        world.memberships.recheck("a", "bob")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert world.kicked == ["s2"]
        world.memberships.recheck("a")
        world.memberships.recheck("a")
        await asyncio.sleep(1)
        assert world.kicked == ["s2", "s3"]
        assert world.database.admissions == 3

    run_in_virtual_time(main())


def test_a_recheck_retries_until_the_api_answers_or_the_user_has_left() -> None:
    async def main() -> None:
        world = World()
        world.database.members = set()
        world.database.available = False
        world.enter("bob", "s1")
        world.enter("eve", "s2")
        world.memberships.recheck("a")
        await asyncio.sleep(7)
        world.memberships.discard("a", "eve", "s2")
        world.database.available = True
        await asyncio.sleep(4)
        assert world.kicked == ["s1"]
        assert world.database.admissions == 5
        await world.memberships.close()

    run_in_virtual_time(main())


def test_closing_cancels_all_rechecks() -> None:
    async def main() -> None:
        world = World()
        world.database.available = False
        world.enter("bob", "s1")
        world.memberships.recheck("a")
        await asyncio.sleep(1)
        await world.memberships.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_in_virtual_time(main())
