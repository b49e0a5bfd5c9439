"""Hostile output of a provider: the turn ends with a reason, in bounded memory of worker and gateway."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Iterator

import psutil
import pytest

from chaos.cluster.deployment import report
from support.answer_cluster import STOP, delta, question, running_answers
from support.postgres_server import PostgresServer
from support.processes import Roomcast
from support.provider import Answer, Request, Step
from support.redis_server import RedisServer
from support.screens import Screen

pytestmark = pytest.mark.chaos
MIB = 1 << 20
MEBIBYTES = 96
AT_ONCE = 8


def no_line_end() -> Iterator[Step]:
    yield b"data: "
    for _ in range(160):
        yield b"x" * 65_536


def huge_delta() -> Iterator[Step]:
    yield delta("y" * 900_000)
    yield STOP


def control_characters() -> Iterator[Step]:
    text = (
        "".join(map(chr, range(0x20)))
        + "\x7f\u0085\u2028\u2029\u202e\ufeff\ufffe\ud800 \udc00<script>alert(1)</script>"
    )
    for _ in range(300):
        yield delta(text)
    yield STOP


def without_end() -> Iterator[Step]:
    for number in itertools.count():
        yield delta(f"word{number} ")


def reasoning_without_end() -> Iterator[Step]:
    thought = json.dumps({"choices": [{"index": 0, "delta": {"reasoning_content": "hm " * 50}}]}).encode()
    for _ in range(20_000):
        yield b"data: " + thought + b"\n\n"
    yield delta("answer") + STOP


def parts() -> Iterator[Step]:
    for number in range(5_000):
        thought = json.dumps({"choices": [{"index": 0, "delta": {"reasoning_content": f"thought {number}"}}]}).encode()
        yield b"data: " + thought + b"\n\n" + delta(f"text {number}\n")
    yield STOP


def tool_calls() -> Iterator[Step]:
    for number in range(10_000):
        call = {"index": number, "id": f"c{number}", "function": {"name": "look_up", "arguments": "{" + "9" * 2_000}}
        yield b"data: " + json.dumps({"choices": [{"delta": {"tool_calls": [call]}}]}).encode() + b"\n\n"
    yield STOP


def not_json() -> Iterator[Step]:
    for _ in range(100_000):
        yield b"data: {{{\n\n"


SCRIPTS = {
    "no line end": (no_line_end, {"failed responder-error"}),
    "huge delta": (huge_delta, {"incomplete too-long"}),
    "control characters": (control_characters, {"complete"}),
    "without end": (without_end, {"incomplete too-long"}),
    "reasoning": (reasoning_without_end, {"complete"}),
    "parts": (parts, {"incomplete too-long"}),
    "tool calls": (tool_calls, {"failed responder-error"}),
    "not json": (not_json, {"failed responder-error"}),
}


def rss(process: Roomcast) -> float:
    return float(psutil.Process(process.pid).memory_info().rss) / MIB


@pytest.mark.parametrize("name", SCRIPTS)
async def test_hostile_output_ends_with_a_reason_in_bounded_memory(
    postgres: PostgresServer, redis: RedisServer, name: str
) -> None:
    script, expected = SCRIPTS[name]

    def answer(request: Request) -> Answer:
        warm = question(request) == "warm"
        return Answer([delta("warm"), STOP] if warm else script())

    loop = asyncio.get_running_loop()
    async with running_answers(postgres, redis, answer) as cluster, contextlib.AsyncExitStack() as stack:
        await cluster.ended("warm", await cluster.ask("warm", "warm"))
        processes = [*cluster.workers, *cluster.gateways, *cluster.apis]
        before, peak = [rss(process) for process in processes], [0.0] * len(processes)

        async def measure() -> None:
            while True:
                peak[:] = map(max, peak, map(rss, processes))
                await asyncio.sleep(0.02)

        measuring = asyncio.create_task(measure())
        began = loop.time()
        screens = []
        for number in range(AT_ONCE):
            turn_id = await cluster.ask(f"c{number}", "question")
            url = cluster.gateways[number % 2].gateway_url
            screen = Screen(cluster.apis[0].api_url, lambda url=url: url, f"c{number}", turn_id)
            screens.append(await stack.enter_async_context(screen))
        turns = [await screen.finished(60) for screen in screens]
        took = loop.time() - began
        measuring.cancel()
        outcomes = {f"{turn['status']} {turn['reason'] or ''}".strip() for turn in turns}
        grown = [f"{after - start:.0f}" for start, after in zip(before, peak, strict=True)]
        report(f"{name}: {outcomes}, {took:.1f} s for {AT_ONCE}, grown by {grown} MiB (worker, gateways, API)")
        for number, screen in enumerate(screens):
            message = await cluster.message(f"c{number}", turns[number]["id"])
            assert screen.text == (message["content"] if message else ""), number
        assert outcomes == expected
        assert all(after - start < MEBIBYTES for start, after in zip(before, peak, strict=True))
