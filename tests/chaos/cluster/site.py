"""What a chaos run runs against: one or more APIs and three gateways over one Redis, as processes."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from chaos.cluster.crowd import Crowd, Plan
from support.ports import free_port
from support.processes import Roomcast

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


@dataclass(frozen=True)
class Faults:
    """Item 1's script; python-socketio's run of the same seed has the same.

    Attributes:
        kill_after_s: From the first send to the kill of a gateway.
        victim: Which.
        restart_after_s: From there to the restart of Redis.
    """

    kill_after_s: float
    victim: int
    restart_after_s: float

    @classmethod
    def drawn(cls, seed: int, gateways: int) -> Self:
        """Those of a seed."""
        chance = random.Random(seed)
        return cls(chance.uniform(2, 4), chance.randrange(gateways), chance.uniform(1, 3))


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
def running_site(
    data: Path, env: Mapping[str, str], *, gateways: int = 3, api_envs: Sequence[Mapping[str, str]] = ({},)
) -> Iterator[Site]:
    """Start everything; ended by their ids at the end, whatever happened.

    Args:
        data: Of the embedded database, if there is no ``DATABASE_URL``.
        env: Of every process.
        gateways: How many; they ask the APIs in turn.
        api_envs: What is different at each of the APIs.
    """
    shared = {**env, "ROOMCAST_RESPONDER": "none"}
    # --data would win over the DATABASE_URL.
    place = [] if "DATABASE_URL" in env else ["--data", str(data)]
    apis = []
    for api_env in api_envs:
        port = free_port()
        command = ["api", "--api-port", str(port), *place]
        apis.append(Roomcast(command, api_port=port, gateway_port=None, env={**shared, **api_env}))
    doors = [
        Roomcast.gateway(env={**shared, "API_URL": apis[number % len(apis)].api_url}) for number in range(gateways)
    ]
    with contextlib.ExitStack() as stack:
        for process in (*apis, *doors):
            stack.push(process)
        with ThreadPoolExecutor() as starters:
            # All at once, as a cluster does it.
            list(starters.map(Roomcast.start, (*apis, *doors)))
        yield Site(tuple(apis), tuple(doors))
