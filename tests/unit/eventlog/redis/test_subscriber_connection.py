"""One subscriber connection of the log, against a server that the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from roomcast.eventlog.redis.subscriber_connection import Channel, SubscriberConnection
from roomcast.redis_client import RedisAddress, RedisUnavailable
from support.redis_transport import RedisTransport, resp_array, two_turns


class RecordingHandler:
    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def handle_message(self, channel: bytes, data: bytes) -> None:
        self.events.append(("message", channel, data))

    def handle_confirmed(self, connection: SubscriberConnection, channels: Sequence[Channel]) -> None:
        self.events.append(("confirmed", *(channel.name for channel in channels)))

    def handle_refused(self, connection: SubscriberConnection, channels: Sequence[Channel], reason: str) -> None:
        self.events.append(("refused", *(channel.name for channel in channels), reason))

    def handle_revoked(self, connection: SubscriberConnection, name: str) -> None:
        self.events.append(("revoked", name))


def opened(*, one_slot: bool = False) -> tuple[SubscriberConnection, RedisTransport, RecordingHandler]:
    handler = RecordingHandler()
    connection = SubscriberConnection(
        RedisAddress("h", 1), handler, "canary", max_message_bytes=1_000, one_slot=one_slot
    )
    transport = RedisTransport(connection)
    connection.connection_made(transport)
    return connection, transport, handler


async def test_changes_of_one_turn_share_commands_in_their_order() -> None:
    connection, transport, handler = opened()
    a, b, c = Channel("a"), Channel("b"), Channel("c")
    connection.subscribe(a)
    connection.subscribe(b)
    connection.unsubscribe(a)
    connection.subscribe(c)
    await two_turns()
    assert transport.commands() == [["SSUBSCRIBE", "a", "b"], ["SUNSUBSCRIBE", "a"], ["SSUBSCRIBE", "c"]]
    connection.data_received(resp_array("ssubscribe", "a", 1) + resp_array("ssubscribe", "b", 2))
    connection.data_received(resp_array("sunsubscribe", "a", 1))
    connection.data_received(resp_array("ssubscribe", "c", 2))
    assert handler.events == [("confirmed", "a", "b"), ("confirmed", "c")]


async def test_in_a_cluster_each_sharded_channel_has_a_command_and_a_refusal_concerns_only_its_own() -> None:
    connection, transport, handler = opened(one_slot=True)
    for name in "ab":
        connection.subscribe(Channel(name))
    await two_turns()
    assert transport.commands() == [["SSUBSCRIBE", "a"], ["SSUBSCRIBE", "b"]]
    connection.data_received(b"-MOVED 1 127.0.0.1:7\r\n" + resp_array("ssubscribe", "b", 1))
    assert handler.events == [("refused", "a", "MOVED 1 127.0.0.1:7"), ("confirmed", "b")]


async def test_many_channels_go_in_commands_of_bounded_size() -> None:
    connection, transport, _ = opened()
    for number in range(600):
        connection.subscribe(Channel(str(number)))
    await two_turns()
    assert [len(command) - 1 for command in transport.commands()] == [256, 256, 88]


async def test_messages_in_pieces_between_replies_are_delivered_in_order() -> None:
    connection, _, handler = opened()
    connection.subscribe(Channel("a"))
    await two_turns()
    stream = resp_array("smessage", "x", "1") + resp_array("ssubscribe", "a", 1) + resp_array("smessage", "a", "2")
    for position in range(len(stream)):
        connection.data_received(stream[position : position + 1])
    assert handler.events == [("message", b"x", b"1"), ("confirmed", "a"), ("message", b"a", b"2")]


async def test_an_unsubscription_by_the_server_is_told_apart_from_a_requested_one() -> None:
    connection, _, handler = opened()
    connection.unsubscribe(Channel("ours"))
    await two_turns()
    connection.data_received(resp_array("sunsubscribe", "theirs", 1))
    connection.data_received(resp_array("sunsubscribe", "ours", 0))
    connection.data_received(resp_array("sunsubscribe", "theirs-too", 0))
    assert handler.events == [("revoked", "theirs"), ("revoked", "theirs-too")]


async def test_before_redis_7_channels_are_classic() -> None:
    connection, transport, handler = opened()
    greeting = asyncio.create_task(connection.greet())
    await two_turns()
    assert transport.commands() == [["SSUBSCRIBE", "canary"]]
    connection.data_received(b"-ERR unknown command `SSUBSCRIBE`, with args beginning with: `canary`\r\n")
    await two_turns()
    assert transport.commands() == [["SUBSCRIBE", "canary"]]
    connection.data_received(resp_array("subscribe", "canary", 1))
    await greeting
    connection.subscribe(Channel("a"))
    await two_turns()
    assert transport.commands() == [["SUBSCRIBE", "a"]]
    connection.data_received(resp_array("subscribe", "a", 2) + resp_array("message", "a", "x"))
    assert handler.events == [("confirmed", "a"), ("message", b"a", b"x")]


async def test_a_refused_canary_fails_the_greeting() -> None:
    connection, _, handler = opened()
    greeting = asyncio.create_task(connection.greet())
    await two_turns()
    connection.data_received(b"-NOPERM no access\r\n")
    with pytest.raises(RedisUnavailable, match="NOPERM"):
        await greeting
    assert handler.events == []


async def test_a_ping_sends_queued_subscriptions_before_itself() -> None:
    connection, transport, handler = opened()
    connection.subscribe(Channel("a"))
    ping = asyncio.create_task(connection.ping())
    await two_turns()
    assert transport.commands() == [["SSUBSCRIBE", "a"], ["PING"]]
    connection.data_received(resp_array("ssubscribe", "a", 1))
    assert not ping.done()
    connection.data_received(resp_array("pong", ""))
    await ping
    assert handler.events == [("confirmed", "a")]
