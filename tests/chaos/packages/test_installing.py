"""Both packages are installed from the registries, in empty environments, as users install them."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from support.packages import ROOT, install, run, wheel_of_the_sdist
from support.processes import Roomcast

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

_VERSIONS = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
PYTHONS = [
    path
    for minor in range(11, 15)
    for path in (*_VERSIONS.glob(f"3.{minor}.*/bin/python3"), Path(f"/usr/bin/python3.{minor}"))
    if path.exists()
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of_the_sdist(tmp_path_factory.mktemp("dist"))


@pytest.mark.parametrize("python", PYTHONS, ids=str)
def test_pip_installs_the_wheel_and_it_runs(wheel: Path, python: Path, tmp_path: Path) -> None:
    server = Roomcast.up(tmp_path / "data", one_port=True)
    server.command = install(wheel, tmp_path / "environment", python, [])
    with server:
        assert '<div id="root">' in httpx.get(server.api_url).text


def test_npm_installs_the_web_packages_and_a_component_compiles(tmp_path: Path) -> None:
    run("make", "dist", limit_s=300)
    project = tmp_path / "project"
    project.mkdir()
    (project / "package.json").write_text('{"private": true, "type": "module"}')
    tarballs = sorted((ROOT / "dist").glob("*.tgz"))
    run("npm", "install", "--no-fund", "--no-audit", "react@19", "@types/react@19", *tarballs, cwd=project, limit_s=300)
    run("node", "-e", "await import('@roomcast/client'); await import('@roomcast/react')", cwd=project)
    (project / "conversation.ts").write_text(
        "import { useChat } from '@roomcast/react';\n"
        "export function Conversation(chatId: string): number {\n"
        "  const { messages, sendMessage } = useChat(chatId);\n"
        "  void sendMessage('hello');\n"
        "  return messages.length;\n"
        "}\n"
    )
    compiler = ROOT / "web" / "node_modules" / ".bin" / "tsc"
    options = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022", "--skipLibCheck", "false"]
    run(compiler, *options, "conversation.ts", cwd=project)
