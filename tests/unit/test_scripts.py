"""make and the shell can read their files, make gets the best Python, and no merge was left unfinished."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
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


Machine = Callable[..., subprocess.CompletedProcess[str]]

#: A Python that says that it is another one; it runs what it is given, and makes environments without pip.
STAND_IN = """#!/bin/bash
if [ "$1" = -m ]; then exec {python} "$@" --without-pip; fi
exec {python} -IS -c {prelude} "$@"
"""
PRELUDE = """import sys, sysconfig
sys.version_info, sys.abiflags, sys.base_prefix, sys._base_executable = {version}, {abiflags!r}, {prefix!r}, {path!r}
sysconfig.get_config_var = {{"CONFIG_ARGS": {flags!r}}}.get
sys.modules.update({missing})
exec(sys.argv[-1])
"""
OPTIMISED = "--prefix=/opt --enable-optimizations"


def stand_in(
    path: Path,
    version: tuple[object, ...],
    flags: str = "",
    prefix: str = "/opt",
    abiflags: str = "",
    missing: str = "",
) -> Path:
    """A Python at this path of this version (minor, micro, …); ``missing``: a module that it does not have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    prelude = PRELUDE.format(
        version=(3, *version, *("final", 0)[len(version) - 2 :]),
        abiflags=abiflags,
        prefix=prefix,
        path=str(path),
        flags=flags,
        missing=dict.fromkeys([missing] if missing else []),
    )
    path.write_text(STAND_IN.format(python=sys.executable, prelude=shlex.quote(prelude)))
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Runs a command on a machine that has the Pythons of ``bin`` and ``home`` below ``tmp_path`` only."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "env", "sort", "awk", "make", "mkdir", "touch", "true", "false"):
        (programs / name).symlink_to(shutil.which(name) or name)
    (programs / "id").write_text("#!/bin/bash\necho 0\n")
    (programs / "apt-get").write_text(f"#!/bin/bash\necho $* >>{tmp_path}/apt-get.log\n")
    for name in ("id", "apt-get"):
        (programs / name).chmod(0o755)

    def run_there(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": str(programs), "HOME": str(tmp_path / "home"), **variables}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=30, check=False)

    return run_there


def test_an_optimised_build_comes_before_a_newer_one_without_and_then_the_newest(
    tmp_path: Path, machine: Machine
) -> None:
    versions = tmp_path / "home/.pyenv/versions"
    stand_in(versions / "3.13.0/bin/python3", (13, 0))
    stand_in(versions / "3.11.7/bin/python3", (11, 7))
    done = machine(ROOT / "scripts/python")
    assert done.stdout == f"{versions}/3.13.0/bin/python3\n"
    assert "built without optimisation" in done.stderr
    for path, version, build in (
        ("bin/python3", (11, 2), {"prefix": "/usr"}),
        ("bin/python3.11", (11, 9), {"flags": OPTIMISED}),
        ("home/.local/share/uv/python/cpython-3.12.1-linux/bin/python3", (12, 1), {"flags": OPTIMISED}),
        ("bin/python3.12", (12, 10), {"flags": OPTIMISED}),
    ):
        better = stand_in(tmp_path / path, version, **build)
        done = machine(ROOT / "scripts/python")
        assert (done.stdout, done.stderr) == (f"{better}\n", "")
    assert not (tmp_path / "apt-get.log").exists()


def test_what_has_no_wheels_or_makes_no_environments_is_no_choice_but_python_names_any(
    tmp_path: Path, machine: Machine
) -> None:
    chosen = stand_in(tmp_path / "bin/python3.11", (11, 7))
    versions = tmp_path / "home/.pyenv/versions"
    others = [
        stand_in(versions / "3.15.0/bin/python3", (15, 0), OPTIMISED),
        stand_in(versions / "3.14.0rc1/bin/python3", (14, 0, "candidate"), OPTIMISED),
        stand_in(versions / "3.14.0t/bin/python3", (14, 0), OPTIMISED, abiflags="t"),
    ]
    unfit = [
        stand_in(tmp_path / "bin/python3.13", (13, 5), OPTIMISED, missing="ensurepip"),
        stand_in(tmp_path / "bin/python3.10", (10, 9), OPTIMISED),
    ]
    assert machine(ROOT / "scripts/python").stdout == f"{chosen}\n"
    for path in others:
        assert machine(ROOT / "scripts/python", PYTHON=str(path)).stdout == f"{path}\n"
    for path in (*unfit, Path("no-such-python")):
        assert machine(ROOT / "scripts/python", PYTHON=str(path)).stdout == f"{chosen}\n"


def test_a_machine_without_python_installs_one_or_says_what_to_install(tmp_path: Path, machine: Machine) -> None:
    done = machine(ROOT / "scripts/python")
    assert done.returncode == 1
    assert "needs Python 3.11 to 3.14" in done.stderr
    assert "install -y --no-install-recommends python3 python3-venv" in (tmp_path / "apt-get.log").read_text()


@pytest.mark.parametrize(
    ("ours", "installed", "other"),
    [(11, (12, 11, 13), 13), (13, (11, 12, 13), 11), (12, (12, 11, 14), 14), (12, (12,), None)],
)
def test_the_second_run_is_on_the_newest_other_python_or_on_the_oldest(
    ours: int, installed: Sequence[int], other: int | None, tmp_path: Path, machine: Machine
) -> None:
    stand_in(tmp_path / ".venv/bin/python", (ours, 0))
    for minor in installed:
        stand_in(tmp_path / f"home/.pyenv/versions/3.{minor}.9/bin/python3", (minor, 9))
        stand_in(tmp_path / f"bin/python3.{minor}", (minor, 2), OPTIMISED)
    done = machine(ROOT / "scripts/python", "--other")
    expected = "" if other is None else f"{tmp_path}/bin/python3.{other}\n"
    assert (done.returncode, done.stdout) == (0, expected)


def test_an_environment_that_works_is_kept_and_one_without_its_python_is_made_again(
    tmp_path: Path, machine: Machine
) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/python", tmp_path / "scripts/python")
    shutil.copy(ROOT / "Makefile", tmp_path / "Makefile")
    stand_in(tmp_path / "bin/python3", (12, 1), OPTIMISED)
    assert machine("make", ".make/venv").returncode == 0
    installed = tmp_path / ".venv/installed"
    installed.touch()
    (tmp_path / ".make/venv").unlink()
    done = machine("make", ".make/venv")
    assert (done.returncode, installed.exists()) == (0, True)
    assert ".venv keeps Python 3." in done.stdout
    (tmp_path / ".venv/bin/python").unlink()
    (tmp_path / ".venv/bin/python").symlink_to(tmp_path / "removed")
    (tmp_path / ".make/venv").unlink()
    done = machine("make", ".make/venv")
    assert (done.returncode, installed.exists()) == (0, False)
    assert "creating .venv with" in done.stdout
    assert machine(tmp_path / ".venv/bin/python", "-c", "").returncode == 0
