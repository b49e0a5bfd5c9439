"""Three gateways behind nginx and HAProxy, round-robin per request, with the official client: no sticky sessions."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.clients import send
from support.load_balancers import load_balancer
from support.processes import Roomcast
from support.redis_server import RedisServer, environment, running

HERE = Path(__file__).parent
CLIENT = HERE.parents[2] / "web/node_modules/socket.io-client/build/esm-debug/index.js"
MESSAGES = 1_000
LIMIT_S = 50.0


@dataclass(frozen=True)
class Site:
    """An API and three gateways over one Redis."""

    api: Roomcast
    gateways: tuple[Roomcast, ...]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        redis = stack.enter_context(running(RedisServer(directory / "redis")))
        env = environment(redis)
        api = stack.enter_context(Roomcast.api(directory / "data", env=env))
        env = {**env, "API_URL": api.internal_url, "TRUSTED_PROXIES": "127.0.0.1"}
        yield Site(api, tuple(stack.enter_context(Roomcast.gateway(env=env)) for _ in range(3)))


async def _line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(await process.stdout.readline() or b'{"ended": true}')
    return line


@pytest.mark.node
@pytest.mark.parametrize(
    ("transports", "ends_with"),
    [("polling", "polling"), ("polling,websocket", "websocket")],
    ids=["polling", "upgrade"],
)
@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
async def test_nothing_is_lost_without_sticky_sessions(
    site: Site, tmp_path: Path, proxy: str, transports: str, ends_with: str
) -> None:
    if not CLIENT.exists():
        pytest.fail(f"{CLIENT} is missing: make test installs it")
    chat = f"{proxy}-{ends_with}"
    ports = [gateway.gateway_port for gateway in site.gateways if gateway.gateway_port is not None]
    with load_balancer(proxy, tmp_path / proxy, ports) as port:
        command = ["node", str(HERE / "js/reader.mjs"), str(CLIENT), f"http://127.0.0.1:{port}", transports, chat]
        process = await asyncio.create_subprocess_exec(
            *command, str(MESSAGES), stdout=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"]}
        )
        try:
            async with asyncio.timeout(LIMIT_S):
                joined = await _line(process)
                assert joined["joined"]["ok"] is True
                for start in range(0, MESSAGES, 20):
                    await asyncio.gather(*(send(site.api.api_url, chat, str(n)) for n in range(start, start + 20)))
                seen = (await _line(process))["done"]
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert seen["errors"] == []
    assert seen["seqs"] == list(range(1, MESSAGES + 1))
    assert seen["pongs"] > 0
    assert seen["transports"] == ["polling", ends_with]
