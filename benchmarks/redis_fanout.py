"""Many small rooms, fed through Redis: deliveries per second of one gateway core, compared with Node's Redis adapter.

Ours is `roomcast gateway` on a Redis: each message is one append to a chat's log, whose script publishes it. Theirs is
socket.io with `@socket.io/redis-adapter` on ioredis: each message is one publish, with the bytes that Node's emitter
sends. Rounds alternate, and each client's bytes are counted: a missing or repeated delivery ends the run.

There are two loads: a steady rate that both sides sustain, which compares the share of the core that a gateway uses;
and as fast as Redis accepts. The feeder prepares the commands before the round. To show that it is no bottleneck, each
result says when Redis had accepted the last command, and which processes used the other core.

    python benchmarks/redis_fanout.py --rooms 200 --members 5 --rounds 5
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from fanout import message, print_ratios
from load import Client, Swarm, server_frame_length
from servers import CLIENT_CPU, SERVER_CPU, free_port, machine, next_line, node_binary, spawn, wait_for

HERE = Path(__file__).parent
LIMIT_S = 120.0
#: Wait after the last round. A delivery in this time is a repeat.
QUIET_S = 0.5


class Feeder:
    """The process that writes to Redis: `redis_feeder`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = psutil.Process(process.pid)
        self._process = process

    def load(self, job: dict[str, object]) -> None:
        """Prepare a round."""
        self._write(json.dumps(job))
        if next_line(self._process.stdout) != "loaded":
            raise RuntimeError("the feeder did not load")

    def go(self) -> None:
        """Start to write."""
        self._write("")

    def took_s(self) -> float:
        """Wait until Redis has answered every command; the seconds that took."""
        return float(next_line(self._process.stdout))

    def _write(self, text: str) -> None:
        if self._process.stdin is None:
            raise RuntimeError("the feeder has no input")
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()


@dataclass
class Side:
    """One of the two systems, with a Redis, a feeder and clients of its own.

    Attributes:
        kind: Commands of the feeder: ``log`` appends or ``emit`` publishes.
    """

    kind: str
    redis: psutil.Process
    feeder: Feeder
    gateway: psutil.Process
    swarm: Swarm


@dataclass
class Figures:
    """Results of one side and load, one value for each counted round.

    Attributes:
        rates: Deliveries per second.
        gateway: Share of the first core that the gateway used.
        redis: Share of the other core; ``feeder`` and ``receivers`` also.
        accepted: Share of the round after which Redis had accepted every command.
    """

    rates: list[float] = field(default_factory=list)
    gateway: list[float] = field(default_factory=list)
    redis: list[float] = field(default_factory=list)
    feeder: list[float] = field(default_factory=list)
    receivers: list[float] = field(default_factory=list)
    accepted: list[float] = field(default_factory=list)

    def show(self, name: str) -> None:
        """Print them."""
        middle, low, high = statistics.median(self.rates), min(self.rates), max(self.rates)
        gateway, redis, feeder, receivers, accepted = map(
            statistics.median, (self.gateway, self.redis, self.feeder, self.receivers, self.accepted)
        )
        print(
            f"  {name:16} {middle:>9,.0f} deliveries/s (min {low:,.0f}, max {high:,.0f});"
            f" its core {gateway:.0%} used, {gateway / middle * 1e6:.1f} µs a delivery\n"
            f"  {'':16} the other core: Redis {redis:.0%}, feeder {feeder:.0%}, receivers {receivers:.0%};"
            f" Redis had accepted everything after {accepted:.0%} of the round"
        )


def start_redis(stack: ExitStack) -> tuple[int, psutil.Process]:
    """A Redis without persistence, on a free port."""
    program = os.environ.get("REDIS_SERVER") or shutil.which("redis-server")
    if program is None:
        raise SystemExit("no redis-server here: apt-get install redis-server, or set REDIS_SERVER to its path")
    port = free_port()
    directory = stack.enter_context(tempfile.TemporaryDirectory())
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory]
    process = spawn(command, stack, CLIENT_CPU)
    wait_for(process, "Ready to accept connections")
    return port, psutil.Process(process.pid)


def start_feeder(redis_port: int, stack: ExitStack) -> Feeder:
    """Start the feeder of a Redis."""
    return Feeder(spawn([sys.executable, str(HERE / "redis_feeder.py"), str(redis_port)], stack, CLIENT_CPU))


def start_ours(bench: Bench, stack: ExitStack) -> Side:
    """The product, with its clients."""
    redis_port, redis = start_redis(stack)
    feeder = start_feeder(redis_port, stack)
    # Creates the logs, so that the clients can join.
    feeder.load(bench.job("log", 1, 0))
    feeder.go()
    feeder.took_s()
    port = free_port()
    command = [str(Path(sys.executable).with_name("roomcast")), "gateway", "--port", str(port)]
    env = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis_port), "LOG_LEVEL": "error"}
    process = spawn(command, stack, SERVER_CPU, env)
    wait_for(process, "Ctrl-C")
    clients = join_all(port, bench.options)
    for client in clients:
        # The last event that follows a join.
        client.expect('42["presence"')
    return Side("log", redis, feeder, psutil.Process(process.pid), Swarm(clients))


