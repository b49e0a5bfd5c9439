"""Fan-out: deliveries per second to the members of one room, compared with Node's socket.io.

Both servers run on one core, the receiver on the other. Rounds alternate (A B A B …), so that a change in the machine's
speed affects both. Every byte is counted: a missing or repeated delivery ends the run.

    python benchmarks/fanout.py --clients 1000 --rounds 7
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from load import Client, Swarm, server_frame_length
from servers import SERVER_CPU, free_port, machine, node_binary, spawn, wait_for

HERE = Path(__file__).parent
ROOM = "chat:bench"


def message(size: int) -> dict[str, str]:
    """A `new-msg` payload whose whole argument array is ``size`` bytes."""
    shape = {"id": "0197f0c0-0000-7000-8000-000000000000", "role": "USER", "content": "", "chatId": "bench"}
    shape["content"] = "x" * max(0, size - len(json.dumps(["new-msg", shape], separators=(",", ":"))))
    return shape


def start(command: list[str], stack: ExitStack) -> int:
    """Start a server that prints ``ready``; its port."""
    port = free_port()
    wait_for(spawn([*command, str(port)], stack, SERVER_CPU), "ready")
    return port


def connect(port: int, count: int) -> Swarm:
    """``count`` clients in the room."""
    clients = []
    for _ in range(count):
        client = Client(port)
        client.call("join", ROOM)
        clients.append(client)
    return Swarm(clients)


def blast(swarm: Swarm, payload: dict[str, str], ticks: int, per_tick: int) -> float:
    """Run one round; the seconds until every member has every message."""
    text = "42" + json.dumps(["new-msg", payload], separators=(",", ":"))
    expected = len(swarm.clients) * ticks * per_tick * server_frame_length(len(text))
    swarm.clients[0].emit("blast", {"room": ROOM, "message": payload, "ticks": ticks, "perTick": per_tick})
    return swarm.receive_bytes(expected, 120)


def compare(
    swarms: dict[str, Swarm],
    payload: dict[str, str],
    options: argparse.Namespace,
    label: str,
    blasts: int,
    ticks: int,
    per_tick: int,
) -> None:
    """Measure one load on both servers, round by round, and print it."""
    rates: dict[str, list[float]] = {name: [] for name in swarms}
    for round_number in range(options.rounds + 1):
        for name, swarm in swarms.items():
            took = sum(blast(swarm, payload, ticks, per_tick) for _ in range(blasts))
            if round_number > 0:  # the first is a warm-up
                rates[name].append(options.clients * blasts * ticks * per_tick / took)
    print(f"\n{label} ({options.clients} clients, {options.size} bytes)", flush=True)
    for name, values in rates.items():
        middle, low, high = statistics.median(values), min(values), max(values)
        print(f"  {name:16} {middle:>12,.0f} deliveries/s  (min {low:,.0f}, max {high:,.0f})")
    print_ratios("deliveries/s", *rates.values())


def print_ratios(what: str, ours: list[float], theirs: list[float]) -> None:
    """Print how many times theirs ours is, round by round."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
    print(f"  ratio of {what}, round by round: median {middle:.2f}, min {low:.2f}, max {high:.2f}")


def main() -> int:
    """Run the comparison and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=1000, help="members of the room (default 1000)")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds of each server (default 7)")
    parser.add_argument("--ticks", type=int, default=100, help="event-loop ticks of a round that emit (default 100)")
    parser.add_argument("--size", type=int, default=200, help="bytes of the argument array (default 200)")
    options = parser.parse_args()
    payload = message(options.size)
    print(f"{machine()}; server on one, receiver on the other")
    with ExitStack() as stack:
        servers = {
            "roomcast": start([sys.executable, str(HERE / "fanout_server.py")], stack),
            "node socket.io": start([node_binary(), str(HERE / "node/fanout_server.mjs")], stack),
        }
        swarms = {}
        for name, port in servers.items():
            print(f"connecting {options.clients} clients to {name}", flush=True)
            swarms[name] = connect(port, options.clients)
            stack.callback(swarms[name].close)
        compare(swarms, payload, options, "one message, alone: the next is sent when all have it", 20, 1, 1)
        compare(swarms, payload, options, "a stream, 1 message a tick", 1, options.ticks, 1)
        compare(swarms, payload, options, "a stream, 10 messages a tick", 1, max(1, options.ticks // 10), 10)
    return 0


if __name__ == "__main__":
    sys.exit(main())
