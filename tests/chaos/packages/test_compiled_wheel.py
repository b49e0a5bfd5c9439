"""A wheel with C extensions passes the tests of the modules that it has compiled."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from pathlib import Path

import pytest

from support.packages import ROOT, run

HEADERS = Path(sysconfig.get_path("include"), "Python.h")
pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not HEADERS.exists() or importlib.util.find_spec("setuptools") is None, reason="needs setuptools and Python.h"
    ),
]
ORIGINS = """
import importlib, pathlib, sys
site = pathlib.Path(sys.argv[1])
extensions = [path for path in site.rglob("*.so") if path.parent != site]
for path in extensions:
    name = path.relative_to(site).as_posix().partition(".")[0].replace("/", ".")
    assert importlib.import_module(name).__file__ == str(path), name
    assert path.with_name(f"{path.name.partition('.')[0]}.py").exists(), name
print(len(extensions))
"""


def test_the_compiled_modules_pass_their_tests(tmp_path: Path) -> None:
    hatchling = Path(sys.executable).with_name("hatchling")
    run("env", "ROOMCAST_COMPILE=1", hatchling, "build", "--target", "wheel", "--directory", tmp_path, limit_s=400)
    (wheel,) = tmp_path.glob("*.whl")
    assert "none-any" not in wheel.name
    site = tmp_path / "site"
    run(sys.executable, "-m", "zipfile", "-e", wheel, site)
    loaded = run("env", f"PYTHONPATH={site}", sys.executable, "-c", ORIGINS, site, cwd=tmp_path)
    assert int(loaded) >= 20
    tests = ["tests/unit/wire", "tests/unit/realtime", "tests/contract/test_adapter.py"]
    first = f"pythonpath={site} tests benchmarks"
    run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", first, *tests, cwd=ROOT, limit_s=600)
