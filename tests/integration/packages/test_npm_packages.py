"""The npm packages, packed as `make dist` does: complete, and usable with their declared dependencies alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.packages import NPM_VERSION, ROOT, run

pytestmark = pytest.mark.node

WEB = ROOT / "web"
SOURCES = {name: WEB / "packages" / name for name in ("client", "react")}
PROGRAM = """
import { createClient, type WebSocketClient } from '@roomcast/client';
import { createClient as same, useChat, type ChatEntry } from '@roomcast/react';
const client: WebSocketClient = createClient({ apiUrl: 'https://host.example/chat' });
const entries: readonly ChatEntry[] = client.chat('lobby').getSnapshot().messages;
console.log(entries.length, typeof useChat, same === createClient);
"""


def package_json(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "package.json").read_text())
    return content


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of the unpacked packages."""
    folder = tmp_path_factory.mktemp("npm")
    run(ROOT / "scripts/npm", "run", "--silent", "build:packages")
    workspaces = [f"--workspace=@roomcast/{name}" for name in SOURCES]
    run(ROOT / "scripts/npm", "pack", "--silent", "--pack-destination", folder, *workspaces)
    for name in SOURCES:
        (folder / name).mkdir()
        run("tar", "xzf", folder / f"roomcast-{name}-{NPM_VERSION}.tgz", "-C", folder / name)
    return {name: folder / name / "package" for name in SOURCES}


@pytest.mark.parametrize("name", SOURCES)
def test_a_package_has_its_sources_their_build_readme_and_license_and_nothing_else(
    packages: dict[str, Path], name: str
) -> None:
    package = packages[name]
    files = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    sources = {
        path.relative_to(SOURCES[name]).with_suffix("").as_posix() for path in SOURCES[name].rglob("src/**/*.ts")
    }
    built = {source.replace("src", "dist", 1) for source in sources}
    ends = (".js", ".js.map", ".d.ts", ".d.ts.map")
    expected = {f"{source}.ts" for source in sources} | {file + end for file in built for end in ends}
    assert files == expected | {"LICENSE", "README.md", "package.json"}
    assert (package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    for source_map in package.rglob("*.map"):
        assert all((source_map.parent / source).is_file() for source in json.loads(source_map.read_text())["sources"])


def install(packages: dict[str, Path], project: Path, *names: str) -> None:
    """Copy packages into a project, with links to their declared dependencies and to no other package."""
    modules = project / "node_modules"
    for name in names:
        package = shutil.copytree(packages[name], modules / "@roomcast" / name)
        declared = package_json(package)
        for dependency in {**declared["dependencies"], **declared.get("peerDependencies", {})}:
            if not dependency.startswith("@roomcast/"):
                (modules / dependency).symlink_to(WEB / "node_modules" / dependency)
    (project / "package.json").write_text('{"type": "module"}')


def test_the_client_runs_with_its_declared_dependencies_alone(packages: dict[str, Path], tmp_path: Path) -> None:
    install(packages, tmp_path, "client")
    script = "const { createClient } = await import('@roomcast/client'); console.log(createClient().connectionState)"
    assert run("node", "--eval", script, cwd=tmp_path) == "disconnected\n"


def test_both_packages_compile_and_run_with_their_declared_dependencies_alone(
    packages: dict[str, Path], tmp_path: Path
) -> None:
    install(packages, tmp_path, "client", "react")
    types = tmp_path / "node_modules/@types"
    types.mkdir()
    (types / "react").symlink_to(WEB / "node_modules/@types/react")
    (tmp_path / "program.ts").write_text(PROGRAM)
    options = ["--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2023,dom"]
    run("node", WEB / "node_modules/typescript/bin/tsc", *options, "program.ts", cwd=tmp_path)
    assert run("node", "program.js", cwd=tmp_path) == "0 function true\n"
