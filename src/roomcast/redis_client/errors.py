"""The error of this package.

Layer: redis_client.
"""

from __future__ import annotations

import re
from typing import Final, Self

# Before Redis 7, the error of a command inside a script follows the text "ERR Error running script".
_CODE: Final = re.compile(r"(?:ERR Error running script .*: -)?([A-Z]{3,})\b")
# The second text is Redis 7.0's for a command inside a script, the third is of later releases.
_NO_PERMISSION: Final = re.compile(r"NOPERM|NoPermission|user executing the script can't|ACL failure in script")
# Some errors repeat a whole script or every address.
_MAX_CHARS: Final = 200
_LOGIN: Final = "the login is refused: correct REDIS_PASSWORD, or the user and password in REDIS_URL"
#: What to change for an error that waiting cannot mend: a pattern of its text, and the advice.
_ADVICE: Final = (
    (
        re.compile(r"No master found.*(Authentication|WRONGPASS|NOAUTH|invalid username-password)"),
        "the sentinels refuse the login: correct REDIS_SENTINEL_PASSWORD",
    ),
    (re.compile(r"WRONGPASS|NOAUTH|invalid username-password|Authentication required"), _LOGIN),
    (re.compile(r"without any password configured|no password is set"), "no password is set: remove REDIS_PASSWORD"),
    (_NO_PERMISSION, "the user lacks a permission: README.md lists the ACL rules"),
    (re.compile(r"DB index|SELECT is not allowed"), "the database number does not exist: correct REDIS_URL"),
    (
        re.compile(r"cluster support disabled|Cluster mode is not enabled"),
        "it is no cluster: use redis:// in REDIS_URL",
    ),
    (re.compile(r"unknown command '?SENTINEL", re.IGNORECASE), "it is no sentinel: use redis:// in REDIS_URL"),
    (
        re.compile(r"unknown command|UNKNOWN COMMAND"),
        "a command is disabled or unknown: README.md lists what is needed",
    ),
    (re.compile(r"^MOVED"), "it is a cluster: use redis+cluster:// in REDIS_URL"),
    (
        re.compile(r"CERTIFICATE_VERIFY_FAILED"),
        "its certificate is not trusted: correct REDIS_URL, or name the file of a private authority in SSL_CERT_FILE",
    ),
)


class RedisUnavailable(Exception):
    """Redis is unreachable, refused the command, or did not answer in time; it may have executed the command.

    Attributes:
        code: The first word of Redis's error reply, such as ``OOM``, ``READONLY`` or ``NOPERM``; empty if there was no
            reply.
        advice: Set if waiting cannot mend the error: a few words that say what to change, and name the setting.
    """

    def __init__(self, cause: str, code: str = "") -> None:
        super().__init__(cause[:_MAX_CHARS])
        self.code = code
        self.advice = next((advice for pattern, advice in _ADVICE if pattern.search(f"{code} {cause}")), None)

    @classmethod
    def of_reply(cls, reply: str) -> Self:
        """The error for an error reply of Redis."""
        if _NO_PERMISSION.search(reply):
            return cls(reply, "NOPERM")
        found = _CODE.match(reply)
        return cls(reply, found[1] if found else "ERR")
