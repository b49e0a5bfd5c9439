"""The ways in: messages sent, events acknowledged, connections joined, compared with the guide's server in Node.

Each server runs on one core, one at a time under load; the load generator (Node, plain sockets) on the other. Rounds
alternate (A B A B …). Each answer is checked: status, ids, gaps and repeats of seqs, arguments of acks. Both servers
sync each message to the disk before they answer.

    python benchmarks/ways_in.py --rounds 5 --seconds 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fanout import print_ratios
from servers import CLIENT_CPU, SERVER_CPU, free_port, machine, node_binary, spawn, wait_for

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Scenario:
    """One load: the arguments of the generator after the port, and the name of our server."""

    label: str
    unit: str
    ours: str
    load: str
    arguments: tuple[str, ...]


_POST, _SOCKET = "post_load.mjs", "socket_load.mjs"
SCENARIOS = (
    Scenario("POST, 1 sender", "sends/s", "api", _POST, ("1", "SECONDS", "1")),
    Scenario("POST, 32 senders, 8 chats", "sends/s", "api", _POST, ("32", "SECONDS", "8")),
    Scenario("event with ack, 50 clients", "acks/s", "bare", _SOCKET, ("50", "SECONDS", "ack", "echo")),
    Scenario("event with ack, 500 clients", "acks/s", "bare", _SOCKET, ("500", "SECONDS", "ack", "echo")),
    Scenario("connect + join, bare", "joins/s", "bare", _SOCKET, ("32", "SECONDS", "join", "join-chat")),
    Scenario("connect + join, gateway", "joins/s", "gateway", _SOCKET, ("32", "SECONDS", "join", "join-chat")),
)


def start(stack: ExitStack) -> dict[str, int]:
    """Start the servers; the port of each."""
    ports = {name: free_port() for name in ("bare", "node", "api", "gateway")}
    data = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    wait_for(spawn([sys.executable, str(HERE / "echo_server.py"), str(ports["bare"])], stack, SERVER_CPU), "ready")
    node = [node_binary(), str(HERE / "node/ways_in_server.mjs"), str(ports["node"]), str(data / "node.db")]
    wait_for(spawn(node, stack, SERVER_CPU), "ready")
    up = [sys.executable, "-m", "roomcast", "up", "--data", str(data / "roomcast")]
    up += ["--api-port", str(ports["api"]), "--gateway-port", str(ports["gateway"])]
    wait_for(spawn(up, stack, SERVER_CPU, {"ROOMCAST_RESPONDER": "none", "LOG_LEVEL": "warning"}), "Ctrl-C")
    return ports


def load(scenario: Scenario, port: int, seconds: float) -> dict[str, float]:
    """Run the generator once; its figures.

    Raises:
        RuntimeError: an answer was wrong, or the generator failed.
    """
    arguments = [str(seconds) if text == "SECONDS" else text for text in scenario.arguments]
    command = ["taskset", "-c", str(CLIENT_CPU), node_binary(), str(HERE / "node" / scenario.load), str(port)]
    found = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if found.returncode:
        raise RuntimeError(f"{scenario.label}: {found.stdout}{found.stderr}")
    figures: dict[str, float] = json.loads(found.stdout)
    return figures


def compare(scenario: Scenario, ports: dict[str, int], options: argparse.Namespace) -> dict[str, object]:
    """Measure one scenario on both servers, round by round; print and return it."""
    servers = {"roomcast": ports[scenario.ours], "node": ports["node"]}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
    for number in range(options.rounds + 1):
        for name, port in servers.items():
            figures = load(scenario, port, options.seconds if number else 1)
            if number:  # the first is a warm-up
                rounds[name].append(figures)
    print(f"\n{scenario.label}", flush=True)
    for name, found in rounds.items():
        rate, p50, p99, share = (
            statistics.median(figures[key] for figures in found) for key in ("perSecond", "p50", "p99", "loadShare")
        )
        print(f"  {name:10} {rate:>9,.0f} {scenario.unit}   p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   load {share:4.0%}")
    ours, theirs = ([figures["perSecond"] for figures in found] for found in rounds.values())
    print_ratios(scenario.unit, ours, theirs)
    return {"scenario": scenario.label, "unit": scenario.unit, **rounds}


def main() -> int:
    """Run the scenarios and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of each server (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of a round (default 3)")
    parser.add_argument("--only", default="", metavar="TEXT", help="run the scenarios whose name contains it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds to this file")
    options = parser.parse_args()
    print(machine())
    with ExitStack() as stack:
        ports = start(stack)
        results = [compare(item, ports, options) for item in SCENARIOS if options.only in item.label]
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
