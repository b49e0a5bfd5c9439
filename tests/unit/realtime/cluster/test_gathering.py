from __future__ import annotations

import asyncio
from itertools import permutations
from typing import Any

import pytest

from roomcast.realtime import QueryLimitExceeded
from roomcast.realtime.adapters.memory import MemoryAdapter
from roomcast.realtime.cluster.commands import Broadcast, Command, FetchSockets, Gatherer, Query, Selection
from roomcast.realtime.cluster.gathering import CALLBACK_LIMIT_S, HERE, GatheredAcks, Gathering, Queries
from roomcast.realtime.cluster.membership import Membership
from roomcast.realtime.fanout.message import EncodedEvent
from roomcast.wire.errors import EncodeError
from support.virtual_time import run_in_virtual_time

QUERY = FetchSockets(Selection("/", None))


async def complete(gathering: Gathering) -> bool:
    return await gathering.wait(0)


def gathering(*servers: str, limit_bytes: int = 1_000) -> Gathering:
    made = Gathering(limit_bytes)
    made.expect(servers)
    return made


async def test_without_other_servers_nothing_is_waited_for() -> None:
    assert await complete(gathering())


async def test_a_query_whose_servers_are_unknown_is_not_complete() -> None:
    got = Gathering(1_000)
    got.answer("a", [1], 1)
    assert not await complete(got)
    assert got.values == [1]
    assert "within 0 s" in got.problem


@pytest.mark.parametrize("order", list(permutations(["expect", "a", "node", "b"])))
async def test_answers_are_complete_when_every_server_has_answered_in_any_order(order: tuple[str, ...]) -> None:
    got = Gathering(1_000)
    for step in order:
        if step == "expect":
            got.expect(["a", "b", "n"])
        else:
            got.answer(None if step == "node" else step, [step], 1)
    assert await complete(got)
    assert sorted(got.values) == ["a", "b", "node"]


@pytest.mark.parametrize("order", list(permutations(["expect", "reached", "a", "node"])))
async def test_no_more_answers_are_waited_for_than_servers_were_reached(order: tuple[str, ...]) -> None:
    got = Gathering(1_000)
    got.answer(HERE, [], 0)
    for number, step in enumerate(order):
        if step == "expect":
            got.expect(["a", "n", "joined", "a room"])
        elif step == "reached":
            got.reached(2)
        else:
            got.answer(None if step == "node" else step, [step], 1)
        assert got._done.is_set() == (number == 3)
    assert await complete(got)


async def test_the_parts_of_an_answer_count_once_and_a_repeated_answer_does_not() -> None:
    got = gathering("a", "b")
    got.answer("a", [1], 1, last=False)
    got.answer("a", [2], 1)
    got.answer("a", [3], 1)
    got.update(["a", "b"])
    assert not await complete(got)
    assert got.values == [1, 2]


async def test_a_server_that_leaves_is_not_waited_for() -> None:
    got = gathering("a", "b")
    got.answer("a", [1], 1)
    got.update(["a", "new"])
    assert await complete(got)


async def test_the_answer_of_a_node_server_that_has_left_does_not_stand_for_another() -> None:
    got = gathering("n1", "n2", "n3")
    got.answer(None, ["of n1"], 1)
    got.answer(None, ["of n2"], 1)
    got.update(["n2", "n3"])  # two answers, two servers; but the answer of n3 may be on its way
    assert not got._done.is_set()
    got.answer(None, ["of n3"], 1)
    assert await complete(got)


async def test_the_departure_of_a_node_server_counts_at_the_next_update() -> None:
    got = gathering("n1", "n2")
    got.answer(None, ["of n2"], 1)
    got.update(["n2"])
    assert not got._done.is_set()
    got.update(["n2"])
    assert await complete(got)


async def test_more_unnamed_answers_than_servers_are_dropped() -> None:
    got = gathering("a", "b", "n")
    got.answer("a", ["a"], 1)
    for number in range(5):
        got.answer(None, [number], 1)
    assert got.values == ["a", 0, 1]


async def test_acknowledgements_are_waited_for_until_as_many_as_were_asked_have_come() -> None:
    got = gathering("a", "n")
    got.answer("a", [], 1, asked=2)
    got.answer(None, [], 1, asked=1)
    got.acknowledge("a", [1], 1)
    got.acknowledge("unknown", [9], 1)
    got.acknowledge(None, [2], 1)
    got.acknowledge(None, [9], 1)
    assert not got._done.is_set()
    got.withdraw("a", 5)
    assert await complete(got)
    assert (got.values, got.missing) == ([[1], [2]], 1)


async def test_an_acknowledgement_that_overtakes_the_number_of_them_counts() -> None:
    got = gathering("a", "b")
    got.acknowledge("a", [1], 1)
    got.answer("b", [], 1, asked=0)
    assert (got._done.is_set(), got.missing) == (False, 0)
    got.answer("a", [], 1, asked=2)
    assert (got._done.is_set(), got.missing) == (False, 1)
    got.acknowledge("a", [2], 1)
    assert await complete(got)
    assert (got.values, got.missing) == ([[1], [2]], 0)