def start_theirs(bench: Bench, stack: ExitStack) -> Side:
    """Node, with its clients."""
    redis_port, redis = start_redis(stack)
    port = free_port()
    command = [node_binary(), str(HERE / "node/redis_server.mjs"), str(redis_port), str(port)]
    process = spawn(command, stack, SERVER_CPU)
    wait_for(process, "ready")
    swarm = Swarm(join_all(port, bench.options))
    return Side("emit", redis, start_feeder(redis_port, stack), psutil.Process(process.pid), swarm)


def join_all(port: int, options: argparse.Namespace) -> list[Client]:
    """Connect every member to its room."""
    clients = [Client(port) for _ in range(options.rooms * options.members)]
    for number, client in enumerate(clients):
        client.call("join-chat", f"room-{number % options.rooms}")
    return clients


def cpu_s(process: psutil.Process) -> float:
    """Processor seconds that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


class Bench:
    """Runs the rounds.

    Args:
        options: The parsed command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self._payload = message(options.size)
        text = '42["new-msg",]' + json.dumps(self._payload, separators=(",", ":"))
        self.frame_bytes = server_frame_length(len(text))
        self._next_seq = 1

    def compare(self, sides: dict[str, Side], label: str, each: int, per_s: int) -> None:
        """Measure one load on both sides, round by round, and print it.

        Args:
            sides: Ours and theirs, by name.
            label: Name of the load.
            each: Messages to each room in a round.
            per_s: Messages to all rooms together in a second; 0: as fast as Redis accepts them.
        """
        results = {name: Figures() for name in sides}
        for number in range(self.options.rounds + 1):
            for name, side in sides.items():
                # The first round is a warm-up.
                self._round(side, each, per_s, results[name] if number else Figures())
        print(f"\n{label}")
        for name, figures in results.items():
            figures.show(name)
        ours, theirs = results.values()
        print_ratios("deliveries/s", ours.rates, theirs.rates)
        print_ratios(
            "deliveries per core second",
            [rate / share for rate, share in zip(ours.rates, ours.gateway, strict=True)],
            [rate / share for rate, share in zip(theirs.rates, theirs.gateway, strict=True)],
        )

    def job(self, kind: str, each: int, per_s: int) -> dict[str, object]:
        """A round for the feeder. The seqs of a log continue from the last round."""
        first = self._next_seq
        if kind == "log":
            self._next_seq += each
        shape = {"kind": kind, "rooms": self.options.rooms, "each": each, "first": first, "per_s": per_s}
        return {**shape, "message": self._payload}

    def _round(self, side: Side, each: int, per_s: int, figures: Figures) -> None:
        side.feeder.load(self.job(side.kind, each, per_s))
        # Bytes that have arrived by now are repeats.
        side.swarm.receive_each(0, self.frame_bytes, 0.0)
        processes = side.gateway, side.redis, side.feeder.process, psutil.Process()
        before, began = [cpu_s(process) for process in processes], time.perf_counter()
        side.feeder.go()
        took_s = side.swarm.receive_each(each, self.frame_bytes, LIMIT_S)
        after, ended = [cpu_s(process) for process in processes], time.perf_counter()
        figures.rates.append(self.options.rooms * self.options.members * each / took_s)
        shares = [(used - had) / (ended - began) for used, had in zip(after, before, strict=True)]
        for values, share in zip(
            (figures.gateway, figures.redis, figures.feeder, figures.receivers), shares, strict=True
        ):
            values.append(share)
        figures.accepted.append(side.feeder.took_s() / took_s)


def main() -> int:
    """Run the comparison and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", type=int, default=200, help="rooms (default 200)")
    parser.add_argument("--members", type=int, default=5, help="members of each room (default 5)")
    parser.add_argument("--each", type=int, default=100, help="messages to each room in a fast round (default 100)")
    parser.add_argument("--rate", type=int, default=2_000, help="messages a second of the even load (default 2000)")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of each (default 5)")
    parser.add_argument("--size", type=int, default=200, help="bytes of the argument array (default 200)")
    options = parser.parse_args()
    print(f"{machine()}\ngateway on one core; Redis, feeder and receivers on the other")
    print(f"{options.rooms} rooms with {options.members} members, {options.size} bytes, one Redis message each")
    with ExitStack() as stack:
        bench = Bench(options)
        sides = {"roomcast": start_ours(bench, stack), "Node + adapter": start_theirs(bench, stack)}
        evenly = max(1, round(options.rate * 2 / options.rooms))  # two seconds
        bench.compare(sides, f"evenly, {options.rate:,} messages a second", evenly, options.rate)
        bench.compare(sides, "as fast as Redis accepts them", options.each, 0)
        time.sleep(QUIET_S)
        for side in sides.values():
            side.swarm.receive_each(0, bench.frame_bytes, 0.0)
            side.swarm.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
