"""`roomcast stats` and real processes: figures move under load, processes that are away are shown."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.clients import ChatClient, send
from support.commands import LIMIT_S, Command, invoke
from support.ports import free_port
from support.processes import ROOMCAST, Roomcast, clean_environment
from support.redis_server import RedisServer, environment, running
from support.waiting import until


async def until_figures(stats: Command, hold: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Wait for a line whose figures satisfy ``hold``, and return them."""
    seen = len(stats.lines)
    found: list[dict[str, Any]] = []

    def look() -> bool:
        nonlocal seen
        lines, seen = stats.lines[seen:], len(stats.lines)
        found.extend(figures for figures in map(json.loads, lines) if hold(figures))
        return bool(found)

    await until(look, limit_s=LIMIT_S, step_s=0.05)
    return found[0]


async def test_figures_move_under_load_and_faults_are_shown_until_ctrl_c(tmp_path: Path) -> None:
    port = free_port()
    with running(RedisServer(tmp_path / "redis")) as redis:
        env = environment(redis, ROOMCAST_INTERNAL_PORT=str(port))
        # The address of the settings is also in the directory, in another form: the process is shown once.
        seen_from = environment(redis, API_URL=f"http://localhost:{port}")
        with (
            Roomcast.up(tmp_path / "data", env=env) as server,
            Command("stats", "--json", "--interval", "0.3", env=seen_from) as stats,
        ):
            figures = await until_figures(stats, lambda figures: figures["seconds"])
            (process,) = figures["processes"]
            assert (process["state"], process["parts"]) == ("ready", ["gateway", "api", "worker"])
            assert figures["services"]["redis"] == [1, 1]
            assert (figures["connections"], figures["messages_per_s"]) == (0, 0)
            assert figures["durations"]["event loop lag"]["p99"] > 0

            async with ChatClient(server.gateway_url) as ann:
                assert (await ann.join("team"))["ok"] is True
                await until_figures(stats, lambda figures: figures["connections"] == 1)
                for number in range(20):
                    await send(server.api_url, "team", str(number))
                loaded = await until_figures(stats, lambda figures: figures["durations"]["delivery"]["p50"])
                assert min(loaded["messages_per_s"], loaded["deliveries_per_s"]) > 0
                for name in ("delivery", "commit", "REST"):
                    quantiles = loaded["durations"][name]
                    assert 0 < quantiles["p50"] <= quantiles["p95"] <= quantiles["p99"]
                    assert quantiles["per_s"] > 0

            urls = (server.internal_url, server.api_url, "http://127.0.0.1:1")
            options = [option for url in urls for option in ("--url", url)]
            shown = await asyncio.to_thread(invoke, "stats", "--once", "--interval", "0.2", *options)
            assert shown.exit_code == 0
            for text in (" all ", "ready", "1: Connection refused", "is this the internal address?", "redis up"):
                assert text in shown.stdout

            redis.kill()
            await until_figures(stats, lambda figures: figures["services"].get("redis") == [0, 1])
            server.kill()
            away = await until_figures(stats, lambda figures: figures["processes"][0]["state"] == "away")
            assert {process["problem"] for process in away["processes"]} == {"Connection refused"}
            assert stats.interrupt() == 0


def test_without_any_answer_the_remedy_is_named() -> None:
    nothing = invoke("stats", "--once", "--interval", "0.2", "--url", "http://127.0.0.1:1")
    assert nothing.exit_code == 5
    assert "--url" in nothing.stderr
    assert "ROOMCAST_INTERNAL_PORT" in nothing.stderr


def test_a_terminal_that_cannot_move_its_cursor_gets_one_view_after_the_other() -> None:
    terminal, output = pty.openpty()
    args = (str(ROOMCAST), "stats", "--interval", "0.2", "--url", "http://127.0.0.1:1")
    env = clean_environment({"TERM": "dumb"})
    with subprocess.Popen(args, env=env, stdin=subprocess.DEVNULL, stdout=output) as process:
        os.close(output)
        try:
            shown = b""
            while shown.count(b"Connection refused") < 2:
                assert select.select([terminal], [], [], LIMIT_S)[0], "nothing is shown"
                shown += os.read(terminal, 65_536)
        finally:
            process.kill()
            os.close(terminal)
