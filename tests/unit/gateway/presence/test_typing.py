"""Typing notices in virtual time: which sockets receive them, how often, and when a stop follows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from roomcast.contract.errors import ErrorCode
from roomcast.gateway.presence.signals import Signals, TypingSignal
from roomcast.gateway.presence.tracker import PresenceTracker
from roomcast.gateway.presence.typing import TypingNotices, TypingOptions, TypingRejected
from roomcast.gateway.rooms import chat_room
from roomcast.presence.memory import MemoryPresenceBoard, SingleNode
from support.gateway_model import ClientSocket, LocalRooms, UnreliableLog
from support.virtual_time import run_in_virtual_time

OPTIONS = TypingOptions()


class TypingGateway:
    """The parts of a gateway that typing needs."""

    def __init__(self, log: UnreliableLog, node_id: str) -> None:
        self.log = log
        self.rooms = LocalRooms()
        self.signals = Signals(log, node_id)
        self.presence = PresenceTracker(self.rooms, MemoryPresenceBoard(), SingleNode(), self.signals)
        #: The users that may not write.
        self.silent: set[str] = set()
        self.typing = TypingNotices(
            self.rooms, self.presence, self.signals, node_id, is_silent=lambda _chat_id, user_id: user_id in self.silent
        )

    def join(self, user: str | None, *chats: str) -> ClientSocket:
        socket = self.rooms.socket()
        if user is not None:
            self.presence.identify(socket.sid, user)
        for chat_id in chats:
            socket.join(chat_room(chat_id))
            self.presence.entered(socket, chat_id)
        return socket

    def leave(self, socket: ClientSocket, chat_id: str) -> None:
        socket.leave(chat_room(chat_id))
        self.typing.left(socket.sid, chat_id)
        self.presence.left(socket.sid, chat_id)


def notices(socket: ClientSocket) -> list[tuple[Any, ...]]:
    return [(data["chatId"], data["userId"], data["typing"]) for name, data in socket.frames if name == "typing"]


def run(scenario: Callable[[TypingGateway, TypingGateway], Awaitable[None]], random: Random | None = None) -> None:
    async def main() -> None:
        log = UnreliableLog(random)
        here, there = TypingGateway(log, "node-001"), TypingGateway(log, "node-002")
        for gateway in (here, there):
            for chat_id in ("a", "b"):
                await log.subscribe(
                    chat_id,
                    lambda _epoch, _entries: None,
                    lambda payload, gateway=gateway, chat_id=chat_id: gateway.signals.take(chat_id, payload),  # type: ignore[misc]  # bound now
                )
        await scenario(here, there)
        for gateway in (here, there):
            await gateway.presence.close()
            await gateway.signals.close()

    run_in_virtual_time(main())


def test_a_notice_reaches_the_other_sockets_of_the_chat_on_every_gateway() -> None:
    async def scenario(here: TypingGateway, there: TypingGateway) -> None:
        ann, ben, cleo = here.join("ann", "a", "b"), here.join("ben", "a"), there.join("cleo", "a")
        other_chat = there.join("dan", "b")
        here.typing.set_typing(ann.sid, "a", typing=True)
        await asyncio.sleep(0.1)
        here.typing.set_typing(ann.sid, "a", typing=False)
        await asyncio.sleep(0.1)
        assert notices(ann) == notices(other_chat) == []
        assert notices(ben) == notices(cleo) == [("a", "ann", True), ("a", "ann", False)]

    run(scenario)


def test_a_repeated_start_is_forwarded_once_a_second() -> None:
    async def scenario(here: TypingGateway, _there: TypingGateway) -> None:
        ann, ben = here.join("ann", "a"), here.join("ben", "a")
        for _ in range(25):
            here.typing.set_typing(ann.sid, "a", typing=True)
            await asyncio.sleep(0.1)
        assert notices(ben) == [("a", "ann", True)] * 3

    run(scenario)


def test_alternating_notices_are_forwarded_a_few_times_a_second() -> None:
    async def scenario(here: TypingGateway, _there: TypingGateway) -> None:
        ann, ben = here.join("ann", "a"), here.join("ben", "a")
        for number in range(1_000):
            here.typing.set_typing(ann.sid, "a", typing=number % 2 == 0)
            await asyncio.sleep(0.001)
        received = [typing for _, _, typing in notices(ben)]
        assert len(received) <= 8
        assert received == [number % 2 == 0 for number in range(len(received))]
        assert received[-1] is False

    run(scenario)


def test_a_start_right_after_a_stop_is_forwarded_later_without_a_repeat() -> None:
    async def scenario(here: TypingGateway, there: TypingGateway) -> None:
        ann, ben, cleo = here.join("ann", "a"), here.join("ben", "a"), there.join("cleo", "a")
        here.typing.set_typing(ann.sid, "a", typing=True)
        await asyncio.sleep(1)
        here.typing.set_typing(ann.sid, "a", typing=False)
        for _ in range(3):
            await asyncio.sleep(OPTIONS.restart_s / 4)
            here.typing.set_typing(ann.sid, "a", typing=True)
            assert [typing for _, _, typing in notices(ben)] == [True, False]
        await asyncio.sleep(OPTIONS.restart_s / 2)
        assert notices(ben) == notices(cleo) == [("a", "ann", typing) for typing in (True, False, True)]
        await asyncio.sleep(10)
        assert len(notices(ben)) == len(notices(cleo)) == 3

    run(scenario)


@pytest.mark.parametrize("leave", [True, False], ids=["leaves", "stops"])
def test_a_delayed_start_is_dropped_if_the_user_leaves_or_stops_first(*, leave: bool) -> None:
    async def scenario(here: TypingGateway, _there: TypingGateway) -> None:
        ann, ben = here.join("ann", "a"), here.join("ben", "a")
        for typing in (True, False, True):
            here.typing.set_typing(ann.sid, "a", typing=typing)
        if leave:
            here.leave(ann, "a")
            assert not here.typing._notices
        else:
            here.typing.set_typing(ann.sid, "a", typing=False)
        await asyncio.sleep(10)
        assert notices(ben) == [("a", "ann", True), ("a", "ann", False)]

    run(scenario)


@pytest.mark.parametrize("seed", range(20))
def test_notices_keep_their_order_on_every_gateway_whatever_the_latency(seed: int) -> None:
    async def scenario(here: TypingGateway, there: TypingGateway) -> None:
        ann, ben = here.join("ann", "a"), there.join("ben", "a")
        for number in range(10):
            here.typing.set_typing(ann.sid, "a", typing=True)
            await asyncio.sleep(0.001)
            here.typing.set_typing(ann.sid, "a", typing=False)
            await asyncio.sleep(OPTIONS.restart_s)
            assert [typing for _, _, typing in notices(ben)] == [True, False] * (number + 1)

    run(scenario, Random(seed))


def test_notices_during_an_outage_are_dropped() -> None:
    async def scenario(here: TypingGateway, there: TypingGateway) -> None:
        ann, ben = here.join("ann", "a", "b"), there.join("ben", "a", "b")
        await asyncio.sleep(0.5)
        here.log.available = False
        for _ in range(1_000):
            for chat_id in ("a", "b"):
                for typing in (True, False):
                    here.signals.send_soon(
                        chat_id, TypingSignal.model_construct(node="node-001", user="ann", typing=typing)
                    )
        await asyncio.sleep(0.1)
        assert here.signals.counters["dropped"] == 4_000
        here.log.available = True
        await asyncio.sleep(10)
        assert notices(ben) == []
        here.typing.set_typing(ann.sid, "a", typing=True)
        await asyncio.sleep(0.1)
        assert notices(ben) == [("a", "ann", True)]

    run(scenario)


def test_leaving_sends_a_stop_only_after_a_start() -> None:
    async def scenario(here: TypingGateway, there: TypingGateway) -> None:
        ann, ben = here.join("ann", "a", "b"), there.join("ben", "a", "b")
        here.typing.set_typing(ann.sid, "a", typing=True)
        here.typing.set_typing(ann.sid, "b", typing=True)
        here.typing.set_typing(ann.sid, "b", typing=False)
        await asyncio.sleep(0.1)
        received = len(notices(ben))
        for chat_id in ("a", "b"):
            here.leave(ann, chat_id)
        await asyncio.sleep(0.1)
        assert notices(ben)[received:] == [("a", "ann", False)]
        assert not here.typing._notices

    run(scenario)


def test_leaving_after_a_notice_has_expired_sends_no_stop() -> None:
    async def scenario(here: TypingGateway, _there: TypingGateway) -> None:
        ann, ben = here.join("ann", "a"), here.join("ben", "a")
        here.typing.set_typing(ann.sid, "a", typing=True)
        await asyncio.sleep(OPTIONS.expire_s + 0.1)
        here.leave(ann, "a")
        assert notices(ben) == [("a", "ann", True)]

    run(scenario)


def test_sockets_that_do_not_follow_the_chat_or_are_anonymous_are_rejected() -> None:
    async def scenario(here: TypingGateway, _there: TypingGateway) -> None:
        ann, anonymous, ben = here.join("ann", "b"), here.join(None, "a"), here.join("ben", "a")
        for socket, words in ((ann, "join the chat"), (anonymous, "join-user")):
            with pytest.raises(TypingRejected, match=words) as rejected:
                here.typing.set_typing(socket.sid, "a", typing=True)
            assert rejected.value.code is ErrorCode.FORBIDDEN
        here.typing.set_typing(ben.sid, "a", typing=False)
        assert notices(anonymous) == []

    run(scenario)


def test_the_number_of_chats_in_which_a_socket_types_is_limited() -> None:
    async def scenario(here: TypingGateway, _there: TypingGateway) -> None:
        chats = [f"chat-{number}" for number in range(OPTIONS.max_chats + 1)]
        ann = here.join("ann", *chats)
        for chat_id in chats[:-1]:
            here.typing.set_typing(ann.sid, chat_id, typing=True)
        with pytest.raises(TypingRejected) as rejected:
            here.typing.set_typing(ann.sid, chats[-1], typing=True)
        assert rejected.value.code is ErrorCode.LIMIT_REACHED
        await asyncio.sleep(OPTIONS.expire_s)
        here.typing.set_typing(ann.sid, chats[-1], typing=True)
        assert len(here.typing._notices[ann.sid]) == 1

    run(scenario)


def test_a_user_that_may_not_write_sends_no_typing_but_ends_what_is_shown() -> None:
    async def scenario(here: TypingGateway, there: TypingGateway) -> None:
        ann, ben = here.join("ann", "a"), there.join("ben", "a")
        here.typing.set_typing(ann.sid, "a", typing=True)
        here.silent.add("ann")
        with pytest.raises(TypingRejected, match="may not write"):
            here.typing.set_typing(ann.sid, "a", typing=True)
        here.typing.set_typing(ann.sid, "a", typing=False)
        await asyncio.sleep(0.1)
        assert notices(ben) == [("a", "ann", True), ("a", "ann", False)]

    run(scenario)
