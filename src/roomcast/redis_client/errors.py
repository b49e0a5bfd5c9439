"""The error of this package.

Layer: redis_client.
"""

from __future__ import annotations

import re
from typing import Final, Self

# Before Redis 7, the error of a command inside a script follows the text "ERR Error running script".
_CODE: Final = re.compile(r"(?:ERR Error running script .*: -)?([A-Z]{3,})\b")
# Some errors repeat a whole script or every address.
_MAX_CHARS: Final = 200


class RedisUnavailable(Exception):
    """Redis is unreachable, refused the command, or did not answer in time; it may have executed the command.

    Attributes:
        code: The first word of Redis's error reply, such as ``OOM``, ``READONLY`` or ``NOPERM``; empty if there was no
            reply.
    """

    def __init__(self, cause: str, code: str = "") -> None:
        super().__init__(cause[:_MAX_CHARS])
        self.code = code

    @classmethod
    def of_reply(cls, reply: str) -> Self:
        """The error for an error reply of Redis."""
        found = _CODE.match(reply)
        return cls(reply, found[1] if found else "ERR")
