"""The processes of a chaos run: one or more APIs and three gateways on one Redis."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from chaos.cluster.client_pool import ClientPool, Plan
from support.ports import free_port
from support.processes import Roomcast

#: Share of the full load, for a short run.
SCALE = float(os.environ.get("ROOMCAST_CHAOS_SCALE", "1"))


def scaled(number: int) -> int:
    """``number`` times `SCALE`, at least 10."""
    return max(int(number * SCALE), 10)


def new_seed() -> int:
    """A random seed, or ``ROOMCAST_CHAOS_SEED`` to repeat a run; printed."""
    seed = int(os.environ.get("ROOMCAST_CHAOS_SEED") or random.randrange(1_000_000))
    report(f"seed {seed}")
    return seed


def report(line: str) -> None:
    """Print a line of figures."""
    print(line)  # noqa: T201 - the figures of the run


@dataclass(frozen=True)
class Faults:
    """The faults of the main run; python-socketio's run with the same seed has the same.

    Attributes:
        kill_after_s: From the first send to the kill of a gateway.
        victim: Index of that gateway.
        restart_after_s: From the kill to the restart of Redis.
    """

    kill_after_s: float
    victim: int
    restart_after_s: float

    @classmethod
    def from_seed(cls, seed: int, gateways: int) -> Self:
        """The faults of a seed."""
        chance = random.Random(seed)
        return cls(chance.uniform(2, 4), chance.randrange(gateways), chance.uniform(1, 3))


@dataclass(frozen=True)
class Deployment:
    """The running processes."""

    apis: tuple[Roomcast, ...]
    gateways: tuple[Roomcast, ...]

    def clients(self, plan: Plan, seed: int) -> ClientPool:
        """Clients of all gateways."""
        ports = [gateway.gateway_port for gateway in self.gateways if gateway.gateway_port]
        return ClientPool(ports, [api.api_url for api in self.apis], plan, seed)


@contextlib.contextmanager
def running_deployment(
    data: Path, env: Mapping[str, str], *, gateways: int = 3, api_envs: Sequence[Mapping[str, str]] = ({},)
) -> Iterator[Deployment]:
    """Start the processes, and end them with the block.

    Args:
        data: Directory of the embedded database; unused with a ``DATABASE_URL``.
        env: Environment of every process.
        gateways: Number of gateways. They use the APIs in turn.
        api_envs: Additions to ``env``, one for each API.
    """
    shared = {**env, "ROOMCAST_RESPONDER": "none"}
    # --data cannot be combined with a DATABASE_URL.
    directory = None if "DATABASE_URL" in env else data
    apis = [Roomcast.api(directory, env={**shared, **api_env}) for api_env in api_envs]
    nodes = [
        Roomcast.gateway(
            env={
                **shared,
                "API_URL": apis[number % len(apis)].internal_url,
                "ROOMCAST_INTERNAL_PORT": str(free_port()),
            }
        )
        for number in range(gateways)
    ]
    with contextlib.ExitStack() as stack:
        for process in (*apis, *nodes):
            stack.push(process)
        with ThreadPoolExecutor() as starters:
            # At the same time, as the processes of a cluster start.
            list(starters.map(Roomcast.start, (*apis, *nodes)))
        yield Deployment(tuple(apis), tuple(nodes))
