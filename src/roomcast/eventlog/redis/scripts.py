"""The Lua scripts of the log, each atomic over one chat.

Layer: eventlog.
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


def _load(name: str, *modules: str) -> Script:
    folder = files(__package__) / "lua"
    source = "\n".join((folder / f"{module}.lua").read_text(encoding="utf-8") for module in (*modules, name))
    # Redis names scripts by SHA-1; nothing rests on its strength.
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


APPEND = _load("append", "publishing", "extend")
SEED = _load("seed", "publishing", "extend")
HEAD = _load("head")
READ = _load("read")
CANARY = _load("canary", "publishing")
