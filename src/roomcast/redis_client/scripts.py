"""Lua scripts: each is atomic, and lies in a file beside the module that runs it.

Layer: redis_client.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the name under which Redis keeps it."""

    name: str
    source: str
    sha: str


def load_script(package: str, name: str, *modules: str) -> Script:
    """The script ``lua/<name>.lua`` of a package, behind the ``modules`` that it shares with others there."""
    folder = files(package) / "lua"
    source = "\n".join((folder / f"{module}.lua").read_text(encoding="utf-8") for module in (*modules, name))
    # Redis names scripts by SHA-1; nothing rests on its strength.
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
