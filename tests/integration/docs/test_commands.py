"""The commands of the documents, run as they are written; addresses and passwords are replaced by those of the test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support import postgres_server, redis_server
from support.document_commands import blocks, script
from support.ports import free_port
from support.processes import Roomcast, clean_environment

ROOT = Path(__file__).resolve().parents[3]
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"
REALTIME_TUTORIAL = ROOT / "docs" / "realtime-tutorial.md"
RUNBOOK = ROOT / "docs" / "runbook.md"


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_server.running(redis_server.RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server.port


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    with postgres_server.running() as server:
        yield server.url(server.create_database())


def run(document: Path, replacements: Mapping[str, str], directory: Path, ports: Mapping[str, int]) -> str:
    """The standard output of the document's commands, all of which have succeeded."""
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment |= {name: str(port) for name, port in ports.items()}
    result = subprocess.run(
        ["bash"],
        input=script(document, replacements),
        cwd=directory,
        env=clean_environment(environment),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.timeout(120)
def test_every_command_of_the_tutorial_works(tmp_path: Path, redis_port: int, database_url: str) -> None:
    api, internal, *gateways = (free_port() for _ in range(5))
    replacements = {
        "localhost:6379": f"localhost:{redis_port}",
        "postgresql://roomcast:roomcast@localhost:5432/roomcast": database_url,
        "localhost:3000": f"localhost:{api}",
        "localhost:3002": f"localhost:{internal}",
        "roomcast api\n": f"ROOMCAST_INTERNAL_PORT={internal} roomcast api\n",
        "3001": str(gateways[0]),
        "3011": str(gateways[1]),
        "3021": str(gateways[2]),
    }
    output = run(TUTORIAL, replacements, tmp_path, {"API_PORT": api, "PORT": gateways[0]})
    assert '"content":"Hello"' in output
    assert "  ada          Hello from a shell\n" in output


@pytest.mark.timeout(120)
def test_every_command_of_the_tutorial_of_the_server_works(tmp_path: Path, redis_port: int) -> None:
    first, second = free_port(), free_port()
    replacements = {"6379": str(redis_port), "3001": str(first), "3011": str(second)}
    output = run(REALTIME_TUTORIAL, replacements, tmp_path, {})
    assert output.splitlines() == [
        "ok",
        "hello",
        "['said', {'from': 'ada', 'text': 'hello'}]",
        "hello from the other server",
    ]


@pytest.mark.timeout(120)
def test_the_commands_of_the_readme_for_several_processes_work(
    tmp_path: Path, redis_port: int, database_url: str
) -> None:
    api, internal, gateway = (free_port() for _ in range(3))
    replacements = {
        "postgresql://roomcast:…@localhost/roomcast": database_url,
        "ROOMCAST_SECRET=…": f"ROOMCAST_SECRET={'s' * 32}",
        "localhost:3002": f"localhost:{internal}",
        "roomcast api ": f"ROOMCAST_INTERNAL_PORT={internal} roomcast api ",
        "PORT=3001": f"PORT={gateway}",
    }
    run(README, replacements, tmp_path, {"API_PORT": api, "REDIS_PORT": redis_port})


def test_the_commands_of_the_runbook_work(tmp_path: Path, redis_port: int) -> None:
    internal = free_port()
    env = {"REDIS_HOST": "localhost", "REDIS_PORT": str(redis_port), "ROOMCAST_INTERNAL_PORT": str(internal)}
    with Roomcast.up(tmp_path / "data", env=env) as server:
        replacements = {"HOST:3002": f"localhost:{internal}", "HOST:3000": f"localhost:{server.api_port}"}
        output = run(RUNBOOK, replacements, tmp_path, {})
    assert 'roomcast_service_up{service="event log"} 1.0' in output
    assert "is this delivered?" in output


def test_each_command_of_the_other_pages_has_a_reason_why_no_test_runs_it() -> None:
    pages = [page for page in (ROOT / "docs").glob("*.md") if page not in {TUTORIAL, REALTIME_TUTORIAL, RUNBOOK}]
    commands = [(page.name, block) for page in pages for block in blocks(page) if block.language == "sh"]
    assert commands
    assert [(name, block.text) for name, block in commands if not block.reason_not_run] == []


@pytest.mark.parametrize("document", [README, TUTORIAL, REALTIME_TUTORIAL, RUNBOOK], ids=lambda path: path.name)
def test_commands_are_run_unless_a_reason_is_given(document: Path) -> None:
    reasons = [block.reason_not_run for block in blocks(document) if block.language == "sh"]
    omitted = [reason for reason in reasons if reason is not None]
    assert all(omitted)
    assert len(omitted) < len(reasons)
