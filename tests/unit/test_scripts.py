"""make and the shell can read their files, and no file has the marks of an unfinished merge."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [
    path
    for path in (ROOT / "scripts").iterdir()
    if path.is_file() and path.read_bytes().startswith(b"#!/usr/bin/env bash")
]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


def test_make_reads_the_whole_file_and_lists_its_commands() -> None:
    done = run("make", "help")
    assert (done.returncode, done.stderr) == (0, "")
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    assert listed >= {"run", "test", "check", "dist", "docs", "clean"}


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / ".ci/run"], ids=lambda path: path.name)
def test_the_shell_reads_the_whole_script(script: Path) -> None:
    done = run("bash", "-n", script)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_file_has_the_marks_of_an_unfinished_merge() -> None:
    found = run("git", "grep", "-lE", "^(<{7}|>{7}) ")
    assert (found.stdout, found.stderr) == ("", "")
