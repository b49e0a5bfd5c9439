"""One pub/sub connection, against a server that the test plays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from roomcast.redis_client import (
    RedisAddress,
    RedisConnection,
    RedisOptions,
    RedisUnavailable,
    SentCommand,
    channel_batches,
    pack_command,
)
from support.redis_transport import RedisTransport, resp_array, two_turns


class Recording(RedisConnection):
    def __init__(self, *, max_message_bytes: int = 1_000) -> None:
        super().__init__(RedisAddress("h", 1), max_message_bytes=max_message_bytes)
        self.events: list[tuple[object, ...]] = []

    def message_received(self, message: list[bytes]) -> None:
        self.events.append(("message", *message))

    def command_done(self, sent: SentCommand, reply: Any) -> None:
        del reply
        self.events.append(("done", sent.verb))

    def command_refused(self, sent: SentCommand, reason: str) -> None:
        self.events.append(("refused", sent.verb, reason))


def opened(**options: int) -> tuple[Recording, RedisTransport]:
    connection = Recording(**options)
    transport = RedisTransport(connection)
    connection.connection_made(transport)
    return connection, transport


async def test_replies_belong_to_commands_in_their_order() -> None:
    connection, transport = opened()
    connection.send([pack_command(("PUBLISH", "c", b"1"))], [SentCommand()])
    first, second = (asyncio.create_task(connection.ask("GET", name)) for name in "ab")
    await two_turns()
    assert transport.commands() == [["PUBLISH", "c", "1"], ["GET", "a"], ["GET", "b"]]
    connection.data_received(b":1\r\n$1\r\nA\r\n-ERR no\r\n")
    assert await first == b"A"
    with pytest.raises(RedisUnavailable, match="ERR no"):
        await second
    assert connection.events == [("done", b"")]


async def test_a_refused_command_that_is_not_awaited_is_reported() -> None:
    connection, _ = opened()
    connection.send([pack_command(("PUBLISH", "c", b"1"))], [SentCommand()])
    connection.data_received(b"-READONLY replica\r\n")
    assert connection.events == [("refused", b"", "READONLY replica")]


async def test_a_subscription_is_confirmed_with_its_last_channel_and_messages_may_come_between() -> None:
    connection, transport = opened()
    subscribing = asyncio.create_task(connection.ask_subscription("PSUBSCRIBE", "a*", "b*"))
    await two_turns()
    assert transport.commands() == [["PSUBSCRIBE", "a*", "b*"]]
    stream = resp_array("psubscribe", "a*", 1) + resp_array("pmessage", "a*", "a1", "x")
    for position in range(len(stream)):
        connection.data_received(stream[position : position + 1])
    await two_turns()
    assert not subscribing.done()
    connection.data_received(resp_array("psubscribe", "b*", 2))
    await subscribing
    assert connection.events == [("message", b"pmessage", b"a*", b"a1", b"x")]


async def test_a_ping_is_answered_the_same_way_with_and_without_subscriptions() -> None:
    connection, _ = opened()
    for reply in (b"+PONG\r\n", resp_array("pong", "")):
        ping = asyncio.create_task(connection.ping())
        await two_turns()
        connection.data_received(reply)
        await ping


async def test_an_unsubscription_by_the_server_ends_the_connection_by_default() -> None:
    connection, _ = opened()
    connection.data_received(resp_array("unsubscribe", "c", 0))
    await two_turns()
    assert connection.lost.result() == "revoked"


@pytest.mark.parametrize(
    ("stream", "cause"),
    [
        (b"+OK\r\n", "protocol"),
        (b"-ERR what\r\n", "protocol"),
        (resp_array("pong", ""), "protocol"),
        (resp_array("subscribe", "c", 1), "protocol"),
        (b"?junk\r\n", "protocol"),
        (b"$2000000\r\n" + b"x" * 1_100, "oversize"),
    ],
)
async def test_a_reply_without_a_command_ends_the_connection_and_the_first_cause_counts(
    stream: bytes, cause: str
) -> None:
    connection, transport = opened()
    connection.data_received(stream)
    connection.abort("again")
    await two_turns()
    assert transport.is_closing()
    assert connection.lost.result() == cause


async def test_a_lost_connection_fails_every_pending_command_and_takes_no_more() -> None:
    connection, transport = opened()
    ping = asyncio.create_task(connection.ping())
    await two_turns()
    connection.connection_lost(ConnectionResetError("reset"))
    with pytest.raises(RedisUnavailable, match="reset"):
        await ping
    assert connection.lost.result() == "closed"
    transport.abort()
    with pytest.raises(RedisUnavailable, match="closed"):
        await connection.ping()


async def test_messages_after_an_abort_are_not_delivered() -> None:
    connection, _ = opened()
    connection.abort()
    connection.data_received(resp_array("message", "c", "1") + resp_array("message", "c", "2"))
    assert len(connection.events) == 1  # hiredis had parsed it


async def test_opening_logs_in_names_the_client_and_greets() -> None:
    received: list[bytes] = []
    # An ACL may forbid CLIENT SETNAME; that is no reason to fail.
    replies = [b"+OK\r\n", b"-NOPERM no\r\n", b"+PONG\r\n"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            received.append(await reader.read(1_000))
            writer.write(reply)
        writer.close()

    class Greeting(Recording):
        async def greet(self) -> None:
            await self.ping()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    connection = Greeting()
    connection.address = RedisAddress("127.0.0.1", server.sockets[0].getsockname()[1])
    await connection.open(RedisOptions(username="u", password="p"), "test-client")
    assert received == [
        pack_command(words) for words in (["AUTH", "u", "p"], ["CLIENT", "SETNAME", "test-client"], ["PING"])
    ]
    assert await connection.lost == "closed"
    server.close()
    await server.wait_closed()


async def test_a_refused_login_is_unavailable_and_closes_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1_000)
        writer.write(b"-WRONGPASS invalid\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    connection = Recording()
    connection.address = RedisAddress("127.0.0.1", server.sockets[0].getsockname()[1])
    with pytest.raises(RedisUnavailable, match="WRONGPASS"):
        await connection.open(RedisOptions(password="p"), "test-client")
    assert await connection.lost == "closed"
    server.close()
    await server.wait_closed()


async def test_a_server_that_is_down_is_unavailable() -> None:
    connection = Recording()
    connection.address = RedisAddress("127.0.0.1", 1)
    with pytest.raises(RedisUnavailable, match=r"127\.0\.0\.1:1"):
        await connection.open(RedisOptions(connect_timeout_s=1.0), "test")


def test_many_channels_are_split_into_commands_of_bounded_size() -> None:
    assert [len(batch) for batch in channel_batches(range(600))] == [256, 256, 88]
    assert list(channel_batches([1, 2], 1)) == [(1,), (2,)]
