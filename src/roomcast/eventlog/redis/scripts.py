"""The Lua scripts; each reads or writes the log of one chat, or the stream of one turn.

Layer: eventlog.
"""

from __future__ import annotations

from typing import Final

from roomcast.redis_client import Script, load_script

_PACKAGE: Final = "roomcast.eventlog.redis"

APPEND: Final[Script] = load_script(_PACKAGE, "append", "publishing", "writing", "reading", "state", "extend")
SEED: Final[Script] = load_script(_PACKAGE, "seed", "publishing", "writing", "reading", "state", "extend")
HEAD: Final[Script] = load_script(_PACKAGE, "head", "writing", "reading", "state")
READ: Final[Script] = load_script(_PACKAGE, "read", "writing", "reading", "state")
DISCARD: Final[Script] = load_script(_PACKAGE, "discard", "writing")
SIGNAL: Final[Script] = load_script(_PACKAGE, "signal", "publishing")
CANARY: Final[Script] = load_script(_PACKAGE, "canary", "publishing", "writing")
CHECK: Final[Script] = load_script(_PACKAGE, "check")
APPEND_FRAME: Final[Script] = load_script(_PACKAGE, "append_frame", "publishing", "writing", "reading", "stream")
SEED_STREAM: Final[Script] = load_script(_PACKAGE, "seed_stream", "publishing", "writing", "reading", "stream")
READ_STREAM: Final[Script] = load_script(_PACKAGE, "read_stream", "reading")
EXPIRE_STREAM: Final[Script] = load_script(_PACKAGE, "expire_stream")
