"""Hatch runs this before it builds a wheel or an sdist: a package without the chat page is never built.

With ``ROOMCAST_COMPILE=1`` a wheel also has the modules of each packet as C extensions, compiled by mypyc, beside their
sources. It is for one version of Python and one platform. Needs mypy, setuptools, a C compiler and Python's headers.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: Files below src/roomcast. Not the websocket protocol: a class is derived from it at run time.
COMPILED = (
    "wire/[!_]*.py",
    "realtime/core/connection.py",
    "realtime/core/handlers/dispatch.py",
    "realtime/core/recovery/event_log.py",
    "realtime/core/handlers/hooks.py",  # extends a class of dispatch.py
    "realtime/core/hub.py",
    "realtime/core/handlers/inbox.py",
    "realtime/core/recovery/ordered.py",  # extends a class of sessions.py
    "realtime/core/recovery/sessions.py",
    "realtime/core/socket.py",
    "realtime/fanout/[!_]*.py",
)
#: A branch that mypy takes for unreachable would be left out of the extension: then the build fails.
MYPY = """
[mypy-roomcast.wire.*,roomcast.realtime.core.*,roomcast.realtime.fanout.*]
warn_unreachable = True
"""
SETUP = """
import sys
from mypyc.build import mypycify
from setuptools import setup
target, *paths = sys.argv[1:]
options = ["--explicit-package-bases", "--config-file=mypy.ini", *paths]
setup(name="roomcast", ext_modules=mypycify(options, opt_level="3"), script_args=["build_ext", "--build-lib", target])
"""


class PageHook(BuildHookInterface):
    """Checks that the page is there. An editable installation does without: `make run` builds its page later."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fail if the page is missing; compile if asked to. ``version`` is the kind of the build."""
        if version == "editable":
            return
        if not Path(self.root, "src/roomcast/api/page/index.html").is_file():
            raise FileNotFoundError("src/roomcast/api/page is missing: build the chat page first, with `make dist`")
        if self.target_name == "wheel" and os.environ.get("ROOMCAST_COMPILE") == "1":
            self.work = Path(mkdtemp())
            built = compile_modules(Path(self.root, "src"), self.work)
            build_data["force_include"].update({str(path): str(path.relative_to(self.work / "lib")) for path in built})
            build_data["pure_python"] = False
            build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled."""
        del version, build_data, artifact_path
        if hasattr(self, "work"):
            shutil.rmtree(self.work)


def compile_modules(source: Path, work: Path) -> list[Path]:
    """Compile the modules into ``work/lib``; the extensions.

    Raises:
        RuntimeError: mypy has found errors, or a program is missing.
    """
    shutil.copytree(source, work / "src")
    (work / "src/mypy.ini").write_text(MYPY)
    found = [path for pattern in COMPILED for path in (work / "src/roomcast").glob(pattern)]
    modules = sorted(str(path.relative_to(work / "src")) for path in found)
    command = [sys.executable, "-c", SETUP, str(work / "lib"), *modules]
    env = {**os.environ, "MYPYPATH": "."}
    done = subprocess.run(command, cwd=work / "src", env=env, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"the modules could not be compiled:\n{done.stdout}{done.stderr}")
    return [path for path in (work / "lib").rglob("*") if path.suffix in {".so", ".pyd"}]
