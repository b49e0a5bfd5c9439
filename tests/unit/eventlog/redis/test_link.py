"""One connection of the live feed, against a server played by the test."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from roomcast.chat.ports import LogUnavailable
from roomcast.eventlog.redis.link import Channel, Link
from roomcast.redis_client import RedisAddress, RedisOptions


class Owner:
    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def heard(self, channel: bytes, data: bytes) -> None:
        self.told.append(("heard", channel, data))

    def confirmed(self, link: Link, channels: Sequence[Channel]) -> None:
        self.told.append(("confirmed", *(channel.name for channel in channels)))

    def refused(self, link: Link, channels: Sequence[Channel], reason: str) -> None:
        self.told.append(("refused", *(channel.name for channel in channels), reason))

    def revoked(self, link: Link, name: str) -> None:
        self.told.append(("revoked", name))

    def lost(self, link: Link, cause: str) -> None:
        self.told.append(("lost", cause))


class Transport(asyncio.Transport):
    """Keeps what is written; an abort is told to the protocol in the next turn, as on a real loop."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.written = b""
        self._link = link
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self._closing

    def abort(self) -> None:
        self._closing = True
        asyncio.get_running_loop().call_soon(self._link.connection_lost, None)

    def commands(self) -> list[list[str]]:
        """What was written since the last call, as words."""
        found: list[list[str]] = []
        lines = self.written.decode().split("\r\n")
        self.written = b""
        for line in lines:
            if line.startswith("*"):
                found.append([])
            elif line and not line.startswith("$"):
                found[-1].append(line)
        return found


def opened(*, one_slot: bool = False, max_message_bytes: int = 1_000) -> tuple[Link, Transport, Owner]:
    owner = Owner()
    link = Link(RedisAddress("h", 1), owner, max_message_bytes=max_message_bytes, one_slot=one_slot)
    transport = Transport(link)
    link.connection_made(transport)
    return link, transport, owner


def array(*words: str | int) -> bytes:
    parts = (f":{word}\r\n" if isinstance(word, int) else f"${len(word)}\r\n{word}\r\n" for word in words)
    return f"*{len(words)}\r\n{''.join(parts)}".encode()


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_requests_of_one_turn_share_commands_in_their_order() -> None:
    link, transport, owner = opened()
    a, b, c = Channel("a"), Channel("b"), Channel("c")
    link.subscribe(a)
    link.subscribe(b)
    link.unsubscribe(a)
    link.subscribe(c)
    await turn()
    assert transport.commands() == [["SSUBSCRIBE", "a", "b"], ["SUNSUBSCRIBE", "a"], ["SSUBSCRIBE", "c"]]
    link.data_received(array("ssubscribe", "a", 1) + array("ssubscribe", "b", 2))
    link.data_received(array("sunsubscribe", "a", 1))
    link.data_received(array("ssubscribe", "c", 2))
    assert owner.told == [("confirmed", "a", "b"), ("confirmed", "c")]


async def test_in_a_cluster_each_sharded_channel_has_a_command_and_one_refusal_spares_the_others() -> None:
    link, transport, owner = opened(one_slot=True)
    for name in "ab":
        link.subscribe(Channel(name))
    await turn()
    assert transport.commands() == [["SSUBSCRIBE", "a"], ["SSUBSCRIBE", "b"]]
    link.data_received(b"-MOVED 1 127.0.0.1:7\r\n" + array("ssubscribe", "b", 1))
    assert owner.told == [("refused", "a", "MOVED 1 127.0.0.1:7"), ("confirmed", "b")]


async def test_many_channels_go_in_commands_of_bounded_size() -> None:
    link, transport, _ = opened()
    for number in range(600):
        link.subscribe(Channel(str(number)))
    await turn()
    assert [len(command) - 1 for command in transport.commands()] == [256, 256, 88]


