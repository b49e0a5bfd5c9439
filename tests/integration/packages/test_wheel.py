"""The wheel that is built from the sdist runs by itself, with every Python whose packages `make test` has installed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from support.packages import ROOT, install, run, wheel_of_the_sdist
from support.processes import Roomcast

PYTHONS = [Path(sys.executable), *sorted((ROOT / ".make").glob("python-*/bin/python"))]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of_the_sdist(tmp_path_factory.mktemp("dist"))


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.parent.parent.name)
def test_the_installed_wheel_serves_the_page_and_a_chat(wheel: Path, python: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    command = install(wheel, environment, python, ["--no-deps", "--no-index"])
    # The dependencies are those of the lock, which are installed already.
    locked = run(python, "-c", "import pathlib, typer; print(pathlib.Path(typer.__file__).parents[1])")
    (own,) = environment.glob("lib/python*/site-packages")
    (own / "locked.pth").write_text(locked)
    server = Roomcast.up(tmp_path / "data", one_port=True)
    server.command = command
    with server:
        page = httpx.get(server.api_url)
        assert '<div id="root">' in page.text
        (script,) = re.findall(r"/assets/[\w-]+\.js", page.text)
        answer = httpx.get(server.api_url + script, headers={"accept-encoding": "gzip"})
        assert (answer.status_code, answer.headers["content-encoding"]) == (200, "gzip")
        message = {"chatId": "lobby", "role": "USER", "content": "hello"}
        assert httpx.post(f"{server.api_url}/api/chat/messages", json=message).status_code == 201
    origin = run(environment / "bin" / "python", "-c", "import roomcast; print(roomcast.__file__)", cwd=tmp_path)
    assert Path(origin.strip()).is_relative_to(environment)


def test_no_package_is_built_without_the_page(wheel: Path, tmp_path: Path) -> None:
    (sources,) = (path for path in wheel.parent.iterdir() if path.is_dir())
    run("cp", "-r", sources, tmp_path / "sources")
    run("rm", "-r", tmp_path / "sources" / "src" / "roomcast" / "api" / "page")
    done = subprocess.run(
        [Path(sys.executable).with_name("hatchling"), "build", "--target", "wheel"],
        cwd=tmp_path / "sources",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "build the chat page first, with `make dist`" in done.stderr
