"""Programs that tests run. Without its program a test is skipped loudly, and fails under ``CI=true``."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def unavailable(reason: str) -> NoReturn:
    """End the test, which cannot run here."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def find_program(name: str, package: str | None = None) -> str:
    """The program's path, also from the directories for administrators. ``package``: its name at Debian if another."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    return path or unavailable(f"no {name} here: apt-get install {package or name}")
