"""Run the benchmarks one after the other. Each script also runs alone; see its ``--help``."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = ("fanout.py", "redis_fanout.py", "ways_in.py", "latency.py", "answers.py")


def main() -> int:
    """Run the chosen benchmarks; the exit code is the number that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"which to run: {', '.join(BENCHMARKS)} (default: all)")
    chosen = parser.parse_args().only or BENCHMARKS
    unknown = set(chosen) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    if not (HERE / "node/node_modules/express").exists():
        print("== installing the Node peers (once)", flush=True)
        subprocess.run(["npm", "ci", "--silent"], cwd=HERE / "node", check=True)
    failed = 0
    for name in chosen:
        print(f"\n== {name}", flush=True)
        failed += subprocess.run([sys.executable, str(HERE / name)], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
