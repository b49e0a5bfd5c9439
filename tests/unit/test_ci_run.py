"""`.ci/run` in a small project: which failures get a second run, and what decides the exit status."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CI = Path(__file__).resolve().parents[2] / ".ci"
PASSES = "def test_passes():\n    pass\n"
FAILS = "def test_fails():\n    assert False\n"
FAILS_ONCE = """
import pathlib, pytest

@pytest.mark.parametrize("text", ["a b::c [ü]"])
def test_fails_once(text):
    ran = pathlib.Path("ran")
    first = not ran.exists()
    ran.touch()
    assert not first
"""
MAKEFILE = """
test:
\t@{check}
\t@{python} -m pytest -n 1 --dist loadfile $(ARGS)
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    python = shlex.quote(sys.executable)

    def script(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / path).chmod(0o755)

    def run(*, check: str = "true", **tests: str) -> subprocess.CompletedProcess[str]:
        shutil.copytree(CI, tmp_path / ".ci")
        script(".venv/bin/python", f'exec {python} "$@"')
        script("scripts/node", "echo /nowhere")
        (tmp_path / "Makefile").write_text(MAKEFILE.format(check=check, python=python))
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        for name, text in tests.items():
            (tmp_path / f"test_{name}.py").write_text(text)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "MAKE"))}
        # The other plugins would take most of the time.
        environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin"}
        command = ["bash", str(tmp_path / ".ci/run")]
        return subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    return run


def block(run: subprocess.CompletedProcess[str]) -> str:
    """What was printed under ``flaky:``."""
    return run.stdout.partition("\nflaky:\n")[2].partition("\n==")[0]


def test_a_run_without_failures_passes(run: Run) -> None:
    result = run(passes=PASSES)
    assert (result.returncode, block(result)) == (0, "")
    assert "1 passed in" in result.stdout.partition("== closing lines")[2]


def test_a_test_that_fails_once_is_named_and_the_run_passes(run: Run) -> None:
    result = run(passes=PASSES, once=FAILS_ONCE)
    assert result.returncode == 0, result.stdout
    name = "test_once.py::test_fails_once[a b::c [\\xfc]]"
    assert block(result) == f"failed in the first run:\n  {name}\nfailed again:\n  none"
    assert "1 failed, 1 passed in" in result.stdout.partition("== closing lines")[2]


def test_a_test_that_fails_again_fails_the_run(run: Run) -> None:
    result = run(once=FAILS_ONCE, fails=FAILS)
    assert result.returncode == 1
    again = block(result).partition("failed again:\n")[2]
    assert again.split() == ["test_fails.py::test_fails"]


def test_more_than_five_failures_are_not_run_again(run: Run) -> None:
    result = run(**{f"once_{number}": FAILS_ONCE.replace('"ran"', f'"ran{number}"') for number in range(6)})
    assert (result.returncode != 0, block(result)) == (True, "")
    assert "6 failed in" in result.stdout


@pytest.mark.parametrize(
    ("check", "other"), [("false", PASSES), ("true", "import no_such_module"), ("true", "import os\nos._exit(3)")]
)
def test_a_failed_check_or_an_error_in_the_collection_fails_at_once(run: Run, check: str, other: str) -> None:
    result = run(check=check, once=FAILS_ONCE, other=other)
    assert (result.returncode != 0, block(result)) == (True, "")
