"""What a chaos run runs against: one or more APIs and three gateways over one Redis, as processes."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chaos.cluster.crowd import Crowd, Plan
from support.processes import Roomcast, free_port
from support.redis_server import RedisServer

#: Share of the full load to run, for a first look.
SCALE = float(os.environ.get("ROOMCAST_CHAOS_SCALE", "1"))


def scaled(number: int) -> int:
    """That many at full load; at least 10."""
    return max(int(number * SCALE), 10)


def new_seed() -> int:
    """Printed, or given as ``ROOMCAST_CHAOS_SEED`` to run the same again."""
    seed = int(os.environ.get("ROOMCAST_CHAOS_SEED") or random.randrange(1_000_000))
    say(f"seed {seed}")
    return seed


def say(line: str) -> None:
    """Print a line of the run's figures."""
    print(line)  # noqa: T201 - the figures of the run


def at(redis: RedisServer) -> dict[str, str]:
    """Settings for a single Redis."""
    return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis.port)}


@dataclass(frozen=True)
class Site:
    """The processes.

    Attributes:
        apis: The APIs.
        gateways: The gateways.
    """

    apis: tuple[Roomcast, ...]
    gateways: tuple[Roomcast, ...]

    def crowd(self, plan: Plan, seed: int) -> Crowd:
        """Members over all gateways."""
        ports = [gateway.gateway_port for gateway in self.gateways if gateway.gateway_port]
        return Crowd(ports, [api.api_url for api in self.apis], plan, seed)


@contextlib.contextmanager
def running_site(data: Path, env: Mapping[str, str], *, gateways: int = 3) -> Iterator[Site]:
    """Start everything; ended by their ids at the end, whatever happened."""
    shared = {**env, "ROOMCAST_RESPONDER": "none"}
    with contextlib.ExitStack() as stack:
        port = free_port()
        # --data would win over the DATABASE_URL.
        command = ["api", "--api-port", str(port)] + ([] if "DATABASE_URL" in env else ["--data", str(data)])
        api = stack.enter_context(Roomcast(command, api_port=port, gateway_port=None, env=shared))
        doors = [stack.enter_context(Roomcast.gateway(env={**shared, "API_URL": api.api_url})) for _ in range(gateways)]
        yield Site((api,), tuple(doors))