async def test_messages_in_pieces_between_answers_are_heard_in_order() -> None:
    link, _, owner = opened()
    link.subscribe(Channel("a"))
    await turn()
    stream = array("smessage", "x", "1") + array("ssubscribe", "a", 1) + array("smessage", "a", "2")
    for position in range(len(stream)):
        link.data_received(stream[position : position + 1])
    assert owner.told == [("heard", b"x", b"1"), ("confirmed", "a"), ("heard", b"a", b"2")]


async def test_a_subscription_that_the_server_ends_is_told_apart_from_one_that_we_end() -> None:
    link, _, owner = opened()
    link.unsubscribe(Channel("ours"))
    await turn()
    link.data_received(array("sunsubscribe", "theirs", 1))
    link.data_received(array("sunsubscribe", "ours", 0))
    link.data_received(array("sunsubscribe", "theirs-too", 0))
    assert owner.told == [("revoked", "theirs"), ("revoked", "theirs-too")]


async def test_before_redis_7_channels_are_classic() -> None:
    link, transport, owner = opened()
    greeting = asyncio.create_task(link.greet(RedisOptions(username="u", password="p"), "canary"))
    await turn()
    assert transport.commands() == [["AUTH", "u", "p"]]
    link.data_received(b"+OK\r\n")
    await turn()
    assert transport.commands() == [["CLIENT", "SETNAME", "roomcast-feed"]]
    link.data_received(b"+OK\r\n")
    await turn()
    assert transport.commands() == [["SSUBSCRIBE", "canary"]]
    link.data_received(b"-ERR unknown command `SSUBSCRIBE`, with args beginning with: `canary`\r\n")
    await turn()
    assert transport.commands() == [["SUBSCRIBE", "canary"]]
    link.data_received(array("subscribe", "canary", 1))
    await greeting
    link.subscribe(Channel("a"))
    await turn()
    assert transport.commands() == [["SUBSCRIBE", "a"]]
    link.data_received(array("subscribe", "a", 2) + array("message", "a", "x"))
    assert owner.told == [("confirmed", "a"), ("heard", b"a", b"x")]


async def test_a_refused_login_is_told_to_whom_it_concerns() -> None:
    link, _, owner = opened()
    greeting = asyncio.create_task(link.greet(RedisOptions(password="p"), "canary"))
    await turn()
    link.data_received(b"-WRONGPASS invalid\r\n")
    with pytest.raises(LogUnavailable, match="WRONGPASS"):
        await greeting
    assert owner.told == []


async def test_a_ping_is_answered_after_everything_before_it() -> None:
    link, transport, owner = opened()
    link.subscribe(Channel("a"))
    ping = asyncio.create_task(link.ping())
    await turn()
    assert transport.commands() == [["SSUBSCRIBE", "a"], ["PING"]]
    link.data_received(array("ssubscribe", "a", 1))
    assert not ping.done()
    link.data_received(array("pong", ""))
    await ping
    assert owner.told == [("confirmed", "a")]


@pytest.mark.parametrize(
    ("stream", "cause"),
    [
        (b"+OK\r\n", "protocol"),
        (b"-ERR what\r\n", "protocol"),
        (array("pong", ""), "protocol"),
        (b"?junk\r\n", "protocol"),
        (b"$2000000\r\n" + b"x" * 1_100, "oversize"),
    ],
)
async def test_a_conversation_out_of_step_ends_and_is_told_once(stream: bytes, cause: str) -> None:
    link, transport, owner = opened()
    link.data_received(stream)
    link.abort("again")
    await turn()
    assert transport.is_closing()
    assert owner.told == [("lost", cause)]


async def test_a_lost_connection_fails_whoever_waits_and_a_closed_one_tells_nobody() -> None:
    link, _, owner = opened()
    ping = asyncio.create_task(link.ping())
    await turn()
    link.connection_lost(ConnectionResetError("reset"))
    with pytest.raises(LogUnavailable, match="reset"):
        await ping
    assert owner.told == [("lost", "closed")]
    link, _, owner = opened()
    link.close()
    await turn()
    assert owner.told == []
