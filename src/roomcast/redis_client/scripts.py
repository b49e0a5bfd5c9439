"""Lua scripts, which Redis executes atomically. Each is a file in the folder ``lua`` of the package that runs it.

Layer: redis_client.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """A script, its name in metrics, and the SHA-1 digest under which Redis caches it."""

    name: str
    source: str
    sha: str


def load_script(package: str, name: str, *modules: str) -> Script:
    """Load ``lua/<name>.lua`` of a package, preceded by the ``modules`` that it shares with other scripts there."""
    folder = files(package) / "lua"
    source = "\n".join((folder / f"{module}.lua").read_text(encoding="utf-8") for module in (*modules, name))
    # Redis identifies scripts by SHA-1; security does not depend on it.
    owner = package.split(".")[1]
    return Script(
        f"{owner}-{name.replace('_', '-')}", source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    )
