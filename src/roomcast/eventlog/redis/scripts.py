"""The Lua scripts of the log; each reads or writes the log of one chat.

Layer: eventlog.
"""

from __future__ import annotations

from typing import Final

from roomcast.redis_client import Script, load_script

_PACKAGE: Final = "roomcast.eventlog.redis"

APPEND: Final[Script] = load_script(_PACKAGE, "append", "publishing", "extend")
SEED: Final[Script] = load_script(_PACKAGE, "seed", "publishing", "extend")
HEAD: Final[Script] = load_script(_PACKAGE, "head")
READ: Final[Script] = load_script(_PACKAGE, "read")
SIGNAL: Final[Script] = load_script(_PACKAGE, "signal", "publishing")
