"""One version for the Python package and the web packages: `roomcast.__version__` is the source."""

from __future__ import annotations

import json

import pytest

from support.packages import NPM_VERSION, ROOT

WEB = ROOT / "web"
LOCKED = json.loads((WEB / "package-lock.json").read_text())["packages"]


@pytest.mark.parametrize("path", ["packages/client", "packages/react", "apps/chat"])
def test_the_web_packages_their_lock_and_their_dependencies_have_the_version_of_the_python_package(path: str) -> None:
    package = json.loads((WEB / path / "package.json").read_text())
    for described in (package, LOCKED[path]):
        own = {name: version for name, version in described["dependencies"].items() if name.startswith("@roomcast/")}
        assert {described["version"], *own.values()} == {NPM_VERSION}
