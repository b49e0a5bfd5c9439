"""The commands of the tutorial, run as they are written; addresses are replaced by free ports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import postgres_server, redis_server
from support.document_commands import script
from support.ports import free_port
from support.processes import clean_environment

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.timeout(120)
def test_every_command_of_the_tutorial_works(tmp_path: Path) -> None:
    api, internal, *gateways = (free_port() for _ in range(5))
    redis = redis_server.RedisServer(tmp_path / "redis")
    with redis_server.running(redis), postgres_server.running() as postgres:
        replacements = {
            "localhost:6379": f"localhost:{redis.port}",
            "postgresql://roomcast:roomcast@localhost:5432/roomcast": postgres.url(postgres.create_database()),
            "localhost:3000": f"localhost:{api}",
            "localhost:3002": f"localhost:{internal}",
            "roomcast api\n": f"ROOMCAST_INTERNAL_PORT={internal} roomcast api\n",
            "3001": str(gateways[0]),
            "3011": str(gateways[1]),
            "3021": str(gateways[2]),
        }
        directory = tmp_path / "work"
        directory.mkdir()
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "API_PORT": str(api),
            "PORT": str(gateways[0]),
        }
        run = subprocess.run(
            ["bash"],
            input=script(ROOT / "docs" / "tutorial.md", replacements),
            cwd=directory,
            env=clean_environment(environment),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert run.returncode == 0, run.stderr
    assert '"content":"Hello"' in run.stdout
