"""How the cost of an operation grows: with connections, with chats, and with messages, on both databases."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from redis_commands import Rooms
from seeding import seed
from servers import SERVERS, Target, start_postgres, start_up, start_up_postgres

CONNECTIONS = (1_000, 3_000, 10_000)
CHATS = (100, 1_000, 10_000, 100_000)
#: Those that a gateway serves, with two members each.
LIVE_CHATS = (100, 1_000, 5_000)
MESSAGES = (1_000, 10_000, 100_000, 1_000_000)
Generate = Callable[[Target, dict[str, Any]], dict[str, Any]]
#: What grows → operation → size → CPU µs.
Curves = dict[str, dict[str, dict[int, float]]]


def measure_growth(generate: Generate, seconds: float, write: Callable[[Curves], None]) -> None:
    """Measure all curves, and write them after each point. `generate` runs the load generator once."""
    curves: Curves = {}

    def add(what: str, operation: str, size: int, found: dict[str, Any]) -> None:
        curves.setdefault(what, {}).setdefault(operation, {})[size] = found["cpuUs"]
        write(curves)
        print(f"   {size:>9,} {what:12} {operation:20} {found['cpuUs']:8,.0f} µs", flush=True)

    post = {"mode": "post", "senders": 32, "rate": 0, "seconds": seconds}
    for count in CONNECTIONS:
        with ExitStack() as stack:
            found = generate(start_up(stack), {**post, "chats": 8, "bystanders": count})
            add("connections", "POST, SQLite", count, found)
        with ExitStack() as stack:
            job = {"mode": "idle", "clients": count, "chats": count // 10}
            add("connections", "connect + join", count, generate(start_up(stack), job))
    for count in LIVE_CHATS:
        with ExitStack() as stack:
            rooms = {"mode": "rooms", "chats": count, "clients": 2 * count, "each": 40_000 // count}
            target = SERVERS["gateway"](stack)
            prepared = Rooms(target, rooms)
            found = generate(target, {**rooms, **prepared.round(stack)})
            add("chats", "delivery, through Redis", count, found)
    for what, sizes in (("chats", CHATS), ("messages", MESSAGES)):
        for size in sizes:
            chats, each = (size, 5) if what == "chats" else (100, size // 100)
            job = {**post, "chats": 32, "prefix": "seed-", "stride": chats // 32}
            joins = {"mode": "join", "clients": 32, "chats": chats, "prefix": "seed-", "seconds": seconds}
            for database in ("SQLite", "PostgreSQL"):
                with ExitStack() as stack:
                    if database == "SQLite":
                        data = stack.enter_context(tempfile.TemporaryDirectory())
                    else:
                        data, _ = start_postgres(stack)
                    seed(data, chats, each)
                    target = start_up(stack, data) if database == "SQLite" else start_up_postgres(stack, data)
                    add(what, f"POST, {database}", size, generate(target, job))
                    add(what, f"connect + join, {database}", size, generate(target, joins))
