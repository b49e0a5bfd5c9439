"""What holds for the Dockerfiles, and the programs that the images contain beside Roomcast."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.compose import DEPLOY, ROOT, dockerfile, image_environment
from support.ports import free_port

FILES = ("Dockerfile", "Dockerfile.dev")


@pytest.fixture(params=FILES)
def instructions(request: pytest.FixtureRequest) -> list[tuple[str, str]]:
    return dockerfile(request.param)


def last(instructions: list[tuple[str, str]], name: str) -> str:
    """The arguments of the last instruction of this name: the one that counts."""
    return [rest for word, rest in instructions if word == name][-1]


def test_the_image_runs_as_a_user_with_a_number(instructions: list[tuple[str, str]]) -> None:
    # Kubernetes cannot check runAsNonRoot with a name.
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last(instructions, "USER"))
    words = [word for word, _ in instructions]
    assert "RUN" not in words[len(words) - words[::-1].index("USER") :]


def test_the_service_is_process_1_and_gets_the_signal(instructions: list[tuple[str, str]]) -> None:
    assert isinstance(json.loads(last(instructions, "ENTRYPOINT")), list)
    assert isinstance(json.loads(last(instructions, "CMD")), list)
    assert last(instructions, "STOPSIGNAL") == "SIGTERM"
    assert json.loads(last(instructions, "HEALTHCHECK").partition(" CMD ")[2])


def test_packages_have_hashes_and_base_images_are_arguments(instructions: list[tuple[str, str]]) -> None:
    installs = [rest for word, rest in instructions if word == "RUN" and " install " in rest and "pip" in rest]
    assert installs
    assert [rest for rest in installs if "--require-hashes" not in rest and "--no-deps" not in rest] == []
    assert all(rest.startswith("${") for word, rest in instructions if word == "FROM")
    assert not any(word == "ADD" or "apt-get" in rest or "curl" in rest for word, rest in instructions)


def test_the_image_sets_the_address_and_the_log_format_only() -> None:
    assert image_environment() == {"ROOMCAST_HOST": "0.0.0.0", "LOG_FORMAT": "json"}


def test_everything_that_is_copied_exists_and_is_in_the_context(instructions: list[tuple[str, str]]) -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for word, rest in instructions:
        if word != "COPY" or rest.startswith("--from"):
            continue
        for source in rest.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(source.rstrip("/") == entry or source.startswith(f"{entry}/") for entry in allowed), source


@pytest.mark.parametrize(("path", "code"), [((), 0), (("/ready",), 1)])
def test_the_healthcheck_finds_the_port_of_the_service(path: tuple[str, ...], code: int, tmp_path: Path) -> None:
    (tmp_path / "live").write_text("")  # and there is no file "ready"
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    check = [sys.executable, str(DEPLOY / "docker" / "healthcheck.py"), *path]
    env = {"PORT": str(port), "API_PORT": str(free_port()), "ROOMCAST_INTERNAL_PORT": str(free_port())}
    assert subprocess.run(check, env=env, check=False).returncode == 1
    with subprocess.Popen(
        [*command], stderr=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONUNBUFFERED": "1"}
    ) as server:
        try:
            assert server.stdout is not None
            server.stdout.readline()
            assert subprocess.run(check, env=env, check=False).returncode == code
        finally:
            server.kill()


def test_the_development_image_restarts_the_service_when_a_file_changes(tmp_path: Path) -> None:
    source = tmp_path / "service.py"
    source.write_text("import time\nprint('first', flush=True)\ntime.sleep(60)\n")
    command = [sys.executable, str(DEPLOY / "docker" / "reload.py"), str(tmp_path), sys.executable, str(source)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "first\n"
            source.write_text("this is no Python\n")
            os.utime(source, (1, 1))
            # After a crash it waits for the next change. No event says that it has seen this one.
            source.write_text("import time\nprint('second', flush=True)\ntime.sleep(60)\n")
            os.utime(source, (2, 2))
            assert process.stdout.readline() == "second\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
