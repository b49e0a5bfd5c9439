"""The table of scenarios: what the load generator does, on which servers, and which of its figures are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Columns of the results.
ROOMCAST, NODE, CENTRIFUGO, SOCKETIOXIDE = COLUMNS = ("Roomcast", "Node", "Centrifugo", "socketioxide")


@dataclass(frozen=True)
class Metric:
    """One figure of a scenario: its key in the generator's answer."""

    key: str
    unit: str
    more_is_better: bool = False
    digits: int = 0


@dataclass(frozen=True)
class Scenario:
    """One load.

    Attributes:
        job: Arguments of node/load.mjs, besides those of the server.
        servers: Names in `servers.SERVERS`, by column.
        max_rounds: Counted rounds of one that takes long or needs a new server; 0: as many as asked for.
        messages: Messages in the database at the start, all in the chat ``seed-1``.
    """

    name: str
    label: str
    job: dict[str, Any]
    servers: dict[str, str]
    metrics: tuple[Metric, ...]
    max_rounds: int = 0
    messages: int = 0


_ALONE = {ROOMCAST: "bare", NODE: "node", CENTRIFUGO: "centrifugo", SOCKETIOXIDE: "socketioxide"}
_REDIS = {ROOMCAST: "gateway", NODE: "node-redis", CENTRIFUGO: "centrifugo-redis"}
_SQLITE = {ROOMCAST: "up", NODE: "node-sqlite"}
_POSTGRES = {ROOMCAST: "up-postgres", NODE: "node-postgres"}
_DELIVERIES = (Metric("perSecond", "deliveries/s", more_is_better=True),)
_ACKS = (Metric("perSecond", "acks/s", more_is_better=True),)
_JOINS = (Metric("perSecond", "joins/s", more_is_better=True),)
_SENDS = Metric("perSecond", "sends/s", more_is_better=True)
_POST = (_SENDS, Metric("p50", "ms p50", digits=2), Metric("p99", "ms p99", digits=2))
_STORM = (Metric("secondsTo99", "s until 99 % are back", digits=2), Metric("cpuUs", "µs CPU per rejoin"))
_EVEN = (Metric("p50", "ms p50", digits=2), Metric("serverShare", "of a core", digits=3))
_BUSY = {"mode": "post", "senders": 64, "chats": 8, "rate": 0}
_ONE = {"mode": "post", "senders": 1, "chats": 1, "rate": 0}
_FANOUT = {"mode": "fanout", "clients": 1_000, "ticks": 1, "perTick": 1}
_FULL_STORM = {"mode": "storm", "clients": 5_000, "chats": 50, "missed": 5}

SCENARIOS = (
    Scenario("fan-out-alone", "fan-out to 1,000, one message alone", _FANOUT, _ALONE, _DELIVERIES),
    Scenario("fan-out-bursts", "fan-out to 1,000, bursts of ten", {**_FANOUT, "perTick": 10}, _ALONE, _DELIVERIES),
    Scenario(
        "fan-out-saturated",
        "fan-out to 1,000, 20 bursts of ten at once",
        {**_FANOUT, "ticks": 20, "perTick": 10},
        _ALONE,
        _DELIVERIES,
    ),
    Scenario(
        "rooms-of-2",
        "2,000 rooms of 2, through Redis",
        {"mode": "rooms", "clients": 4_000, "chats": 2_000, "each": 20},
        _REDIS,
        _DELIVERIES,
    ),
    Scenario(
        "rooms-of-5",
        "200 rooms of 5, through Redis",
        {"mode": "rooms", "clients": 1_000, "chats": 200, "each": 150},
        _REDIS,
        _DELIVERIES,
    ),
    Scenario(
        "join-gateway",
        "connect + join, gateway",
        {"mode": "join", "clients": 32, "chats": 100},
        {ROOMCAST: "up", NODE: "node", CENTRIFUGO: "centrifugo-history"},
        _JOINS,
    ),
    Scenario(
        "join-bare",
        "connect + join, bare",
        {"mode": "join", "clients": 32, "chats": 100},
        _ALONE,
        _JOINS,
    ),
    Scenario(
        "storm",
        "reconnect storm of 5,000, 5 missed each, one process (Node: no replay)",
        _FULL_STORM,
        {ROOMCAST: "up", NODE: "node", CENTRIFUGO: "centrifugo-history"},
        _STORM,
        max_rounds=2,
    ),
    Scenario(
        "storm-cluster",
        "reconnect storm of 5,000 through Redis, gateway and API (Node: no replay)",
        _FULL_STORM,
        {ROOMCAST: "cluster", NODE: "node-redis", CENTRIFUGO: "centrifugo-redis"},
        _STORM,
        max_rounds=2,
    ),
    Scenario(
        "catch-up",
        "catch-up of 200 clients that missed 50,000 messages each",
        {"mode": "catchup", "clients": 200, "messages": 50_000, "chat": "seed-1", "limit": 1_000},
        {ROOMCAST: "up"},
        (Metric("seconds", "s", digits=1), Metric("cpuUs", "µs CPU per message", digits=2)),
        max_rounds=1,
        messages=50_000,
    ),
    Scenario(
        "memory",
        "memory of an idle joined connection",
        {"mode": "idle", "clients": 5_000, "chats": 50},
        {**_ALONE, ROOMCAST: "up", CENTRIFUGO: "centrifugo-history"},
        (Metric("kb", "KB", digits=1),),
        max_rounds=1,
    ),
    Scenario("ack-50", "event with ack, 50 clients", {"mode": "ack", "clients": 50}, _ALONE, _ACKS),
    Scenario("ack-500", "event with ack, 500 clients", {"mode": "ack", "clients": 500}, _ALONE, _ACKS),
    Scenario("post-one", "POST to `new-msg`, one by one, SQLite", _ONE, _SQLITE, _POST),
    Scenario("post-one-postgres", "POST to `new-msg`, one by one, PostgreSQL", _ONE, _POSTGRES, _POST),
    Scenario("post-100", "POST to `new-msg`, 100/s, SQLite", {**_ONE, "rate": 100}, _SQLITE, _EVEN),
    Scenario("post-100-postgres", "POST to `new-msg`, 100/s, PostgreSQL", {**_ONE, "rate": 100}, _POSTGRES, _EVEN),
    Scenario("post-busy", "POST, 64 senders, 8 chats, SQLite", _BUSY, _SQLITE, (_SENDS,)),
    Scenario("post-busy-postgres", "POST, 64 senders, 8 chats, PostgreSQL", _BUSY, _POSTGRES, (_SENDS,)),
)
