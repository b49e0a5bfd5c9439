"""What holds for the turns of a chat whatever five senders and two workers do at the same time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roomcast.chat.commands import EndTurn, NewChat, NewVersion, StartTurn, StopTurn
from roomcast.chat.errors import AnswerActive, TurnLost
from roomcast.chat.model import ChatAi, Ending, Turn
from roomcast.contract.events import TurnReason, TurnStatus
from roomcast.store.opening import Store, open_store
from roomcast.store.rules.turns import ACTIVE
from support.backend import START, new_message
from support.databases import KINDS, fresh_options

POLICIES = get_args(Literal["queue", "latest", "reject"])
ENDINGS = (
    Ending(TurnStatus.COMPLETE, content="all of it", last=3),
    Ending(TurnStatus.INCOMPLETE, TurnReason.WORKER_LOST, content="half of it", last=1),
    Ending(TurnStatus.FAILED, TurnReason.RESPONDER_ERROR),
)
#: A kind of action, and a number that selects a sender or a worker, and the message, turn or ending that it is about.
ACTION = st.tuples(
    st.sampled_from(["send", "send", "edit", "regenerate", "stop", "claim", "start", "end", "end", "die", "zombie"]),
    st.integers(0, 1_000),
)


class Room:
    """A chat "c" with senders and workers."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.accepted: list[str] = []
        self.turns: list[str] = []
        self.claims: list[Turn | None] = [None, None]
        self.zombies: list[Turn] = []
        self.seconds = 0

    async def act(self, kind: str, number: int) -> None:
        # A sender is refused, or the turn of a worker was stopped or taken over.
        with suppress(AnswerActive, TurnLost):
            await getattr(self, f"_{kind}")(number)

    async def drain(self) -> None:
        """Answers every turn that is left, after the leases of dead workers have ended."""
        self.seconds += 1_000
        while (turn := await self._next()) is not None:
            await self._finish(turn, 0)

    async def _send(self, number: int, replaces: str | None = None) -> None:
        sender = f"user-{number % 5}"
        message = new_message(user_id=sender, default_responder="demo", replaces=replaces)
        committed = await self.store.chats.commit(message)
        self.accepted.append(message.id)
        self.turns.append(json.loads(committed.event.payload)["turn"]["id"])

    async def _edit(self, number: int) -> None:
        if self.accepted:
            await self._send(number, replaces=self.accepted[number % len(self.accepted)])

    async def _regenerate(self, number: int) -> None:
        if self.turns:
            turn_id = self.turns[number % len(self.turns)]
            turn, _ = await self.store.turns.commit(NewVersion("c", turn_id, START, default_responder="demo"))
            self.turns.append(turn.id)

    async def _stop(self, number: int) -> None:
        if self.turns:
            await self.store.turns.commit(StopTurn("c", self.turns[number % len(self.turns)], START))

    async def _next(self) -> Turn | None:
        self.seconds += 1
        now = START + timedelta(seconds=self.seconds)
        return await self.store.turns.claim_turn(now, now + timedelta(seconds=10))

    async def _claim(self, number: int) -> None:
        worker = number % 2
        if self.claims[worker] is None:
            self.claims[worker] = await self._next()

    async def _start(self, number: int) -> None:
        turn = self.claims[number % 2]
        if turn is not None:
            await self.store.turns.commit(StartTurn(turn.claim, START))

    async def _end(self, number: int) -> None:
        turn, self.claims[number % 2] = self.claims[number % 2], None
        if turn is not None:
            await self._finish(turn, number)

    async def _die(self, number: int) -> None:
        turn, self.claims[number % 2] = self.claims[number % 2], None
        self.seconds += 20
        if turn is not None:
            self.zombies.append(turn)

    async def _zombie(self, number: int) -> None:
        if self.zombies:
            await self._finish(self.zombies[number % len(self.zombies)], number)

    async def _finish(self, turn: Turn, number: int) -> None:
        await self.store.turns.commit(StartTurn(turn.claim, START))
        await self.store.turns.commit(EndTurn(turn.claim, ENDINGS[number % 3], START))


class History:
    """Checks the events of a chat one after the other, as a client receives them."""

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.status: dict[str, TurnStatus] = {}  # in the order of the queue
        self.replaced: set[str] = set()  # questions
        self.places: dict[str, tuple[int, int]] = {}

    def apply(self, kind: str, data: Any) -> None:
        turn = data["turn"]
        turn_id, status = turn["id"], TurnStatus(turn["status"])
        if kind == "message-created":
            place = (data["place"], data["version"])
            assert self.places.setdefault(data["id"], place) == place
        if status is TurnStatus.QUEUED:
            self._queued(turn_id)
        else:
            before = self.status[turn_id]
            assert before in ACTIVE, "a turn ends once"
            if status is TurnStatus.STREAMING:
                assert before is TurnStatus.QUEUED
                assert self.active()[0] == turn_id, "the first of the queue starts, when no other turn is streaming"
                self.places[turn_id] = (data["place"], data["version"])
        self.status[turn_id] = status
        if turn["reason"] == "replaced":
            self.replaced.add(turn["messageId"])

    def active(self) -> list[str]:
        return [turn_id for turn_id, status in self.status.items() if status in ACTIVE]

    def _queued(self, turn_id: str) -> None:
        assert turn_id not in self.status
        waiting = [key for key in self.active() if self.status[key] is TurnStatus.QUEUED]
        if self.policy == "reject":
            assert not self.active()
        if self.policy == "latest":
            assert not waiting


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=st.lists(st.lists(ACTION, min_size=1, max_size=6), min_size=1, max_size=15))
async def test_one_turn_is_active_and_each_message_has_the_outcome_of_its_policy(
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    kind: str,
    policy: Any,
    rounds: list[list[tuple[str, int]]],
) -> None:
    async with open_store(fresh_options(kind, request, tmp_path_factory.mktemp("store"))) as store:
        await store.chats.commit(NewChat("c", None, ChatAi(when_active=policy), START))
        room = Room(store)
        for actions in rounds:
            waiting: list[Awaitable[None]] = [room.act(*action) for action in actions]
            await asyncio.gather(*waiting)
        await room.drain()

        found, head = await store.chats.events_after("c", 0, 10_000)
        assert [event.seq for event in found] == list(range(1, head + 1))
        history = History(policy)
        for event in found:
            history.apply(event.type, json.loads(event.payload))

        assert not history.active()
        assert set(history.status) == set(room.turns)
        listed, _ = await store.chats.messages("c", before=None, after=0, limit=1_000)
        # Under the other policies, only the turns of earlier versions are replaced.
        assert policy == "latest" or history.replaced.isdisjoint(message.id for message in listed)
        places = [message.place for message in listed]
        assert places == sorted(set(places))
        stored = {}
        for message in listed:
            versions = await store.chats.versions("c", message.id, 1_000)
            assert [version.version for version in versions] == list(range(1, len(versions) + 1))
            assert versions[-1] == message
            stored.update({version.id: (version.place, version.version) for version in versions})
        assert stored == history.places
