"""Runs Schemathesis over the OpenAPI document of a running server: all checks, real requests.

Exceptions, each with its reason: `schemathesis.toml`. Rules that the document cannot state: `hooks.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.isolation import ENV
from support.processes import Roomcast, clean_environment


def environment(directory: Path) -> dict[str, str]:
    """Of a server without limits, with files and pushes on every database."""
    return {**ENV, "ROOMCAST_FILES_URL": f"file://{directory}/files", "ROOMCAST_VAPID_KEY": "A" * 42 + "E"}


def check_conformance(server: Roomcast, caller: str, directory: Path, *options: str) -> dict[str, Any]:
    """Run it, and return its report.

    Args:
        server: Serves the API, with `environment`.
        caller: ``user``, ``service`` or ``none``: whose tokens the requests have.
        directory: For its files.
        *options: Further options of ``schemathesis run``.
    """
    env = {**ENV, "CALLER": caller, "SCHEMATHESIS_HOOKS": "support.conformance.hooks"}
    command = [
        Path(sys.executable).with_name("schemathesis"),
        *("--config-file", Path(__file__).with_name("schemathesis.toml"), "run", f"{server.api_url}/openapi.json"),
        *("--no-color", "--report", "json", "--report-json-path", directory / "report.json", *options),
    ]
    done = subprocess.run(
        command, env=clean_environment(env), cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert "request failed" not in server.output, server.output
    report: dict[str, Any] = json.loads((directory / "report.json").read_text())
    operations = report["operations"]
    assert operations["tested"] == operations["total"] > 70, operations
    return report
