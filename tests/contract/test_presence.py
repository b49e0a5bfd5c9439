"""The contract of `chat.ports.PresenceBoard`, over every implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from roomcast.chat.ports import PresenceBoard, PresenceUnavailable
from roomcast.presence.memory import MemoryPresenceBoard
from roomcast.presence.redis import RedisPresenceBoard, RedisPresenceOptions
from roomcast.redis_client import Commands, RedisAddress, RedisOptions
from support.redis_server import RedisServer, running

CHAT = "chat-1"
FULL_KEY = "roomcast:{chat-1}:here-full"
A, B = "node-a00", "node-b00"

Boards = Callable[[str], PresenceBoard]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


def at(server: RedisServer) -> RedisOptions:
    return RedisOptions(addresses=(RedisAddress("127.0.0.1", server.port),), command_timeout_s=1.0)


@pytest.fixture(params=["memory", "redis"])
async def boards(request: pytest.FixtureRequest) -> AsyncIterator[Boards]:
    """Creates the boards of several gateways over the same entries, empty at first."""
    if request.param == "memory":
        shared: dict[str, dict[str, set[str]]] = {}
        yield lambda node_id: MemoryPresenceBoard(node_id, shared)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    commands = Commands(at(server))
    yield lambda node_id: RedisPresenceBoard(commands, node_id)
    await commands.close()


async def entries(board: PresenceBoard, chat_id: str = CHAT) -> dict[str, set[str]]:
    return {node: set(users) for node, users in (await board.read(chat_id)).users.items()}


async def test_the_board_of_an_unused_chat_is_empty(boards: Boards) -> None:
    board = boards(A)
    assert await entries(board) == {}
    await board.remove(CHAT, ["ann"])
    await board.add(CHAT, [])
    assert await entries(board) == {}


async def test_gateways_see_each_others_users_under_their_ids(boards: Boards) -> None:
    a, b = boards(A), boards(B)
    await a.add(CHAT, ["ann", "ben"])
    await b.add(CHAT, ["ben", "cleo"])
    await b.add("other", ["dan"])
    assert await entries(a) == await entries(b) == {A: {"ann", "ben"}, B: {"ben", "cleo"}}
    await a.remove(CHAT, ["ben", "nobody"])
    assert await entries(b) == {A: {"ann"}, B: {"ben", "cleo"}}
    await a.remove(CHAT, ["ann"])
    assert await entries(b) == {B: {"ben", "cleo"}}
    assert await entries(a, "other") == {B: {"dan"}}


async def test_adding_is_idempotent(boards: Boards) -> None:
    board = boards(A)
    for _ in range(3):
        await board.add(CHAT, ["ann"])
    assert await entries(board) == {A: {"ann"}}


async def test_a_gateway_can_evict_the_users_of_another(boards: Boards) -> None:
    a, b = boards(A), boards(B)
    await a.add(CHAT, ["ann", "ben"])
    await b.add(CHAT, ["ann"])
    await b.evict(CHAT, A, ["ann", "ben"])
    assert await entries(b) == {B: {"ann"}}


async def test_every_gateway_reads_the_same_epoch_while_no_data_is_lost(boards: Boards) -> None:
    a, b = boards(A), boards(B)
    epoch = (await a.read(CHAT)).epoch  # also of an empty board
    await b.add(CHAT, ["ann"])
    assert (await b.read(CHAT)).epoch == epoch
    await b.remove(CHAT, ["ann"])
    assert (await a.read(CHAT)).epoch == epoch


async def test_any_user_id_is_read_back_unchanged(boards: Boards) -> None:
    users = {"x", " ", "{}", "a:b", "0" * 128, "李", "😀", '"\\', "node-b00", "node-b00ann"}
    board = boards(A)
    await board.add(CHAT, users)
    assert await entries(boards(B)) == {A: users}


async def test_more_users_than_one_call_carries(boards: Boards) -> None:
    users = {f"user {number}" for number in range(1_000)}
    board = boards(A)
    await board.add(CHAT, users)
    assert await entries(board) == {A: users}
    await board.remove(CHAT, users)
    assert await entries(board) == {}


# -- the board in Redis -----------------------------------------------------------------------------------------------


async def test_every_key_expires_and_adding_renews_it(redis_server: RedisServer) -> None:
    redis_server.command("FLUSHALL")
    commands = Commands(at(redis_server))
    board = RedisPresenceBoard(commands, A, RedisPresenceOptions(ttl_s=50))
    await board.add("a {b} c", ["ann"])
    (key,) = ["roomcast:{a%20%7Bb%7D%20c}:here"]
    assert 0 < int(redis_server.command("PTTL", key)[1:]) <= 50_000
    redis_server.command("PEXPIRE", key, "1000")
    await board.add("a {b} c", ["ann"])
    assert int(redis_server.command("PTTL", key)[1:]) > 1_000
    assert redis_server.command("DBSIZE") == b":1"
    await commands.close()


async def test_a_board_that_lost_its_data_has_another_epoch(redis_server: RedisServer) -> None:
    commands = Commands(at(redis_server))
    board = RedisPresenceBoard(commands, A)
    await board.add(CHAT, ["ann"])
    before = await board.read(CHAT)
    redis_server.command("FLUSHALL")
    await board.add(CHAT, ["ann"])
    after = await board.read(CHAT)
    assert after.users == before.users
    assert after.epoch != before.epoch
    await commands.close()


async def test_the_key_of_a_chat_that_is_only_read_expires(redis_server: RedisServer) -> None:
    redis_server.command("FLUSHALL")
    commands = Commands(at(redis_server))
    assert await entries(RedisPresenceBoard(commands, A, RedisPresenceOptions(ttl_s=50))) == {}
    assert 0 < int(redis_server.command("PTTL", "roomcast:{chat-1}:here")[1:]) <= 50_000
    await commands.close()


async def test_a_full_chat_refuses_users_and_counts_them(redis_server: RedisServer) -> None:
    redis_server.command("FLUSHALL")
    commands = Commands(at(redis_server))
    board = RedisPresenceBoard(commands, A, RedisPresenceOptions(max_entries=2))
    await board.add(CHAT, ["ann", "ben", "cleo"])
    await board.add(CHAT, ["ann", "dan"])
    assert await entries(board) == {A: {"ann", "ben"}}
    assert board.counters["refused"] == 2
    await commands.close()


async def test_a_board_that_refused_users_is_partial_until_its_entries_would_expire(redis_server: RedisServer) -> None:
    redis_server.command("FLUSHALL")
    commands = Commands(at(redis_server))
    board = RedisPresenceBoard(commands, A, RedisPresenceOptions(max_entries=2, ttl_s=50))
    await board.add(CHAT, ["ann", "ben"])
    await board.add(CHAT, ["ann", "ben"])
    assert (await board.read(CHAT)).partial is False  # all users have an entry
    await board.add(CHAT, ["ann", "cleo"])
    assert (await board.read(CHAT)).partial is True
    await board.remove(CHAT, ["ann"])
    await board.add(CHAT, ["ben"])
    # There is room now, but the refused user may not have been added again.
    assert (await board.read(CHAT)).partial is True
    assert 0 < int(redis_server.command("PTTL", FULL_KEY)[1:]) <= 50_000
    redis_server.command("DEL", FULL_KEY)  # as when it expires
    assert (await board.read(CHAT)).partial is False
    await commands.close()


async def test_malformed_entries_are_ignored_and_counted(redis_server: RedisServer) -> None:
    redis_server.command("FLUSHALL")
    commands = Commands(at(redis_server))
    board = RedisPresenceBoard(commands, A)
    await board.add(CHAT, ["ann"])
    for junk in ("", "short", "8letters", b"\xff\xfe" * 8, "node-a00\x00", "node-a00" + "x" * 129):
        redis_server.command("HSET", "roomcast:{chat-1}:here", junk, "1")
    assert await entries(board) == {A: {"ann"}}
    assert board.counters["malformed"] == 6
    await commands.close()


async def test_a_value_of_another_type_is_replaced(redis_server: RedisServer) -> None:
    commands = Commands(at(redis_server))
    board = RedisPresenceBoard(commands, A)
    key = "roomcast:{chat-1}:here"
    for spoil in (("SET", key, "x"), ("RPUSH", key, "x"), ("SADD", key, "x"), ("XADD", key, "*", "x", "x")):
        for attempt in ("add", "remove", "read"):
            redis_server.command("DEL", key)
            redis_server.command(*spoil)
            if attempt == "read":
                assert await entries(board) == {}
            else:
                await getattr(board, attempt)(CHAT, ["ann"])
            assert await entries(board) == ({A: {"ann"}} if attempt == "add" else {})
    await commands.close()


async def test_a_hash_that_is_larger_than_any_board_is_not_read(redis_server: RedisServer) -> None:
    redis_server.command("FLUSHALL")
    commands = Commands(at(redis_server))
    board = RedisPresenceBoard(commands, A, RedisPresenceOptions(max_entries=10))
    for number in range(21):
        redis_server.command("HSET", "roomcast:{chat-1}:here", f"{A}user {number}", "1")
    assert await entries(board) == {}
    await board.add(CHAT, ["ann"])
    assert await entries(board) == {A: {"ann"}}
    await commands.close()


async def test_an_unreachable_redis_raises_presence_unavailable(tmp_path: Path) -> None:
    with running(RedisServer(tmp_path)) as server:
        commands = Commands(at(server))
    board = RedisPresenceBoard(commands, A)
    for attempt in (board.add(CHAT, ["a"]), board.remove(CHAT, ["a"]), board.read(CHAT), board.evict(CHAT, B, ["a"])):
        with pytest.raises(PresenceUnavailable):
            await attempt
    await commands.close()
