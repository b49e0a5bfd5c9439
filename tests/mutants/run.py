"""Removes the guarantees from the code, one at a time, and runs the tests that must notice (`make mutants`).

Each entry of ``mutants.toml`` replaces one text in a copy of ``src``. It is caught if one of its tests fails. All tests
must pass on a copy without changes.

    make mutants                     # all
    make mutants ARGS="feed relay"   # those whose id contains one of the words

The tests run in this process's Python with the copy first on the path. A mutant in a program that a test starts is not
noticed: that program is the installed one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: Runs at a time. Some tests have time limits.
PROCESSES = 2
#: Seconds for the tests of one mutant. A mutant may make a test wait for ever, which ends at the test's own limit.
LIMIT_S = 150
TESTS_FAILED = 1


@dataclass(frozen=True)
class Result:
    """The end of a run of pytest.

    Attributes:
        status: Exit status of pytest; None: it was ended after ``LIMIT_S``.
        failed: Ids of the failed tests.
        output: What pytest printed.
    """

    status: int | None
    failed: list[str]
    output: str


def load() -> list[dict[str, Any]]:
    """All entries of ``mutants.toml``."""
    return list(tomllib.loads((ROOT / "tests/mutants/mutants.toml").read_text())["mutant"])


def run_tests(tests: Iterable[str], mutant: dict[str, Any] | None) -> Result:
    """Run tests on a copy of ``src`` with one mutant, or without one."""
    with tempfile.TemporaryDirectory(prefix="roomcast-mutant-") as directory:
        source = Path(directory) / "src"
        shutil.copytree(ROOT / "src", source)
        if mutant is not None:
            file = source / Path(mutant["file"]).relative_to("src")
            text = file.read_text()
            if text.count(mutant["old"]) != 1:
                return Result(None, [], f"the text to replace does not occur exactly once in {mutant['file']}")
            file.write_text(text.replace(mutant["old"], mutant["new"]))
        # In CI mode, a test whose server is missing fails instead of being skipped.
        env = {
            **os.environ,
            "CI": "true",
            "PYTHONPATH": str(source),
            "HYPOTHESIS_STORAGE_DIRECTORY": f"{directory}/hypothesis",
        }
        paths = f"pythonpath={source} {ROOT / 'tests'} {ROOT / 'benchmarks'}"
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-o", paths, *tests]
        try:
            ended = subprocess.run(
                command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return Result(None, [], f"no end within {LIMIT_S} s")
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
    return Result(ended.returncode, failed, ended.stdout + ended.stderr)


def report(mutant: dict[str, Any]) -> tuple[dict[str, Any], Result]:
    """Run one mutant and print its result."""
    began = time.monotonic()
    result = run_tests(mutant["caught_by"], mutant)
    word = {0: "SURVIVED", TESTS_FAILED: "caught"}.get(-1 if result.status is None else result.status, "BROKEN")
    print(f"{word:8} {time.monotonic() - began:5.1f} s  {mutant['id']}", flush=True)
    return mutant, result


def main(words: list[str]) -> int:
    """Run the mutants whose id contains one of ``words``; all without words. Returns the exit status."""
    mutants = [mutant for mutant in load() if not words or any(word in mutant["id"] for word in words)]
    if not mutants:
        print("no mutant has such an id")
        return 2
    tests = sorted({test for mutant in mutants for test in mutant["caught_by"]})
    print(f"{len(mutants)} mutants; first, their {len(tests)} tests on the code as it is", flush=True)
    unchanged = run_tests(tests, None)
    if unchanged.status != 0:
        print(unchanged.output or "pytest printed nothing")
        print("the tests fail without a mutant")
        return 1
    with ThreadPoolExecutor(PROCESSES) as pool:
        results = list(pool.map(report, mutants))
    width = max(len(mutant["id"]) for mutant in mutants)
    print(f"\n{'mutant':{width}}  caught by")
    for mutant, result in results:
        print(f"{mutant['id']:{width}}  {result.failed[0] if result.status == TESTS_FAILED else '-'}")
    missed = [(mutant, result) for mutant, result in results if result.status != TESTS_FAILED]
    for mutant, result in missed:
        print(f"\n{mutant['id']} was not caught: {mutant['promise']}")
        if result.status != 0:
            print(result.output)
    print(f"\n{len(results) - len(missed)} of {len(results)} mutants were caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