async def test_the_acknowledgements_of_a_server_that_leaves_are_missing_and_not_waited_for() -> None:
    got = gathering("a", "b", "n")
    got.answer("a", [], 1, asked=2)
    got.answer("b", [], 1, asked=0)
    got.answer(None, [], 1, asked=3)
    got.acknowledge("a", [1], 1)
    for _ in range(2):
        got.update(["b"])
    assert await complete(got)
    assert (got.values, got.missing) == ([[1]], 4)


async def test_a_server_that_joined_after_the_query_and_leaves_is_not_waited_for() -> None:
    got = gathering("a")
    got.answer("new", (), 1, asked=1)
    got.answer(HERE, (), 0, asked=1)
    got.answer("a", (), 1)
    got.update(["a", "new"])
    got.update(["a"])
    assert not got._done.is_set()
    got.acknowledge(HERE, [1], 1)
    assert await complete(got)
    assert (got.values, got.missing) == ([[1]], 1)


async def test_answers_above_the_limit_end_the_query_and_are_dropped() -> None:
    got = gathering("a", "b", limit_bytes=10)
    got.answer("a", [1], 10)
    got.answer("b", [2], 1)
    assert not await complete(got)
    assert got.values == [1]
    assert "10 bytes" in got.problem
    got.answer("b", [3], 0)
    assert got.values == [1]


class RecordingAdapter(MemoryAdapter):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[Gatherer] = []

    def request(self, query: Query, gatherer: Gatherer) -> None:
        self.open.append(gatherer)

    def forget(self, gatherer: Gatherer) -> None:
        self.open.remove(gatherer)


async def test_every_query_is_forgotten_at_its_end_also_after_an_error() -> None:
    adapter = RecordingAdapter()
    queries = Queries(adapter, Membership(adapter), 1, 100)

    async def fails() -> None:
        with queries.open() as gathering:
            await queries.send(QUERY, gathering)
            assert len(adapter.open) == 1
            with pytest.raises(QueryLimitExceeded, match="max_queries"):
                queries.open().__enter__()
            raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            await fails()
        assert adapter.open == []


class RefusingAdapter(MemoryAdapter):
    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error = error
        self.published: list[Command] = []

    def request(self, query: Query, gatherer: Gatherer) -> None:
        if self.error is not None:
            raise self.error
        gatherer.unsent("no connection")

    def publish(self, command: Command) -> None:
        self.published.append(command)


EVENT = Broadcast(Selection("/", None), EncodedEvent.from_args("e"))


@pytest.mark.parametrize("error", [None, EncodeError("too large")])
async def test_an_event_whose_query_cannot_be_sent_is_sent_without_its_callback(
    error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = RefusingAdapter(error)
    queries = Queries(adapter, Membership(adapter), 2, 100)
    for _ in range(3):
        queries.call_back(EVENT, ("e",), print)
    assert (adapter.published, queries.called_back) == ([EVENT] * 3, 0)
    assert [record.args[0] for record in caplog.records if isinstance(record.args, tuple)] == [1, 2]


async def test_an_event_whose_query_is_not_sent_after_all_is_sent_without_its_callback() -> None:
    class Deferring(RefusingAdapter):
        def request(self, query: Query, gatherer: Gatherer) -> None:
            asyncio.get_running_loop().call_soon(gatherer.unsent, "the namespace is unknown")

    adapter = Deferring(None)
    queries = Queries(adapter, Membership(adapter), 2, 100)
    queries.call_back(EVENT, ("e",), print)
    assert (adapter.published, queries.called_back) == ([], 1)
    await asyncio.sleep(0)
    assert (adapter.published, queries.called_back) == ([EVENT], 0)


def test_a_callback_is_called_for_each_acknowledgement_until_all_have_come_or_the_time_is_over() -> None:
    async def run() -> None:
        adapter, got = RecordingAdapter(), list[Any]()
        queries = Queries(adapter, Membership(adapter), 6, 100)
        for _ in range(3):
            queries.call_back(EVENT, ("e",), got.append)
        complete, lost, silent = adapter.open
        for gatherer in (complete, lost):
            gatherer.answer("a", (), 0, asked=1)
        complete.acknowledge("a", ["x" * 1_000], 1_000)
        complete.update(["a"])
        assert (got, adapter.open) == (["x" * 1_000], [lost, silent])
        lost.fail("the connection was lost")
        lost.acknowledge("a", [2], 1)
        lost.update(["a"])
        assert (got[1:], adapter.open) == ([2], [silent])
        await asyncio.sleep(CALLBACK_LIMIT_S)
        assert adapter.open == []
        silent.answer("a", (), 0, asked=1)
        silent.acknowledge("a", [3], 1)
        assert got[1:] == [2]
        queries.call_back(EVENT, ("e",), got.append)
        queries.stop()
        assert (adapter.open, queries.called_back) == ([], 0)

    run_in_virtual_time(run())


@pytest.mark.parametrize("value", ["x" * 200, b"x" * 200, ["x"] * 3, {"a": {"b": "x" * 80}}, {"k" * 200: None}])
async def test_acknowledgements_count_by_their_size(value: Any) -> None:
    got = gathering("a", limit_bytes=250)
    got.answer("a", (), 0, asked=2)
    acks = GatheredAcks(got, "a")
    acks.acknowledged([5])
    assert not got.problem
    acks.acknowledged([None, value])
    assert "250 bytes" in got.problem
    assert got.values == [[5]]
