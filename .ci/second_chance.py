"""Run the tests that failed once more, each alone, so that a busy machine does not fail a good change.

As a pytest plugin (``-p second_chance --failed-tests=PATH``) it writes the ids of the failed tests to PATH, as JSON.
As a script (``second_chance.py PATH``) it runs these tests again, and exits with 0 if all of them pass.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MOST = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--failed-tests", type=Path)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # a worker of xdist reports to the process that started it
        config.pluginmanager.register(FailedTests(config.option.failed_tests))


class FailedTests:
    """Writes a file if every test ran and some failed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failed: dict[str, None] = {}
        self.collected = True

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.collected &= not report.failed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed[report.nodeid] = None

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus == pytest.ExitCode.TESTS_FAILED and self.collected and self.failed:
            self.path.write_text(json.dumps(list(self.failed)))


def main(path: Path) -> int:
    failed = json.loads(path.read_text())
    if len(failed) > MOST:
        return 1
    print(f"== {len(failed)} failed: once more, each alone", flush=True)
    again = [test for test in failed if subprocess.run([sys.executable, "-m", "pytest", test], check=False).returncode]
    print("flaky:")
    print("failed in the first run:", *failed, sep="\n  ")
    print("failed again:", *(again or ["none"]), sep="\n  ", flush=True)
    return 1 if again else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
