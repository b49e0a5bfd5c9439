"""What holds for the systemd units; checked by systemd itself where it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.compose import DEPLOY
from support.programs import find_program

UNITS = DEPLOY / "systemd"
NAMES = ("roomcast-api.service", "roomcast-gateway@3001.service", "roomcast-up.service", "roomcast-worker.service")
COMMON = (UNITS / "roomcast-.service.d" / "common.conf").read_text()


def test_the_drain_ends_before_systemd_kills_a_service() -> None:
    drain, limit = re.search(r"ROOMCAST_DRAIN_S=(\d+)", COMMON), re.search(r"TimeoutStopSec=(\d+)", COMMON)
    assert drain is not None
    assert limit is not None
    assert int(drain[1]) + 10 <= int(limit[1])


def test_the_process_can_read_what_its_metrics_need() -> None:
    assert not re.search(r"^ProcSubset=", COMMON, re.MULTILINE)


def test_a_database_that_is_away_at_the_boot_does_not_keep_a_service_down() -> None:
    # A unit whose requirement failed once is not started later; each service tries again by itself.
    assert not any("Requires=" in unit.read_text() for unit in UNITS.rglob("*.*") if unit.is_file())
    assert "Restart=on-failure" in COMMON
    assert "StartLimitIntervalSec=0" in COMMON


@pytest.fixture
def analyze(tmp_path: Path) -> list[str]:
    """`systemd-analyze` on a copy of the units whose program exists."""
    program = find_program("systemd-analyze", "systemd")
    units = tmp_path / "units"
    shutil.copytree(UNITS, units)
    for unit in units.glob("*.service"):
        unit.write_text(unit.read_text().replace("/opt/roomcast/bin/roomcast", sys.executable))
    # The colon: systemd's own directories follow.
    return ["env", f"SYSTEMD_UNIT_PATH={units}:", program]


def test_systemd_accepts_the_units(analyze: list[str]) -> None:
    done = subprocess.run(
        [*analyze, "verify", "--man=no", "--recursive-errors=no", *NAMES], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_services_are_confined(analyze: list[str]) -> None:
    for name in NAMES:
        command = [*analyze, "security", "--offline=yes", "--threshold=20", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
