"""Run the scenarios beside their peers, and write the results as a table, JSON and a picture.

The server has one core; load generator, Redis and PostgreSQL share the other. Rounds of the servers alternate, and
ratios are medians of the ratios of each round. Every connection checks that each message arrives once and in order: a
row with a wrong answer fails, or goes without the peer that gave it.

    python benchmarks/run.py ack-50 storm --rounds 5 --seconds 3
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import report
from growth import measure_growth
from redis_commands import Rooms
from scenarios import ROOMCAST, SCENARIOS, Scenario
from seeding import seed
from servers import BUILD, CLIENT_CPU, HERE, SERVERS, Target, build_peers, machine, node_binary, start_up

#: Programs that print their figures and have no peer in the table.
OTHERS = ("growth", "answers")
Round = dict[str, Any]


def generate(target: Target, job: dict[str, Any]) -> Round:
    """Run the load generator once; its figures.

    Raises:
        RuntimeError: an answer was wrong, or the generator failed.
    """
    full = {"port": target.port, "pids": target.pids, "others": target.others, **target.more, **job}
    command = ["taskset", "-c", str(CLIENT_CPU), node_binary(), str(HERE / "node/load.mjs"), json.dumps(full)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if found.returncode:
        raise RuntimeError(f"{found.stdout}{found.stderr}")
    figures: Round = json.loads(found.stdout)
    return {**figures, "serverShare": sum(figures["serverShares"])}


def start(stack: ExitStack, scenario: Scenario, kind: str) -> Target:
    """Start a server, with its messages."""
    if not scenario.messages:
        return SERVERS[kind](stack)
    data = stack.enter_context(tempfile.TemporaryDirectory())
    seed(data, 1, scenario.messages)
    return start_up(stack, data)


def measure(scenario: Scenario, absent: set[str], options: argparse.Namespace) -> dict[str, list[Round]]:
    """Measure one scenario on its servers, round by round."""
    rounds = min(options.rounds, scenario.max_rounds or options.rounds)
    kinds = {column: kind for column, kind in scenario.servers.items() if column not in absent}
    results: dict[str, list[Round]] = {column: [] for column in kinds}
    with ExitStack() as stack:
        targets = {column: start(stack, scenario, kind) for column, kind in kinds.items()}
        through_redis = scenario.job["mode"] == "rooms"
        rooms = {column: Rooms(target, scenario.job) for column, target in targets.items() if through_redis}
        # The first round is a warm-up, but for those that take long.
        for number in range(1 if scenario.max_rounds else 0, rounds + 1):
            for column, target in list(targets.items()):
                job = {**scenario.job, "seconds": options.seconds if number else 1}
                with ExitStack() as files:
                    if through_redis:
                        job |= rooms[column].round(files)
                    try:
                        found = generate(target, job)
                    except (RuntimeError, subprocess.TimeoutExpired) as error:
                        if column == ROOMCAST:
                            raise
                        print(f"   {column.upper()} FAILED, the row goes without it: {error}", flush=True)
                        del targets[column], results[column]
                        continue
                if number:
                    results[column].append(found)
                    shown = ", ".join(report.figure(found[metric.key], metric) for metric in scenario.metrics)
                    print(f"   {number}/{rounds} {column:13} {shown}   generator {found['loadShare']:.0%}", flush=True)
    return results


def main() -> int:
    """Run the chosen scenarios; the exit code is the number that failed."""
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "only",
        nargs="*",
        metavar="ROW",
        help=f"rows, or beginnings of their names: {', '.join([*names, *OTHERS])} (default: all but answers)",
    )
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds of each server (default 3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of a round (default 2)")
    parser.add_argument(
        "--out",
        type=Path,
        default=BUILD / "results",
        metavar="DIR",
        help="directory of the results (default .make/bench/results)",
    )
    options = parser.parse_args()
    wanted = tuple(options.only) or ("growth", *names)
    for text in wanted:
        if not any(name.startswith(text) for name in (*names, *OTHERS)):
            parser.error(f"no such row: {text}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{machine()}; server on one, load generator on another", flush=True)
    absent = build_peers()
    options.out.mkdir(parents=True, exist_ok=True)
    results = report.read(options.out, machine())
    failed = 0
    began = time.monotonic()
    for scenario in SCENARIOS:
        if not scenario.name.startswith(wanted):
            continue
        print(f"== {scenario.name}: {scenario.label}   ({(time.monotonic() - began) / 60:.1f} min)", flush=True)
        try:
            results[scenario.name] = measure(scenario, absent, options)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"   FAILED: {error}", flush=True)
            failed += 1
        report.write(options.out, machine(), results)
    if any("growth".startswith(text) for text in wanted):
        print(f"== growth   ({(time.monotonic() - began) / 60:.1f} min)", flush=True)
        measure_growth(generate, options.seconds, partial(report.write_growth, options.out, machine()))
    if results:
        print("\n" + (options.out / "benchmarks.md").read_text())
    print(f"the files are in {options.out}, after {(time.monotonic() - began) / 60:.1f} min")
    if "answers" in wanted:
        failed += subprocess.run([sys.executable, str(HERE / "answers.py")], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
