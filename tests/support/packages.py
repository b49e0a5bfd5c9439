"""Wheels built from the sdist, installed in virtual environments of their own; the version of the npm packages."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from roomcast import __version__
from support.processes import clean_environment

ROOT = Path(__file__).resolve().parents[2]
#: The version in the form of npm: 0.2.0.dev0 is 0.2.0-dev.0.
NPM_VERSION = re.sub(r"\.?(dev|a|b|rc)(\d+)$", r"-\1.\2", __version__)


def run(*command: str | Path, cwd: Path = ROOT, limit_s: float = 60.0) -> str:
    """Run a command to its end; its output. Fails with all of it."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean_environment({"PYTHONWARNINGS": "default"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def wheel_of_the_sdist(folder: Path) -> Path:
    """Build the sdist, unpack it, and build the wheel from what it contains."""
    hatchling = Path(sys.executable).with_name("hatchling")
    run(hatchling, "build", "--target", "sdist", "--directory", folder)
    (sdist,) = folder.glob("*.tar.gz")
    run("tar", "xzf", sdist, "-C", folder)
    run(hatchling, "build", "--target", "wheel", "--directory", folder, cwd=folder / sdist.name.removesuffix(".tar.gz"))
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path, python: Path, options: Sequence[str]) -> Path:
    """Install the wheel in a new virtual environment; the path of its `roomcast`."""
    run(python, "-m", "venv", "--without-pip", folder)
    target = folder / "bin" / "python"
    # With the pip of that Python: one that is older than a Python does not run there.
    run(python, "-m", "pip", "--python", target, "install", "--quiet", *options, wheel, limit_s=300)
    return folder / "bin" / "roomcast"
