"""The Lua scripts of the log; each reads or writes the log of one chat.

Layer: eventlog.
"""

from __future__ import annotations

from typing import Final

from roomcast.redis_client import Script, load_script

_PACKAGE: Final = "roomcast.eventlog.redis"

APPEND: Final[Script] = load_script(_PACKAGE, "append", "publishing", "writing", "state", "extend")
SEED: Final[Script] = load_script(_PACKAGE, "seed", "publishing", "writing", "state", "extend")
HEAD: Final[Script] = load_script(_PACKAGE, "head", "writing", "state")
READ: Final[Script] = load_script(_PACKAGE, "read", "writing", "state")
DISCARD: Final[Script] = load_script(_PACKAGE, "discard", "writing")
SIGNAL: Final[Script] = load_script(_PACKAGE, "signal", "publishing")
CANARY: Final[Script] = load_script(_PACKAGE, "canary", "publishing", "writing")
CHECK: Final[Script] = load_script(_PACKAGE, "check")
