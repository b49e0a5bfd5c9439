"""The faults of `test_faults` against python-socketio: three uvicorn processes with its AsyncRedisManager.

    PYTHONPATH=src:tests python tests/chaos/cluster/peer_python_socketio.py [members] [messages]

Prints how many deliveries are lost. The set-up follows its documentation: one server for each process, and a write-only
manager in the sending process. A send counts as acknowledged when ``emit`` returns. Clients reconnect and join again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import socketio
import uvicorn

from chaos.cluster.deployment import Faults
from chaos.cluster.socketio_client import connect_to_first, rotate
from support.ports import free_port
from support.redis_server import RedisServer, running

ROOM = "team"
GATEWAYS = 3
SENDS_S = 20.0
#: Longest that a start or the end may take.
LIMIT_S = 10.0


def serve(port: int, redis_url: str) -> None:
    """Run one server."""
    server = socketio.AsyncServer(async_mode="asgi", client_manager=socketio.AsyncRedisManager(redis_url))

    @server.on("join-chat")  # type: ignore[untyped-decorator] # python-socketio has no types
    async def join(sid: str, chat: str) -> dict[str, bool]:
        await server.enter_room(sid, chat)
        return {"ok": True}

    uvicorn.run(socketio.ASGIApp(server), host="127.0.0.1", port=port, log_level="warning")


class Listener:
    """A client that can only join again: python-socketio has neither cursor nor log."""

    def __init__(self, number: int, ports: list[int], chance: random.Random) -> None:
        self.got: Counter[int] = Counter()
        self.order: list[int] = []
        self.joined = asyncio.Event()
        self._number = number
        self._ports = ports
        self._chance = chance

    async def run(self) -> None:
        """Stay connected until cancelled."""
        joined_once = False
        while True:
            client = None
            with contextlib.suppress(OSError, TimeoutError):
                try:
                    first = self._chance.randrange(len(self._ports)) if joined_once else self._number
                    client = await connect_to_first(rotate(self._ports, first), self._event)
                    async with asyncio.timeout(5):
                        await client.open()
                        await client.call("join-chat", ROOM)
                    self.joined.set()
                    joined_once = True
                    await asyncio.shield(client.closed)
                finally:
                    self.joined.clear()
                    if client is not None:
                        client.abort()
                        await client.closed
            await asyncio.sleep(self._chance.uniform(0.2, 1.0))

    def _event(self, _name: str, data: Any, _raw: bytes) -> None:
        number = data()["number"]
        self.got[number] += 1
        self.order.append(number)


@contextlib.contextmanager
def running_server(port: int, redis_url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process of its own."""
    process = subprocess.Popen([sys.executable, __file__, "serve", str(port), redis_url])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def measure(members: int, messages: int, directory: Path) -> None:
    """Run the test and print its figures."""
    seed = int(os.environ.get("ROOMCAST_CHAOS_SEED") or random.randrange(1_000_000))
    # The same faults as in test_faults, independent of the random numbers that the clients use.
    faults, chance = Faults.from_seed(seed, GATEWAYS), random.Random(seed + 1)
    with running(RedisServer(directory / "redis")) as redis, contextlib.ExitStack() as stack:
        url = f"redis://127.0.0.1:{redis.port}/0"
        ports = [free_port() for _ in range(GATEWAYS)]
        servers = [stack.enter_context(running_server(port, url)) for port in ports]
        listeners = [Listener(number, ports, chance) for number in range(members)]
        tasks = [asyncio.create_task(listener.run()) for listener in listeners]
        try:
            async with asyncio.timeout(LIMIT_S * 2):
                await asyncio.gather(*(listener.joined.wait() for listener in listeners))
            acknowledged: set[int] = set()
            load = asyncio.create_task(send(url, messages, acknowledged))
            await asyncio.sleep(faults.kill_after_s)
            await asyncio.to_thread(servers[faults.victim].kill)
            await asyncio.sleep(faults.restart_after_s)
            await asyncio.to_thread(redis.restart)
            await load
            # A late delivery is not lost: wait until no more arrive.
            before: int | None = None
            while before != (before := sum(len(one.order) for one in listeners)):  # noqa: ASYNC110 - silence has no event
                await asyncio.sleep(LIMIT_S / 2)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        lost = [len(acknowledged - set(listener.got)) for listener in listeners]
        twice = sum(count - 1 for listener in listeners for count in listener.got.values())
        disorder = sum(listener.order != sorted(listener.order) for listener in listeners)
        differing = len({tuple(listener.order) for listener in listeners})
        with_losses = sum(map(bool, lost))
        total = len(acknowledged) * members
        sys.stdout.write(
            f"python-socketio {version('python-socketio')}, seed {seed}: {members} clients, "
            f"{len(acknowledged)} of {messages} acknowledged; lost {sum(lost)} of {total} deliveries "
            f"({min(lost)} to {max(lost)} per client, {with_losses} clients lost some), {twice} twice, "
            f"{disorder} clients out of order, {differing} different histories\n"
        )


async def send(url: str, messages: int, acknowledged: set[int]) -> None:
    """Emit at an even pace."""
    manager = socketio.AsyncRedisManager(url, write_only=True)
    began = time.monotonic()
    for number in range(messages):
        await asyncio.sleep(began + number * SENDS_S / messages - time.monotonic())
        content = {"number": number, "content": f"message {number}", "chatId": ROOM, "role": "USER"}
        await manager.emit("new-msg", content, room=ROOM)
        acknowledged.add(number)


def main() -> None:
    """Run a server, or the measurement."""
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]), sys.argv[3])
        return
    members, messages = (*map(int, sys.argv[1:3]), 200, 3_000)[:2] if len(sys.argv) > 2 else (200, 3_000)
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(measure(members, messages, Path(directory)))


if __name__ == "__main__":
    main()
